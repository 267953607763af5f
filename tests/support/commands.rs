//! Programs under test: started, watched, sent signals, and gone with the test; and folders for their files.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that does not outlive the test.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It fails where the process is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program under way, with what it says on standard error as it comes.
pub(crate) struct Running {
    pub(crate) child: Guard,
    out: JoinHandle<String>,
    lines: Receiver<String>,
    pub(crate) said: String,
}

/// The program after its end.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = Guard(command.spawn().expect("cargo built it"));
        let mut out = child.0.stdout.take().expect("piped");
        let err = BufReader::new(child.0.stderr.take().expect("piped"));
        let out = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).expect("readable");
            text
        });
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in err.lines() {
                // Nobody listens any more where a test has failed.
                let _ = sender.send(line.expect("readable"));
            }
        });
        Self { child, out, lines, said: String::new() }
    }

    /// Waits until it says a line with `wanted` in it.
    pub(crate) fn wait_for(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it never said \"{wanted}\": {}", self.said)
            };
            self.said += &line;
            self.said.push('\n');
            if line.contains(wanted) {
                return line;
            }
        }
    }

    pub(crate) fn finish(mut self) -> Ended {
        let code = wait(&mut self.child).code();
        let mut err = self.said;
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            err += &line;
            err.push('\n');
        }
        Ended { code, out: self.out.join().expect("no panic"), err }
    }
}

pub(crate) fn run(command: &mut Command) -> Ended {
    Running::start(command).finish()
}

pub(crate) fn wait(child: &mut Guard) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait().expect("a child of ours") {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "it takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn send(signal: Signal, child: &Guard) {
    let id = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, signal).expect("it runs");
}

/// A folder of this test's own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("chargehand-test-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }

    /// Everything that is in it, with what is in that.
    pub(crate) fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.0).expect("a folder");
        let paths = entries.map(|entry| entry.expect("readable").path());
        let mut content: Vec<_> = paths
            .map(|path| {
                let bytes =
                    if path.is_file() { fs::read(&path).expect("readable") } else { vec![] };
                (path, bytes)
            })
            .collect();
        content.sort();
        content
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        self.content().iter().map(|(path, _)| name(path)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It matters only to the next run of the same process id.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers that look random: splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
