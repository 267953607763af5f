//! The invariants of tasks with times of their own, each checked by counting anew.

use super::super::index::NONE;
use super::super::slot::{TaskSlot, WorkerSlot};
use super::super::tasks::SchedulerState;
use super::super::timers::TimerSlot;
use super::due_by_itself;
use crate::time::Instant;

/// Checks the timers of tasks, and which tasks have one.
///
/// # Panics
/// If one is late, missing or without a task that it is for.
pub(in crate::scheduler) fn check(
    state: &SchedulerState,
    tasks: &[TaskSlot],
    workers: &[WorkerSlot],
) {
    let times = &state.own.table[..];
    assert!(times.len() <= tasks.len(), "there are times without a task");
    let mut armed = 0;
    for (task, own) in (0..NONE).zip(times) {
        let slot = &tasks[task as usize];
        let never = Instant::FAR_FUTURE;
        let due = if slot.is_timed() { due_by_itself(tasks, workers, times, task) } else { never };
        if own.place() == NONE {
            assert!((due, own.timer) == (never, never), "a task's timer is missing");
            continue;
        }
        armed += 1;
        assert!(own.timer <= due, "a task's timer is late");
        let is_exact = own.timer == due || slot.state.is_held();
        assert!(is_exact, "a task's timer is early without a reason");
    }
    let timers = state.own.timers;
    let tabled = tasks.iter().skip(times.len()).all(|slot| !slot.is_timed());
    assert!(tabled, "the times of a task are nowhere");
    assert!(timers.check(times) == armed, "a task's timer is not in the heap");
    let first = timers.first(times).map_or(Instant::FAR_FUTURE, |(_, at)| at);
    assert!(state.own.first == first, "another task's timer is the first");
    for worker in workers {
        let mut timed = 0;
        worker.held.check(tasks, |task| timed += u32::from(tasks[task as usize].is_timed()));
        assert!(worker.timed == timed, "tasks with times of their own are miscounted");
    }
}

/// Checks the tasks that rest in no order by `each`.
pub(in crate::scheduler) fn check_resting(
    state: &SchedulerState,
    tasks: &[TaskSlot],
    mut each: impl FnMut(u32),
) {
    state.own.resting.check(tasks, |task| {
        assert!(tasks[task as usize].is_timed(), "a task rests in the wrong list");
        each(task);
    });
}
