//! The work of the bench `mixed`: one task in twenty takes 200 times as long as the others.

use chargehand_core::{Choice, Config, Offer};

use crate::rng::Rng;
use crate::world::{MILLI, Range, Report, Spec};

const SHORT: u64 = MILLI;
const LONG: u64 = 200 * MILLI;
const TASKS: u64 = 1000;
/// How many ranges of that kind are tried.
const RANGES: u64 = 40;

fn takes(salt: u64) -> impl Fn(u64) -> u64 {
    move |index| if Rng::new(index ^ salt << 32).percent(5) { LONG } else { SHORT }
}

/// Eight workers, of which the first is so many times slower.
fn workers(slowness: u64) -> [Spec; 8] {
    let mut specs = [Spec::new(); 8];
    specs[0].percent = 100 * slowness;
    specs
}

fn run(
    choice: Choice,
    offer: &dyn Fn(&Spec) -> Offer,
    specs: &[Spec],
    tasks: u64,
    takes: &dyn Fn(u64) -> u64,
) -> Report {
    let mut config = Config::new(1);
    config.choice = choice;
    config.retries_max = 3;
    Range { config, specs, offer, tasks, takes, is_hedged: false }.run()
}

/// How ranges compare to the sum of their work divided by what the workers can do, in order.
fn to_ideal(choice: Choice, offer: &dyn Fn(&Spec) -> Offer, slowness: u64) -> Vec<f64> {
    let of = |salt| {
        let (specs, takes) = (workers(slowness), takes(salt));
        let report = run(choice, offer, &specs, TASKS, &takes);
        assert_eq!((report.done, report.failed), (TASKS, 0));
        let work: u64 = (0..TASKS).map(&takes).sum();
        #[expect(clippy::cast_precision_loss, reason = "times of some seconds")]
        let ratio = report.makespan as f64 / (work as f64 / (7.0 + 1.0 / slowness as f64));
        ratio
    };
    let mut all: Vec<f64> = (0..RANGES).map(of).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn fixed(window: u32) -> impl Fn(&Spec) -> Offer {
    move |spec| Offer::new(spec.runs).window(window)
}

/// The median and the mean.
fn summed_up(all: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let count = all.len() as f64;
    (all[all.len() / 2], all.iter().sum::<f64>() / count)
}

#[test]
fn a_range_whose_one_worker_is_ten_times_slower_ends_near_the_ideal_whatever_the_window() {
    for window in [1, 2, 4, 16, 64] {
        let (_, before) = summed_up(&to_ideal(Choice::LeastLoaded, &fixed(window), 10));
        let (median, mean) = summed_up(&to_ideal(Choice::FirstAnswer, &fixed(window), 10));
        println!("window {window}: {median:.2}, mean {mean:.2}; by load {before:.2}");
        assert!(median <= 1.12, "window {window}: {median:.3} of the ideal");
        // Now and then the slow one gets a long task before it is known to be slow.
        assert!(mean <= 1.2 && mean < before, "window {window}: {mean:.3} of the ideal");
    }
}

#[test]
fn a_range_with_equal_workers_does_not_depend_on_the_window() {
    for window in [1, 2, 4, 16, 64] {
        let (_, before) = summed_up(&to_ideal(Choice::LeastLoaded, &fixed(window), 1));
        let (median, mean) = summed_up(&to_ideal(Choice::FirstAnswer, &fixed(window), 1));
        println!("window {window}: {median:.2}, mean {mean:.2}; by load {before:.2}");
        assert!(mean <= 1.1, "window {window}: {mean:.3} of the ideal");
    }
}

#[test]
fn a_range_with_a_worker_that_is_a_little_slower_uses_it() {
    for slowness in [2, 3, 5] {
        let (median, mean) = summed_up(&to_ideal(Choice::FirstAnswer, &fixed(1), slowness));
        let (_, before) = summed_up(&to_ideal(Choice::LeastLoaded, &fixed(1), slowness));
        println!("{slowness} times slower: {median:.2}, mean {mean:.2}; by load {before:.2}");
        assert!(mean <= 1.15, "{slowness} times slower: {mean:.3} of the ideal");
    }
}

#[test]
fn a_worker_that_fails_at_once_gets_next_to_nothing_of_a_range() {
    for window in [1, 4, 64] {
        for choice in [Choice::LeastLoaded, Choice::FirstAnswer] {
            let mut specs = [Spec::new(); 8];
            specs[0].fails_in = Some(MILLI / 2);
            let report = run(choice, &fixed(window), &specs, 100_000, &|_| 10 * MILLI);
            println!("{choice:?}, window {window}: {} sends of 100,000", report.sent[0]);
            assert_eq!((report.done, report.failed), (100_000, 0), "{choice:?}, window {window}");
            assert!(report.sent[0] < 500, "{choice:?}, window {window}: {:?}", report.sent);
        }
    }
}

/// Where not each task fails there, it never fails enough in a row to be suspended.
#[test]
fn a_worker_that_mostly_fails_at_once_gets_next_to_nothing_of_a_range() {
    let sent = [Choice::LeastLoaded, Choice::FirstAnswer].map(|choice| {
        let mut specs = [Spec::new(); 8];
        specs[0].fails_in = Some(MILLI / 2);
        specs[0].does_one_in = 10;
        let report = run(choice, &fixed(1), &specs, 100_000, &|_| 10 * MILLI);
        println!("{choice:?}: {} sends of 100,000, {} failed", report.sent[0], report.failed);
        report.sent[0]
    });
    assert!(sent[1] < 500, "{sent:?}");
}
