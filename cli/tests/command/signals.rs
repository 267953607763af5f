//! SIGINT and SIGTERM: a first one lets what is under way end, a second one kills it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{
    Ended, Folder, Running, is_alive, numbered, numbers, outcomes, results, run, run_of, send,
    until,
};

#[test]
fn what_is_under_way_ends_and_the_next_run_goes_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new(&format!("drain-{}", signal.as_raw()));
        let (begun, out, state) = (folder.path("begun"), folder.text("out"), folder.text("state"));
        let script = format!(
            "echo $1 >> {}; sleep 0.5; echo $1 >> {}",
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
