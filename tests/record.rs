//! What a pool's scheduler was told, recorded and done again.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::record::{Replay, ReplayError};
use chargehand::testing::{Act, Script, World};
use chargehand::{Class, Ledger, QueueOptions, TaskOptions};

/// A file in memory, with room for so many bytes.
#[derive(Clone)]
struct File {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl File {
    fn new(room: usize) -> Self {
        Self { bytes: Arc::default(), room }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap();
        if bytes.len() + buf.len() > self.room {
            return Err(io::Error::other("the disk is full"));
        }
        bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pool over wires in memory with all kinds of faults, recorded. Returns how many tasks it had.
fn live(seed: u64, file: File) -> u64 {
    let millis = Duration::from_millis;
    let world = World::new(seed);
    world.latency(millis(3));
    let script = |bad: Act| Script::new().takes(millis(4)).concurrency(2).percent(15, bad);
    let workers = [
        world.worker(script(Act::Fail("not today".to_owned()))),
        world.worker(script(Act::Hang)),
        world.worker(script(Act::Restart(millis(50)))),
        world.worker(script(Act::Garbage).dials_in()),
    ];
    for (number, worker) in (0_u32..).zip(&workers) {
        world.at(millis(40) * (number + 1), worker.loses_link());
    }
    world.at(millis(90), workers[0].dies());
    world.at(millis(300), workers[0].revives());
    let pool = world.pool(|builder| {
        builder.record(file).tasks_max(150).workers_max(6).configure(|config| {
            config.attempt_timeout = millis(60);
            config.attempts_max = 3;
            config.retries_max = 1;
            config.retry_delay = millis(10);
        })
    });
    let timed = pool.with(TaskOptions::new().deadline(millis(150)));
    let calls: Vec<_> = (0..120)
        .map(|number| {
            let pool = if number % 4 == 0 { &timed } else { &pool };
            pool.try_submit::<u64, u64>(number).unwrap()
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        if number % 9 == 5 {
            drop(call);
        } else {
            let _ = world.run(call);
        }
    }
    let ledger = Ledger::from(1000..=1100);
    let report = world.run(pool.for_each::<u64>(ledger, |_, _| {}));
    drop(report);
    world.run(pool.stop()).unwrap().tasks.submitted
}

fn recorded(seed: u64) -> (u64, String) {
    let file = File::new(usize::MAX);
    let submitted = live(seed, file.clone());
    (submitted, file.text())
}

/// Does it again to its end. Returns how many tasks ended, and the figures of the end.
fn replay(text: &str) -> Result<(u64, chargehand::core::Stats), ReplayError> {
    let mut replay = Replay::new(text.as_bytes())?;
    let mut ended = 0;
    while let Some(call) = replay.step()? {
        ended += u64::from(call.to_string().contains("Finish"));
    }
    Ok((ended, replay.scheduler().stats()))
}

#[test]
fn what_was_recorded_of_a_pool_under_faults_is_done_again_call_for_call() {
    let mut seen = [0; 5];
    for seed in 0..12 {
        let (submitted, text) = recorded(seed);
        let (ended, stats) = replay(&text).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!((stats.submitted, ended), (submitted, submitted), "seed {seed}");
        let rare = [stats.lost, stats.timed_out, stats.failed, stats.cancelled, stats.expired];
        for (seen, count) in seen.iter_mut().zip(rare) {
            *seen += count;
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

#[test]
fn a_record_of_the_same_run_is_the_same() {
    assert_eq!(recorded(3).1, recorded(3).1);
}

#[test]
fn a_record_that_breaks_off_says_where_after_all_that_is_good() {
    let (_, text) = recorded(1);
    let cut = &text[..text.len() / 2];
    let mut replay = Replay::new(cut.as_bytes()).unwrap();
    let mut done = 1;
    let error = loop {
        match replay.step() {
            Ok(Some(call)) => {
                done += 1;
                assert_eq!(call.line(), done);
            }
            Ok(None) => panic!("it has no end"),
            Err(error) => break error,
        }
    };
    let whole = u64::try_from(cut.lines().count()).unwrap() - 1;
    assert_eq!(done, whole, "the last line is half a line");
    assert!(matches!(error, ReplayError::BreaksOff { line } if line == whole + 1), "{error}");
}

#[test]
fn a_pool_whose_record_cannot_be_written_any_more_goes_on() {
    let file = File::new(20_000);
    let submitted = live(2, file.clone());
    assert_eq!(submitted, recorded(2).0);
    assert!(file.text().len() > 19_000);
    assert!(matches!(replay(&file.text()), Err(ReplayError::BreaksOff { .. })));
}

#[test]
fn what_is_no_record_is_refused() {
    for text in
        ["", "\n", "#!/bin/sh\necho\n", "{\"format\":\"something\",\"version\":1}\n", "[1]\n"]
    {
        assert!(matches!(replay(text), Err(ReplayError::Foreign)), "{text:?}");
    }
    let endless = "x".repeat(1 << 20);
    let error = replay(&endless).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("longer than"), "{error}");
}

#[test]
fn a_record_of_another_version_is_refused_with_both_versions() {
    let (_, text) = recorded(1);
    let newer = text.replacen("\"version\":3", "\"version\":4", 1);
    let error = replay(&newer).unwrap_err().to_string();
    assert!(error.contains("version 4") && error.contains("version 3"), "{error}");
}

#[test]
fn a_damaged_line_is_named_wherever_the_damage_is() {
    let (_, text) = recorded(4);
    let lines: Vec<&str> = text.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let middle = lines.len() / 2;
    for garbage in ["", "{", "{\"rest\":{}}", "{\"submit\":{\"now\":-1,\"gave\":null}}", "\u{fffd}"]
    {
        let error = replay(&with(middle, garbage)).unwrap_err();
        let is_it = matches!(error, ReplayError::Damaged { line, .. } if line == middle as u64 + 1);
        assert!(is_it, "{garbage:?}: {error}");
    }
    let huge = lines[0].replacen("\"slots\":", "\"slots\":9999999", 1);
    assert!(matches!(replay(&with(0, &huge)), Err(ReplayError::Damaged { line: 1, .. })));
    // A time that is a little later changes nothing that the scheduler does, and is found at the end.
    let at = lines.iter().rposition(|line| line.contains("handle_timeout")).unwrap();
    let later = lines[at].replacen("\"now\":", "\"now\":0", 1);
    assert!(replay(&with(at, &later)).is_err(), "no number begins with 0");
    let (head, last) = lines[at].split_once("\"now\":").unwrap();
    let number: u64 = last.trim_end_matches('}').parse().unwrap();
    let later = format!("{head}\"now\":{}}}}}", number + 1);
    let error = replay(&with(at, &later)).unwrap_err();
    let is_damaged =
        matches!(error, ReplayError::Damaged { line, .. } if line == lines.len() as u64);
    assert!(is_damaged, "{error}");
}

#[test]
fn a_record_of_more_than_any_pool_has_is_refused_before_there_is_room_for_it() {
    let (_, text) = recorded(1);
    let first = text.lines().next().unwrap();
    let head: serde_json::Value = serde_json::from_str(first).unwrap();
    for (field, most) in [("slots", 1 << 22), ("workers_max", 1 << 17)] {
        let of = |count: u32| {
            let mut head = head.clone();
            head[field] = count.into();
            replay(&text.replacen(first, &head.to_string(), 1))
        };
        let error = of(most + 1).unwrap_err();
        assert!(matches!(error, ReplayError::TooLarge { .. }), "{field}: {error}");
        let error = error.to_string();
        for part in [format!("{}", most + 1), format!("{most}"), "tasks_max".to_owned()] {
            assert!(error.contains(&part), "{error}");
        }
    }
}

#[test]
fn a_scheduler_that_decides_otherwise_is_shown_with_both_decisions() {
    let (_, text) = recorded(5);
    let sent = text.lines().position(|line| line.contains("\"Send\"")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[sent] = lines[sent].replacen("\"attempt\":1", "\"attempt\":2", 1);
    let error = replay(&(lines.join("\n") + "\n")).unwrap_err();
    let ReplayError::Differs { line, recorded, now } = error else { panic!("{error}") };
    assert_eq!(line, sent as u64 + 1);
    assert!(recorded.contains("attempt: 2") && now.contains("attempt: 1"), "{recorded}\n{now}");
}

#[test]
fn a_record_of_a_pool_with_queues_keys_and_pauses_is_done_again() {
    let file = File::new(usize::MAX);
    let world = World::new(3);
    world.worker(Script::new().takes(Duration::from_millis(4)).concurrency(3));
    let options = QueueOptions::new().class(Class::Low).in_flight_max(1);
    let pool = world.pool(|builder| builder.queue("low", options).record(file.clone()));
    let low = pool.queue("low").unwrap();
    let keyed = pool.with(TaskOptions::new().queue(low.clone()).key("a key"));
    world.run(async {
        pool.pause(&low).await.unwrap();
        let tasks: Vec<_> = (0..9).map(|at| keyed.try_submit::<u64, u64>(at).unwrap()).collect();
        assert_eq!(pool.call::<u64, u64>(&100).await, Ok(100));
        pool.resume(&low).await.unwrap();
        assert_eq!(keyed.for_each::<u64>(10..=20, |_, _| ()).await.done, 11);
        drop(tasks);
    });
    world.run(pool.stop()).unwrap();
    let text = file.text();
    for call in ["\"pause\"", "\"resume\"", "\"queues\":[", "\"key\":{"] {
        assert!(text.contains(call), "{call}");
    }
    replay(&text).unwrap_or_else(|why| panic!("{why}"));
}
