//! Tasks that came back: each goes to another worker than its last one if it can, and no worker gets
//! two suspects at once.
//!
//! They wait in the slot of the worker that they came back from, in order, so that those that may go
//! to a given worker are found without a search: they are all but its own. Suspects, which may have
//! ended a link, wait apart, since they may go to fewer workers.

use super::engine::{Engine, State};
use super::index::{NONE, wide};
use super::list::{Chain, Links, List, chain};
use super::slot::{Queue, TaskSlot, TaskState, WorkerSlot};
use crate::event::Lane;
use crate::time::Instant;

/// How many lanes take turns: those of new tasks, what came back, and suspects.
const LANES: u8 = 4;
const RETURNED: u8 = 2;
const SUSPECTS: u8 = 3;

/// The tasks of one class that came back from one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ward {
    pub(super) tasks: List<Queue>,
    /// Among the workers that have such tasks.
    links: Links,
}

impl Ward {
    pub(super) const fn new() -> Self {
        Self { tasks: List::new(), links: Links::OUT }
    }
}

chain! {
    /// Workers from which tasks came back that are no suspects.
    Plain: WorkerSlot, plain.links
}
chain! {
    /// Workers from which suspects came back.
    Suspects: WorkerSlot, suspects.links
}

/// One class of tasks that came back.
trait Class: Chain<Slot = WorkerSlot> + Sized {
    fn holders(state: &State) -> List<Self>;
    fn holders_mut(state: &mut State) -> &mut List<Self>;
    fn ward(slot: &mut WorkerSlot) -> &mut Ward;
    fn head(slot: &WorkerSlot) -> Option<u32>;
    /// Returns the worker that is next to get one, and the one that is next without `worker`.
    fn next(state: &State, workers: &[WorkerSlot]) -> Option<u32>;
    fn next_but(state: &State, workers: &[WorkerSlot], worker: u32) -> Option<u32>;
}

impl Class for Plain {
    fn holders(state: &State) -> List<Self> {
        state.plain
    }
    fn holders_mut(state: &mut State) -> &mut List<Self> {
        &mut state.plain
    }
    fn ward(slot: &mut WorkerSlot) -> &mut Ward {
        &mut slot.plain
    }
    fn head(slot: &WorkerSlot) -> Option<u32> {
        slot.plain.tasks.head()
    }
    fn next(state: &State, workers: &[WorkerSlot]) -> Option<u32> {
        state.balance.next(workers)
    }
    fn next_but(state: &State, workers: &[WorkerSlot], worker: u32) -> Option<u32> {
        state.balance.next_but(workers, worker)
    }
}

impl Class for Suspects {
    fn holders(state: &State) -> List<Self> {
        state.suspects
    }
    fn holders_mut(state: &mut State) -> &mut List<Self> {
        &mut state.suspects
    }
    fn ward(slot: &mut WorkerSlot) -> &mut Ward {
        &mut slot.suspects
    }
    fn head(slot: &WorkerSlot) -> Option<u32> {
        slot.suspects.tasks.head()
    }
    fn next(state: &State, _workers: &[WorkerSlot]) -> Option<u32> {
        state.balance.next_clean()
    }
    fn next_but(state: &State, workers: &[WorkerSlot], worker: u32) -> Option<u32> {
        state.balance.next_clean_but(workers, worker)
    }
}

/// A task that came back and may go now: from whose ward, and to whom.
type Match = (u32, u32);

impl State {
    /// Whether something may be sent now. Only where tasks came back.
    #[cold]
    pub(super) fn can_send_any(&self, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> bool {
        let fresh = self.waiting.iter().any(|lane| !lane.is_empty());
        (fresh && !self.balance.is_empty())
            || self.find::<Plain>(tasks, workers).is_some()
            || self.find::<Suspects>(tasks, workers).is_some()
    }

    /// Finds a task of a class that may go somewhere now. The wards take turns.
    fn find<C: Class>(&self, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> Option<Match> {
        let first = C::holders(self).head()?;
        let next = C::next(self, workers)?;
        if first != next {
            return Some((first, next));
        }
        if let Some(other) = C::next_but(self, workers, first) {
            return Some((first, other));
        }
        if self.may_go_back(tasks, C::head(&workers[first as usize])) {
            return Some((first, next));
        }
        let second = C::links(&workers[first as usize]).next();
        (second != NONE).then_some((second, next))
    }

    /// Whether a task may go to its last worker again.
    fn may_go_back(&self, tasks: &[TaskSlot], task: Option<u32>) -> bool {
        self.serving < 2 || task.is_some_and(|task| self.is_due(tasks[task as usize].due))
    }

    /// Returns when a task may first go back to its last worker, if that is still to come.
    pub(super) fn may_return_at(&self, tasks: &[TaskSlot], slot: &WorkerSlot) -> Instant {
        let heads = [slot.plain.tasks.head(), slot.suspects.tasks.head()];
        let dues = heads.into_iter().flatten().map(|task| tasks[task as usize].due);
        dues.filter(|&due| due > self.clock).fold(Instant::FAR_FUTURE, Instant::min)
    }
}

impl Engine<'_> {
    /// Takes the task whose turn it is, where only new ones wait.
    #[inline]
    pub(super) fn take_fresh(&mut self) -> Option<u32> {
        let [single, bulk] = &mut self.state.waiting;
        let is_bulk = if self.state.turn == Lane::Bulk as u8 {
            !bulk.is_empty()
        } else {
            single.is_empty()
        };
        let lane = if is_bulk { bulk } else { single };
        let task = lane.pop_front(self.tasks)?;
        self.state.turn = u8::from(is_bulk) + 1;
        Some(task)
    }

    /// Takes the task whose turn it is of all that may go now, and says to which worker. `worker`
    /// is the next for new ones.
    #[cold]
    pub(super) fn take_any(&mut self, worker: u32) -> Option<(u32, u32)> {
        for step in 0..LANES {
            let lane = (self.state.turn + step) % LANES;
            let taken = match lane {
                RETURNED => self.take_returned::<Plain>(),
                SUSPECTS => self.take_returned::<Suspects>(),
                _ => {
                    let task = self.state.waiting[usize::from(lane)].pop_front(self.tasks);
                    task.map(|task| (task, worker))
                }
            };
            if taken.is_some() {
                self.state.turn = (lane + 1) % LANES;
                return taken;
            }
        }
        None
    }

    fn take_returned<C: Class>(&mut self) -> Option<(u32, u32)> {
        let (holder, worker) = self.state.find::<C>(self.tasks, self.workers)?;
        let task = C::head(&self.workers[holder as usize]).expect("a holder has a task");
        self.take_out_of::<C>(holder, task);
        if C::head(&self.workers[holder as usize]).is_some() {
            let holders = C::holders_mut(self.state);
            holders.remove(self.workers, holder);
            holders.push_back(self.workers, holder);
        }
        Some((task, worker))
    }

    /// Keeps a task that came back until it may go to a worker again.
    pub(super) fn keep_returned(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        slot.state = TaskState::Returned;
        slot.due = self.state.clock.saturating_add_nanos(self.state.policy.elsewhere_wait);
        let (holder, is_suspect) = (wide(slot.worker), slot.is_suspect);
        self.state.returned += 1;
        if is_suspect {
            self.put_into::<Suspects>(holder, task);
        } else {
            self.put_into::<Plain>(holder, task);
        }
    }

    fn put_into<C: Class>(&mut self, holder: u32, task: u32) {
        let ward = C::ward(&mut self.workers[holder as usize]);
        let is_first = ward.tasks.is_empty();
        ward.tasks.push_back(self.tasks, task);
        if is_first {
            C::holders_mut(self.state).push_back(self.workers, holder);
            self.arm_return(holder);
        }
    }

    /// Sees to it that a worker's timer fires when it may be given its own tasks again.
    fn arm_return(&mut self, holder: u32) {
        if self.workers[holder as usize].line.is_serving() {
            self.arm(holder);
        }
    }

    /// Takes out a task that came back.
    pub(super) fn take_out(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        let holder = wide(slot.worker);
        if slot.is_suspect {
            self.take_out_of::<Suspects>(holder, task);
        } else {
            self.take_out_of::<Plain>(holder, task);
        }
    }

    fn take_out_of<C: Class>(&mut self, holder: u32, task: u32) {
        self.state.returned -= 1;
        let ward = C::ward(&mut self.workers[holder as usize]);
        ward.tasks.remove(self.tasks, task);
        if ward.tasks.is_empty() {
            C::holders_mut(self.state).remove(self.workers, holder);
        } else {
            // The next of its tasks may have longer to wait.
            self.arm_return(holder);
        }
    }

    /// Takes out any task that came back.
    pub(super) fn pop_returned(&mut self) -> Option<u32> {
        let plain = self.state.plain.head().and_then(|at| Plain::head(&self.workers[at as usize]));
        let task = plain.or_else(|| {
            let holder = self.state.suspects.head()?;
            Suspects::head(&self.workers[holder as usize])
        })?;
        self.take_out(task);
        Some(task)
    }
}

/// Checks the wards of all workers, calls `each` with each task and its holder, and returns how many
/// there are.
///
/// # Panics
/// If a ward is not listed, or a task is in the wrong one.
pub(super) fn check(state: &State, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> u32 {
    let mut count = 0;
    let mut listed = [0, 0];
    state.plain.check(workers, |_| listed[0] += 1);
    state.suspects.check(workers, |_| listed[1] += 1);
    for (at, slot) in (0..NONE).zip(workers) {
        for (class, ward) in [&slot.plain, &slot.suspects].into_iter().enumerate() {
            ward.tasks.check(tasks, |task| {
                let task = &tasks[task as usize];
                assert!(task.state == TaskState::Returned, "a task that did not come back is kept");
                assert!(wide(task.worker) == at, "a task came back from another worker");
                assert!(task.is_suspect == (class == 1), "a task is in the other class's ward");
            });
            count += ward.tasks.len();
            if !ward.tasks.is_empty() {
                listed[class] -= 1;
            }
        }
    }
    assert!(listed == [0, 0], "a ward is not listed, or one is that is empty");
    assert!(count == state.returned, "tasks that came back are miscounted");
    count
}
