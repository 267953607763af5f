//! Processes in a network namespace: this very program, started again with a role.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Holds a child's role.
pub(crate) const ROLE: &str = "CHARGEHAND_NETWORK_ROLE";

/// A process of ours. It is killed when this is dropped, and ends when we do.
pub(crate) struct Child {
    process: Process,
    lines: Mutex<Receiver<String>>,
    /// All that it ever said.
    said: Arc<Mutex<Vec<String>>>,
}

impl Child {
    pub(crate) fn start(namespace: &str, role: &str) -> Self {
        let program = env::current_exe().expect("this program has a path");
        let mut process = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(program)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`ip` starts");
        let stdout = process.stdout.take().expect("it is a pipe");
        let (sender, lines) = channel();
        let said = Arc::new(Mutex::new(Vec::new()));
        let keeps = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                keeps.lock().expect("no panic with it").push(line.clone());
                let _ = sender.send(line);
            }
        });
        Self { process, lines: Mutex::new(lines), said }
    }

    /// Counts what another one said as said by this.
    pub(crate) fn take_over(&mut self, other: &Self) {
        let before = other.said();
        self.said.lock().expect("no panic with it").extend(before);
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().expect("no panic with it").clone()
    }

    pub(crate) fn say(&self, word: &str) {
        let mut stdin = self.process.stdin.as_ref().expect("it is a pipe");
        writeln!(stdin, "{word}").expect("it lives");
    }

    pub(crate) fn wait_for(&self, beginning: &str) -> String {
        self.wait_within(beginning, Duration::from_secs(20))
    }

    /// Waits for a line that begins so.
    ///
    /// # Panics
    /// If none comes within `span`.
    pub(crate) fn wait_within(&self, beginning: &str, span: Duration) -> String {
        let until = Instant::now() + span;
        let lines = self.lines.lock().expect("no panic with it");
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no `{beginning}` within {span:?}"));
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    /// Returns how many lines it has said.
    pub(crate) fn count_said(&self) -> usize {
        self.said.lock().expect("no panic with it").len()
    }

    /// Waits until it has said each of these since it had said `before` lines.
    ///
    /// # Panics
    /// If it has not within `span`.
    pub(crate) fn has_said(&self, before: usize, wanted: &[String], span: Duration) {
        let until = Instant::now() + span;
        loop {
            let said = self.said();
            let is_said =
                |line: &&String| said[before..].iter().any(|said| said.starts_with(*line));
            let missing: Vec<&String> = wanted.iter().filter(|line| !is_said(line)).collect();
            if missing.is_empty() {
                return;
            }
            assert!(
                Instant::now() < until,
                "not within {span:?}: {missing:?} of {:?}",
                &said[before..]
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
    }

    /// Returns the most memory that it ever held, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.expect("the field").parse::<u64>().expect("a number") << 10
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ends the process when its parent is gone, whose words go to `hear`.
pub(crate) fn hear_the_parent(mut hear: impl FnMut(&str) + Send + 'static) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            hear(line.trim());
        }
        std::process::exit(0);
    });
}

/// Ends the process when its parent is gone.
pub(crate) fn die_with_the_parent() {
    if env::var(ROLE).is_ok_and(|role| role.starts_with("manager")) {
        return; // It hears its parent.
    }
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
