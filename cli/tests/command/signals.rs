//! SIGINT and SIGTERM: a first one lets what is under way end, a second one kills it, as SIGHUP and SIGQUIT do at once.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;

use super::support::{
    Ended, Folder, Guard, Running, address_of, all_done, chargehand, dialling_worker, is_alive,
    numbered, numbers, outcomes, results, run, run_of, send, until, wait,
};

#[test]
fn what_is_under_way_ends_and_the_next_run_goes_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new(&format!("drain-{}", signal.as_raw()));
        let (begun, out, state) = (folder.path("begun"), folder.text("out"), folder.text("state"));
        let again = folder.text("again");
        let script = format!(
            "echo $1 >> {}; [ -e {again} ] || sleep 2; echo $1 >> {}",
            begun.display(),
            folder.text("ended")
        );
        let tasks = numbered(12);
        let more = ["--shell", "--exec", &script, "--local", "3", "--out", &out, "--state", &state];
        let running = Running::start(&mut run_of(&folder, &tasks, &more));
        until("three have begun", || numbers(&begun).len() == 3);
        send(signal, &running.child);
        let Ended { code, err, .. } = running.finish();
        assert_eq!(code, Some(130), "{err}");
        assert!(err.contains("stopping: 3 tasks are under way"), "{err}");
        assert_eq!(numbers(&begun).len(), 3, "more were begun");
        assert_eq!(numbers(&folder.path("ended")).len(), 3, "some were killed");
        assert_eq!(outcomes(&fs::read_to_string(&out).expect("the output")).len(), 3);
        fs::write(&again, "").expect("writable");
        let ended = run(&mut run_of(&folder, &tasks, &more));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let outcomes = outcomes(&fs::read_to_string(&out).expect("the output"));
        assert_eq!(results(&outcomes), [""; 12]);
        assert_eq!(numbers(&begun).len(), 12, "each once");
    }
}

#[test]
fn a_second_signal_kills_all_processes_of_all_tasks() {
    let folder = Folder::new("abort");
    let ids = folder.path("ids");
    let script = format!("sleep 300 & echo $! >> {}; wait", ids.display());
    let more = ["--shell", "--exec", &script, "--local", "2"];
    let mut running = Running::start(&mut run_of(&folder, "a\nb\n", &more));
    until("both have begun", || numbers(&ids).len() == 2);
    send(Signal::TERM, &running.child);
    running.wait_for("stopping: 2 tasks are under way");
    let sent = Instant::now();
    send(Signal::INT, &running.child);
    assert_eq!(running.finish().code, Some(130));
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    until("they are killed", || numbers(&ids).iter().all(|id| !is_alive(*id)));
}

/// Makes a pipe that is full, and whose writers wait.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a descriptor of ours");
    while writer.write(&[b'\n'; 512]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("a descriptor of ours");
    (reader, writer)
}

#[test]
fn what_was_killed_at_the_end_has_not_failed_and_is_done_by_the_next_run() {
    let folder = Folder::new("killed-at-the-end");
    let ids = folder.path("ids");
    let script = format!("echo $$ >> {}; sleep 300", ids.display());
    let (out, state) = (folder.text("out"), folder.text("state"));
    let kept = ["--ordered", "--out", &out, "--state", &state];
    let mut command = run_of(&folder, "a\nb\n", &["--shell", "--exec", &script, "--local", "2"]);
    // Nobody reads its last words, for which it waits a while.
    let (_reader, writer) = full_pipe();
    let mut child = Guard(command.args(kept).stderr(writer).spawn().expect("it is built"));
    until("both have begun", || numbers(&ids).len() == 2);
    send(Signal::TERM, &child);
    thread::sleep(Duration::from_millis(300));
    send(Signal::TERM, &child);
    assert_eq!(wait(&mut child).code(), Some(130));
    assert_eq!(fs::read_to_string(&out).expect("the output"), "");
    let more = [&["--exec", "echo"], &kept[..]].concat();
    let ended = run(&mut run_of(&folder, "a\nb\n", &more));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(results(&outcomes(&fs::read_to_string(&out).expect("the output"))), ["a", "b"]);
}

#[test]
fn a_terminal_that_is_gone_or_a_quit_takes_all_processes_of_all_tasks_with_it() {
    for signal in [Signal::HUP, Signal::QUIT] {
        let folder = Folder::new(&format!("gone-{}", signal.as_raw()));
        let ids = folder.path("ids");
        let script = format!("sleep 300 & echo $! >> {}; wait", ids.display());
        let more = ["--shell", "--exec", &script, "--local", "2"];
        let running = Running::start(&mut run_of(&folder, "a\nb\n", &more));
        until("both have begun", || numbers(&ids).len() == 2);
        send(signal, &running.child);
        let Ended { code, err, .. } = running.finish();
        assert_eq!(code, Some(130), "{err}");
        assert!(err.contains(": ends at once"), "{err}");
        until("they are killed", || numbers(&ids).iter().all(|id| !is_alive(*id)));
    }
}

#[test]
fn a_worker_whose_terminal_is_gone_kills_what_it_does() {
    let folder = Folder::new("gone-worker");
    let ids = folder.path("ids");
    let script = format!("sleep 300 & echo $! >> {}; wait", ids.display());
    let mut command = chargehand();
    command.args(["run", "--range", "1..=2", "--listen", "tcp://127.0.0.1:0"]);
    let mut running = Running::start(&mut command);
    let address = address_of(&mut running);
    let more = ["--shell", "--exec", &script, "--concurrency", "2"];
    let mut worker = dialling_worker(&address, &more);
    until("both have begun", || numbers(&ids).len() == 2);
    send(Signal::HUP, &worker);
    assert_eq!(wait(&mut worker).code(), Some(130));
    until("they are killed", || numbers(&ids).iter().all(|id| !is_alive(*id)));
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let folder = Folder::new("nohup");
    let (begun, flag) = (folder.path("begun"), folder.path("flag"));
    let script = format!(
        "echo 1 > {}; until [ -e {} ]; do sleep 0.05; done; echo done",
        begun.display(),
        flag.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP QUIT; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_chargehand")]);
    command.args(["run", "--range", "1..=1", "--shell", "--exec", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::start(&mut command);
    until("it has begun", || numbers(&begun).len() == 1);
    send(Signal::HUP, &running.child);
    send(Signal::QUIT, &running.child);
    fs::write(&flag, "").expect("writable");
    assert_eq!(results(&all_done(&running.finish(), 1)), ["done"]);
}

#[test]
fn what_a_worker_does_for_a_run_that_is_gone_ends_with_the_worker() {
    const COUNT: usize = 200;
    /// Which the worker does before, and so earns as many at once.
    const QUICK: usize = 400;
    let folder = Folder::new("left");
    let ids = folder.path("ids");
    let script =
        format!("[ $1 -le {QUICK} ] || {{ echo $$ >> {}; exec sleep 300; }}", ids.display());
    let mut command = chargehand();
    command.args([
        "run",
        "--range",
        &format!("1..={}", QUICK + COUNT),
        "--listen",
        "tcp://127.0.0.1:0",
    ]);
    let mut running = Running::start(&mut command);
    let address = address_of(&mut running);
    let more = ["--shell", "--exec", &script, "--concurrency", &COUNT.to_string()];
    let mut worker = dialling_worker(&address, &more);
    until("all have begun", || numbers(&ids).len() == COUNT);
    send(Signal::TERM, &worker);
    send(Signal::KILL, &running.child);
    assert_eq!(wait(&mut worker).code(), Some(0));
    until("they are killed", || numbers(&ids).iter().all(|id| !is_alive(*id)));
}
