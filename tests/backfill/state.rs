//! `--state FILE`: what a run leaves to the next one.

use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::support::{
    Ended, Folder, PATIENCE, Running, backfill, each_height_once, run, send, start_worker,
};

/// How long a block of the demo chain is in its file.
const RECORD: usize = 76;

/// What a state says, as far as the tests care.
pub(crate) struct Saved {
    done: Vec<RangeInclusive<u64>>,
    length: Option<u64>,
}

impl Saved {
    /// Nothing where there is no file. Whatever there is at any time is whole.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (_, json) = text.split_once('\n').expect("two lines");
        let json: Value = serde_json::from_str(json).expect("JSON");
        let spans = json["heights"]["spans"].as_array().expect("spans").iter();
        let done = spans.filter(|span| span["mark"] == "Done").map(|span| {
            span["first"].as_u64().expect("a height")..=span["last"].as_u64().expect("a height")
        });
        Some(Self { done: done.collect(), length: json["output"]["length"].as_u64() })
    }

    pub(crate) fn count(&self) -> u64 {
        self.done.iter().map(|span| span.end() - span.start() + 1).sum()
    }
}

/// Waits until a state says that more than `count` heights are done.
pub(crate) fn wait_for_more(path: &Path, count: u64) {
    let begun = Instant::now();
    while Saved::read(path).is_none_or(|saved| saved.count() <= count) {
        assert!(begun.elapsed() < PATIENCE, "the state stays where it was");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until an output is longer than its state says.
fn wait_for_lines_above(state: &Path, out: &Path) {
    let begun = Instant::now();
    let is_longer = || {
        let length = fs::metadata(out).expect("the output").len();
        Saved::read(state).is_some_and(|saved| saved.length < Some(length))
    };
    while !is_longer() {
        assert!(begun.elapsed() < PATIENCE, "the output stays where it was");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes blocks unreadable for every worker.
fn damage(chain: &Path, heights: &[RangeInclusive<u64>]) {
    let chain = fs::File::options().write(true).open(chain).expect("the chain");
    for span in heights {
        let count = usize::try_from(span.end() - span.start() + 1).expect("small");
        let zeros = vec![0; count * RECORD];
        chain.write_all_at(&zeros, (span.start() - 1) * RECORD as u64).expect("writable");
    }
}

fn grouped(number: u64) -> String {
    let text = number.to_string();
    match text.len() {
        0..=3 => text,
        length => format!("{},{}", &text[..length - 3], &text[length - 3..]),
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_writes_each_height_once() {
    let folder = Folder::new("killed-out");
    killed_again_and_again(&folder, true);
    let lines = each_height_once(&folder.path("out"), 1..=20_000);
    let lines: Vec<_> = lines.into_values().collect();
    assert!(lines.windows(2).all(|pair| pair[1]["parent"] == pair[0]["hash"]));
    assert_eq!(folder.names(), ["chain", "out", "state"]);
}

#[test]
fn a_run_without_output_that_is_killed_again_and_again_loses_nothing() {
    let folder = Folder::new("killed");
    killed_again_and_again(&folder, false);
    assert_eq!(folder.names(), ["chain", "state"]);
}

/// Kills a manager in the middle three times, and lets a fourth one end. No block that is done
/// according to the state can be read afterwards.
fn killed_again_and_again(folder: &Folder, with_out: bool) {
    let (chain, state) = (folder.path("chain"), folder.path("state"));
    let chain_text = folder.text("chain");
    // Ten seconds of work.
    let slow = ["--chain", &chain_text, "--concurrency", "8", "--delay", "4"];
    let (_slow, slow) = start_worker("tcp", &slow);
    let command = |worker: &str| {
        let mut command = backfill();
        command.args(["--worker", worker, "--range", "1..=20000", "--state"]).arg(&state);
        if with_out {
            command.arg("--out").arg(folder.path("out"));
        }
        command
    };
    let (mut count, mut unsaved) = (0, 0);
    for _ in 0..3 {
        let manager = Running::start(&mut command(&slow));
        wait_for_more(&state, count);
        if with_out {
            wait_for_lines_above(&state, &folder.path("out"));
        }
        send(Signal::KILL, &manager.child);
        let Ended { code, out, err } = manager.finish();
        assert_eq!(code, None, "it ended before it was killed: {out}{err}");
        let saved = Saved::read(&state).expect("a state");
        let length = fs::metadata(folder.path("out")).map(|out| out.len()).ok();
        assert_eq!(saved.length.is_some(), with_out);
        assert!(saved.length <= length, "{:?} bytes of {length:?} were saved", saved.length);
        unsaved += u32::from(saved.length < length);
        count = saved.count();
        assert!(count < 20_000);
        damage(&chain, &saved.done);
    }
    assert_eq!(unsaved > 0, with_out, "no kill left lines that the state does not know");
    let (_fast, fast) = start_worker("ws", &["--chain", &folder.text("chain")]);
    let Ended { code, out, err } = run(&mut command(&fast));
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("heights 20,000: done 20,000, failed 0, lost 0, doubled 0"), "{out}");
    let (before, now) = (grouped(count), grouped(20_000 - count));
    let parts = format!("of these, {before} were done before, and this run took {now}");
    assert!(out.contains(&parts), "{parts}: {out}");
    assert!(out.contains("links 19,999 of 19,999 good"), "{out}");
    assert!(out.contains("GOOD"), "{out}");
}

#[test]
fn a_demo_goes_on_after_an_interruption_and_a_kill_until_nothing_is_left_to_do() {
    let folder = Folder::new("demo");
    let state = folder.path("state");
    let demo = || {
        let mut command = backfill();
        command.arg("--state").arg(&state).arg("--out").arg(folder.path("out"));
        command
    };
    let interrupted = Running::start(&mut demo());
    wait_for_more(&state, 0);
    send(Signal::TERM, &interrupted.child);
    let Ended { code, err, .. } = interrupted.finish();
    assert_eq!(code, Some(130), "{err}");
    // Nothing that was done is lost in that case.
    let count = Saved::read(&state).expect("a state").count();
    assert!(err.contains(&format!("interrupted: {count} of 100000 done")), "{count}: {err}");
    assert!(err.contains("goes on from here"), "{err}");

    let killed = Running::start(&mut demo());
    wait_for_more(&state, count);
    send(Signal::KILL, &killed.child);
    assert_eq!(killed.finish().code, None);

    let Ended { code, out, err } = run(&mut demo());
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("heights 100,000: done 100,000, failed 0, lost 0, doubled 0"), "{out}");
    assert!(out.contains(" were done before, and this run took "), "{out}");
    assert!(out.contains("links 99,999 of 99,999 good"), "{out}");
    each_height_once(&folder.path("out"), 1..=100_000);

    let complete = folder.content();
    let Ended { code, out, err } = run(&mut demo());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("nothing is left to do"), "{out}");
    assert!(out.contains("links 99,999 of 99,999 good"), "{out}");
    assert!(out.contains("GOOD"), "{out}");
    assert!(folder.content() == complete, "it changed something");
}

#[test]
fn a_height_that_failed_is_tried_again_and_has_one_line_in_the_end() {
    let folder = Folder::new("failed");
    let (_worker, worker) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let chain = fs::read(folder.path("chain")).expect("the worker made it");
    damage(&folder.path("chain"), &[40..=41, 60..=60, 100..=100]);
    let command = || of_a_hundred(&folder, &worker);
    for before in [None, Some("of these, 96 were done before, and this run took 4")] {
        let Ended { code, out, .. } = run(&mut command());
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("heights 100: done 96, failed 4, lost 0, doubled 0"), "{out}");
        assert!(before.is_none_or(|before| out.contains(before)), "{out}");
        let lines = each_height_once(&folder.path("out"), 1..=100);
        let failed = lines.iter().filter(|(_, line)| line["error"].is_string());
        assert!(failed.map(|(&height, _)| height).eq([40, 41, 60, 100]));
    }
    fs::write(folder.path("chain"), chain).expect("writable");
    let Ended { code, out, .. } = run(&mut command());
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("heights 100: done 100, failed 0, lost 0, doubled 0"), "{out}");
    assert!(out.contains("links 99 of 99 good"), "{out}");
    let lines = each_height_once(&folder.path("out"), 1..=100);
    assert!(lines.values().all(|line| line["hash"].is_string()));
}

#[test]
fn a_link_that_is_broken_between_two_runs_is_seen() {
    let folder = Folder::new("links");
    let (_worker, worker) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let whole = fs::read(folder.path("chain")).expect("the worker made it");
    damage(&folder.path("chain"), &[50..=50]);
    assert_eq!(run(&mut of_a_hundred(&folder, &worker)).code, Some(1));
    // Block 50 of another chain: whole in itself, but nobody's child.
    let mut other = whole.clone();
    let block = &mut other[49 * RECORD..50 * RECORD];
    block[12] ^= 1;
    let hash: [u8; 32] = Sha256::digest(&block[..44]).into();
    block[44..].copy_from_slice(&hash);
    fs::write(folder.path("chain"), other).expect("writable");
    let Ended { code, out, .. } = run(&mut of_a_hundred(&folder, &worker));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("done 100, failed 0"), "{out}");
    assert!(out.contains("links 97 of 99 good"), "{out}");
    // That is so for good.
    let Ended { code, out, .. } = run(&mut of_a_hundred(&folder, &worker));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("nothing is left to do") && out.contains("BAD"), "{out}");
}

#[test]
fn a_state_that_is_damaged_or_foreign_is_refused_and_stays_as_it_is() {
    let folder = Folder::new("damaged");
    let state = complete(&folder);
    let whole = fs::read(&state).expect("a state");
    let text = String::from_utf8(whole.clone()).expect("text");
    let (head, body) = text.split_once('\n').expect("two lines");
    let newer = text.replacen("-state 1 ", "-state 2 ", 1);
    let mut cases = vec![
        (Vec::new(), "it is empty"),
        (b"\xff\x00\xfe garbage".to_vec(), "it is no state of a backfill"),
        (b"{\"range\":[1,100],\"spans\":[]}\n".to_vec(), "it is no state of a backfill"),
        (body.as_bytes().to_vec(), "it is no state of a backfill"),
        (whole[..12].to_vec(), "it is no state of a backfill"),
        (head.as_bytes().to_vec(), "it is damaged"),
        (whole[..whole.len() / 2].to_vec(), "it is damaged"),
        (whole[..whole.len() - 1].to_vec(), "it is damaged"),
        ([&whole[..], b"\n"].concat(), "it is damaged"),
        (format!("{head}\n{{}}\n").into_bytes(), "it is damaged"),
        (signed("{}\n"), "it is not understood"),
        (signed(&body.replace("\"Done\"", "\"Failed\"")), "it contradicts itself"),
        (signed(&body.replace("[1,100]", "[50,60]")), "out of range"),
        (newer.into_bytes(), "version 2"),
    ];
    for at in (0..whole.len()).step_by(29) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        cases.push((flipped, "it is "));
    }
    for (bytes, expected) in cases {
        fs::write(&state, &bytes).expect("writable");
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        refused(&folder, &mut of_a_hundred(&folder, "tcp://127.0.0.1:9"), expected, &shown);
    }
    fs::remove_file(&state).expect("it is there");
    fs::create_dir(&state).expect("a folder");
    refused(&folder, &mut of_a_hundred(&folder, "tcp://127.0.0.1:9"), "it is not a file", "");
}

#[test]
fn a_state_is_refused_with_other_arguments_than_its_own() {
    let folder = Folder::new("arguments");
    let state = complete(&folder);
    let (state, out, other) =
        (state.to_str().expect("plain"), folder.text("out"), folder.text("x"));
    let worker = ["--worker", "tcp://127.0.0.1:9"];
    let (out, other) = (["--out", &out], ["--out", &other]);
    for (arguments, expected) in [
        ([&["--range", "1..=101"][..], &worker, &out], "it is of heights 1..=100, not of 1..=101"),
        ([&["--range", "2..=100"], &worker, &out], "it is of heights 1..=100, not of 2..=100"),
        ([&[], &[], &out], "come from what the workers read, not from the demo chain"),
        ([&["--rpc", "http://127.0.0.1:9"], &[], &out], "not from node http://127.0.0.1:9"),
        ([&["--rpc", "http://127.0.0.1:9"], &worker, &out], "not from node http://127.0.0.1:9"),
        ([&[], &worker, &[]], "it goes with --out"),
        ([&[], &worker, &other], "it goes with --out"),
    ] {
        let arguments = arguments.concat();
        let mut command = backfill();
        command.args(["--state", state]).args(&arguments);
        refused(&folder, &mut command, expected, &format!("{arguments:?}"));
    }
    // Its range need not be said again.
    let Ended { code, out, .. } = run(backfill().args(["--state", state]).args(worker).args(out));
    assert_eq!(code, Some(0), "{out}");

    let (_worker, address) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let without = folder.text("without");
    let mut command = backfill();
    command.args(["--range", "1..=100", "--worker", &address, "--state", &without]);
    assert_eq!(run(&mut command).code, Some(0));
    refused(&folder, command.args(other), "it was begun without --out", "");
}

#[test]
fn a_state_is_refused_with_another_output_than_its_own() {
    let folder = Folder::new("output");
    let state = complete(&folder);
    let out = folder.path("out");
    let whole = fs::read(&out).expect("the output");
    let other = vec![b'x'; whole.len() + 100];
    let command = || of_a_hundred(&folder, "tcp://127.0.0.1:9");
    for (bytes, expected) in [
        (&whole[..whole.len() - 1], "bytes, but"),
        (&[], "it has 0 bytes, but"),
        (&other, "it is another file than the one that was written"),
    ] {
        fs::write(&out, bytes).expect("writable");
        refused(&folder, &mut command(), expected, "");
    }
    fs::remove_file(&out).expect("it is there");
    refused(&folder, &mut command(), "No such file", "");
    // What is too much was written after the state was saved.
    fs::write(&out, [&whole[..], b"{\"height\":1,"].concat()).expect("writable");
    assert_eq!(run(&mut command()).code, Some(0));
    assert!(fs::read(&out).expect("the output") == whole);

    // A new run is refused before anything is made.
    fs::remove_file(&state).expect("it is there");
    for (arguments, expected) in [
        (["--out", &folder.text("state"), "--range", "1..=9"], "the same file as the state"),
        (["--out", "/dev/null", "--range", "1..=9"], "it is not a file"),
        (["--out", &folder.text("out"), "--range", "0..=9"], "the demo chain has blocks"),
    ] {
        let mut command = backfill();
        command.arg("--state").arg(&state).args(arguments);
        refused(&folder, &mut command, expected, &format!("{arguments:?}"));
    }
}

#[test]
fn a_state_that_a_manager_uses_is_refused_to_another_one() {
    let folder = Folder::new("two");
    let state = folder.path("state");
    let (_worker, worker) =
        start_worker("tcp", &["--chain", &folder.text("chain"), "--delay", "4"]);
    let command = |range: &str| {
        let mut command = backfill();
        command.args(["--worker", &worker, "--range", range, "--state"]).arg(&state);
        command
    };
    let first = Running::start(&mut command("1..=100000"));
    wait_for_more(&state, 0);
    let Ended { code, err, .. } = run(&mut command("1..=100000"));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.starts_with("error: ") && err.contains("another manager uses it now"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    // The first one goes on, and is still alone.
    wait_for_more(&state, Saved::read(&state).expect("a state").count());
    assert_eq!(run(&mut command("1..=100000")).code, Some(2));
    send(Signal::INT, &first.child);
    assert_eq!(first.finish().code, Some(130));
    assert_eq!(folder.names(), ["chain", "state"]);
}

/// The backfill of 100 heights with a state and an output.
fn of_a_hundred(folder: &Folder, worker: &str) -> Command {
    let mut command = backfill();
    command.args(["--worker", worker, "--range", "1..=100"]);
    command.arg("--state").arg(folder.path("state")).arg("--out").arg(folder.path("out"));
    command
}

/// Runs one to its end. Returns its state.
fn complete(folder: &Folder) -> PathBuf {
    let (_worker, worker) = start_worker("tcp", &["--chain", &folder.text("chain")]);
    let Ended { code, out, err } = run(&mut of_a_hundred(folder, &worker));
    assert_eq!(code, Some(0), "{out}{err}");
    folder.path("state")
}

/// Expects one clear line, exit code 2, and nothing changed.
fn refused(folder: &Folder, command: &mut Command, expected: &str, case: &str) {
    let before = folder.content();
    let Ended { code, out, err } = run(command);
    assert_eq!(code, Some(2), "{case}: {out}{err}");
    assert!(err.starts_with("error: ") && err.contains(expected), "{case}: {expected}: {err}");
    assert_eq!((err.lines().count(), out.as_str()), (1, ""), "{case}: {err}");
    assert!(folder.content() == before, "{case}: it changed something: {:?}", folder.names());
}

/// Makes a state of whatever text, with the right checksum.
pub(crate) fn signed(body: &str) -> Vec<u8> {
    let mut text = "chargehand-backfill-state 1 0x".to_owned();
    for byte in Sha256::digest(body) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    format!("{text}\n{body}").into_bytes()
}
