//! How the tests run the command.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

pub(crate) use super::commands::{
    Ended, Folder, Guard, PATIENCE, Random, Running, run, send, wait,
};

pub(crate) fn chargehand() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chargehand"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run of tasks, one on each line of a file in the folder.
pub(crate) fn run_of(folder: &Folder, tasks: impl AsRef<[u8]>, more: &[&str]) -> Command {
    let path = folder.path("tasks");
    fs::write(&path, tasks).expect("writable");
    let mut command = chargehand();
    command.arg("run").arg("--tasks").arg(path).args(more);
    command
}

/// So many tasks: a number on each line, from 1 on.
pub(crate) fn numbered(count: u64) -> String {
    (1..=count).fold(String::new(), |text, number| text + &number.to_string() + "\n")
}

/// Reads outcomes: by number, each whole, of this version and there once.
pub(crate) fn outcomes(text: &str) -> BTreeMap<u64, Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole");
    let mut outcomes = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["v"], 1, "{line}");
        let number = line["n"].as_u64().expect("a number");
        assert!(outcomes.insert(number, line).is_none(), "task {number} has two lines");
    }
    outcomes
}

/// Reads the outcomes of a run that did all of its tasks, and these were so many.
pub(crate) fn all_done(ended: &Ended, count: u64) -> BTreeMap<u64, Value> {
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let outcomes = outcomes(&ended.out);
    assert!(outcomes.keys().copied().eq(1..=count), "{}", ended.out);
    outcomes
}

/// Returns the results of outcomes, in the order of their tasks.
pub(crate) fn results(outcomes: &BTreeMap<u64, Value>) -> Vec<&str> {
    outcomes.values().map(|line| line["result"].as_str().expect("a result")).collect()
}

/// The error of an outcome.
pub(crate) fn error(outcome: &Value) -> &str {
    outcome["error"].as_str().expect("an error")
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    root.join(path).to_str().expect("a plain path").to_owned()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Reads numbers, one on each line, from a file that may not be there yet.
pub(crate) fn numbers(path: &PathBuf) -> Vec<u32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Returns whether a process runs, and is no zombie.
pub(crate) fn is_alive(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Starts `chargehand worker` with a door, and returns its address.
pub(crate) fn listening_worker(address: &str, more: &[&str]) -> (Guard, String) {
    let mut command = chargehand();
    command.args(["worker", "--listen", address]).args(more).stderr(Stdio::null());
    let mut child = command.spawn().expect("it is built");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("readable");
    let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
    (Guard(child), address)
}

/// Starts a worker that dials in.
pub(crate) fn dialling_worker(address: &str, more: &[&str]) -> Guard {
    let mut command = chargehand();
    command.args(["worker", "--connect", address]).args(more);
    Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is built"))
}

/// Waits until a run says where it listens.
pub(crate) fn address_of(run: &mut Running) -> String {
    let line = run.wait_for("listening on ");
    line.split(' ').nth(2).expect("an address").to_owned()
}

/// A token, in a file that names it.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Starts a run of numbered tasks that shows itself to whoever comes, and returns the address of that.
pub(crate) fn shown_run(
    folder: &Folder,
    tasks: &str,
    exec: &str,
    more: &[&str],
) -> (Running, String) {
    fs::write(folder.path("token"), format!("{TOKEN}\n")).expect("writable");
    let mut command = chargehand();
    command.args(["run", "--range", tasks, "--shell", "--exec", exec, "--local", "2"]);
    command.args(["--status", "127.0.0.1:0", "--status-token", &folder.text("token")]);
    let mut run = Running::start(command.args(more));
    let line = run.wait_for("status at http://");
    let url = line.trim_start_matches("status at ").to_owned();
    (run, url)
}

/// Asks a status page, without any of the command's code.
pub(crate) fn ask(url: &str, path: &str) -> Value {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not 0");
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (_, body) = text.split_once("\r\n\r\n").expect("a response");
    serde_json::from_str(body).expect("JSON")
}

/// Waits until a page says that so many tasks are done at least, and returns all that it says.
pub(crate) fn done_at(url: &str, count: u64) -> Value {
    let mut overview = Value::Null;
    until("tasks are done", || {
        overview = ask(url, "api/overview");
        overview["tasks"]["done"].as_u64() >= Some(count)
    });
    overview
}

/// Ends a run at once, and the processes of its tasks with it.
pub(crate) fn cut_short(mut run: Running) {
    send(Signal::TERM, &run.child);
    run.wait_for("stopping: ");
    send(Signal::TERM, &run.child);
    assert_eq!(run.finish().code, Some(130));
}
