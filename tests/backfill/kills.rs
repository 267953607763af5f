//! Managers that are killed at any moment, and one that has no file descriptor left.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::state::{Saved, wait_for_more};
use super::support::{
    Ended, Folder, Guard, Random, Running, backfill, each_height_once, run, send, start_worker,
};

#[test]
fn managers_that_are_killed_at_any_moment_lose_nothing_and_do_nothing_twice() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let seed = u64::try_from(seed % u128::from(u64::MAX)).expect("it is below");
    println!("seed {seed}");
    let mut random = Random(seed);
    let folder = Folder::new("any-moment");
    let slow = ["--chain", &folder.text("chain"), "--concurrency", "16", "--delay", "8"];
    // Those that dial out are served by one, and those that are dialled by the other.
    let (_worker, worker) = start_worker("tcp", &slow);
    let (state, out) = (folder.path("state"), folder.text("out"));
    let command = || {
        let mut command = backfill();
        command.args(["--worker", &worker, "--range", "1..=20000", "--out", &out]);
        command.arg("--state").arg(&state);
        command
    };
    let (mut killed, mut grown, mut count) = (0, 0, 0);
    for round in 0..25 {
        let manager = Running::start(&mut command());
        // From before its first save to after its second one.
        thread::sleep(Duration::from_millis(random.below(if round % 5 == 0 { 3000 } else { 150 })));
        send(Signal::KILL, &manager.child);
        let Ended { code, out, err } = manager.finish();
        assert_eq!(code, None, "seed {seed}: it ended before it was killed: {out}{err}");
        killed += 1;
        // There is a whole state at any time, and it only grows.
        let now = Saved::read(&state).map_or(0, |saved| saved.count());
        assert!(now >= count, "seed {seed}: {now} after {count}");
        grown += u32::from(now > count);
        count = now;
    }
    assert!(killed == 25 && grown > 0 && count < 20_000, "seed {seed}: {grown}, {count}");
    let Ended { code, out, err } = run(&mut command());
    assert_eq!(code, Some(0), "seed {seed}: {out}{err}");
    assert!(out.contains("heights 20,000: done 20,000, failed 0, lost 0, doubled 0"), "{out}");
    assert!(out.contains("links 19,999 of 19,999 good"), "seed {seed}: {out}");
    each_height_once(&folder.path("out"), 1..=20_000);
    assert_eq!(folder.names(), ["chain", "out", "state"]);
}

/// Returns the numbers of the files that a process has open.
fn files(process: &Guard) -> BTreeSet<u64> {
    let folder = format!("/proc/{}/fd", process.0.id());
    let numbers = fs::read_dir(folder).expect("it runs").map(|entry| entry.expect("readable"));
    numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Lets a process open only files with a number below this.
fn limit_files(process: &Guard, below: u64) {
    let id = i32::try_from(process.0.id()).ok().and_then(Pid::from_raw);
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(below), maximum: before.maximum };
    prlimit(id, Resource::Nofile, limit).expect("a child of ours");
}

#[test]
fn a_manager_that_has_no_file_descriptor_left_saves_its_state_all_the_same() {
    let folder = Folder::new("descriptors");
    let slow = ["--chain", &folder.text("chain"), "--concurrency", "8", "--delay", "4"];
    let (_worker, worker) = start_worker("tcp", &slow);
    let (state, out) = (folder.path("state"), folder.text("out"));
    let mut command = backfill();
    command.args(["--worker", &worker, "--range", "1..=100000", "--out", &out, "--state"]);
    let mut manager = Running::start(command.arg(&state));
    manager.wait_for(": connected");
    wait_for_more(&state, 0);
    let count = || Saved::read(&state).expect("a state").count();
    // Whatever it opens from now on would have the first free number, or one above: as if links had
    // taken all of them.
    let first_free = || {
        let files = files(&manager.child);
        (0..1024).find(|number| !files.contains(number)).expect("there are enough numbers")
    };
    let free = (0..20).map(|_| first_free()).min().expect("some");
    limit_files(&manager.child, free);
    for _ in 0..3 {
        wait_for_more(&state, count());
    }
    // Not even what it keeps for that is of use now. It waits, and does not end.
    limit_files(&manager.child, 3);
    thread::sleep(Duration::from_millis(500));
    let stuck = count();
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(count(), stuck);
    limit_files(&manager.child, 512);
    wait_for_more(&state, stuck);
    send(Signal::INT, &manager.child);
    let Ended { code, err, .. } = manager.finish();
    assert_eq!(code, Some(130), "{err}");
    let count = count();
    assert!(err.contains(&format!("interrupted: {count} of 100000 done")), "{count}: {err}");
    let lines = fs::read_to_string(&out).expect("the output").lines().count();
    assert_eq!(lines as u64, count);
}
