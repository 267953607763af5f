//! Second attempts: a task has the data of one attempt, and of another one beside it.
//!
//! Which of the two it is that the task has as its own says nothing here: whoever speaks of one has it turned up
//! first. Only where attempts with times of their own are due at the same time, the engine's slots say which is
//! first.

use chargehand_core::{Hedge, Instant, TaskId};

use super::choice::{log, power};
use super::poll::ModelStep;
use super::returned::Blame;
use super::types::Act;
use super::{Model, TaskState, narrow};

const MILLISECOND: u64 = 1_000_000;

/// What there is of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    number: u16,
    state: TaskState,
    kept: bool,
    had_begun: bool,
    done: u64,
    looked: Option<Instant>,
    /// Which slot of the engine's has it.
    key: usize,
}

/// What is known of a task that may have two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twice {
    hedge: Hedge,
    /// When it was sent and no other attempt was under way.
    since: Instant,
    blamed: bool,
    /// When it is looked at.
    pub(super) at: Option<Instant>,
    key: usize,
    place: usize,
    pub(super) second: Option<Live>,
}

/// Of whom a worker is told that it is not wanted any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Task(usize),
    /// The second attempt of a task, which may be over by then; and its place.
    Second(TaskId, u16, usize),
}

impl Twice {
    pub(super) fn new(hedge: Hedge, slot: usize) -> Self {
        let (since, at, second) = (Instant::EPOCH, None, None);
        Self { hedge, since, blamed: false, at, key: slot, place: 0, second }
    }
}

impl Model {
    /// Whether a task has a second attempt, and which worker holds it.
    fn second_at(&self, slot: usize) -> Option<usize> {
        let second = self.tasks[slot].twice?.second?;
        let TaskState::InFlight { worker, .. } = second.state else { panic!("under way") };
        Some(worker)
    }

    /// Has a task's attempt at a worker be its own.
    pub(super) fn turn_to(&mut self, worker: usize, slot: usize) {
        if self.second_at(slot) != Some(worker) {
            return;
        }
        let task = &mut self.tasks[slot];
        let twice = task.twice.as_mut().expect("it has two");
        let mut other = twice.second.expect("it has two");
        std::mem::swap(&mut task.attempts, &mut other.number);
        std::mem::swap(&mut task.state, &mut other.state);
        std::mem::swap(&mut task.kept, &mut other.kept);
        std::mem::swap(&mut task.had_begun, &mut other.had_begun);
        std::mem::swap(&mut twice.key, &mut other.key);
        twice.second = Some(other);
        if let Some(times) = &mut task.times {
            let (done, looked) = times.of_attempt();
            std::mem::swap(done, &mut other.done);
            std::mem::swap(looked, &mut other.looked);
            twice.second = Some(other);
        }
    }

    /// Has the attempt be a task's own that the engine has in the task's slot.
    pub(super) fn turn_to_own(&mut self, slot: usize) {
        let Some(twice) = self.tasks[slot].twice else { return };
        if twice.key != slot && twice.second.is_some() {
            let worker = self.second_at(slot).expect("the other one");
            self.turn_to(worker, slot);
        }
    }

    /// All attempts that are under way of a task, by the engine's slot: the worker, whether it is kept, and where
    /// it is in flight.
    pub(super) fn live_of(&self, slot: usize) -> Vec<(usize, TaskState, bool)> {
        let task = &self.tasks[slot];
        let own = (task.twice.map_or(slot, |twice| twice.key), task.state, task.kept);
        let second = task.twice.and_then(|twice| twice.second);
        let mut all = vec![own];
        all.extend(second.map(|second| (second.key, second.state, second.kept)));
        all
    }

    /// The attempt of a task at a worker.
    pub(super) fn live_at(&self, worker: usize, slot: usize) -> (usize, TaskState, bool) {
        let mut all = self.live_of(slot).into_iter();
        all.find(|(_, state, _)| matches!(state, TaskState::InFlight { worker: at, .. } if *at == worker))
            .expect("it is held there")
    }

    /// The number of a task's attempt at a worker, and whether that is of an earlier link.
    pub(crate) fn held_at(&self, worker: usize, slot: usize) -> (u16, bool) {
        let task = &self.tasks[slot];
        match (self.second_at(slot), task.twice.and_then(|twice| twice.second)) {
            (Some(at), Some(second)) if at == worker => (second.number, second.kept),
            _ => (task.attempts, task.kept),
        }
    }

    /// The worker and the number of the second attempt, as the engine has it.
    pub(crate) fn holders(&self, id: TaskId) -> [Option<(u32, u16)>; 2] {
        let slot = id.slot() as usize;
        if slot >= self.tasks.len() || self.id(slot) != id {
            return [None, None];
        }
        let task = &self.tasks[slot];
        let of = |state: TaskState, number: u16| match state {
            TaskState::InFlight { worker, .. } => Some((narrow(worker), number)),
            _ => None,
        };
        let own = of(task.state, task.attempts);
        let Some(twice) = task.twice else { return [own, None] };
        let second = twice.second.and_then(|second| of(second.state, second.number));
        if twice.key == slot { [own, second] } else { [second, own] }
    }

    /// Whether an answer of a worker is about the second attempt; whether it would be, were it that worker's.
    pub(super) fn is_second(&self, worker: usize, slot: usize, number: u16) -> (bool, bool) {
        let second = self.tasks[slot].twice.and_then(|twice| twice.second);
        let is_it = second.is_some_and(|second| second.number == number);
        (is_it && self.second_at(slot) == Some(worker), is_it)
    }

    /// How long attempts of a task are left alone.
    fn hedges_after(&self, slot: usize) -> Option<u64> {
        let hedge = self.tasks[slot].twice.expect("it is hedged").hedge;
        if let Some(span) = hedge.span() {
            return Some(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        }
        let took = self.took.get(&self.tasks[slot].queue)?;
        if took.len() < 20 {
            return None;
        }
        let mut logs: Vec<i64> = took.iter().map(|&nanos| log(nanos) * 16).collect();
        let rest = logs.split_off(20);
        logs.sort_unstable();
        let mut quantile = logs[18];
        for (count, log) in (20..).zip(rest) {
            let step = 11
                * if count < 100 {
                    8
                } else if count < 200 {
                    4
                } else if count < 400 {
                    2
                } else {
                    1
                };
            quantile = if log > quantile { quantile + 19 * step } else { (quantile - step).max(0) };
        }
        Some(u64::try_from(power(quantile / 16)).unwrap())
    }

    /// Begins with an attempt of a task that has no other one.
    pub(super) fn begin_twice(&mut self, slot: usize) {
        if self.tasks[slot].twice.is_none() {
            return;
        }
        let after = self.hedges_after(slot).unwrap_or(MILLISECOND);
        let at = Instant::from_nanos(self.clock.as_nanos().saturating_add(after));
        let is_suspect = self.tasks[slot].suspect;
        let twice = self.tasks[slot].twice.as_mut().expect("just seen");
        (twice.since, twice.at) = (self.clock, (!is_suspect).then_some(at));
    }

    fn look_again(&mut self, slot: usize) {
        let now = self.clock;
        let twice = self.tasks[slot].twice.as_mut().expect("it is hedged");
        let elapsed = now.as_nanos() - twice.since.as_nanos();
        let wait = (elapsed / 4).max(MILLISECOND);
        twice.at = Some(Instant::from_nanos(now.as_nanos().saturating_add(wait)));
    }

    /// An attempt that was put down decides nothing while there is another one.
    pub(super) fn goes_on(&mut self, slot: usize, blame: Option<Blame>) -> bool {
        let task = &mut self.tasks[slot];
        let latest = task.latest;
        let Some(twice) = &mut task.twice else { return false };
        match blame {
            // It was answered.
            None => twice.blamed = false,
            Some(blame) => twice.blamed |= blame == Blame::Suspect && twice.second.is_some(),
        }
        let Some(second) = twice.second.take() else {
            task.attempts = latest;
            task.suspect |= std::mem::take(&mut twice.blamed);
            return false;
        };
        (task.attempts, task.state) = (second.number, second.state);
        (task.kept, task.had_begun) = (second.kept, second.had_begun);
        twice.key = slot;
        let place = twice.place;
        if let Some(times) = &mut task.times {
            let (done, looked) = times.of_attempt();
            (*done, *looked) = (second.done, second.looked);
        }
        task.losses += u16::from(blame.is_some_and(|blame| blame != Blame::Nobody));
        self.places.push(place);
        self.look_again(slot);
        self.note(match blame {
            None => "one of two attempts failed",
            Some(Blame::Nobody) => "one of two attempts came back",
            Some(Blame::Late) => "one of two attempts was late or of no use",
            Some(Blame::Suspect) => "one of two attempts was lost",
        });
        true
    }

    /// The task ends: its other attempt is withdrawn.
    pub(super) fn part_twice(&mut self, slot: usize) {
        let Some(worker) = self.second_at(slot) else { return };
        let id = self.id(slot);
        let twice = self.tasks[slot].twice.as_mut().expect("it has two");
        let second = twice.second.take().expect("it has two");
        let place = twice.place;
        let is_away = self.is_away(worker);
        self.workers[worker].held.retain(|&other| other != slot);
        self.touch(worker);
        let _ = self.note_end(worker, slot);
        if is_away {
            self.note("the other attempt was at a worker that is away");
            self.places.push(place);
            return;
        }
        self.note("the other attempt was withdrawn");
        self.workers[worker].withdrawn.push_back(Told::Second(id, second.number, place));
        self.put_on_list(worker);
        self.close_if_drained(worker);
    }

    /// A task is done: how long that took is known of its kind.
    pub(super) fn win_twice(&mut self, slot: usize) {
        let task = &self.tasks[slot];
        let Some(twice) = task.twice else { return };
        let took = self.clock.as_nanos() - twice.since.as_nanos();
        self.took.entry(task.queue).or_default().push(took);
        if let Some(second) = twice.second {
            if task.attempts > second.number {
                self.counters.hedge_wins += 1;
                self.note("a second attempt was first");
            } else {
                self.note("a first attempt was first");
            }
        }
    }

    /// What is left of the budget, from the beginning, in thousandths.
    fn budget(&self) -> u64 {
        let budget = self.config.hedge_budget;
        let most = u64::from(budget.saved_max) * 1000;
        let (mut left, mut before) = (most, 0);
        let fill = |left: u64, sends: u64| most.min(left + sends * u64::from(budget.per_thousand));
        for &sent in &self.hedged_at {
            left = fill(left, sent - before).saturating_sub(1000);
            before = sent;
        }
        fill(left, self.counters.sent - self.counters.hedged - before)
    }

    /// Looks at the task whose attempt takes longer than most, and sends another one if that may be.
    pub(super) fn hedge_one(&mut self) -> ModelStep {
        let at = |slot: usize| Some((self.tasks[slot].twice?.at?, slot));
        let first = (0..self.tasks.len()).filter_map(at).min();
        let Some((_, slot)) = first.filter(|&(at, _)| self.is_due(at)) else {
            return ModelStep::Nothing;
        };
        let task = &self.tasks[slot];
        let twice = task.twice.expect("it is hedged");
        let uncounted = task.latest - task.failures - task.losses;
        if twice.blamed
            || task.losses + 2 > self.config.attempts_max
            || uncounted >= self.config.resends_max
        {
            self.note("a task is not hedged since it could end by that");
            self.tasks[slot].twice.as_mut().expect("just seen").at = None;
            return ModelStep::Again;
        }
        let elapsed = self.clock.as_nanos() - twice.since.as_nanos();
        let after = self.hedges_after(slot);
        if let Some(after) = after.filter(|&after| elapsed < after) {
            let at = Instant::from_nanos(twice.since.as_nanos().saturating_add(after));
            self.tasks[slot].twice.as_mut().expect("just seen").at = Some(at);
            return ModelStep::Again;
        }
        let worker = after.and_then(|after| self.second_worker(slot, elapsed, after));
        let Some(worker) = worker else {
            self.look_again(slot);
            return ModelStep::Again;
        };
        self.send_second(slot, worker)
    }

    fn second_worker(&mut self, slot: usize, elapsed: u64, after: u64) -> Option<usize> {
        let (queue, state) = (self.tasks[slot].queue, self.tasks[slot].state);
        let TaskState::InFlight { worker: first, .. } = state else { panic!("under way") };
        if self.places.is_empty() {
            self.note("no slot for a second attempt");
            return None;
        }
        if self.barred(queue).is_some() {
            self.note("a queue may not send a second attempt");
            return None;
        }
        let worker = self.next_worker(queue, true, Some(first))?;
        let place = self.workers[worker].held.len() + 1;
        if self.judges() && self.expected(worker, place) > u128::from(elapsed) {
            self.note("a second attempt would take too long");
            return None;
        }
        let saved = u64::from(self.config.hedge_budget.saved_max / 2);
        if self.budget() < 1000 {
            self.note("no budget for a second attempt");
            return None;
        }
        if self.budget() < 1000 * (saved + 1) && elapsed / 2 < after {
            self.note("the rest of the budget is for those that are stuck");
            return None;
        }
        Some(worker)
    }

    fn send_second(&mut self, slot: usize, worker: usize) -> ModelStep {
        self.note("a second attempt was sent");
        self.hedged_at.push(self.counters.sent - self.counters.hedged);
        let order = self.next_order();
        let timeout = self.attempt_timeout(slot);
        let deadline = self.clock.saturating_add(timeout);
        let state = TaskState::InFlight { worker, sent: self.clock, deadline, order };
        let place = self.places.pop().expect("there is one");
        let key = self.tasks.len() + place;
        let task = &mut self.tasks[slot];
        task.latest += 1;
        let (kept, had_begun, done, looked) = (false, false, 0, None);
        let number = task.latest;
        let twice = task.twice.as_mut().expect("it is hedged");
        (twice.at, twice.place) = (None, place);
        twice.second = Some(Live { number, state, kept, had_begun, done, looked, key });
        let queue = task.queue;
        self.count_second(queue);
        (self.counters.sent, self.counters.resent) =
            (self.counters.sent + 1, self.counters.resent + 1);
        self.counters.hedged += 1;
        self.workers[worker].held.push(slot);
        self.touch(worker);
        self.note_sent(worker, slot);
        self.count_for_pace(worker);
        ModelStep::Emit(Act::Send(self.link(worker), self.id(slot), number))
    }
}
