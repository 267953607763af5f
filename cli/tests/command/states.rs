//! `--state`: runs that go on where others stopped, however those ended.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::support::{
    Ended, Folder, Random, Running, chargehand, numbered, outcomes, results, run, run_of, send,
    until,
};

fn read(folder: &Folder, name: &str) -> String {
    fs::read_to_string(folder.path(name)).unwrap_or_default()
}

/// Kills runs of 10,000 lines at any moment, until one gets through.
fn kill_at_any_moment(folder: &Folder, more: &[&str]) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let seed = u64::try_from(seed % u128::from(u64::MAX)).expect("it is below");
    println!("seed {seed}");
    let mut random = Random(seed);
    let tasks = numbered(10_000);
    let (out, state) = (folder.text("out"), folder.text("state"));
    // Slow enough for several saves, a second apart, before all is done.
    let worker = "import json, sys, time\n\
                  for line in sys.stdin:\n    time.sleep(0.001)\n    task = json.loads(line)\n    \
                  print(json.dumps({'id': task['id'], 'result': 'hello, ' + task['task']}), flush=True)\n";
    fs::write(folder.path("worker.py"), worker).expect("writable");
    let serve = format!("python3 {}", folder.text("worker.py"));
    let command = || {
        let files = ["--out", &out, "--state", &state, "--serve", &serve, "--local", "2"];
        let mut command = run_of(folder, &tasks, &files);
        command.args(["--concurrency", "8"]).args(more);
        command
    };
    let (mut killed, mut grown, mut saved) = (0, 0, String::new());
    for round in 0..12 {
        let mut running = Running::start(&mut command());
        // Before or about its first save; and at any moment after one of something new, which may be late
        // where the disk is slow.
        if round % 2 == 1 {
            until("something new is saved", || {
                let is_over = running.child.0.try_wait().expect("a child of ours").is_some();
                is_over || read(folder, "state") != saved
            });
        }
        thread::sleep(Duration::from_millis(random.below(250)));
        if running.child.0.try_wait().expect("a child of ours").is_none() {
            send(Signal::KILL, &running.child);
        }
        let is_killed = running.finish().code.is_none();
        killed += u32::from(is_killed);
        let now = read(folder, "state");
        grown += u32::from(now != saved);
        saved = now;
        if !is_killed {
            break;
        }
    }
    assert!(
        killed > 2 && grown > 1,
        "seed {seed}: {killed} killed, {grown} had saved something new"
    );
    let Ended { code, err, .. } = run(&mut command());
    assert_eq!(code, Some(0), "seed {seed}: {err}");
    let outcomes = outcomes(&read(folder, "out"));
    assert!(outcomes.keys().copied().eq(1..=10_000), "seed {seed}");
    assert!(outcomes.iter().all(|(n, line)| line["result"] == format!("hello, {n}").as_str()));
    assert_eq!(folder.names(), ["out", "state", "tasks", "worker.py"]);
    let Ended { code, err, .. } = run(&mut command());
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("0 done, 0 failed, 10,000 before"), "{err}");
}

#[test]
fn runs_that_are_killed_at_any_moment_lose_nothing_and_double_nothing() {
    kill_at_any_moment(&Folder::new("any-moment"), &[]);
}

#[test]
fn the_same_holds_in_order() {
    let folder = Folder::new("any-moment-ordered");
    kill_at_any_moment(&folder, &["--ordered"]);
    let order: Vec<u64> = read(&folder, "out")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["n"].as_u64())
        .map(|number| number.expect("a number"))
        .collect();
    assert!(order.is_sorted());
}

#[test]
fn tasks_that_failed_are_tried_again_by_the_next_run() {
    let folder = Folder::new("again");
    let (out, state) = (folder.text("out"), folder.text("state"));
    let flag = folder.text("flag");
    let script = format!("[ $1 != bad ] || [ -e {flag} ]");
    let more = ["--shell", "--exec", &script, "--out", &out, "--state", &state];
    let ended = run(&mut run_of(&folder, "a\nbad\nb\n", &more));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let first = outcomes(&read(&folder, "out"));
    assert!(first.len() == 3 && first[&2]["error"] == "exit code 1", "{first:?}");
    fs::write(&flag, "").expect("writable");
    let ended = run(&mut run_of(&folder, "a\nbad\nb\n", &more));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("1 done, 0 failed, 2 before"), "{}", ended.err);
    assert_eq!(results(&outcomes(&read(&folder, "out"))), ["", "", ""]);
}

#[test]
fn a_run_in_order_keeps_what_failed_and_says_so_each_time() {
    let folder = Folder::new("kept");
    let (out, state) = (folder.text("out"), folder.text("state"));
    let more = ["--exec", "test x !=", "--ordered", "--out", &out, "--state", &state];
    for _ in 0..2 {
        let Ended { code, err, .. } = run(&mut run_of(&folder, "a\nx\nb\n", &more));
        assert_eq!(code, Some(1), "{err}");
        let outcomes = outcomes(&read(&folder, "out"));
        assert!(outcomes.len() == 3 && outcomes[&2]["code"] == 1, "{outcomes:?}");
    }
}

#[test]
fn the_speed_of_a_run_that_goes_on_is_that_of_what_it_does_itself() {
    for ordered in [&[][..], &["--ordered"]] {
        let folder = Folder::new("speed");
        let (out, state) = (folder.text("out"), folder.text("state"));
        let more = ["--exec", "test x !=", "--out", &out, "--state", &state];
        let more = [&more[..], ordered].concat();
        let tasks = "a\nx\n".repeat(100);
        assert_eq!(run(&mut run_of(&folder, &tasks, &more)).code, Some(1));
        // One more task, and in no order those that failed.
        let Ended { err, .. } = run(&mut run_of(&folder, tasks + "b\n", &more));
        let (counts, speed) = err.trim().split_once("; ").expect("a summary");
        let did = if ordered.is_empty() { 101.0 } else { 1.0 };
        assert!(counts.starts_with("1 done, 100 failed, "), "{err}");
        let numbers = speed.split_once(" s, ").and_then(|(seconds, rate)| {
            let rate = rate.strip_suffix("/s")?.replace(',', "");
            Some((seconds.parse::<f64>().ok()?, rate.parse::<f64>().ok()?))
        });
        let (seconds, rate) = numbers.unwrap_or_else(|| panic!("{err}"));
        // Both are rounded.
        assert!(rate * (seconds - 0.01) <= did * 1.1 + 1.0, "{did}: {err}");
        assert!(rate * (seconds + 0.01) >= did * 0.9 - 1.0, "{did}: {err}");
    }
}

#[test]
fn a_state_goes_on_with_its_own_tasks_alone() {
    let folder = Folder::new("own");
    let (out, state) = (folder.text("out"), folder.text("state"));
    let more = ["--exec", "echo", "--out", &out, "--state", &state];
    assert_eq!(run(&mut run_of(&folder, "a\nb\n", &more)).code, Some(0));
    let before = folder
        .content()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tasks"))
        .collect::<Vec<_>>();
    for tasks in ["a\nB\n", "a\n", "", "a\nbc\n", "ab\n\n", "B\nb\nc\n"] {
        let Ended { code, err, .. } = run(&mut run_of(&folder, tasks, &more));
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{tasks:?}: {err}");
        assert!(err.contains("the tasks are others than those"), "{err}");
        assert!(!err.contains("goes on from here"), "it does not: {err}");
    }
    let other = folder.text("other");
    for (wrong, why) in [
        (vec!["--exec", "echo", "--out", &other, "--state", &state], "it goes with --out"),
        ([&more[..], &["--ordered"]].concat(), "it was begun without --ordered"),
        ([&more[..], &["--json"]].concat(), "it is of lines, not of JSON values"),
    ] {
        let Ended { code, err, .. } = run(&mut run_of(&folder, "a\nb\n", &wrong));
        assert!(code == Some(2) && err.contains(why), "{err}");
    }
    let ranged = run(chargehand().args(["run", "--range", "1..=2"]).args(more));
    assert!(
        ranged.code == Some(2) && ranged.err.contains("it is of lines, not of the range"),
        "{}",
        ranged.err
    );
    let after = folder
        .content()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tasks"))
        .collect::<Vec<_>>();
    assert_eq!(before, after, "nothing was changed");
    // More of them at the end are welcome: a log that has grown.
    let Ended { code, err, .. } = run(&mut run_of(&folder, "a\nb\nc\n", &more));
    assert!(code == Some(0) && err.contains("1 done, 0 failed, 2 before"), "{err}");
    assert_eq!(results(&outcomes(&read(&folder, "out"))), ["a", "b", "c"]);
    fs::write(folder.path("state"), "something else").expect("writable");
    let Ended { code, err, .. } = run(&mut run_of(&folder, "a\n", &more));
    assert!(code == Some(2) && err.contains("it is no state of a run"), "{err}");
}

#[test]
fn one_run_at_a_time_has_a_state() {
    let folder = Folder::new("locked");
    let (out, state) = (folder.text("out"), folder.text("state"));
    let more = ["--exec", "sleep", "--out", &out, "--state", &state];
    let first = Running::start(&mut run_of(&folder, "300\n", &more));
    until("there is a state", || folder.path("state").exists());
    let Ended { code, err, .. } = run(&mut run_of(&folder, "300\n", &more));
    assert!(code == Some(2) && err.contains("another manager uses it now"), "{err}");
    for _ in 0..2 {
        send(Signal::INT, &first.child);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(first.finish().code, Some(130));
}

#[test]
fn a_run_goes_on_after_its_output_could_not_be_written() {
    let folder = Folder::new("full");
    let (out, state) = (folder.text("out"), folder.text("state"));
    // Longer than any buffer, so that each is written in part as the file reaches its limit.
    let script = "head -c 200000 /dev/zero | tr '\\0' x";
    let more = ["run", "--range", "1..=5", "--local", "1", "--shell", "--exec", script];
    let kept = ["--out", &out, "--state", &state];
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 1000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_chargehand")]);
    command.args(more).args(kept);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ended { code, err, .. } = run(&mut command);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("the same command goes on from here"), "{err}");
    let Ended { code, err, .. } = run(chargehand().args(more).args(kept));
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains(" 0 before"), "what was written is done: {err}");
    let outcomes = outcomes(&read(&folder, "out"));
    assert!(outcomes.keys().copied().eq(1..=5));
    assert!(results(&outcomes).iter().all(|result| result.len() == 200_000));
}

#[test]
fn a_run_that_is_refused_changes_no_output_that_it_would_go_on_with() {
    let folder = Folder::new("refused-resume");
    let (out, state) = (folder.text("out"), folder.text("state"));
    let kept = ["--out", &out, "--state", &state];
    let more = [&["--exec", "test x !="], &kept[..]].concat();
    assert_eq!(run(&mut run_of(&folder, "a\nx\n", &more)).code, Some(1));
    // The last line is that of a task which failed: the next run cuts it off.
    let before = read(&folder, "out");
    assert_eq!(outcomes(&before).len(), 2);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut refused = vec![
        run_of(&folder, "a\nx\n", &[&["--exec", "echo '"], &kept[..]].concat()),
        run_of(&folder, "a\nx\n", &[&more[..], &["--status", &address]].concat()),
        chargehand(),
    ];
    refused[2].args(["run", "--tasks", "/no/such"]).args(&more);
    for command in &mut refused {
        let Ended { code, err, .. } = run(command);
        assert_eq!(code, Some(2), "{err}");
        assert_eq!(read(&folder, "out"), before, "{err}");
    }
    let Ended { code, err, .. } = run(&mut run_of(&folder, "b\nx\n", &more));
    assert!(code == Some(2) && err.contains("the tasks are others than those"), "{err}");
    assert_eq!(read(&folder, "out"), before, "{err}");
    let more = [&["--exec", "echo"], &kept[..]].concat();
    assert_eq!(run(&mut run_of(&folder, "a\nx\n", &more)).code, Some(0));
    assert_eq!(results(&outcomes(&read(&folder, "out"))), ["", "x"]);
}
