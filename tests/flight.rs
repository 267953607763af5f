//! Flight records: the latest calls of a pool's scheduler, in a file that never grows.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use chargehand::core::Stats;
use chargehand::record::{FlightRecorder, Recording, Replay, ReplayError};
use chargehand::testing::{Act, Script, World};
use chargehand::{PoolEvent, QueueOptions, TaskOptions};

const MS: Duration = Duration::from_millis(1);
const KIB: u64 = 1 << 10;
/// Enough for the pools here, whose regions are a quarter of it each.
const BYTES: u64 = 64 * KIB + 4 * 224 * KIB;

/// A file that is removed with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("chargehand-flight-{}-{name}", std::process::id())))
    }

    fn recorder(&self) -> FlightRecorder {
        FlightRecorder::create(&self.0).expect("a new file").bytes_max(BYTES)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).expect("it was written")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may not have come to a file.
        let _ = fs::remove_file(&self.0);
    }
}

/// Has a pool under faults do so many heights, and as many tasks of a queue of its own, and returns its figures.
fn live(recorder: FlightRecorder, heights: u64) -> Stats {
    let world = World::new(7);
    for bad in [Act::Fail("no".to_owned()), Act::Restart(50 * MS), Act::Close] {
        world.worker(Script::new().takes(MS..=4 * MS).concurrency(8).percent(2, bad));
    }
    let pool = world.pool(|builder| {
        let builder = builder.flight_recorder(recorder).tasks_max(400).workers_max(6);
        let builder = builder.queue("tip", QueueOptions::new().in_flight_max(4));
        builder.configure(|config| {
            (config.retries_max, config.retry_delay) = (1, 10 * MS);
            config.hedges_max = 8;
        })
    });
    world.time_limit(Duration::from_secs(1 << 20));
    let tip = pool.with(TaskOptions::new().queue(pool.queue("tip").unwrap()).key("one"));
    let calls: Vec<_> =
        (0..20_u64).map(|number| world.run(tip.submit::<u64, _>(&number)).unwrap()).collect();
    world.run(pool.for_each::<u64>(1..=heights / 2, |_, _| {}));
    // Each of these has a deadline of its own, and so an entry with all of its options.
    let timed = pool.with(TaskOptions::new().deadline(3600 * 1000 * MS));
    world.run(timed.for_each::<u64>(heights / 2 + 1..=heights, |_, _| {}));
    for call in calls {
        let _ = world.run(call);
    }
    world.run(pool.stop()).unwrap().tasks
}

/// What was done again: how many calls were before, how many there are, and how it ended.
fn replay(bytes: &[u8]) -> (u64, u64, Result<Stats, ReplayError>) {
    let mut replay = match Replay::new(Cursor::new(bytes)) {
        Ok(replay) => replay,
        Err(error) => return (0, 0, Err(error)),
    };
    let (before, mut calls) = (replay.calls_before(), 0);
    loop {
        match replay.step() {
            Ok(Some(call)) => {
                calls += 1;
                assert_eq!(call.line(), before + calls, "calls are numbered since the begin");
            }
            Ok(None) => return (before, calls, Ok(replay.scheduler().stats())),
            Err(error) => return (before, calls, Err(error)),
        }
    }
}

#[test]
fn all_calls_are_done_again_as_long_as_there_is_room() {
    let file = Scratch::new("short");
    let then = live(file.recorder(), 300);
    let (before, calls, now) = replay(&file.bytes());
    assert_eq!((before, now.unwrap()), (0, then));
    assert!(calls > 1500, "{calls}");
    let recording = Recording::read(Cursor::new(file.bytes())).unwrap();
    assert_eq!(recording.observed().tasks, then.submitted, "and estimates are made of it");
}

#[test]
fn what_is_written_over_is_left_out_and_the_file_never_grows() {
    let file = Scratch::new("long");
    let then = live(file.recorder(), 30_000);
    let bytes = file.bytes();
    assert!(bytes.len() as u64 <= BYTES, "{}", bytes.len());
    let (before, calls, now) = replay(&bytes);
    assert_eq!(now.unwrap(), then, "it ends as it did");
    assert!(before > 5000, "it was written over: {before}");
    assert!(calls > 5000, "and has the latest: {calls}");
    let all = Recording::read(Cursor::new(bytes));
    assert!(matches!(all, Err(ReplayError::BeginsLate { line }) if line == before + 1), "{all:?}");
}

#[test]
fn a_record_that_breaks_off_or_is_damaged_has_what_is_whole() {
    let file = Scratch::new("damaged");
    live(file.recorder(), 30_000);
    let good = file.bytes();
    let (begin, calls, _) = replay(&good);
    // As a process leaves it that is killed: the end was not written.
    let region = usize::try_from((BYTES - 64 * KIB) / 4).expect("a few KiB");
    let end = good.windows(4).rposition(|four| four == b"CHFR").unwrap();
    let mut changes = 0;
    for at in (64 * 1024..good.len()).step_by(region).chain([end]) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let (before, count, ended) = replay(&bytes);
        // What is left is a part of it without a gap, up to its end or up to the damage.
        assert!(before >= begin && before + count <= begin + calls, "{at}: {before}, {count}");
        match ended {
            Ok(_) => assert_eq!(before + count, begin + calls, "{at}"),
            Err(ReplayError::BreaksOff { line }) => assert_eq!(line, before + count + 1, "{at}"),
            Err(ReplayError::Damaged { line: 1, .. }) => panic!("{at}: nothing is left"),
            Err(error) => panic!("{at}: {error}"),
        }
        changes += u64::from((before, count) != (begin, calls));
    }
    assert!(changes > 3, "damage is noticed: {changes}");
    for length in [64 * 1024, 70_000, good.len() / 2] {
        let (_, _, ended) = replay(&good[..length]);
        assert!(!matches!(ended, Err(ReplayError::Differs { .. })), "{length}: {ended:?}");
    }
}

#[test]
fn estimates_make_no_room_for_more_than_a_pool_has_whatever_the_first_line_says() {
    let file = Scratch::new("sizes");
    live(file.recorder(), 300);
    let good = file.bytes();
    let (head, regions) = good.split_at(64 << 10);
    let end = head.iter().position(|byte| *byte == b'\n').unwrap();
    let head: serde_json::Value = serde_json::from_slice(&head[..end]).unwrap();
    let with = |pointer: &str, count: u32| {
        let mut head = head.clone();
        *head.pointer_mut(pointer).unwrap() = count.into();
        let mut line = head.to_string().into_bytes();
        line.push(b'\n');
        line.resize(64 << 10, 0);
        Recording::read(Cursor::new([&line, regions].concat()))
    };
    for (pointer, count) in [("/slots", (1 << 22) + 1), ("/workers_max", (1 << 17) + 1)] {
        let error = with(pointer, count).err();
        assert!(matches!(error, Some(ReplayError::TooLarge { .. })), "{pointer}: {error:?}");
    }
    // As many slots for second attempts as there can be, of fewer in all.
    let recording = with("/config/hedges_max", u32::MAX).unwrap();
    assert!(recording.estimate(&[]).is_err());
    assert!(with("/slots", 400 + 8).unwrap().estimate(&[]).is_ok(), "as it was");
}

#[test]
fn a_file_that_takes_nothing_or_is_too_short_is_told_of_once_and_the_pool_goes_on() {
    let full = File::options().write(true).open("/dev/full").expect("it is there on Linux");
    let short = Scratch::new("too-short");
    let recorders = [
        (FlightRecorder::of(full), "No space left"),
        (short.recorder().bytes_max(100 * KIB), "bytes_max"),
    ];
    for (recorder, wanted) in recorders {
        let world = World::new(1);
        world.worker(Script::new());
        let pool = world.pool(|builder| builder.flight_recorder(recorder));
        let mut events = pool.events();
        let report = world.run(pool.for_each::<u64>(1..=1000, |_, _| {}));
        assert_eq!(report.done, 1000);
        world.run(pool.stop()).unwrap();
        let mut told = Vec::new();
        while let Some(event) = world.run(events.next()) {
            if let PoolEvent::Unrecorded { why } = event {
                told.push(why);
            }
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(wanted), "{told:?}");
    }
}

/// How many bytes of calls are in all blocks of a file.
fn bytes_of_calls(bytes: &[u8]) -> usize {
    let heads = bytes.windows(4).enumerate().filter(|(_, four)| *four == b"CHFR");
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let blocks = heads.map(|(at, _)| (number(at + 12), number(at + 16)));
    blocks.filter(|(index, _)| *index > 0).map(|(_, length)| length as usize).sum()
}

#[test]
fn a_task_like_all_others_takes_a_few_bytes_and_is_replayed_in_full() {
    let file = Scratch::new("brief");
    let world = World::new(3);
    for _ in 0..4 {
        world.worker(Script::new().takes(MS..=4 * MS).concurrency(64));
    }
    let pool = world
        .pool(|builder| builder.flight_recorder(file.recorder()).tasks_max(400).workers_max(6));
    assert_eq!(world.run(pool.for_each::<u64>(1..=4000, |_, _| {})).done, 4000);
    let then = world.run(pool.stop()).unwrap().tasks;
    let bytes = file.bytes();
    let each = bytes_of_calls(&bytes) / 4000;
    assert!((1..=20).contains(&each), "{each} bytes for each task");

    let mut replay = Replay::new(Cursor::new(&bytes)).unwrap();
    let (mut taken, mut done) = (Vec::new(), Vec::new());
    while let Some(call) = replay.step().unwrap() {
        let line = call.to_string();
        match call.method() {
            "submit_with" => taken.push(line.split_once("gave: Ok(TaskId {").unwrap().1.to_owned()),
            "handle_event" if line.contains("Done") => done.push(line),
            _ => {}
        }
    }
    assert_eq!(replay.scheduler().stats(), then);
    assert_eq!((taken.len(), done.len()), (4000, 4000), "each of them can be seen");
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 4000, "by the id that it had");
}
