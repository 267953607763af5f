//! How the tests run the example.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Cargo builds the examples with the tests, and puts them beside the tests' own folder.
pub(crate) fn backfill() -> Command {
    let test = std::env::current_exe().expect("the test's own path");
    let deps = test.parent().expect("a folder");
    let profile = deps.parent().expect("a folder");
    let program = profile.join("examples").join("backfill");
    assert!(
        program.exists(),
        "the example is not built: leave out --test, or run cargo build --all-features --examples"
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that does not outlive the test.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It fails where the process is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example under way, with what it says on standard error as it comes.
pub(crate) struct Running {
    pub(crate) child: Guard,
    out: JoinHandle<String>,
    lines: Receiver<String>,
    pub(crate) said: String,
}

/// The example after its end.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = Guard(command.spawn().expect("cargo built the example"));
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
        assert!(begun.elapsed() < PATIENCE, "the example takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn send(signal: Signal, child: &Guard) {
    let id = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, signal).expect("it runs");
}

/// Starts `backfill worker` on a free port and returns its address.
pub(crate) fn start_worker(scheme: &str, options: &[&str]) -> (Guard, String) {
    let mut command = backfill();
    command.arg("worker").args(["--listen", &format!("{scheme}://127.0.0.1:0")]).args(options);
    let mut child = command.stderr(Stdio::null()).spawn().expect("cargo built the example");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("readable");
    let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
    (Guard(child), address)
}

/// A path of this test's own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("chargehand-test-{}-{name}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads an output: its lines by height. Panics where a height has two, or one is not in `heights`
/// or missing there.
pub(crate) fn each_height_once(out: &Path, heights: RangeInclusive<u64>) -> BTreeMap<u64, Value> {
    let text = fs::read_to_string(out).expect("the output");
    assert!(text.ends_with('\n'), "the last line is not whole");
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let height = line["height"].as_u64().expect("a height");
        assert!(lines.insert(height, line).is_none(), "height {height} has two lines");
    }
    assert!(lines.keys().copied().eq(heights), "heights are missing, or there are others");
    lines
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
