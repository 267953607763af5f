//! What the program says, and `--out`: closed, full, unread, or there already.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::Signal;

use super::state::{Saved, wait_for_more};
use super::support::{
    Ended, Folder, Guard, PATIENCE, backfill, each_height_once, run, send, start_worker, wait,
};

/// The exit code of a program whose output cannot be written.
const UNHEARD: Option<i32> = Some(3);

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("Linux has it")
}

/// Starts it with both outputs somewhere, and waits for its end. Returns the code.
fn code(command: &mut Command, out: impl Into<Stdio>, err: impl Into<Stdio>) -> Option<i32> {
    let mut child = Guard(command.stdout(out).stderr(err).spawn().expect("it is built"));
    wait(&mut child).code()
}

/// Reads some lines from a pipe, and closes it.
fn head(reader: PipeReader, count: usize) -> Vec<String> {
    BufReader::new(reader).lines().take(count).map(|line| line.expect("text")).collect()
}

#[test]
fn a_pipe_that_is_closed_ends_the_demo_within_seconds_and_with_its_own_code() {
    for count in [0, 1, 3] {
        let (reader, writer) = io::pipe().expect("a pipe");
        let both = writer.try_clone().expect("a descriptor");
        let mut demo = Guard(backfill().stdout(both).stderr(writer).spawn().expect("it is built"));
        assert_eq!(head(reader, count).len(), count);
        let closed = Instant::now();
        assert_eq!(wait(&mut demo).code(), UNHEARD, "after {count} lines");
        assert!(closed.elapsed() < Duration::from_secs(8), "{:?}", closed.elapsed());
    }
}

#[test]
fn a_log_that_is_closed_is_said_on_standard_output_and_the_state_is_of_what_was_done() {
    let folder = Folder::new("closed");
    let (chain, state) = (folder.text("chain"), folder.text("state"));
    let slow = ["--chain", &chain, "--concurrency", "8", "--delay", "4"];
    let (_worker, worker) = start_worker("ws", &slow);
    let (out, state_path) = (folder.text("out"), folder.path("state"));
    let arguments = ["--worker", &worker, "--range", "1..=8000", "--state", &state, "--out", &out];
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut command = backfill();
    command.args(arguments).stderr(writer);
    let mut manager = Guard(command.spawn().expect("it is built"));
    drop(command);
    wait_for_more(&state_path, 0);
    drop(reader);
    assert_eq!(wait(&mut manager).code(), UNHEARD);
    let mut said = String::new();
    manager.0.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    let count = Saved::read(&state_path).expect("a state").count();
    let expected = format!("stopped: {count} of 8000 done; the first missing is ");
    assert!(said.starts_with("error: standard error cannot be written: Broken pipe"), "{said}");
    assert!(said.contains(&expected) && said.contains("goes on from here"), "{expected}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let lines = fs::read_to_string(&out).expect("the output").lines().count();
    assert_eq!(lines as u64, count);
    let ended = run(backfill().args(arguments));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    each_height_once(&folder.path("out"), 1..=8000);
}

#[test]
fn an_output_that_is_full_or_closed_never_panics_and_has_its_own_code() {
    let folder = Folder::new("full");
    let (_worker, worker) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let work = ["--worker", &worker, "--range", "1..=100"];
    let nobody = ["--worker", "tcp://127.0.0.1:9", "--range", "1..=100"];
    // Its report, or the first line that it says, cannot be written.
    let mut child = Guard(backfill().args(work).stdout(full()).spawn().expect("it is built"));
    let mut said = String::new();
    child.0.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(wait(&mut child).code(), UNHEARD);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: standard output cannot be written: No space left"), "{said}");
    assert!(last.ends_with("the exit code would have been 0"), "{said}");
    for (arguments, expected) in [
        (&work[..], UNHEARD),
        (&nobody, UNHEARD),
        (&["--help"], UNHEARD),
        (&["--version"], UNHEARD),
        (&["--bogus"], Some(2)),
        (&["--range", "0..=5"], Some(2)),
        (&["worker", "--listen", "tcp://127.0.0.1:0", "--chain", "/dev/null"], Some(2)),
    ] {
        assert_eq!(code(backfill().args(arguments), full(), full()), expected, "{arguments:?}");
        // A pipe without a reader.
        let (_, writer) = io::pipe().expect("a pipe");
        let both = writer.try_clone().expect("a descriptor");
        assert_eq!(code(backfill().args(arguments), both, writer), expected, "{arguments:?}");
    }
    // None at all was wanted: the exit code says how it went.
    for closed in [">&-", "2>&-", ">&- 2>&-"] {
        let mut shell = Command::new("sh");
        let program = backfill().get_program().to_owned();
        shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]).arg(program).args(work);
        let out = folder.text("out");
        shell.args(["--out", &out, "--force"]).stdin(Stdio::null());
        assert_eq!(code(&mut shell, Stdio::null(), Stdio::null()), Some(0), "{closed}");
        each_height_once(&folder.path("out"), 1..=100);
    }
}

#[test]
fn a_worker_whose_log_is_closed_serves_on() {
    let folder = Folder::new("worker-log");
    for runtime in ["tokio", "smol"] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = backfill();
        command.args(["worker", "--listen", "ws://127.0.0.1:0", "--chain", &folder.text("chain")]);
        command.args(["--runtime", runtime]).stderr(writer);
        let mut worker = Guard(command.spawn().expect("it is built"));
        let mut line = String::new();
        let out = worker.0.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("text");
        let address = line.trim().strip_prefix("listening on ").expect("its address");
        // It has something to say each time.
        for _ in 0..2 {
            let ended = run(backfill().args(["--worker", address, "--range", "1..=100"]));
            assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        }
        send(Signal::TERM, &worker);
        assert_eq!(wait(&mut worker).code(), Some(0));
    }
}

/// Makes a pipe that is full already.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a descriptor of ours");
    while writer.write(&[b'\n'; 512]).is_ok() {}
    assert_eq!(rustix::io::write(writer.as_fd(), b"\n"), Err(Errno::AGAIN));
    (reader, writer)
}

#[test]
fn nothing_waits_for_whoever_does_not_read_but_the_end() {
    for blocks in [true, false] {
        let folder = Folder::new(if blocks { "unread" } else { "unread-nonblocking" });
        let (mut reader, writer) = full_pipe();
        if blocks {
            fcntl_setfl(&writer, OFlags::empty()).expect("a descriptor of ours");
        }
        let out = folder.text("out");
        let mut command = backfill();
        let arguments = ["--range", "1..=20000", "--out", &out, "--state", &folder.text("state")];
        let mut demo = Guard(command.args(arguments).stderr(writer).spawn().expect("it is built"));
        drop(command);
        // With its faults, and all that is said of them.
        wait_for_more(&folder.path("state"), 19_999);
        each_height_once(&folder.path("out"), 1..=20_000);
        thread::sleep(Duration::from_millis(200));
        assert!(demo.0.try_wait().expect("a child of ours").is_none(), "it said nothing");
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("text");
        assert_eq!(wait(&mut demo).code(), Some(0), "{said}");
        assert!(said.contains("SIGKILL") && said.contains("connection broken"), "{said}");
    }
}

#[test]
fn a_second_interrupt_ends_a_run_that_waits_for_a_reader() {
    let folder = Folder::new("twice");
    let (chain, state) = (folder.text("chain"), folder.path("state"));
    let slow = ["--chain", &chain, "--concurrency", "8", "--delay", "4"];
    let (_worker, worker) = start_worker("tcp", &slow);
    let (_reader, writer) = full_pipe();
    fcntl_setfl(&writer, OFlags::empty()).expect("a descriptor of ours");
    let mut command = backfill();
    let state_text = folder.text("state");
    command.args(["--worker", &worker, "--range", "1..=20000", "--state", &state_text]);
    let mut manager = Guard(command.stderr(writer).spawn().expect("it is built"));
    wait_for_more(&state, 0);
    send(Signal::INT, &manager);
    // The first one ends the work and saves: the state comes to rest.
    let begun = Instant::now();
    let mut count = 0;
    loop {
        thread::sleep(Duration::from_millis(1500));
        let now = Saved::read(&state).expect("a state").count();
        if now == count {
            break;
        }
        count = now;
        assert!(begun.elapsed() < PATIENCE, "it goes on");
    }
    assert!(manager.0.try_wait().expect("a child of ours").is_none(), "it waits for no reader");
    send(Signal::INT, &manager);
    let sent = Instant::now();
    assert_eq!(wait(&mut manager).code(), Some(130));
    assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
}

#[test]
fn an_output_that_is_there_already_is_overwritten_only_when_told_so() {
    let folder = Folder::new("there");
    let (_worker, worker) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let (out, state) = (folder.text("out"), folder.text("state"));
    let work = ["--worker", &worker, "--range", "1..=50", "--out", &out];
    fs::write(&out, "of great value\n").expect("writable");
    // Nor by a state that does not know it.
    for more in [&[][..], &["--state", &state]] {
        let Ended { code, err, .. } = run(backfill().args(work).args(more));
        assert_eq!(code, Some(2), "{err}");
        assert!(err.starts_with(&format!("error: --out {out}: it is there already")), "{err}");
        assert!(err.contains("--force"), "{err}");
        assert_eq!(fs::read_to_string(&out).expect("it is there"), "of great value\n");
    }
    assert_eq!(run(backfill().args(work).arg("--force")).code, Some(0));
    each_height_once(&folder.path("out"), 1..=50);
    // One that goes with its state needs no more.
    let work = [&work[..], &["--state", &state]].concat();
    assert_eq!(run(backfill().args(&work).arg("--force")).code, Some(0));
    assert_eq!(run(backfill().args(&work)).code, Some(0));
    each_height_once(&folder.path("out"), 1..=50);
    // A pipe or a device holds nothing that could be lost.
    let device = ["--worker", &worker, "--range", "1..=50", "--out", "/dev/null"];
    assert_eq!(run(backfill().args(device)).code, Some(0));
}

#[test]
fn a_full_disk_under_the_output_names_it() {
    let folder = Folder::new("full-out");
    let (_worker, worker) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let Ended { code, err, .. } =
        run(backfill().args(["--worker", &worker, "--range", "1..=9", "--out", "/dev/full"]));
    assert_eq!(code, Some(1), "{err}");
    let error = err.lines().last().expect("a line");
    assert!(error.starts_with("error: --out /dev/full: it cannot be written: No space"), "{err}");
    assert!(error.contains("; stopped at 9 of 9"), "{err}");
}

/// Runs it where files may have so many blocks of 512 or 1024 bytes and no more.
fn limited(blocks: u32, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    let program = backfill().get_program().to_owned();
    shell.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg(program);
    shell.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[test]
fn where_output_or_state_may_grow_no_more_the_last_state_stays_and_goes_on() {
    let folder = Folder::new("limited");
    let slow = ["--chain", &folder.text("chain"), "--concurrency", "8", "--delay", "2"];
    let (_worker, worker) = start_worker("tcp", &slow);
    let (out, state) = (folder.text("out"), folder.text("state"));
    let path = folder.path("state");
    // Some thousand lines; and with nothing in the output but an end, not one line of a state.
    let work = ["--worker", &worker, "--range", "1..=8000", "--state", &state, "--out", &out];
    let ended = run(&mut limited(1000, &work));
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let error = ended.err.lines().last().expect("a line").to_owned();
    assert!(error.starts_with(&format!("error: --out {out}: it cannot be written: ")), "{error}");
    assert!(error.contains("goes on from the state that was saved last"), "{error}");
    let count = Saved::read(&path).expect("a state").count();
    assert!(count > 0 && count < 8000, "{count}");

    let ended = run(&mut limited(0, &work));
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let error = ended.err.lines().last().expect("a line").to_owned();
    assert!(error.starts_with(&format!("error: --state {state}: it cannot be saved: ")), "{error}");
    assert_eq!(Saved::read(&path).expect("a state").count(), count);
    assert_eq!(folder.names(), ["chain", "out", "state"]);

    let ended = run(backfill().args(work));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("heights 8,000: done 8,000, failed 0, lost 0, doubled 0"));
    each_height_once(&folder.path("out"), 1..=8000);
}
