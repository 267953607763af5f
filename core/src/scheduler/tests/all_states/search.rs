//! Breadth-first search over what the engine may come to, from one state to all that follow.

use std::collections::{BTreeSet, HashMap};
use std::println;
use std::time::{Duration, Instant as Clock};
use std::vec;
use std::vec::Vec;

use super::canon::digest;
use crate::scheduler::index::wide;
use crate::scheduler::slot::{Duty, Kept, LinkPhase, TaskState, WorkerSlot};
use crate::{
    Action, Config, Event, Inline, Instant, Link, Loss, Offer, Outcome, QueueId, QueueOptions,
    Reason, Route, Scheduler, Storage, TaskId, TaskOptions, Useless, Verdict, Waits,
};

/// Two workers and at most three tasks at once. There is no bound on how many follow one another.
pub(super) type Engine = Scheduler<Inline<3, 2>>;

/// The models' unit of time: every span is a few of them.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Within how many ticks all tasks end where nothing fails any more. No pause of the models is longer, of
/// a worker or of a task, and none begins after the last fault; then a worker serves, and answers.
const TICKS_TO_END: u32 = 2;
/// Each task is sent and answered, each worker connected or released, and little else is to be done.
const STEPS_TO_END: u32 = 32;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A task by its number among the model's.
    Submit(u8),
    Cancel(u32),
    Add(Route),
    Remove(u32),
    Accept(u32, Offer),
    Connected(u32, Offer),
    Refused(u32),
    Lost(u32, Loss),
    Draining(u32),
    Busy(u32),
    Ready(u32),
    Heard(u32),
    Moving(u32),
    Replied(u32, Verdict),
    Useless(u32, Useless),
    /// A task of which one more part is done.
    Progress(u32),
    /// A worker that is back names a task, and then has named all.
    Kept(u32),
    Listed(u32),
    /// A queue is stopped, or let go on.
    Pause(u8, bool),
    Drain,
    Tick,
    /// One action only is polled: where the caller is slow.
    Poll,
}

/// What may happen in a model, and what it begins with.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) config: Config,
    /// Its queues; none for a pool that is made without.
    pub(super) queues: &'static [QueueOptions],
    pub(super) routes: [Route; 2],
    pub(super) offers: &'static [Offer],
    /// What is submitted where there is room.
    pub(super) tasks: &'static [TaskOptions],
    pub(super) tasks_max: u32,
    pub(super) verdicts: &'static [Verdict],
    pub(super) useless: &'static [Useless],
    /// Which other steps there are.
    pub(super) others: &'static [Other],
    /// Whether the caller polls all actions after each step, or may be slow.
    pub(super) polls_all: bool,
    /// With how many tasks at once all of its states are looked at, whatever `STATES` says.
    pub(super) complete_with: u32,
}

/// Steps that a model has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    Cancel,
    Refuse,
    Break,
    /// Links break, and their workers come back with what they held, or part of it, or do not.
    Away,
    Stop,
    Drain,
    Busy,
    Hear,
    Move,
    /// Attempts make progress, in three parts.
    Progress,
    Remove,
    Add,
    Shut,
    /// Queues are stopped and let go on.
    Pause,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: u64,
    /// Whether there is no state that was not gone on from.
    pub(super) is_all: bool,
    pub(super) deepest: u32,
    /// The most ticks that it took to the end of all tasks.
    pub(super) ticks: u32,
    /// What was decided on the way, in one word each.
    pub(super) seen: BTreeSet<&'static str>,
}

impl Model {
    fn has(&self, other: Other) -> bool {
        self.others.contains(&other)
    }

    fn first(&self) -> Engine {
        let mut engine: Engine = Scheduler::new(Inline::new(), self.config).unwrap();
        if !self.queues.is_empty() {
            // With fewer slots than a caller may have for so many.
            engine.lend().begin_lines(self.queues);
        }
        // Not at the epoch, so that what never was is long ago.
        let now = Instant::from_millis(1_000);
        for route in self.routes {
            engine.add_worker(now, route).unwrap();
        }
        engine
    }

    /// Goes on from every state to all that follow, until there are `states_max`.
    pub(super) fn search(&self, states_max: usize) -> Found {
        let began = Clock::now();
        let mut found = Found::default();
        let mut engine = self.first();
        if self.polls_all {
            while engine.poll_action().is_some() {}
        }
        let root = digest(&engine);
        let mut came_from = HashMap::from([(root, (root, Step::Poll))]);
        let mut level = vec![(root, engine)];
        while !level.is_empty() && came_from.len() < states_max {
            let mut next = Vec::new();
            let mut is_cut = false;
            for (from, engine) in &level {
                is_cut |= came_from.len() >= states_max;
                if is_cut {
                    break;
                }
                for step in self.steps(engine) {
                    let trail = Trail { came_from: &came_from, from: *from, step, root };
                    let mut engine = engine.clone();
                    self.take(&mut engine, step, &mut found);
                    let to = digest(&engine);
                    found.steps += 1;
                    if came_from.contains_key(&to) {
                        continue;
                    }
                    self.refuse_strangers(&engine, to);
                    found.ticks = found.ticks.max(self.end(engine.clone()));
                    drop(trail);
                    came_from.insert(to, (*from, step));
                    next.push((to, engine));
                }
            }
            found.deepest += u32::from(!next.is_empty());
            found.is_all = next.is_empty() && !is_cut;
            level = next;
        }
        found.states = came_from.len();
        self.tell(&found, began.elapsed());
        found
    }

    fn tell(&self, found: &Found, took: Duration) {
        let Found { states, steps, deepest, ticks, .. } = found;
        let all = if found.is_all { "all there are" } else { "not all there are" };
        println!(
            "{}, up to {} tasks: {states} states, {all}; {steps} steps, {deepest} deep; at most {ticks} ticks to the \
             end; {:.1} s",
            self.name,
            self.tasks_max,
            took.as_secs_f64()
        );
    }

    /// Returns what may happen in a state.
    fn steps(&self, engine: &Engine) -> Vec<Step> {
        let (tasks, workers) = engine.storage.slots();
        let used = tasks.len() - engine.room();
        let mut steps = Vec::new();
        let wakes = engine.poll_timeout();
        let has_work = wakes.is_some_and(|at| at <= engine.state.clock);
        if has_work && !self.polls_all {
            steps.push(Step::Poll);
        }
        if !has_work {
            steps.push(Step::Tick);
        }
        if used < self.tasks_max as usize && !engine.is_draining() {
            steps.extend((0..).zip(self.tasks).map(|(number, _)| Step::Submit(number)));
        }
        for (task, slot) in (0..).zip(tasks) {
            let is_open = !matches!(
                slot.state,
                TaskState::Free
                    | TaskState::Finished(_)
                    | TaskState::Withdrawing
                    | TaskState::Second
            );
            if self.has(Other::Cancel) && is_open {
                steps.push(Step::Cancel(task));
            }
            let is_there = || workers[wide(slot.worker) as usize].phase.is_up();
            if slot.state.is_held() && is_there() {
                if slot.kept != Kept::No {
                    steps.push(Step::Kept(task));
                }
                steps.extend(self.verdicts.iter().map(|&verdict| Step::Replied(task, verdict)));
                steps.extend(self.useless.iter().map(|&why| Step::Useless(task, why)));
                let own = slot.is_timed().then(|| engine.state.own.of(task as usize));
                if self.has(Other::Progress) && own.is_none_or(|(_, [.., done], _)| done < 3) {
                    steps.push(Step::Progress(task));
                }
            }
        }
        for (at, slot) in (0..).zip(workers) {
            self.steps_of(engine, at, slot, &mut steps);
        }
        if self.has(Other::Add) && workers.iter().any(|slot| slot.phase == LinkPhase::Free) {
            steps.extend([Step::Add(Route::Dial), Step::Add(Route::Await)]);
        }
        if self.has(Other::Shut) && !engine.is_draining() {
            steps.push(Step::Drain);
        }
        for queue in self.queues_of() {
            let stats = engine.queue_stats(QueueId::new(queue)).unwrap();
            if self.has(Other::Pause) {
                steps.push(Step::Pause(queue, !stats.is_paused));
            }
        }
        steps
    }

    fn queues_of(&self) -> core::ops::Range<u8> {
        0..u8::try_from(self.queues.len().max(1)).unwrap()
    }

    /// Adds what may happen to a worker.
    fn steps_of(&self, engine: &Engine, at: u32, slot: &WorkerSlot, steps: &mut Vec<Step>) {
        let is_member = engine.state.members.contains(engine.storage.slots().1, at);
        if self.has(Other::Remove) && is_member && slot.phase != LinkPhase::Free {
            steps.push(Step::Remove(at));
        }
        let is_there = !matches!(slot.phase, LinkPhase::Free | LinkPhase::Leaving);
        if slot.route == Route::Await && is_member && is_there && !engine.is_draining() {
            // A second one of the same name, where the first is still there.
            steps.extend(self.offers.iter().map(|&offer| Step::Accept(at, offer)));
        }
        match slot.phase {
            LinkPhase::Connecting => {
                steps.extend(self.offers.iter().map(|&offer| Step::Connected(at, offer)));
                if self.has(Other::Refuse) {
                    steps.push(Step::Refused(at));
                }
            }
            LinkPhase::Up(duty) => {
                let mut may = |other, step| {
                    if self.has(other) {
                        steps.push(step);
                    }
                };
                may(Other::Break, Step::Lost(at, Loss::Broken));
                may(Other::Away, Step::Lost(at, Loss::Away));
                if slot.kept() > 0 {
                    may(Other::Away, Step::Listed(at));
                }
                may(Other::Stop, Step::Lost(at, Loss::Stopped));
                may(Other::Hear, Step::Heard(at));
                may(Other::Move, Step::Moving(at));
                if duty != Duty::Draining {
                    may(Other::Drain, Step::Draining(at));
                    let busy = duty == Duty::Busy;
                    may(Other::Busy, if busy { Step::Ready(at) } else { Step::Busy(at) });
                }
            }
            _ => {}
        }
    }

    /// Takes a step, checks all invariants after each call, and what comes out of it.
    fn take(&self, engine: &mut Engine, step: Step, found: &mut Found) {
        act(self, engine, step);
        engine.check();
        let mut polls = if self.polls_all { u32::MAX } else { u32::from(step == Step::Poll) };
        while polls > 0 {
            let Some(action) = engine.poll_action() else { break };
            engine.check();
            polls -= 1;
            self.judge(step, action);
            found.seen.insert(kind_of(action));
        }
        if self.polls_all {
            assert!(engine.is_work_conserving(), "a task waits beside a worker with room");
            let wakes = engine.poll_timeout();
            assert!(wakes.is_none_or(|at| at > engine.state.clock), "due, and nothing to do");
            assert_eq!(engine.state.settled(), 0, "an outcome was not told");
            let (tasks, _) = Storage::slots(&engine.storage);
            for (at, slot) in (0..).zip(tasks) {
                let why = engine.waits(slot.id(at));
                let is_kept = !matches!(why, Some(Waits::Turn | Waits::Stopping));
                assert!(is_kept, "nothing to do, and {why:?} is all that keeps a task");
            }
        }
    }

    /// Says whether an outcome may follow from a step.
    fn judge(&self, step: Step, action: Action) {
        let Action::Finish { outcome, .. } = action else { return };
        if !self.polls_all {
            return;
        }
        let may = match outcome {
            Outcome::Done => matches!(step, Step::Replied(_, Verdict::Done)),
            Outcome::Failed => matches!(
                step,
                Step::Replied(_, Verdict::Failed)
                    | Step::Useless(
                        _,
                        Useless::Final | Useless::Permanent | Useless::RetryAfter(_)
                    )
            ),
            Outcome::Cancelled => matches!(step, Step::Cancel(_)),
            // Whoever holds it breaks, is silent, answers too late or with what is of no use.
            Outcome::Exhausted => match step {
                // Another worker in its place, or none, ends a grace.
                Step::Connected(..) | Step::Accept(..) | Step::Refused(_) => self.has(Other::Away),
                Step::Lost(_, Loss::Broken | Loss::Away) | Step::Tick => true,
                step => matches!(step, Step::Useless(_, Useless::Unusable)),
            },
            Outcome::Bounced => !matches!(step, Step::Submit(_) | Step::Cancel(_)),
            Outcome::Aborted => self.has(Other::Shut),
            Outcome::TimedOut => matches!(step, Step::Tick | Step::Submit(_)),
        };
        assert!(may, "{action:?} after {step:?}");
    }

    /// Answers that are late, doubled, foreign or of a link that is over change nothing.
    fn refuse_strangers(&self, engine: &Engine, digest_before: u128) {
        let mut engine = engine.clone();
        let now = engine.state.clock;
        let links = links_of(&engine);
        for task in ids_of(&engine) {
            for &(at, link, is_up) in &links {
                let old = Link::new(link.worker(), link.epoch().wrapping_sub(1));
                let none = answer(old, task, 1);
                assert!(engine.handle_event(now, none).is_err(), "an answer of an older link");
                // An answer is a sign of life, wherever heartbeats are watched.
                if !is_up || self.has(Other::Hear) {
                    continue;
                }
                for (id, attempt) in strange(&engine, at, task) {
                    let error = engine.handle_event(now, answer(link, id, attempt));
                    assert!(error.is_err(), "{id:?}, attempt {attempt} was not on {link:?}");
                }
            }
        }
        engine.check();
        assert!(digest(&engine) == digest_before, "what was refused changed something");
    }

    /// Goes on without faults until every task has its outcome; returns how many ticks that took.
    fn end(&self, mut engine: Engine) -> u32 {
        let began = engine.state.clock;
        if self.has(Other::Pause) {
            self.queues_of().for_each(|queue| act(self, &mut engine, Step::Pause(queue, false)));
        }
        for _ in 0..STEPS_TO_END {
            while engine.poll_action().is_some() {}
            if engine.is_idle() && (!engine.is_draining() || engine.is_drained()) {
                let ticks = engine.state.clock.saturating_since(began).as_millis();
                let ticks = u32::try_from(ticks).unwrap();
                assert!(ticks <= TICKS_TO_END, "it took {ticks} ticks to the end");
                return ticks;
            }
            if let Some(step) = self.mend(&engine) {
                act(self, &mut engine, step);
                continue;
            }
            let wakes = engine.poll_timeout().expect("tasks are left, and nothing to come");
            assert!(wakes > engine.state.clock, "due, and nothing to do");
            engine.handle_timeout(wakes);
        }
        panic!("no end after {STEPS_TO_END} steps without a fault: {:?}", engine.stats());
    }

    /// Returns what happens next where everything works.
    fn mend(&self, engine: &Engine) -> Option<Step> {
        let workers = engine.storage.slots().1;
        let offer = self.offers[0];
        for (at, slot) in (0..).zip(workers) {
            let oldest = slot.held.head();
            match slot.phase {
                LinkPhase::Connecting => return Some(Step::Connected(at, offer)),
                LinkPhase::Absent if !engine.is_draining() => return Some(Step::Accept(at, offer)),
                LinkPhase::Up(Duty::Busy) => return Some(Step::Ready(at)),
                LinkPhase::Up(_) if oldest.is_some() => {
                    return oldest.map(|task| Step::Replied(task, Verdict::Done));
                }
                _ => {}
            }
        }
        let is_unserved = |&task: &TaskId| engine.waits(task) == Some(Waits::NotServed);
        if ids_of(engine).iter().any(is_unserved) {
            // Its worker comes back, and says that it serves all.
            let up = (0..).zip(workers).find(|(_, slot)| slot.phase.is_up());
            return up.map(|(at, _)| Step::Lost(at, Loss::Broken));
        }
        let is_free = |slot: &WorkerSlot| slot.phase == LinkPhase::Free;
        let has_none = engine.state.members.is_empty() && !engine.is_draining();
        (has_none && workers.iter().any(is_free)).then_some(Step::Add(Route::Dial))
    }
}

/// Carries a step out.
fn act(model: &Model, engine: &mut Engine, step: Step) {
    let now = engine.state.clock;
    let (tasks, workers) = engine.storage.slots();
    let link = |at: u32| workers[at as usize].link(at);
    let held = |task: u32| {
        let slot = &tasks[task as usize];
        (link(wide(slot.worker)), engine.state.named(tasks, task), slot.attempts)
    };
    let event = match step {
        Step::Submit(number) => {
            let options = options_from(now, model.tasks[usize::from(number)]);
            engine.submit_with(now, options).unwrap();
            return;
        }
        Step::Cancel(task) => {
            let id = tasks[task as usize].id(task);
            return engine.cancel(now, id).unwrap();
        }
        Step::Add(route) => {
            engine.add_worker(now, route).unwrap();
            return;
        }
        Step::Remove(at) => {
            let id = link(at).worker();
            return engine.remove_worker(now, id).unwrap();
        }
        Step::Accept(at, offer) => {
            let id = link(at).worker();
            engine.accept(now, id, offer, Instant::EPOCH).unwrap();
            return;
        }
        Step::Pause(queue, true) => return engine.pause(now, QueueId::new(queue)).unwrap(),
        Step::Pause(queue, false) => return engine.resume(now, QueueId::new(queue)).unwrap(),
        Step::Drain => return engine.drain(now, now.saturating_add(TICK * 2)),
        Step::Tick => return engine.handle_timeout(now.saturating_add(TICK)),
        Step::Poll => return,
        Step::Connected(at, offer) => Event::Connected { link: link(at), offer },
        Step::Refused(at) => Event::Refused { link: link(at) },
        Step::Lost(at, how) => Event::Lost { link: link(at), how },
        Step::Draining(at) => Event::Draining { link: link(at) },
        Step::Busy(at) => Event::Busy { link: link(at) },
        Step::Ready(at) => Event::Ready { link: link(at) },
        Step::Heard(at) => Event::Heard { link: link(at) },
        Step::Moving(at) => Event::Moving { link: link(at), until: now.saturating_add(TICK * 2) },
        Step::Replied(task, verdict) => {
            let (link, task, attempt) = held(task);
            Event::Replied { link, task, attempt, verdict }
        }
        Step::Progress(task) => {
            let slot = &tasks[task as usize];
            let done = if slot.is_timed() { engine.state.own.of(task as usize).1[2] } else { 0 };
            let (link, task, attempt) = held(task);
            Event::Progress { link, task, attempt, done: done + 1 }
        }
        Step::Kept(task) => {
            let (link, task, attempt) = held(task);
            Event::Kept { link, task, attempt }
        }
        Step::Listed(at) => Event::Listed { link: link(at) },
        Step::Useless(task, why) => {
            let (link, task, attempt) = held(task);
            Event::Useless { link, task, attempt, why }
        }
    };
    engine.handle_event(now, event).unwrap();
}

/// Returns a task's options now: a model's deadlines are from now on.
fn options_from(now: Instant, options: TaskOptions) -> TaskOptions {
    if options.deadline == Instant::FAR_FUTURE {
        return options;
    }
    let from_now = Duration::from_nanos(options.deadline.as_nanos());
    options.deadline(now.saturating_add(from_now))
}

fn answer(link: Link, task: TaskId, attempt: u16) -> Event {
    Event::Replied { link, task, attempt, verdict: Verdict::Done }
}

fn ids_of(engine: &Engine) -> Vec<TaskId> {
    (0..).zip(engine.storage.slots().0).map(|(task, slot)| slot.id(task)).collect()
}

/// Returns each worker's slot, its link and whether that is up.
fn links_of(engine: &Engine) -> Vec<(u32, Link, bool)> {
    let of = |(at, slot): (u32, &WorkerSlot)| (at, slot.link(at), slot.phase.is_up());
    (0..).zip(engine.storage.slots().1).map(of).collect()
}

/// Returns attempts of a task's slot that a worker does not hold.
fn strange(engine: &Engine, at: u32, task: TaskId) -> Vec<(TaskId, u16)> {
    let slot = &engine.storage.slots().0[task.slot() as usize];
    let (generation, attempt) = (task.generation(), slot.attempts);
    let of = |generation| TaskId::from_parts(task.slot(), generation);
    let mut strange = vec![
        (of(generation.wrapping_sub(1)), attempt),
        (of(generation.wrapping_add(1)), attempt),
        (task, attempt.wrapping_sub(1)),
        (task, attempt + 1),
        (TaskId::from_parts(u32::MAX, generation), attempt),
    ];
    if slot.state != TaskState::InFlight || wide(slot.worker) != at {
        strange.push((task, attempt));
    }
    // The other one of two attempts may be that worker's.
    strange.retain(|&(id, attempt)| {
        engine
            .second_holder(id)
            .is_none_or(|(worker, other)| (worker.slot(), other) != (at, attempt))
    });
    strange
}

/// Names what was decided, in the words of what each model must come by.
fn kind_of(action: Action) -> &'static str {
    match action {
        Action::Connect { .. } => "connect",
        Action::Disconnect { reason: Reason::ConnectTimeout, .. } => "never connected",
        Action::Disconnect { reason: Reason::Silent, .. } => "silent",
        Action::Disconnect { reason: Reason::Strikes, .. } => "struck out",
        Action::Disconnect { reason: Reason::Drained, .. } => "closed as drained",
        Action::Disconnect { reason: Reason::Stopped, .. } => "closed at the end",
        Action::Send { attempt: 1, .. } => "sent",
        Action::Send { .. } => "sent again",
        Action::Withdraw { .. } => "withdrawn",
        Action::Look { .. } => "looked at",
        Action::Ping { .. } => "pinged",
        Action::Suspend { .. } => "suspended",
        Action::Gone { .. } => "gone",
        Action::Finish { outcome, .. } => match outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Exhausted => "exhausted",
            Outcome::Bounced => "bounced",
            Outcome::Cancelled => "cancelled",
            Outcome::Aborted => "aborted",
            Outcome::TimedOut => "timed out",
        },
    }
}

/// Prints how a state was come to, if what follows panics.
struct Trail<'a> {
    came_from: &'a HashMap<u128, (u128, Step)>,
    from: u128,
    step: Step,
    root: u128,
}

impl Drop for Trail<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (mut steps, mut at) = (vec![self.step], self.from);
        while at != self.root {
            let (before, step) = self.came_from[&at];
            steps.push(step);
            at = before;
        }
        steps.reverse();
        println!("the shortest way there: {steps:#?}");
    }
}
