//! The Go program of tests/interop, built and started.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use async_channel::Receiver;

const INSTALL: &str = "apt-get install -y golang-go golang-golang-x-net-dev";
/// Where Debian's package puts the sources of Go's libraries.
const GOPATH: &str = "/usr/share/gocode";

/// Returns the program's path. Builds it once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let library = Path::new(GOPATH).join("src/golang.org/x/net/websocket");
        assert!(library.is_dir(), "these tests need golang.org/x/net, from Debian: {INSTALL}");
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = place.join("interop-peer");
        let build = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg("main.go")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer"))
            .env("GO111MODULE", "off")
            .env("GOPATH", GOPATH)
            .env("GOCACHE", place.join("go-cache"))
            .env_remove("GOFLAGS")
            .output();
        let build = build.unwrap_or_else(|error| {
            panic!("these tests need Go, and it does not start: {error}. Install it: {INSTALL}")
        });
        let said = String::from_utf8_lossy(&build.stderr);
        assert!(build.status.success(), "the Go program does not build: {said}\n({INSTALL})");
        program
    })
}

/// A running peer. It is killed when this is dropped, and ends by itself when we die.
pub(crate) struct Peer {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it said so far.
    said: Vec<String>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(program())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built just now");
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("it is a pipe"));
        // Unbounded, so that the peer never waits for its reader.
        let (sender, lines) = async_channel::unbounded();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send_blocking(line).is_err() {
                    return;
                }
            }
        });
        Self { process, stdin, lines, said: Vec::new() }
    }

    /// Starts a worker with faults, as `HEIGHT=KIND,...`, and returns it with its address.
    pub(crate) async fn worker(listen: &str, faults: &str) -> (Self, String) {
        let mut worker = Self::start(&["worker", "-listen", listen, "-faults", faults]);
        let line = worker.lines.recv().await.expect("it says its address");
        let at = line.strip_prefix("at ").expect("its address").to_owned();
        worker.said.clear();
        (worker, at)
    }

    /// Starts a manager that asks for these heights over so many connections.
    pub(crate) fn manager(at: &str, connections: u32, heights: &[i64]) -> Self {
        let (url, connections) = (format!("ws://{at}/"), connections.to_string());
        let mut manager = Self::start(&["manager", "-url", &url, "-connections", &connections]);
        let mut stdin = manager.stdin.take().expect("it is a pipe");
        let lines: Vec<String> = heights.iter().map(ToString::to_string).collect();
        // It may end before it has read them all.
        std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
        manager
    }

    /// Waits until it says this.
    pub(crate) async fn until(&mut self, wanted: &str) {
        loop {
            let line = self.lines.recv().await;
            let line = line.unwrap_or_else(|_| panic!("it ended and never said {wanted:?}"));
            let found = line == wanted;
            self.said.push(line);
            if found {
                return;
            }
        }
    }

    /// Kills it by SIGKILL, and returns all that it said.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("it is our child");
        self.rest().await
    }

    /// Lets it end, and returns all that it said.
    pub(crate) async fn end(mut self) -> Vec<String> {
        drop(self.stdin.take());
        self.rest().await
    }

    async fn rest(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv().await {
            self.said.push(line);
        }
        self.process.wait().expect("it is our child");
        std::mem::take(&mut self.said)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
