//! The backfill example as a person runs it: its options, its exit codes, and what it survives.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Cargo builds the examples with the tests, and puts them beside the tests' own folder.
fn backfill() -> Command {
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
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It fails where the process is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> Output {
    let mut child = Guard(command.spawn().expect("cargo built the example"));
    let mut out = child.0.stdout.take().expect("piped");
    let mut err = child.0.stderr.take().expect("piped");
    let read = thread::spawn(move || {
        let mut text = Vec::new();
        out.read_to_end(&mut text).map(|_| text)
    });
    let read_err = thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).map(|_| text)
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("a child of ours") {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "the example takes too long");
        thread::sleep(Duration::from_millis(20));
    };
    let stdout = read.join().expect("no panic").expect("readable");
    let stderr = read_err.join().expect("no panic").expect("readable");
    Output { status, stdout, stderr }
}

/// Starts `backfill worker` on a free port and returns its address.
fn start_worker(scheme: &str, options: &[&str]) -> (Guard, String) {
    let mut command = backfill();
    command.arg("worker").args(["--listen", &format!("{scheme}://127.0.0.1:0")]).args(options);
    let mut child = command.stderr(Stdio::null()).spawn().expect("cargo built the example");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("readable");
    let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
    (Guard(child), address)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("chargehand-test-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn wrong_input_gets_one_clear_line_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("tcp://{}", taken.local_addr().expect("bound"));
    let nobody = {
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", gone.local_addr().expect("bound"))
    };
    let (refusing, node) = refusing_node();
    for (arguments, expected) in [
        (&["--range", "5..=3"][..], "the range is empty"),
        (&["--range", "1-3"], "a range is written like"),
        (&["--range", "0..=5"], "the demo chain has blocks 1..="),
        (&["--worker", "127.0.0.1:9000"], "starts with tcp:// or ws://"),
        (&["--worker", "tcp://127.0.0.1"], "it needs a port"),
        (&["--listen", "ws://127.0.0.1:70000"], "the port is not in 0..=65535"),
        (&["--listen", &taken], "cannot listen on"),
        (&["--rpc", "https://127.0.0.1"], "no TLS"),
        (&["--rpc", &nobody], "cannot be reached"),
        (&["--rpc", &node], "it refuses: not today (code -32000)"),
        (&["--in-flight", "0"], "--in-flight"),
        (&["--out", "/nowhere/to/be/found"], "--out /nowhere/to/be/found"),
        (&["--bogus"], "--bogus"),
        (&["worker", "--listen", &taken, "--chain", "/dev/null"], "demo chain /dev/null"),
    ] {
        let output = run(backfill().args(arguments));
        let error = text(&output.stderr);
        let lines = error.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(lines, 1, "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    drop(refusing);
}

/// A node that refuses every call, on a thread that ends with the guard's listener.
fn refusing_node() -> (tiny::Node, String) {
    let node = tiny::Node::start(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"not today"}}"#,
    );
    let url = format!("http://{}", node.address);
    (node, url)
}

/// The smallest HTTP server: one answer to everything.
mod tiny {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{self, JoinHandle};

    pub(crate) struct Node {
        pub(crate) address: SocketAddr,
        stop: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    }

    impl Node {
        pub(crate) fn start(answer: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("bound");
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let thread = thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut stream = stream.expect("a connection");
                    let mut request = [0; 4096];
                    let count = stream.read(&mut request).expect("a request");
                    assert!(count > 0);
                    let length = answer.len();
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\
                         Connection: close\r\n\r\n{answer}"
                    )
                    .expect("somebody reads");
                }
            });
            Self { address, stop, thread: Some(thread) }
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::SeqCst);
            drop(TcpStream::connect(self.address));
            if let Some(thread) = self.thread.take() {
                thread.join().expect("the node does not panic");
            }
        }
    }
}

#[test]
fn the_demo_loses_nothing_while_one_worker_is_killed_and_one_is_stopped() {
    let output = run(&mut backfill());
    let (report, log) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{report}{log}");
    assert!(report.contains("heights 100,000: done 100,000, failed 0, lost 0, doubled 0"));
    assert!(report.contains("links 99,999 of 99,999 good"), "{report}");
    assert!(!report.contains("sent again 0"), "the faults struck nothing: {report}");
    for fault in ["SIGSTOP", "SIGCONT", "SIGKILL", "is started again"] {
        assert!(log.contains(fault), "{fault}: {log}");
    }
}

#[test]
fn workers_that_run_already_serve_a_range_and_each_height_is_a_line_of_the_output() {
    let chain = Scratch::new("range.chain");
    let out = Scratch::new("range.jsonl");
    let chain_path = chain.0.to_str().expect("a plain path");
    let (_tcp, tcp) = start_worker("tcp", &["--chain", chain_path]);
    let (_ws, ws) = start_worker("ws", &["--chain", chain_path, "--runtime", "smol"]);
    let output = run(backfill()
        .args(["--worker", &tcp, "--worker", &ws, "--range", "1001..=3000", "--in-flight", "16"])
        .args(["--out", out.0.to_str().expect("a plain path")]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut heights: Vec<u64> = std::fs::read_to_string(&out.0)
        .expect("the output")
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(line["hash"].as_str().is_some_and(|hash| hash.len() == 66), "{line}");
            line["height"].as_u64().expect("a height")
        })
        .collect();
    heights.sort_unstable();
    assert!(heights.into_iter().eq(1001..=3000));
}

#[test]
fn a_height_that_fails_is_reported_and_the_exit_code_is_1() {
    let chain = Scratch::new("fails.chain");
    let (_tcp, tcp) = start_worker("tcp", &["--chain", chain.0.to_str().expect("plain")]);
    let output = run(backfill().args(["--worker", &tcp, "--range", "99999..=100001"]));
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("done 2, failed 1, lost 0, doubled 0"), "{report}");
    assert!(report.contains("the chain has blocks 1..=100000, not 100001"), "{report}");
}

#[test]
fn a_worker_that_cannot_be_reached_is_named_and_tried_again_until_it_is_there() {
    let chain = Scratch::new("late.chain");
    let port = {
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        gone.local_addr().expect("bound").port()
    };
    let address = format!("tcp://127.0.0.1:{port}");
    let mut command = backfill();
    command.args(["--worker", &address, "--range", "1..=10"]);
    let mut child = Guard(command.spawn().expect("cargo built the example"));
    let mut said = String::new();
    let mut err = BufReader::new(child.0.stderr.take().expect("piped"));
    while !said.contains("keeps trying") {
        said.clear();
        assert!(err.read_line(&mut said).expect("readable") > 0, "it ended instead");
    }
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    let mut worker = backfill();
    worker.args(["worker", "--listen", &address, "--chain", chain.0.to_str().expect("plain")]);
    let _worker = Guard(worker.spawn().expect("cargo built the example"));
    let begun = Instant::now();
    // Somebody has to read on, or it would wait for that.
    let drain = thread::spawn(move || err.read_to_string(&mut String::new()));
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("a child of ours") {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not find the worker");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
    drain.join().expect("no panic").expect("readable");
}
