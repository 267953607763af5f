//! `chargehand worker`: tasks on other machines, as far as loopback goes.

use std::fs;

use chargehand::testing::{Script, World};
use rustix::process::Signal;

use super::support::{
    Ended, Folder, Running, address_of, all_done, chargehand, dialling_worker, error, is_alive,
    listening_worker, numbered, numbers, outcomes, repository, results, run, run_of, send, until,
    wait,
};

#[test]
fn a_worker_is_dialled_on_every_transport() {
    let folder = Folder::new("dialled");
    let socket = format!("unix://{}", folder.text("socket"));
    for address in ["tcp://127.0.0.1:0", "ws://127.0.0.1:0", &socket] {
        let (mut worker, address) = listening_worker(address, &["--exec", "echo w-{}"]);
        let ended = run(&mut run_of(&folder, "a\nb\n", &["--worker", &address]));
        assert_eq!(results(&all_done(&ended, 2)), ["w-a", "w-b"]);
        send(Signal::TERM, &worker);
        assert_eq!(wait(&mut worker).code(), Some(0));
    }
}

#[test]
fn workers_dial_in_beside_local_ones() {
    let folder = Folder::new("dial-in");
    let script = "sleep 0.02; echo local";
    let tasks = "x\n".repeat(300);
    let more = ["--listen", "tcp://127.0.0.1:0", "--shell", "--exec", script, "--local", "1"];
    let mut running = Running::start(&mut run_of(&folder, &tasks, &more));
    let address = address_of(&mut running);
    let serve = format!("sh {}", repository("examples/exec/worker.sh"));
    let _exec = dialling_worker(&address, &["--exec", "echo remote", "--concurrency", "1"]);
    let _serve = dialling_worker(&address, &["--serve", &serve, "--concurrency", "4"]);
    let outcomes = all_done(&running.finish(), 300);
    for result in ["local", "remote x", "hello, x"] {
        assert!(results(&outcomes).contains(&result), "nobody did it: {result}");
    }
}

#[test]
fn a_worker_gets_only_tasks_of_the_queues_that_it_names() {
    let folder = Folder::new("queues");
    let tasks = "x\n".repeat(20);
    let mut running =
        Running::start(&mut run_of(&folder, &tasks, &["--listen", "tcp://127.0.0.1:0"]));
    let address = address_of(&mut running);
    let _other = dialling_worker(&address, &["--exec", "echo gpu", "--queues", "gpu"]);
    let one = ["--exec", "echo default", "--queues", "gpu,default", "--rate", "50"];
    let _one = dialling_worker(&address, &one);
    let ended = running.finish();
    let outcomes = all_done(&ended, 20);
    assert!(results(&outcomes).iter().all(|result| *result == "default x"));
}

#[test]
fn a_worker_that_is_killed_loses_no_task() {
    let folder = Folder::new("killed-worker");
    let log = folder.path("log");
    let script = format!("echo $1 >> {}; sleep 0.1", log.display());
    let worker = ["--shell", "--exec", &script, "--concurrency", "4"];
    let tasks = numbered(60);
    let mut running =
        Running::start(&mut run_of(&folder, &tasks, &["--listen", "tcp://127.0.0.1:0"]));
    let address = address_of(&mut running);
    let first = dialling_worker(&address, &worker);
    until("it is at work", || numbers(&log).len() > 10);
    send(Signal::KILL, &first);
    let _second = dialling_worker(&address, &worker);
    all_done(&running.finish(), 60);
}

#[test]
fn a_task_that_kills_its_workers_fails_and_the_others_do_not() {
    let folder = Folder::new("poison");
    let worker = ["--shell", "--exec", "[ $1 != poison ] || kill -9 $PPID", "--concurrency", "1"];
    let more = ["--listen", "tcp://127.0.0.1:0", "--attempts", "2"];
    let mut running = Running::start(&mut run_of(&folder, "1\n2\npoison\n4\n5\n", &more));
    let address = address_of(&mut running);
    let _workers: Vec<_> = (0..3).map(|_| dialling_worker(&address, &worker)).collect();
    let ended = running.finish();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let mut outcomes = outcomes(&ended.out);
    let poison = outcomes.remove(&3).expect("its outcome");
    assert_eq!(poison["kind"], "exhausted", "{poison}");
    assert!(error(&poison).contains("2 times"), "{poison}");
    assert_eq!(results(&outcomes), [""; 4]);
}

#[test]
fn what_a_run_has_left_behind_is_killed_at_its_workers() {
    let folder = Folder::new("orphans");
    let ids = folder.path("ids");
    let script = format!("sleep 300 & echo $! >> {}; wait", ids.display());
    let (_worker, address) = listening_worker("tcp://127.0.0.1:0", &["--shell", "--exec", &script]);
    let running = Running::start(&mut run_of(&folder, "a\n", &["--worker", &address]));
    until("it has begun", || numbers(&ids).len() == 1);
    send(Signal::KILL, &running.child);
    until("it is killed", || !is_alive(numbers(&ids)[0]));
}

#[test]
fn a_run_that_stops_lets_workers_end_what_they_hold() {
    let folder = Folder::new("remote-drain");
    let log = folder.path("log");
    let script = format!("echo $1 >> {}; sleep 2; echo ok", log.display());
    let worker = ["--shell", "--exec", &script, "--concurrency", "2"];
    let (_worker, address) = listening_worker("tcp://127.0.0.1:0", &worker);
    let tasks = "1\n2\n3\n4\n5\n6\n7\n8\n";
    let running = Running::start(&mut run_of(&folder, tasks, &["--worker", &address]));
    until("two have begun", || numbers(&log).len() == 2);
    send(Signal::INT, &running.child);
    let Ended { code, out, err } = running.finish();
    assert_eq!(code, Some(130), "{err}");
    assert_eq!((results(&outcomes(&out)), numbers(&log).len()), (vec!["ok"; 2], 2), "{err}");
}

#[test]
fn nothing_leaves_the_machine_unprotected_unless_told_so() {
    for arguments in [
        &["run", "--range", "1..=2", "--listen", "tcp://0.0.0.0:0"][..],
        &["run", "--range", "1..=2", "--worker", "ws://192.0.2.1:9000"],
        &["worker", "--exec", "echo", "--listen", "tcp://0.0.0.0:0"],
        &["worker", "--exec", "echo", "--connect", "tcp://192.0.2.1:9000"],
    ] {
        let Ended { code, err, .. } = run(chargehand().args(arguments));
        let last = err.lines().last().unwrap_or_default();
        assert_eq!(code, Some(2), "{err}");
        assert!(
            last.contains("nothing protects its links") && last.contains("--tls JOINFILE"),
            "{err}"
        );
    }
    let Ended { code, err, .. } =
        run(chargehand().args(["run", "--range", "1..=2", "--listen", "tls://127.0.0.1:0"]));
    assert!(code == Some(2) && err.contains("need --tls JOINFILE"), "{err}");
    let Ended { code, err, .. } = run(chargehand().args(["worker", "--exec", "echo"]));
    assert!(code == Some(2) && err.contains("--connect ADDR or --listen ADDR"), "{err}");
}

#[test]
fn a_record_is_played_under_other_policies_and_called_an_estimate() {
    let folder = Folder::new("what-if");
    let record = folder.text("record");
    let ended = run(&mut run_of(&folder, "a\nb\nc\n", &["--exec", "false", "--record", &record]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let with = ["replay", &record, "--with", "retries_max=3", "--with", "retry_delay=100ms"];
    let played = run(chargehand().args(with));
    assert_eq!(played.code, Some(0), "{}", played.err);
    for word in ["then", "played so", "attempts sent", "is an estimate, with retries_max=3"] {
        assert!(played.out.contains(word), "no \"{word}\": {}", played.out);
    }
    let json = run(chargehand().args(with).args(["--output", "json"]));
    let shown: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    let sent = ["observed", "unchanged", "changed"].map(|name| shown[name]["sent"].as_u64());
    assert_eq!(sent, [Some(3), Some(3), Some(12)], "three more times each: {shown}");
    assert_eq!((&shown["is_estimate"], &shown["changed"]["failed"]), (&true.into(), &3.into()));
    let test = run(chargehand().args(["replay", &record, "--test", "three_fail"]));
    assert_eq!(test.code, Some(0), "{}", test.err);
    assert!(
        test.out.contains("fn three_fail()") && test.out.contains("World::new(1)"),
        "{}",
        test.out
    );
    assert_eq!(run(chargehand().args(["replay", &record, "--test", "1; rm"])).code, Some(2));
    for (with, word) in
        [("retires_max=3", "retries_max"), ("window=wide", "auto"), ("x", "written")]
    {
        let refused = run(chargehand().args(["replay", &record, "--with", with]));
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{with}");
        assert!(refused.err.contains(word), "{}", refused.err);
    }
}

#[test]
fn a_record_that_goes_otherwise_is_told_from_one_that_does_not() {
    let folder = Folder::new("otherwise");
    let record = folder.text("record");
    let file = fs::File::create(&record).expect("writable");
    let world = World::new(1);
    world.worker(Script::new());
    let pool = world.pool(|builder| builder.record(file));
    world.run(pool.for_each::<u64>(1..=3, |_, _| {}));
    world.run(pool.stop()).expect("it runs");
    drop(world);
    assert_eq!(run(chargehand().args(["replay", &record, "-q"])).code, Some(0));
    let text = fs::read_to_string(&record).expect("it is there");
    fs::write(&record, text.replace("\"attempt\":1", "\"attempt\":2")).expect("writable");
    let ended = run(chargehand().args(["replay", &record, "-q"]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.out.contains("decides otherwise than then"), "{}", ended.out);
}

#[test]
fn a_record_is_bounded_and_a_run_goes_on_without_it_where_the_disk_is_full() {
    let folder = Folder::new("bounded");
    let record = folder.text("record");
    let mut small = run_of(&folder, "a\n", &["--exec", "echo", "--record", &record]);
    let small = run(small.args(["--record-max", "1M"]));
    assert!(small.code == Some(2) && small.err.contains("16M at least"), "{}", small.err);
    assert!(!folder.path("record").exists(), "nothing was begun");
    let run_limited = format!(
        "ulimit -f 2000; exec {} run --range 1..=3000 --exec true --record {record}",
        env!("CARGO_BIN_EXE_chargehand")
    );
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", &run_limited]).stdin(std::process::Stdio::null());
    limited.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let ended = run(&mut limited);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(outcomes(&ended.out).len(), 3000);
    assert!(ended.err.contains("the flight record ends here: File too large"), "{}", ended.err);
    let length = fs::metadata(&record).expect("it was begun").len();
    assert!(length <= 2000 * 512, "{length}");
    let replayed = run(chargehand().args(["replay", &record, "--quiet"]));
    assert_eq!(replayed.code, Some(0), "what there is can be replayed: {}", replayed.err);
    let again = run(chargehand()
        .args(["run", "--range", "1..=1", "--exec", "true"])
        .args(["--record", &record]));
    assert!(again.code == Some(2) && again.err.contains("File exists"), "{}", again.err);
}

#[test]
fn a_record_of_a_run_is_done_again() {
    let folder = Folder::new("record");
    let record = folder.text("record");
    let ended = run(&mut run_of(&folder, "a\nb\nc\n", &["--exec", "echo", "--record", &record]));
    all_done(&ended, 3);
    let replayed = run(chargehand().args(["replay", &record]));
    assert_eq!(replayed.code, Some(0), "{}", replayed.err);
    assert!(replayed.out.contains("all of it was done again, as it was"), "{}", replayed.out);
    assert!(replayed.out.lines().count() > 10, "{}", replayed.out);
    let quiet = run(chargehand().args(["replay", &record, "--quiet", "--output", "json"]));
    let shown: serde_json::Value = serde_json::from_str(&quiet.out).expect("JSON");
    assert!(shown["steps"].as_u64() > Some(6) && shown["differs"].is_null(), "{shown}");
    let steps = run(chargehand().args(["replay", &record, "--output", "json"]));
    let mut steps: Vec<serde_json::Value> =
        steps.out.lines().map(|line| serde_json::from_str(line).expect("JSON Lines")).collect();
    assert_eq!(steps.pop(), Some(shown), "the end comes last");
    let calls = steps.iter().map(|step| step["call"].as_u64().expect("a number"));
    assert!(calls.eq(1..=steps.len() as u64), "{steps:?}");
    assert!(steps.iter().any(|step| step["method"] == "submit_with"), "{steps:?}");
    fs::write(&record, "garbage\n").expect("writable");
    let garbage = run(chargehand().args(["replay", &record]));
    assert!(
        garbage.code == Some(2) && garbage.err.contains("no record of a pool"),
        "{}",
        garbage.err
    );
}
