//! Worlds drawn at random, in which a window that sizes itself is held against the best fixed one.
//!
//! `WORLDS=1000` tries as many; each prints its figures with `-- --nocapture`.

use std::fmt;

use chargehand_core::{Choice, Config, Offer};

use crate::rng::Rng;
use crate::seeds::Seeds;
use crate::world::{Range, Spec};

/// How many worlds there are where `WORLDS` does not say.
const WORLDS: u64 = 20;
const WINDOW_MAX: u32 = 1024;
/// Tasks of a range, at most.
const TASKS_MAX: u64 = 6_000;

/// One world.
#[derive(Debug)]
struct World {
    specs: Vec<Spec>,
    tasks: u64,
    takes: Takes,
}

/// How long tasks take, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Takes {
    usual: u64,
    kind: usize,
    salt: u64,
}

impl Takes {
    /// All alike, from half to one and a half times the usual, or one in twenty 20 times as long.
    fn of(self, index: u64) -> u64 {
        let mut dice = Rng::new(index ^ self.salt);
        match self.kind {
            0 => self.usual,
            1 => self.usual / 2 + dice.below(self.usual + 1),
            _ if dice.percent(5) => self.usual * 20,
            _ => self.usual,
        }
    }
}

/// A number from `least` to `most`, each power of two as likely.
fn spread(dice: &mut Rng, least: u64, most: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a draw")]
    let (share, ratio) =
        (dice.below(1 << 20) as f64 / f64::from(1 << 20), most as f64 / least as f64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is between the two"
    )]
    let drawn = (least as f64 * ratio.powf(share)) as u64;
    drawn
}

impl World {
    fn new(seed: u64) -> Self {
        let dice = &mut Rng::new(seed ^ 0x5eed_0f30_41d5);
        let latency = spread(dice, 50_000, 100_000_000);
        let takes = Takes {
            usual: spread(dice, 10_000, 1_000_000_000),
            kind: dice.index(3),
            salt: dice.next(),
        };
        let slowest = spread(dice, 100, 5_000);
        let count = 2 + dice.below(11);
        let mut specs = Vec::new();
        let mut per_second = 0;
        for _ in 0..count {
            let percent = spread(dice, 100, slowest + 1);
            let runs = dice.pick(&[1, 1, 2, 4, 16]);
            per_second += u64::from(runs) * 100_000_000_000 / percent / takes.usual;
            specs.push(Spec { latency, percent, runs, ..Spec::new() });
        }
        // As long as forty round trips, or as many tasks for each that runs.
        let long = per_second * latency / 500_000_000 * 40;
        let many: u64 = specs.iter().map(|spec| u64::from(spec.runs) * 40).sum();
        let tasks = (long + many).min(TASKS_MAX);
        let takes_all = tasks * 1_000_000_000 / per_second.max(1);
        for spec in &mut specs {
            if dice.percent(15) {
                let percent = spread(dice, 100, slowest + 1);
                spec.later = Some((takes_all / 4 + dice.below(takes_all / 2 + 1), percent));
            }
        }
        Self { specs, tasks, takes }
    }

    fn makespan(&self, offer: &dyn Fn(&Spec) -> Offer, is_hedged: bool) -> u64 {
        let mut config = Config::new(1);
        config.choice = Choice::FirstAnswer;
        config.attempt_timeout = std::time::Duration::MAX;
        config.hedges_max = if is_hedged { 64 } else { 0 };
        let (specs, tasks) = (&self.specs[..], self.tasks);
        let takes = |index| self.takes.of(index);
        let report = Range { config, specs, offer, tasks, takes: &takes, is_hedged }.run();
        assert_eq!(report.done, tasks);
        report.makespan
    }

    /// The window with which all of it is done first, and when.
    fn best_fixed(&self) -> (u32, u64) {
        let steps = (0..=10).map(|power| 1 << power);
        let windows = steps
            .clone()
            .chain(steps.map(|window: u32| window * 3 / 2))
            .filter(|&w| w <= WINDOW_MAX);
        let of =
            |window| (self.makespan(&|spec| Offer::new(spec.runs).window(window), false), window);
        let (makespan, window) = windows.map(of).min().expect("there are some");
        (window, makespan)
    }
}

#[test]
fn a_window_that_sizes_itself_comes_near_the_best_fixed_one() {
    let seeds = Seeds::chosen("WORLDS", WORLDS);
    let (mut auto, mut usual, mut hedged) = (Vec::new(), Vec::new(), Vec::new());
    for seed in seeds.range {
        let world = World::new(seed);
        let (window, best) = world.best_fixed();
        #[expect(clippy::cast_precision_loss, reason = "times of hours at most")]
        let of_best = |offer: &dyn Fn(&Spec) -> Offer, is_hedged| {
            world.makespan(offer, is_hedged) as f64 / best as f64
        };
        auto.push(of_best(&|spec| Offer::new(spec.runs).auto(WINDOW_MAX), false));
        hedged.push(of_best(&|spec| Offer::new(spec.runs).auto(WINDOW_MAX), true));
        usual.push(of_best(&|spec| Offer::new(spec.runs), false));
        let [auto, hedged, usual] = [&auto, &hedged, &usual].map(|all| all.last().unwrap());
        println!(
            "{seed}: {auto:.2}, with second attempts {hedged:.2}, by concurrency {usual:.2}, of a \
             window of {window} in {world}"
        );
    }
    let [auto, hedged, usual] = [auto, hedged, usual].map(Figures::of);
    println!("auto: {auto:?}\nand second attempts: {hedged:?}\nby concurrency: {usual:?}");
    assert!(hedged.median <= 1.1 && hedged.within_tenth * 4 >= hedged.count * 3, "{hedged:?}");
    assert!(auto.median <= 1.1, "{auto:?}");
    assert!(auto.within_tenth * 4 >= auto.count * 3, "{auto:?}");
    assert!(auto.median < usual.median && auto.worst < usual.worst, "{auto:?}, {usual:?}");
}

/// How many times as long as the best fixed window it took, over all worlds.
#[derive(Debug)]
struct Figures {
    count: usize,
    median: f64,
    /// Of ten worlds the last but one, of twenty, of a hundred.
    #[expect(dead_code, reason = "it is printed")]
    quantiles: [f64; 3],
    worst: f64,
    within_tenth: usize,
    #[expect(dead_code, reason = "it is printed")]
    within_thirty_percent: usize,
}

impl Figures {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let within = |most: f64| all.iter().filter(|&&ratio| ratio <= most).count();
        Self {
            count: all.len(),
            median: all[all.len() / 2],
            quantiles: [90, 95, 99].map(|percent| all[(all.len() - 1) * percent / 100]),
            worst: all[all.len() - 1],
            within_tenth: within(1.1),
            within_thirty_percent: within(1.3),
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Takes { usual, kind, .. } = self.takes;
        let kind = ["alike", "within a half", "one in twenty 20 times longer"][kind];
        let (latency, changes) =
            (self.specs[0].latency, self.specs.iter().filter(|spec| spec.later.is_some()).count());
        write!(f, "{} tasks of {} us, {kind}, ", self.tasks, usual / 1000)?;
        let workers = self.specs.len();
        write!(f, "{workers} workers {} us away, {changes} of which change", latency / 1000)
    }
}
