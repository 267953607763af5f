//! The invariants of second attempts, each checked by counting anew.

use super::super::index::NONE;
use super::super::slot::{TaskSlot, TaskState, WorkerSlot};
use super::super::tasks::SchedulerState;
use super::super::timers::TimerSlot;
use crate::time::Instant;

/// Checks the timers of tasks that are hedged, and their second attempts.
///
/// # Panics
/// If one is wrong or miscounted.
pub(in crate::scheduler) fn check(
    state: &SchedulerState,
    tasks: &[TaskSlot],
    workers: &[WorkerSlot],
) {
    let hedging = &state.hedging;
    let base = tasks.len() - state.seconds_max();
    let (mut armed, mut live) = (0, 0);
    for (task, (entry, slot)) in (0..).zip(hedging.table.iter().zip(tasks)) {
        let is_in_flight = slot.is_hedged() && slot.state == TaskState::InFlight;
        let second = state.second(task, slot);
        if entry.place() == NONE {
            assert!(entry.timer == Instant::FAR_FUTURE, "a hedge's timer is missing");
        } else {
            armed += 1;
            assert!(is_in_flight && second.is_none(), "a task is hedged that must not be");
        }
        let Some(second) = second else { continue };
        live += 1;
        let other = &tasks[second as usize];
        assert!(second as usize >= base && state.task_of(second) == task, "another's attempt");
        assert!(other.state == TaskState::Second, "a second attempt is not under way");
        assert!(slot.worker != other.worker, "both attempts are at the same worker");
        assert!(slot.attempts != other.attempts, "both attempts have the same number");
        assert!(slot.attempts.max(other.attempts) <= entry.latest, "an attempt is later than all");
        assert!(!slot.is_suspect && !other.is_suspect, "a suspect is hedged");
        assert!(slot.is_timed() == other.is_timed(), "one attempt has times of its own");
    }
    let held = tasks[base..].iter().filter(|slot| slot.state == TaskState::Second).count();
    assert!((live, held) == (hedging.live, live as usize), "second attempts are miscounted");
    assert!(hedging.timers.check(&hedging.table) == armed, "a hedge's timer is not in the heap");
    let first = hedging.timers.first(&hedging.table).map_or(Instant::FAR_FUTURE, |(_, at)| at);
    assert!(hedging.first == first, "another hedge's timer is the first");
    let told = tasks[base..].iter().filter(|slot| slot.state == TaskState::Withdrawing).count();
    if state.seconds_max() > 0 {
        let unused = hedging.unused.check(tasks, |task| {
            assert!(tasks[task as usize].state == TaskState::Free, "a second attempt is unused");
        });
        let all = unused + held + told;
        assert!(all == state.seconds_max(), "a slot of a second attempt is lost");
    }
    for worker in workers {
        let mut hedged = 0;
        worker.held.check(tasks, |task| hedged += u32::from(tasks[task as usize].is_hedged()));
        assert!(worker.hedged == hedged, "tasks that are hedged are miscounted");
    }
}
