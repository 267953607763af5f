//! The engine does what a naive model does: the same calls give the same results, actions and
//! statistics, whatever the calls are.
//!
//! Every run is a function of its seed. A failing one prints the seed and the last calls; set
//! `CHARGEHAND_SEED` to that number to run nothing else, and `RUNS` to make more of them, or fewer.

mod choices;
mod model;
#[path = "../support/rng.rs"]
mod rng;
#[path = "../support/seeds.rs"]
mod seeds;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chargehand_core::{
    Event, Heap, Inline, Instant, Lane, Link, Route, Scheduler, Storage, TaskId, TaskOptions,
    WorkerId, WorkerState,
};

use choices::{forged_links, random_config};
use model::Model;
use model::types::{Act, Lk, OfWorker, Wid, parts_of};
use rng::Rng;
use seeds::Seeds;

/// How many runs there are where `RUNS` does not say.
const RUNS: u64 = 1_500;
const STEPS: u64 = 400;

/// What random calls must come by, each at least once over all runs.
const RARE: &[&str] = &[
    "a busy worker asked to drain",
    "a delayed worker got its first task",
    "a delayed worker is busy",
    "a suspect was sent",
    "a task was given back before it began",
    "a worker dialled in too soon",
    "a worker was excused",
    "a worker took its leave",
    "an absent worker made room",
    "an answer of no use ended its task",
    "a permanent failure ended a task with retries left",
    "task rests as long as its handler says",
    "task with times of its own rests as long as its handler says",
    "an answer of no use is tried elsewhere",
    "an older attempt was judged first",
    "bounced",
    "lost with a link that nobody is blamed for",
    "lost with its link before it could begin",
    "taken back before it could begin",
    "timed out before it could begin",
    "waits for another worker than its last",
    "wards take turns",
    "went back to its last worker after a wait",
    "went back to its last worker, the only one",
    "a busy worker is ready again",
    "a draining worker is busy",
    "a ping was answered",
    "a suspended worker got something done",
    "a suspended worker is busy",
    "a silent link was closed",
    "a worker is busy",
    "accept refused",
    "add a worker when full",
    "add a worker while draining",
    "an absent worker was forgotten",
    "answer for a future task",
    "answer for a slot past the end",
    "answer for a task given back",
    "answer for an attempt never made",
    "answer for an older attempt",
    "answer for an older task",
    "answer for another worker's task",
    "answer twice or after cancel",
    "answer with a wrapped generation",
    "attempt timed out",
    "attempts were put off",
    "an attempt that was put off timed out",
    "an attempt ended by its task's own shorter time",
    "an attempt timed out by its task's own time",
    "backoff grows past a link that did nothing",
    "backoff reset by a good link",
    "cancel in flight",
    "cancel of a finished task",
    "cancel of an id that is over or never was",
    "cancel while queued",
    "clock stepped back",
    "closed as drained",
    "closed at the end of a drain",
    "closed for strikes",
    "connect timed out",
    "displaced a closing link",
    "displaced a link of use",
    "displaced a link that held tasks",
    "drain aborted a queued task",
    "drain aborted an attempt",
    "event of a link that is over",
    "ended by its task's own time before it could begin",
    "exhausted",
    "lost after the drain's deadline",
    "lost several attempts at once",
    "remove a busy worker",
    "remove a closing worker",
    "remove a connecting worker",
    "remove a worker without a link",
    "rest ended by itself",
    "suspended",
    "suspended and released as the last one",
    "submit when full",
    "submit while draining",
    "task retried after a failure",
    "task tried again more often than the pool's tasks are",
    "task tried again less often than the pool's tasks are",
    "the last worker is not suspended",
    "task rests as long as it says itself",
    "timed out with an attempt under way",
    "timed out without an attempt under way",
    "withdrawn after its link was over",
];

#[test]
fn the_engine_does_what_the_naive_model_does() {
    let mut seen = BTreeMap::new();
    let seeds = Seeds::chosen("RUNS", RUNS);
    for seed in seeds.range {
        for (what, times) in run_seed(seed) {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    println!("{seen:#?}");
    let missing: Vec<_> = RARE.iter().filter(|&what| !seen.contains_key(what)).collect();
    assert!(!seeds.are_enough || missing.is_empty(), "never came by {missing:?}");
}

fn run_seed(seed: u64) -> BTreeMap<&'static str, u64> {
    match seed % 6 {
        0 => run(seed, Inline::<1, 1>::new(), (1, 1)),
        1 => run(seed, Inline::<3, 2>::new(), (3, 2)),
        2 => run(seed, Inline::<6, 5>::new(), (6, 5)),
        3 => run(seed, Heap::with_capacity(4, 3), (4, 3)),
        4 => run(seed, Heap::with_capacity(6, 2), (6, 2)),
        _ => run(seed, Heap::with_capacity(12, 4), (12, 4)),
    }
}

fn run<S: Storage>(seed: u64, storage: S, size: (usize, usize)) -> BTreeMap<&'static str, u64> {
    let mut pair = Pair::new(seed, storage, size);
    for _ in 0..STEPS {
        pair.step();
    }
    pair.shut_down();
    std::mem::take(&mut pair.model.seen)
}

/// Both schedulers, and what a caller of theirs has come to know.
struct Pair<S: Storage> {
    seed: u64,
    rng: Rng,
    engine: Scheduler<S>,
    model: Model,
    now: Instant,
    tasks: Vec<TaskId>,
    workers: Vec<WorkerId>,
    links: BTreeMap<Lk, Link>,
    recent: Vec<Link>,
    forged: Vec<Link>,
    habits: Habits,
    finished: u64,
    log: VecDeque<String>,
}

/// What differs from run to run.
struct Habits {
    polls_fully: u64,
    fails: u64,
    moves_on: u64,
    drains: u64,
}

impl<S: Storage> Pair<S> {
    fn new(seed: u64, storage: S, (tasks, workers): (usize, usize)) -> Self {
        let mut rng = Rng::new(seed);
        let config = random_config(&mut rng);
        let habits = Habits {
            polls_fully: rng.pick(&[3, 40, 95]),
            fails: rng.pick(&[5, 50, 95]),
            moves_on: rng.pick(&[10, 30, 60]),
            drains: rng.pick(&[0, 0, 10]),
        };
        let mut pair = Self {
            seed,
            rng,
            engine: Scheduler::new(storage, config).unwrap(),
            model: Model::new(tasks, workers, config),
            now: Instant::EPOCH,
            tasks: Vec::new(),
            workers: Vec::new(),
            links: BTreeMap::new(),
            recent: Vec::new(),
            forged: forged_links(),
            habits,
            finished: 0,
            log: VecDeque::new(),
        };
        pair.note(format!("{tasks} tasks, {workers} workers, {config:?}"));
        pair
    }

    fn step(&mut self) {
        if self.rng.percent(self.habits.moves_on) {
            let millis = self.rng.pick(&[1, 1, 2, 3, 5, 8, 13, 40, 200]);
            self.now = self.now.saturating_add(Duration::from_millis(millis));
        }
        match self.rng.below(100) {
            0..20 => self.submit(),
            20..25 => self.cancel(),
            25..30 => self.add_worker(),
            30 if self.rng.percent(40) => self.evict(),
            30..32 => self.remove_worker(),
            32..38 => self.accept(),
            38..73 => {
                let event = self.any_event();
                self.event(event);
            }
            73..76 => self.timeout(),
            76 if self.rng.percent(self.habits.drains) => self.drain(),
            _ if self.rng.percent(self.habits.polls_fully) => while self.poll() {},
            _ => {
                self.poll();
            }
        }
    }

    /// Drains, and sees to it that everything ends by the deadline.
    fn shut_down(&mut self) {
        let deadline = self.now.saturating_add(Duration::from_millis(10));
        self.call(
            |engine, now| engine.drain(now, deadline),
            |model, now| model.drain(now, deadline),
            "shut down",
        );
        while self.poll() {}
        // Past it by more than what the clock may step back.
        self.now = deadline.saturating_add(Duration::from_millis(60));
        self.timeout();
        while self.poll() {}
        assert!(self.engine.is_drained(), "drained by the deadline");
        assert_eq!(self.engine.stats().submitted, self.finished, "one outcome each");
    }

    fn submit(&mut self) {
        let result = if self.rng.percent(70) {
            self.call(Scheduler::submit, Model::submit, "submit")
        } else {
            let options = TaskOptions::new()
                .retries_max(self.rng.pick(&[0, 1, 2, u16::MAX]))
                .lane(self.rng.pick(&[Lane::Single, Lane::Bulk, Lane::Bulk]));
            let options = self.any_times(options);
            self.call(
                |engine, now| engine.submit_with(now, options),
                |model, now| model.submit_with(now, options),
                &format!("submit with {options:?}"),
            )
        };
        self.tasks.extend(result);
    }

    fn cancel(&mut self) {
        let task = self.any_task();
        let text = format!("cancel {task:?}");
        let _ = self.call(
            |engine, now| engine.cancel(now, task),
            |model, now| model.cancel(now, task),
            &text,
        );
    }

    fn add_worker(&mut self) {
        let route = self.rng.pick(&[Route::Dial, Route::Dial, Route::Await]);
        let mut added = None;
        let _ = self.call(
            |engine, now| {
                let result = engine.add_worker(now, route);
                added = result.ok();
                result.map(Wid::from)
            },
            |model, now| model.add_worker(now, route),
            &format!("add {route:?}"),
        );
        self.workers.extend(added);
        self.compare_workers();
    }

    fn remove_worker(&mut self) {
        let worker = self.any_worker();
        let text = format!("remove {worker:?}");
        let _ = self.call(
            |engine, now| engine.remove_worker(now, worker),
            |model, now| model.remove_worker(now, worker.into()),
            &text,
        );
    }

    fn accept(&mut self) {
        let worker = self.any_worker();
        let offer = self.any_offer();
        let late = Duration::from_millis(self.rng.pick(&[0, 0, 0, 5, 30]));
        let not_before = self.now.saturating_add(late);
        let mut made = None;
        let _ = self.call(
            |engine, now| {
                let result = engine.accept(now, worker, offer, not_before);
                made = result.ok();
                result.map(|accepted| (accepted.link.into(), accepted.displaced.map(Lk::from)))
            },
            |model, now| model.accept(now, worker.into(), offer, not_before),
            &format!("accept {worker:?} {offer:?} not before {not_before:?}"),
        );
        if let Some(accepted) = made {
            self.know(accepted.link);
        }
    }

    fn evict(&mut self) {
        let _ = self.call(
            |engine, now| engine.evict_absent(now).map(Wid::from),
            Model::evict_absent,
            "evict an absent worker",
        );
    }

    fn event(&mut self, event: Event) {
        let text = format!("{event:?}");
        let _ = self.call(
            |engine, now| engine.handle_event(now, event),
            |model, now| model.handle_event(now, event),
            &text,
        );
    }

    fn timeout(&mut self) {
        self.call(Scheduler::handle_timeout, Model::advance, "timeout");
    }

    fn drain(&mut self) {
        let millis = self.rng.pick(&[0, 1, 10, 50, 100_000]);
        let deadline = self.now.saturating_add(Duration::from_millis(millis));
        self.call(
            |engine, now| engine.drain(now, deadline),
            |model, now| model.drain(now, deadline),
            &format!("drain by {deadline:?}"),
        );
    }

    /// Polls both once; true where there may be more.
    fn poll(&mut self) -> bool {
        let action = self.engine.poll_action();
        self.tell_drawn();
        let expected = self.model.poll_action();
        let got = action.map(Act::from);
        self.note(format!("    {got:?}"));
        assert_eq!(got, expected, "the engine's action and the model's");
        match action {
            Some(chargehand_core::Action::Connect { link }) => self.know(link),
            Some(chargehand_core::Action::Finish { .. }) => self.finished += 1,
            _ => {}
        }
        self.compare();
        if action.is_none() {
            let wake = self.engine.poll_timeout();
            let later = wake.is_none_or(|at| at > self.model.clock());
            assert!(later, "nothing to do, and yet due at once: {wake:?}");
        }
        action.is_some()
    }

    /// Makes the same call to both and compares the results and all that can be seen after it.
    fn call<T: PartialEq + std::fmt::Debug>(
        &mut self,
        engine: impl FnOnce(&mut Scheduler<S>, Instant) -> T,
        model: impl FnOnce(&mut Model, Instant) -> T,
        text: &str,
    ) -> T {
        let back = self.rng.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 50]) * 1_000_000;
        let now = Instant::from_nanos(self.now.as_nanos().saturating_sub(back));
        self.note(format!("{}: {text}", now.as_nanos()));
        let got = engine(&mut self.engine, now);
        self.tell_drawn();
        let expected = model(&mut self.model, now);
        assert_eq!(got, expected, "the engine's result and the model's of {text}");
        self.compare();
        got
    }

    fn compare(&mut self) {
        self.engine.check();
        assert_eq!(parts_of(&self.engine.stats()), self.model.stats(), "engine, model");
        assert_eq!(self.engine.is_idle(), self.model.is_idle(), "idle: engine, model");
        assert_eq!(self.engine.is_drained(), self.model.is_drained(), "drained: engine, model");
        self.compare_workers();
        let (wake, exact) = (self.engine.poll_timeout(), self.model.poll_timeout());
        // What is due already is due now.
        let latest = exact.map(|exact| exact.max(self.model.clock()));
        let early_enough = latest.is_none_or(|latest| wake.is_some_and(|at| at <= latest));
        assert!(early_enough, "the engine wakes at {wake:?}, due is {exact:?}");
    }

    fn compare_workers(&self) {
        for &id in self.workers.iter().rev().take(8) {
            let got = self.engine.worker_stats(id).map(OfWorker::from);
            assert_eq!(got, self.model.worker_stats(id.into()), "{id:?}: engine, model");
        }
    }

    /// Tells the model what came out of the engine's random numbers.
    fn tell_drawn(&mut self) {
        let until = |id: &WorkerId| match self.engine.worker_stats(*id)?.state {
            WorkerState::BackingOff { until }
            | WorkerState::Suspended { until }
            | WorkerState::Absent { not_before: until } => Some((id.slot() as usize, until)),
            _ => None,
        };
        let drawn = self.workers.iter().filter_map(until).collect();
        self.model.set_drawn(drawn);
    }

    fn know(&mut self, link: Link) {
        self.links.insert(link.into(), link);
        self.recent.push(link);
    }

    fn note(&mut self, line: String) {
        if self.log.len() == 60 {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

impl<S: Storage> Drop for Pair<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.log {
                eprintln!("{line}");
            }
            eprintln!("to run only this again: CHARGEHAND_SEED={}", self.seed);
        }
    }
}
