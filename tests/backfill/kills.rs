//! Managers that are killed at any moment, and one that has no file descriptor left.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::state::Saved;
use super::support::{
    Ended, Folder, Guard, PATIENCE, Running, backfill, each_height_once, run, send, start_worker,
};

/// Numbers that look random: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

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
        thread::sleep(Duration::from_millis(random.below(if round % 5 == 0 { 1500 } else { 150 })));
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

/// How many files a manager may have open: few more than it has without links.
const FILES_MAX: usize = 32;

#[test]
fn a_manager_whose_links_have_every_file_descriptor_saves_its_state_all_the_same() {
    let folder = Folder::new("descriptors");
    let chain = folder.text("chain");
    let (first, _) = start_worker("tcp", &["--chain", &chain]);
    drop(first);
    let (state, out) = (folder.path("state"), folder.text("out"));
    let mut shell = Command::new("sh");
    let program = backfill().get_program().to_owned();
    shell.args(["-c", &format!("ulimit -n {FILES_MAX}; exec \"$0\" \"$@\"")]).arg(program);
    shell.args(["--listen", "tcp://127.0.0.1:0", "--range", "1..=100000", "--out", &out]);
    shell.arg("--state").arg(&state);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut manager = Running::start(&mut shell);
    let line = manager.wait_for("listening on ");
    let door = line.split(' ').find(|word| word.starts_with("tcp://")).expect("an address");
    // More than there is room for: those outside take whatever place becomes free.
    let workers: Vec<_> = (0..FILES_MAX)
        .map(|_| {
            let mut worker = backfill();
            worker.args(["worker", "--dial", door, "--chain", &chain, "--concurrency", "1"]);
            worker.args(["--delay", "50"]).stdout(Stdio::null()).stderr(Stdio::null());
            Guard(worker.spawn().expect("it is built"))
        })
        .collect();
    let open = || {
        let files = fs::read_dir(format!("/proc/{}/fd", manager.child.0.id())).expect("it runs");
        files.count()
    };
    let (begun, mut full, mut last) = (Instant::now(), 0, 0);
    // Some seconds without a descriptor, in which the state goes on.
    while full < 4 {
        assert!(begun.elapsed() < PATIENCE, "{full} saves, {} files", open());
        assert!(open() > 0, "it has ended");
        thread::sleep(Duration::from_millis(400));
        let count = Saved::read(&state).map_or(0, |saved| saved.count());
        let is_full = (0..20).all(|_| open() >= FILES_MAX);
        full = if is_full { full + u32::from(count > last) } else { 0 };
        last = count;
    }
    send(Signal::INT, &manager.child);
    let Ended { code, err, .. } = manager.finish();
    assert_eq!(code, Some(130), "{err}");
    drop(workers);
    let count = Saved::read(&state).expect("a state").count();
    assert!(err.contains(&format!("interrupted: {count} of 100000 done")), "{count}: {err}");
    let lines = fs::read_to_string(&out).expect("the output").lines().count();
    assert_eq!(lines as u64, count);
}
