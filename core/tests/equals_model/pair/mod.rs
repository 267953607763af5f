//! The engine and the model side by side: the same calls to both, and all that can be seen compared.

mod choices;
mod queues;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chargehand_core::{
    Choice, Config, Event, Hedge, Instant, Lane, Link, Offer, Route, Scheduler, Storage, TaskId,
    TaskOptions, Verdict, WorkerId, WorkerState,
};

pub(crate) use self::choices::random_config;
use self::choices::{any_budget, any_ejection, any_hedge, any_hedging, forged_links};
use self::queues::Queueing;
use super::model::Model;
use super::model::types::{Act, Lk, OfWorker, Wid, parts_of};
use super::rng::Rng;

/// Both schedulers, and what a caller of theirs has come to know.
pub(crate) struct Pair<S: Storage> {
    /// What runs this again, for whom it fails.
    again: String,
    pub(crate) rng: Rng,
    /// Where workers are chosen by their answers: what is drawn for that, so that all else stays as it was.
    extra: Option<Rng>,
    /// The same, where tasks are sent to two workers at once.
    hedging: Option<Rng>,
    engine: Scheduler<S>,
    model: Model,
    now: Instant,
    tasks: Vec<TaskId>,
    workers: Vec<WorkerId>,
    links: BTreeMap<Lk, Link>,
    recent: Vec<Link>,
    forged: Vec<Link>,
    habits: Habits,
    queueing: Queueing,
    finished: u64,
    compared: u64,
    log: VecDeque<String>,
}

/// Dice of their own for what not every run has, so that all else stays as it was.
pub(crate) struct Dice {
    pub(crate) extra: Option<Rng>,
    pub(crate) hedging: Option<Rng>,
}

/// What differs from run to run.
struct Habits {
    polls_fully: u64,
    fails: u64,
    moves_on: u64,
    drains: u64,
}

impl<S: Storage> Pair<S> {
    /// Makes one of a configuration. There are dice of its own for what is drawn where workers are chosen by
    /// their answers.
    pub(crate) fn with(
        again: String,
        mut rng: Rng,
        config: impl FnOnce(&mut Rng) -> Config,
        dice: Dice,
        storage: S,
        (tasks, workers): (usize, usize),
    ) -> Self {
        let mut config = config(&mut rng);
        let Dice { mut extra, mut hedging } = dice;
        if let Some(dice) = &mut extra {
            config.choice = Choice::FirstAnswer;
            config.ejection = any_ejection(dice);
            config.retry_budget = any_budget(dice);
        }
        let habits = Habits {
            polls_fully: rng.pick(&[3, 40, 95]),
            fails: rng.pick(&[5, 50, 95]),
            moves_on: rng.pick(&[10, 30, 60]),
            drains: rng.pick(&[0, 0, 10]),
        };
        let mut tasks = tasks;
        if let Some(dice) = &mut hedging {
            (config.hedges_max, config.hedge_budget) = any_hedging(dice);
            config.attempts_max = config.attempts_max.max(dice.pick(&[1, 3, 4]));
            config.resends_max = config.resends_max.max(dice.pick(&[1, 5, 64]));
            config.grace = dice.pick(&[Duration::ZERO, Duration::from_millis(60), Duration::MAX]);
            tasks -= config.hedges_max as usize;
        }
        let mut queueing = Queueing::draw(&mut rng, (tasks, workers));
        if let Some(dice) = &mut hedging {
            queueing.hedge_some(dice);
        }
        let (engine, model) = queueing.make(storage, config, (tasks, workers));
        let mut pair = Self {
            again,
            rng,
            extra,
            hedging,
            engine,
            model,
            now: Instant::EPOCH,
            tasks: Vec::new(),
            workers: Vec::new(),
            links: BTreeMap::new(),
            recent: Vec::new(),
            forged: forged_links(),
            habits,
            queueing,
            finished: 0,
            compared: 0,
            log: VecDeque::new(),
        };
        pair.note(format!("{tasks} tasks, {workers} workers, {config:?}"));
        pair
    }

    pub(crate) fn step(&mut self) {
        if self.rng.percent(self.habits.moves_on) {
            let millis = self.rng.pick(&[1, 1, 2, 3, 5, 8, 13, 40, 200]);
            self.now = self.now.saturating_add(Duration::from_millis(millis));
        }
        if self.extra.as_mut().is_some_and(|dice| dice.percent(2)) {
            self.set_backlog();
        }
        if self.queueing.pauses > 0 && self.rng.percent(self.queueing.pauses) {
            self.pause();
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

    /// Has all workers that there may be come, and say what they offer.
    pub(crate) fn gather(&mut self) {
        for _ in 0..self.model.workers.len() {
            self.add_worker();
        }
        while self.poll() {}
        for slot in 0..self.model.workers.len() {
            let offer = self.any_offer();
            match self.links.get(&self.model.link(slot)).copied() {
                Some(link) => self.event(Event::Connected { link, offer }),
                None => self.take_in(self.workers[slot], offer, self.now),
            }
        }
    }

    /// Has workers whose windows size themselves do their work, of which hardly any fails.
    pub(crate) fn work_on(&mut self, steps: u64) {
        for _ in 0..self.model.workers.len() {
            self.add_worker();
        }
        while self.poll() {}
        for slot in 0..self.model.workers.len() {
            let link = self.links.get(&self.model.link(slot)).copied();
            let offer = Offer::new(self.rng.pick(&[1, 1, 2])).auto(self.rng.pick(&[5, 20]));
            let worker = self.workers[slot];
            match link {
                Some(link) => self.event(Event::Connected { link, offer }),
                None => self.take_in(worker, offer, self.now),
            }
        }
        for _ in 0..steps {
            while self.rng.percent(95) {
                self.submit_plain();
            }
            while self.poll() {}
            let micros = self.rng.pick(&[50, 1_000, 1_000, 1_000, 1_100]);
            self.now = self.now.saturating_add(Duration::from_micros(micros));
            let slot = self.rng.index(self.model.workers.len());
            let Some(link) = self.links.get(&self.model.link(slot)).copied() else { continue };
            // All at once: then it is the way that took so long.
            for held in self.model.workers[slot].held.clone() {
                let about = &self.model.tasks[held];
                let task = TaskId::from_parts(held.try_into().unwrap(), about.generation);
                let attempt = self.model.held_at(slot, held).0;
                let fails = self.rng.below(500) == 0;
                let verdict = if fails { Verdict::Failed } else { Verdict::Done };
                self.event(Event::Replied { link, task, attempt, verdict });
            }
        }
    }

    /// Returns what came by of what must, and how often.
    pub(crate) fn seen(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.model.seen)
    }

    /// Returns how many times both were compared.
    pub(crate) const fn compared(&self) -> u64 {
        self.compared
    }

    /// Drains, and sees to it that everything ends by the deadline.
    pub(crate) fn shut_down(&mut self) {
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

    fn submit_plain(&mut self) {
        let options = TaskOptions::new();
        let result = if self.hedging.is_some() {
            let options = options.hedge(Hedge::after_p95());
            self.call(
                |engine, now| engine.submit_with(now, options),
                |model, now| model.submit_with(now, options),
                "submit, to be hedged",
            )
        } else {
            self.call(Scheduler::submit, Model::submit, "submit")
        };
        self.tasks.extend(result);
    }

    fn submit(&mut self) {
        let mut options = TaskOptions::new();
        if !self.rng.percent(70) {
            options = options
                .retries_max(self.rng.pick(&[0, 1, 2, u16::MAX]))
                .lane(self.rng.pick(&[Lane::Single, Lane::Bulk, Lane::Bulk]));
            options = self.any_times(options);
        }
        let mut options = self.any_queue(options);
        if let Some(dice) = &mut self.hedging {
            if dice.percent(90) {
                options = options.hedge(any_hedge(dice));
            }
        }
        let result = if options == TaskOptions::new() {
            self.call(Scheduler::submit, Model::submit, "submit")
        } else {
            self.call(
                |engine, now| engine.submit_with(now, options),
                |model, now| model.submit_with(now, options),
                &format!("submit with {options:?}"),
            )
        };
        self.tasks.extend(result);
    }

    fn set_backlog(&mut self) {
        let dice = self.extra.as_mut().expect("only with dice of its own");
        let count = dice.pick(&[0, 0, 1, 20, u64::MAX]);
        self.call(
            |engine, _| engine.set_backlog(count),
            |model, _| model.set_backlog(count),
            &format!("a backlog of {count}"),
        );
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
        self.take_in(worker, offer, self.now.saturating_add(late));
    }

    fn take_in(&mut self, worker: WorkerId, offer: Offer, not_before: Instant) {
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
            self.all_waits_are_explained();
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
        self.compared += 1;
        self.engine.check();
        assert_eq!(parts_of(&self.engine.stats()), self.model.stats(), "engine, model");
        assert_eq!(self.engine.is_idle(), self.model.is_idle(), "idle: engine, model");
        assert_eq!(self.engine.is_drained(), self.model.is_drained(), "drained: engine, model");
        self.compare_workers();
        self.compare_holders();
        self.compare_queues();
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

    fn compare_holders(&self) {
        for &task in self.tasks.iter().rev().take(8) {
            let holders = [self.engine.holder(task), self.engine.second_holder(task)];
            let got = holders.map(|it| it.map(|(worker, attempt)| (worker.slot(), attempt)));
            assert_eq!(got, self.model.holders(task), "who holds {task:?}: engine, model");
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
            eprintln!("to run only this again: {}", self.again);
        }
    }
}
