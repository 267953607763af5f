//! What comes in and what goes out.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::support::{
    Ended, Folder, Guard, Running, all_done, chargehand, listening_worker, numbered, outcomes,
    results, run, run_of, wait,
};

#[test]
fn outcomes_come_in_order_where_that_is_asked_for() {
    let folder = Folder::new("ordered");
    let tasks = (0..40).map(|n| if n % 8 == 0 { "0.3\n" } else { "0\n" }).collect::<String>();
    let more = ["--exec", "sleep {}", "--local", "4"];
    let ended = run(&mut run_of(&folder, &tasks, &more));
    all_done(&ended, 40);
    let order = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split(['n', ',']).nth(2).unwrap_or_default().to_owned())
            .collect()
    };
    let ordered = run(run_of(&folder, &tasks, &more).arg("--ordered"));
    all_done(&ordered, 40);
    assert_ne!(order(&ended.out), order(&ordered.out), "nothing was out of order");
    let numbers: Vec<_> = (1..=40).map(|n| format!("\":{n}")).collect();
    assert_eq!(order(&ordered.out), numbers);
}

#[test]
fn a_range_is_of_its_numbers() {
    let ended =
        run(chargehand().args(["run", "--range", "5..=1_004", "--exec", "echo n{}", "--quiet"]));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let outcomes = outcomes(&ended.out);
    assert!(outcomes.keys().copied().eq(5..=1004));
    assert!(outcomes.iter().all(|(n, line)| line["result"] == format!("n{n}").as_str()));
}

#[test]
fn a_range_may_end_with_the_last_number_and_no_later() {
    let last = format!("{}..={}", u64::MAX - 1, u64::MAX);
    let ended = run(chargehand().args(["run", "--range", &last, "--exec", "echo", "--ordered"]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(outcomes(&ended.out).keys().copied().eq([u64::MAX - 1, u64::MAX]), "{}", ended.out);
    for (wrong, why) in [("0..=18446744073709551616", "not a number"), ("2..=1", "empty")] {
        let ended = run(chargehand().args(["run", "--range", wrong, "--exec", "echo"]));
        assert!(ended.code == Some(2) && ended.err.contains(why), "{}", ended.err);
    }
    let all = format!("0..={}", u64::MAX);
    let ended = run(chargehand().args(["run", "--range", &all, "--exec", "false", "--fail-fast"]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
}

#[test]
fn an_output_on_a_full_disk_ends_the_run_with_its_own_code() {
    let tasks = ["run", "--range", "1..=50", "--exec", "echo"];
    let ended = run(chargehand().args(tasks).args(["--out", "/dev/full"]));
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(
        ended.err.contains("--out /dev/full") && ended.err.contains("No space"),
        "{}",
        ended.err
    );
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn tasks_may_be_json_values() {
    let folder = Folder::new("values");
    let values = "{\"a\": 1.0,\n \"b\": [12345678901234567890]}\n\"text\" null 7\n";
    let ended = run(&mut run_of(&folder, values, &["--json", "--exec", "printf %s"]));
    let outcomes = all_done(&ended, 4);
    assert_eq!(outcomes[&2]["result"], "text");
    assert!(outcomes[&3]["result"].is_null() && outcomes[&4]["task"] == 7);
    let whole = r#""task":{"a": 1.0,  "b": [12345678901234567890]},"result":{"a": 1.0,  "b": [12345678901234567890]}"#;
    assert!(ended.out.contains(whole), "{}", ended.out);
    // Those before one that is wrong are done.
    let Ended { code, out, err } =
        run(&mut run_of(&folder, "1 2 }", &["--json", "--exec", "echo"]));
    assert_eq!((code, outcomes_of(&out)), (Some(2), 2), "{err}");
    assert!(err.contains("--tasks: value 3:") && err.contains("2 done"), "{err}");
}

fn outcomes_of(text: &str) -> usize {
    outcomes(text).len()
}

#[test]
fn no_task_is_no_failure_and_the_last_line_needs_no_end() {
    let folder = Folder::new("ends");
    for (tasks, count) in [("", 0), ("a", 1), ("a\n", 1), ("a\n\n", 2)] {
        let ended = run(&mut run_of(&folder, tasks, &["--exec", "echo"]));
        assert_eq!(all_done(&ended, count).len() as u64, count);
    }
    let Ended { code, err, .. } =
        run(chargehand().args(["run", "--tasks", "/no/such", "--exec", "echo"]));
    assert_eq!(code, Some(2));
    assert!(err.starts_with("error: --tasks /no/such: No such file"), "{err}");
}

#[test]
fn a_task_is_done_as_soon_as_it_is_there() {
    let mut command = chargehand();
    command.args(["run", "--tasks", "-", "--exec", "echo got-{}"]).stdin(Stdio::piped());
    let mut child = Guard(command.spawn().expect("it is built"));
    let (mut tasks, mut out) =
        (child.0.stdin.take().expect("piped"), child.0.stdout.take().expect("piped"));
    for n in 1..=3 {
        writeln!(tasks, "{n}").expect("it reads");
        let expected = format!("{{\"v\":1,\"n\":{n},\"task\":\"{n}\",\"result\":\"got-{n}\"}}\n");
        let mut line = vec![0; expected.len()];
        out.read_exact(&mut line).expect("its outcome");
        assert_eq!(String::from_utf8(line).expect("text"), expected);
    }
    drop(tasks);
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_file_that_is_there_is_overwritten_only_when_told_so() {
    let folder = Folder::new("there");
    let (out, path) = (folder.text("out"), folder.path("out"));
    fs::write(&path, "of great value\n").expect("writable");
    let more = ["--exec", "echo", "--out", &out];
    for state in [&[][..], &["--state", &folder.text("state")]] {
        let Ended { code, err, .. } = run(run_of(&folder, "a\n", &more).args(state));
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("it is there already") && err.contains("--force"), "{err}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "of great value\n");
    }
    let ended = run(run_of(&folder, "a\n", &more).arg("--force"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{}", ended.err);
    assert_eq!(results(&outcomes(&fs::read_to_string(&path).expect("the output"))), ["a"]);
}

#[test]
fn nothing_is_overwritten_by_a_run_that_is_refused() {
    let folder = Folder::new("force-refused");
    let (out, path) = (folder.text("out"), folder.path("out"));
    fs::write(&path, "of great value\n").expect("writable");
    let forced = ["--out", &out, "--force"];
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut refused = vec![
        run_of(&folder, "a\n", &["--exec", "echo '"]),
        run_of(&folder, "a\n", &["--exec", "echo", "--status", &address]),
        chargehand(),
        chargehand(),
        chargehand(),
    ];
    refused[2].args(["run", "--tasks", "/no/such", "--exec", "echo"]);
    refused[3].args(["run", "--tasks", &out, "--exec", "echo"]);
    let tasks = fs::File::open(&path).expect("it is there");
    refused[4].args(["run", "--tasks", "-", "--exec", "echo"]).stdin(tasks);
    for command in &mut refused {
        let Ended { code, err, .. } = run(command.args(forced));
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{err}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "of great value\n", "{err}");
    }
    // A run of nothing is one all the same.
    let Ended { code, err, .. } = run(run_of(&folder, "", &["--exec", "echo"]).args(forced));
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "");
}

#[test]
fn a_value_that_does_not_end_is_refused_once_it_is_too_long() {
    let mut command = chargehand();
    command.args(["run", "--tasks", "-", "--json", "--exec", "echo"]).stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    let mut tasks = running.child.0.stdin.take().expect("piped");
    // Whatever is before a value is none of it.
    let mut written =
        tasks.write_all(&vec![b' '; 16 << 20]).and_then(|()| tasks.write_all(b"1 \""));
    for _ in 0..40 {
        written = written.and_then(|()| tasks.write_all(&vec![b'x'; 1 << 20]));
    }
    assert!(written.is_err(), "all of it was read");
    drop(tasks);
    let Ended { code, out, err } = running.finish();
    assert_eq!((code, outcomes_of(&out)), (Some(2), 1), "{err}");
    assert!(err.contains("--tasks: value 2 has more than 15 MiB"), "{err}");
    assert!(err.contains("write it to a file, and have the task name that"), "{err}");
}

#[test]
fn names_that_somebody_else_took_in_the_temporary_folder_are_no_obstacle() {
    let folder = Folder::new("taken");
    let out = folder.text("out");
    let mut command = Command::new("sh");
    command.args(["-c", ": > \"$TMPDIR/chargehand-$$.failed\"; exec \"$@\"", "sh"]);
    command.args([env!("CARGO_BIN_EXE_chargehand"), "run", "--range", "1..=1", "--exec", "echo"]);
    command.args(["--out", &out]).env("TMPDIR", folder.text("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ended { code, err, .. } = run(&mut command);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(results(&outcomes(&fs::read_to_string(&out).expect("the output"))), ["1"]);
}

#[test]
fn whoever_stops_reading_ends_the_run_with_one_line() {
    let folder = Folder::new("unread");
    let endless = ["--exec", "sleep 0.05", "--shell", "--local", "2"];
    let tasks = "x\n".repeat(10_000);
    // A reader that has enough after a line.
    let mut command = run_of(&folder, &tasks, &endless);
    let mut child = Guard(command.spawn().expect("it is built"));
    let mut out = child.0.stdout.take().expect("piped");
    out.read_exact(&mut [0; 10]).expect("a line");
    drop(out);
    let code = wait(&mut child).code();
    let mut err = String::new();
    child.0.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    assert_eq!(code, Some(3), "{err}");
    assert!(err.starts_with("error: standard output cannot be written: Broken pipe"), "{err}");
    // A full disk under either, and a log that nobody reads.
    let full = || fs::File::options().write(true).open("/dev/full").expect("a device");
    let mut child =
        Guard(run_of(&folder, &tasks, &endless).stdout(full()).spawn().expect("it is built"));
    assert_eq!(wait(&mut child).code(), Some(3));
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut command = chargehand();
    command.args(["run", "--range", "1..=3", "--exec", "sleep 0.1", "--shell"]).stderr(writer);
    let mut child = Guard(command.spawn().expect("it is built"));
    assert_eq!(wait(&mut child).code(), Some(3), "it has a summary to say");
    let Ended { code, err, .. } =
        run(&mut run_of(&folder, "a\nb\n", &["--exec", "echo", "--out", "/dev/full"]));
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("error: --out /dev/full: it cannot be written: No space"), "{err}");
}

#[test]
fn a_first_failure_may_end_it() {
    let folder = Folder::new("fail-fast");
    let tasks = numbered(200);
    let script = "[ $1 -ne 3 ] && sleep 0.05";
    let more = ["--shell", "--exec", script, "--fail-fast", "--local", "1"];
    let Ended { code, out, err } = run(&mut run_of(&folder, tasks, &more));
    assert_eq!(code, Some(1), "{err}");
    assert!(outcomes_of(&out) < 100, "{out}");
    assert!(err.contains("task 3 has failed"), "{err}");
}

#[test]
fn the_summary_may_be_json() {
    let folder = Folder::new("summary");
    let ended = run(&mut run_of(&folder, "0\n1\n", &["--exec", "test 0 -eq", "--output", "json"]));
    let summary: serde_json::Value = serde_json::from_str(ended.err.trim()).expect("JSON");
    assert_eq!(
        (&summary["done"], &summary["failed"], &summary["v"]),
        (&1.into(), &1.into(), &1.into())
    );
}

#[test]
fn progress_is_drawn_on_no_pipe() {
    let mut command = chargehand();
    command.args(["run", "--range", "1..=20", "--exec", "sleep 0.02", "--shell", "--local", "2"]);
    let ended = Running::start(&mut command).finish();
    assert_eq!((ended.code, ended.err.lines().count()), (Some(0), 1), "{}", ended.err);
    assert!(ended.err.contains("20 done, 0 failed"), "{}", ended.err);
}

#[test]
fn progress_is_drawn_in_place_on_a_terminal_and_leaves_nothing_behind() {
    let folder = Folder::new("terminal");
    let ended = run(&mut on_a_terminal(&[
        "run",
        "--range",
        "1..=40",
        "--local",
        "2",
        "--shell",
        "--exec",
        "sleep 0.05",
        "--out",
        &folder.text("out"),
    ]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("of 40, ") && ended.out.contains("[#"), "{:?}", ended.out);
    let (drawn, last) = ended.out.rsplit_once("\u{1b}[J").expect("it was erased");
    assert!(drawn.contains("left"), "{drawn:?}");
    assert!(last.contains("40 done, 0 failed") && !last.contains("[#"), "{last:?}");
}

/// The command with its outputs on a terminal, whatever that gets on standard output.
fn on_a_terminal(arguments: &[&str]) -> Command {
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_chargehand")]).args(arguments);
    command.env("TERM", "xterm");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn without_a_worker_it_waits_for_one_and_says_once_why_none_is_there() {
    let folder = Folder::new("waits");
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = format!("tcp://{}", door.local_addr().expect("bound"));
    drop(door);
    let path = folder.text("out");
    let mut command = on_a_terminal(&["run", "--range", "1..=40", "--worker", &at, "--out", &path]);
    let mut child = Guard(command.spawn().expect("python is there"));
    let mut out = child.0.stdout.take().expect("piped");
    let (mut shown, mut bytes) = (String::new(), [0; 4096]);
    let waits = "0 of 40, waits for a worker, 0 workers up elsewhere";
    while !shown.contains(waits) {
        let count = out.read(&mut bytes).expect("readable");
        assert!(count > 0, "{shown:?}");
        shown += &String::from_utf8_lossy(&bytes[..count]);
    }
    let _worker = listening_worker(&at, &["--exec", "echo"]);
    out.read_to_string(&mut shown).expect("text");
    assert_eq!(wait(&mut child).code(), Some(0), "{shown:?}");
    let frames: Vec<_> = shown.split(['\r', '\n']).collect();
    let is_idle = |frame: &&&str| frame.contains("/s") && frame.contains(" 0 workers");
    assert_eq!(frames.iter().filter(is_idle).count(), 0, "{frames:#?}");
    let refused: Vec<_> = frames.iter().filter(|frame| frame.contains("keeps trying")).collect();
    let [refused] = refused[..] else { panic!("{frames:#?}") };
    assert_eq!(refused.matches("cannot connect").count(), 1, "{refused}");
}
