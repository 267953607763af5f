//! What a record tells of other policies: held against worlds in which these hold.
#![expect(clippy::cast_precision_loss, reason = "there are a few hundred tasks")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::Pool;
use chargehand::record::{Change, Figures, Recording};
use chargehand::testing::{Act, Script, World};

#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const TASKS: u64 = 400;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Has a pool do a range, or single calls, with these policies and workers, and returns what it recorded.
fn recorded(retries: u16, fails: u8, is_range: bool) -> Recording {
    let (world, file) = (World::new(3), File::default());
    world.latency(millis(1));
    for number in 0..3 {
        let script = Script::new().takes(millis(8)..=millis(16 + 8 * number)).concurrency(2);
        world.worker(script.percent(fails, Act::Fail("no".to_owned())));
    }
    let pool: Pool = world.pool(|builder| {
        builder.record(file.clone()).tasks_max(512).configure(|config| {
            config.retries_max = retries;
            config.retry_delay = millis(5);
            config.failures_max = u16::MAX;
        })
    });
    if is_range {
        world.run(pool.for_each::<u64>(1..=TASKS, |_, outcome| drop(outcome)));
    } else {
        let calls: Vec<_> =
            (0..TASKS).map(|number| pool.try_submit::<u64, u64>(number).unwrap()).collect();
        for call in calls {
            let _ = world.run(call);
        }
    }
    world.run(pool.stop()).unwrap();
    let bytes = file.0.lock().unwrap().clone();
    Recording::read(&*bytes).expect("it is whole")
}

fn estimate(recording: &Recording, changes: &[&str]) -> Figures {
    let changes: Vec<Change> = changes.iter().map(|change| change.parse().unwrap()).collect();
    recording.estimate(&changes).unwrap()
}

/// Holds a figure against another: within so many percent.
fn near(what: &str, found: f64, wanted: f64, percent: f64) {
    assert!((found / wanted - 1.0).abs() * 100.0 < percent, "{what}: {found} instead of {wanted}");
}

#[test]
fn an_estimate_without_changes_is_what_was_observed_or_near_that() {
    for is_range in [true, false] {
        let recording = recorded(1, 10, is_range);
        let (observed, estimated) = (recording.observed(), estimate(&recording, &[]));
        assert_eq!(observed.tasks, TASKS);
        assert_eq!(observed.tasks, observed.done + observed.failed + observed.other);
        near("span", estimated.span.as_secs_f64(), observed.span.as_secs_f64(), 10.0);
        near("sent", estimated.sent as f64, observed.sent as f64, 10.0);
        let p50 = |figures: &Figures| figures.task_time.quantile(0.5).unwrap().as_secs_f64();
        near("task time", p50(&estimated), p50(&observed), 25.0);
        let again = estimate(&recording, &[]);
        assert_eq!(again.to_string(), estimated.to_string(), "the same each time");
    }
}

#[test]
fn what_other_retries_come_to_is_near_what_they_do() {
    let many = recorded(6, 30, false);
    assert!(many.observed().failed < 5, "{}", many.observed());
    let none = estimate(&many, &["retries_max=0"]);
    let real = recorded(0, 30, false).observed();
    near("failed", none.failed as f64, real.failed as f64, 25.0);
    near("sent", none.sent as f64, real.sent as f64, 5.0);
    near("span", none.span.as_secs_f64(), real.span.as_secs_f64(), 20.0);
    // A range says itself how often: the change holds for it all the same.
    let range = recorded(6, 30, true);
    assert!(range.observed().failed < 5, "{}", range.observed());
    let none = estimate(&range, &["retries_max=0"]);
    near("failed", none.failed as f64, real.failed as f64, 25.0);
}

#[test]
fn what_a_limit_of_a_queue_comes_to_is_near_what_it_does() {
    let recording = recorded(1, 0, true);
    let observed = recording.observed();
    let narrow = estimate(&recording, &["queue.0.in_flight_max=3"]);
    // Half of the six places.
    near("span", narrow.span.as_secs_f64(), 2.0 * observed.span.as_secs_f64(), 20.0);
    assert_eq!(narrow.done, TASKS);
    for change in ["window=auto", "window=4", "choice=first_answer", "ejection=null"] {
        assert_eq!(estimate(&recording, &[change]).done, TASKS, "{change}");
    }
}

#[test]
fn windows_that_size_themselves_come_with_the_choice_that_they_need() {
    let recording = recorded(6, 0, false);
    let lines = |changes: &[&str]| estimate(&recording, changes).to_string();
    let judged = lines(&["window=auto", "choice=first_answer"]);
    assert_eq!(lines(&["window=auto"]), judged);
    assert_ne!(lines(&["window=auto"]), lines(&[]), "it changes something");
    let refused = ["choice=least_loaded", "window=auto"].map(|change| change.parse().unwrap());
    let error = recording.estimate(&refused).unwrap_err().to_string();
    assert!(error.contains("window=auto") && error.contains("first_answer"), "{error}");
}

/// The test is one of these, `recorded_incident`. Where the source of a test changes, it is to be written anew.
#[test]
fn a_record_becomes_a_test_in_a_world_of_its_workers() {
    let recording = recorded(1, 10, true);
    let source = recording.test_source("recorded_incident");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded_incident.rs");
    if std::env::var_os("WRITE_TEST").is_some() {
        std::fs::write(path, &source).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    // As it is formatted, lines are others, and there are commas at the ends of lists.
    let words = |text: &str| text.replace([' ', '\n', ','], "");
    assert_eq!(words(&kept), words(&source));
    for part in ["concurrency(2)", "Act::Fail", "BULK: u64 = 400", "SINGLES: u64 = 0"] {
        assert!(source.contains(part), "no {part} in {source}");
    }
}

#[test]
fn what_is_no_policy_or_none_of_its_values_is_refused_by_name() {
    let recording = recorded(1, 0, true);
    for (change, word) in [
        ("attemps_max=3", "attempts_max"),
        ("attempts_max=0", "attempts_max"),
        ("attempts_max=many", "attempts_max=many"),
        ("hedges_max=4000000000", "no second attempts"),
        ("queue.0.hedge=null", "no second attempts"),
        ("retry_delay=3 parsecs", "retry_delay"),
        ("window=wide", "auto"),
        ("queue.7.weight=2", "no such queue"),
        ("queue.0.weight=0", "weight"),
    ] {
        let change: Change = change.parse().unwrap();
        let why = recording.estimate(&[change]).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
    for wrong in ["attempts_max", "=3", "attempts_max=", ""] {
        assert!(wrong.parse::<Change>().is_err(), "{wrong}");
    }
}
