//! Whose turn it is: which queue sends next, which of its lanes, and to which worker.
//!
//! Each decision looks at every line once. Of those that may send, the class is the most urgent one, unless
//! another is owed its least share; within it the line is next that is least far on, each send moving it on by
//! what its weight says (stride scheduling: Waldspurger and Weihl 1995). How far a line is on counts from the
//! one that was next last, and none is further back than that: so nothing overflows, and a line that had
//! nothing to send, or might not, saves nothing up.

use super::super::returned::{PLAIN, SUSPECTS};
use super::super::slot::{TaskSlot, WorkerSlot};
use super::super::tasks::{SchedulerMut, SchedulerState};
use super::line::Line;
use super::{FREED_LIST, Queues};
use crate::queue::{CLASSES, Rate};

/// What the lanes of a line are: those of new tasks, of what came back, of suspects, and of tasks that had to
/// wait for their key. The first four are as in a pool without queues.
pub(super) const LANES: u8 = 5;
const RETURNED: u8 = 2;
const FREED: u8 = 4;
/// What a class is owed when it is next, whatever is more urgent: in sends, times 100.
const OWED: u16 = 100;
/// What a class is owed at most: it has not been let to send for so long.
const OWED_MAX: u16 = 10 * OWED;

impl SchedulerState {
    /// Whether a line may send something now.
    fn may_send(&self, line: &Line, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> bool {
        if line.ready() == 0 || line.barred(self.clock).is_some() {
            return false;
        }
        self.has_new(line) && self.next_for_new(line, workers).is_some()
            || self.find_queued(line, PLAIN, tasks, workers).is_some()
            || self.find_queued(line, SUSPECTS, tasks, workers).is_some()
    }

    /// Returns which lines may send something now, a bit for each.
    fn sendable(&self, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> u64 {
        let lines = self.queues.lines.iter().enumerate();
        let may = lines.filter(|(_, line)| self.may_send(line, tasks, workers));
        may.fold(0, |all, (at, _)| all | 1 << at)
    }

    /// Whether something may be sent now, where tasks wait in lines.
    pub(in crate::scheduler) fn can_send_queued(
        &self,
        tasks: &[TaskSlot],
        workers: &[WorkerSlot],
    ) -> bool {
        self.sendable(tasks, workers) != 0
    }

    /// Returns the class whose turn it is among those with lines that may send.
    fn next_class(&self, sendable: u64) -> usize {
        let mut may = [false; CLASSES];
        for (at, line) in self.queues.lines.iter().enumerate() {
            may[line.class()] |= sendable & 1 << at != 0;
        }
        let classes = (0..CLASSES).filter(|&class| may[class]);
        let owed = classes.clone().filter(|&class| self.queues.owed[class] >= OWED);
        // The one that is owed most; the more urgent one where it is the same.
        let first = owed.rev().max_by_key(|&class| self.queues.owed[class]);
        first.or_else(|| classes.min()).expect("one may send")
    }

    /// Returns the line whose turn it is in a class.
    fn next_line(&self, class: usize, sendable: u64) -> usize {
        let lines = self.queues.lines.iter().enumerate();
        let may = lines.filter(|(at, line)| line.class() == class && sendable & 1 << at != 0);
        may.min_by_key(|(at, line)| (line.pass, *at)).map(|(at, _)| at).expect("one may send")
    }

    /// Counts a send of a line, of those that might have sent: for the shares of classes and queues, and for
    /// its own rate.
    fn count_send(&mut self, at: usize, sendable: u64) {
        let Self { queues: Queues { lines, owed, .. }, policy, clock, .. } = self;
        let (mut may, mut has) = ([false; CLASSES], [false; CLASSES]);
        for (other, line) in lines.iter().enumerate() {
            may[line.class()] |= sendable & 1 << other != 0;
            has[line.class()] |= line.ready() > 0;
        }
        for class in 0..CLASSES {
            if may[class] {
                owed[class] = (owed[class] + u16::from(policy.class_share_min)).min(OWED_MAX);
            }
            if !has[class] {
                owed[class] = 0;
            }
        }
        let (class, pass) = (lines[at].class(), lines[at].pass);
        owed[class] = owed[class].saturating_sub(OWED);
        for line in lines.iter_mut().filter(|line| line.class() == class) {
            line.pass = line.pass.saturating_sub(pass);
        }
        let line = &mut lines[at];
        line.pass += u64::from(line.options.stride());
        if let Some(rate) = line.options.rate {
            line.full = Rate::take(rate, line.full, *clock);
        }
        line.sent += 1;
    }
}

impl SchedulerMut<'_> {
    /// Takes the task whose turn it is of all that may go now, and says to which worker. O(queues).
    pub(in crate::scheduler) fn take_queued(&mut self) -> Option<(u32, u32)> {
        self.bound_patience();
        let sendable = self.state.sendable(self.tasks, self.workers);
        if sendable == 0 {
            return None;
        }
        let class = self.state.next_class(sendable);
        let at = self.state.next_line(class, sendable);
        self.state.count_send(at, sendable);
        for _ in 0..LANES {
            let lane = self.state.queues.lines[at].turn % LANES;
            self.state.queues.lines[at].turn = lane + 1;
            let found = match lane {
                0 | 1 => self.take_new_of(at, usize::from(lane)),
                FREED => self.take_new_of(at, FREED_LIST),
                _ => self.take_returned_of(at, usize::from(lane - RETURNED)),
            };
            if found.is_some() {
                return found;
            }
        }
        unreachable!("this line may send something")
    }

    fn take_new_of(&mut self, at: usize, list: usize) -> Option<(u32, u32)> {
        let worker = self.state.next_for_new(&self.state.queues.lines[at], self.workers)?;
        let line = &mut self.state.queues.lines[at];
        let task = line.fresh[list].take_first(self.tasks)?;
        line.waiting[self.tasks[task as usize].lane as usize] -= 1;
        self.state.queues.waiting -= 1;
        Some((task, worker))
    }

    fn take_returned_of(&mut self, at: usize, class: usize) -> Option<(u32, u32)> {
        let line = &self.state.queues.lines[at];
        let (holder, worker) = self.state.find_queued(line, class, self.tasks, self.workers)?;
        let task = line.wards[class].head(holder)?;
        self.take_out(task);
        let wards = &mut self.state.queues.lines[at].wards[class];
        if wards.head(holder).is_some() {
            wards.holders.take_out(&mut wards.table, holder);
            wards.holders.append(&mut wards.table, holder);
        }
        self.send_again(worker, class);
        Some((task, worker))
    }
}
