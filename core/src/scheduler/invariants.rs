//! The invariants, each checked by counting anew.

use super::index::{NONE, wide};
use super::slot::{Duty, LinkPhase, TaskSlot, TaskState, WorkerSlot};
use super::tasks::SchedulerState;
use crate::config::Policy;
use crate::time::Instant;

/// Panics if an invariant does not hold.
pub(super) fn check(state: &SchedulerState, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    check_task_lists(state, tasks, workers);
    check_outcomes(state, tasks);
    for (task, slot) in (0..).zip(tasks).filter(|&(task, _)| !state.is_second(task)) {
        let seconds = state.live_seconds_of(task, slot);
        check_attempts(&state.policy, slot, state.sends_of(task, slot), seconds);
    }
    let held: u64 = (0..NONE).zip(workers).map(|(at, slot)| check_held(tasks, at, slot)).sum();
    assert!(
        held == u64::from(state.in_flight() + state.seconds()),
        "an attempt in flight is held by nobody"
    );
    super::returned::check(state, tasks, workers);
    check_worker_lists(state, workers);
    check_balance(state, workers);
    check_timers(state, tasks, workers);
    assert!(state.calm_until <= state.next_due(tasks, workers), "a deadline would be missed");
    let has_more = !state.todo.is_empty() || state.is_draining;
    let has_more = has_more || state.returned > 0 || state.suspected > 0 || state.is_queued();
    assert!(!has_more || state.calm_until == Instant::EPOCH, "something to do would be missed");
}

/// Each task is in the list of its state and in no other, and those that are timed are in order.
fn check_task_lists(state: &SchedulerState, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    let is = |wanted: TaskState| {
        move |task: u32| {
            assert!(tasks[task as usize].state == wanted, "a task is in another state's list");
        }
    };
    let mut latest = Instant::EPOCH;
    for (lane, waiting) in state.waiting.iter().enumerate() {
        waiting.check(tasks, |task| {
            is(TaskState::Waiting)(task);
            assert!(tasks[task as usize].lane as usize == lane, "a task waits in the other lane");
        });
    }
    state.resting.check(tasks, |task| {
        is(TaskState::Resting)(task);
        assert!(latest <= tasks[task as usize].due, "resting tasks are out of order");
        latest = tasks[task as usize].due;
    });
    #[cfg(feature = "task-times")]
    super::times::check_resting(state, tasks, is(TaskState::Resting));
    let withdrawing = workers.iter().map(|worker| {
        let mut tasks_only = 0;
        worker.withdrawn.check(tasks, |task| {
            is(TaskState::Withdrawing)(task);
            tasks_only += usize::from(!state.is_second(task));
        });
        assert!(worker.phase.is_up() || worker.withdrawn.is_empty(), "withdrawn from no link");
        tasks_only
    });
    let withdrawing: usize = withdrawing.sum();
    let finished = state.finished.check(tasks, |task| {
        let finished = matches!(tasks[task as usize].state, TaskState::Finished(_));
        assert!(finished, "a task without an outcome is among the finished");
    });
    let settled = withdrawing + finished;
    assert!(state.settled() as usize == settled, "a task with an outcome is in no list");
    let unused = state.unused.check(tasks, is(TaskState::Free));
    // Each list's length was counted, and no slot has two states: so each is in exactly one list.
    let stats = state.stats();
    let used = [stats.waiting, stats.resting, stats.in_flight, stats.finished];
    let used: usize = used.iter().map(|&len| len as usize).sum();
    assert!(used + unused + state.seconds_max() == tasks.len(), "a task slot is in no list");
    assert!(state.room(tasks) == unused, "there is more or less room than free slots");
}

/// No task is lost and none has two outcomes.
fn check_outcomes(state: &SchedulerState, tasks: &[TaskSlot]) {
    let stats = state.stats();
    let tasks = &tasks[..tasks.len() - state.seconds_max()];
    let used = tasks.iter().filter(|slot| slot.state != TaskState::Free).count() as u64;
    let polled = stats.submitted.checked_sub(used).expect("a task was doubled");
    assert!(polled & u64::from(u32::MAX) == u64::from(state.polled), "a task was lost or doubled");
    let given_up = stats.exhausted + stats.bounced + stats.cancelled;
    let given_up = given_up + stats.aborted + stats.expired;
    let outcomes = stats.done + stats.failed + given_up;
    assert!(outcomes == u64::from(stats.finished) + polled, "an outcome is miscounted");
    assert!(stats.resent <= stats.sent, "more was sent again than sent");
    assert!(stats.lost + stats.timed_out + stats.returned <= stats.sent, "more was lost than sent");
}

/// Checks what is counted of a task's attempts, of which there were `sends`.
fn check_attempts(policy: &Policy, slot: &TaskSlot, sends: u16, seconds: u16) {
    assert!(slot.failures <= sends, "a task failed more often than it was sent");
    let answered = slot.failures + slot.losses;
    assert!(answered <= sends, "a task ended more attempts than it was sent");
    let in_flight = u16::from(slot.state == TaskState::InFlight) + seconds;
    match slot.state {
        #[cfg(feature = "hedging")]
        TaskState::Second => unreachable!("no task"),
        TaskState::Free | TaskState::Finished(_) | TaskState::Withdrawing => return,
        TaskState::Waiting => assert!(slot.attempts == 0, "a new task was sent before"),
        // Its key is paused, and it waits for its first attempt.
        #[cfg(feature = "queues")]
        TaskState::Resting if slot.is_keyed => {}
        TaskState::Returned | TaskState::Resting | TaskState::InFlight => {
            assert!(slot.attempts >= 1, "a task was never sent that is on its way");
        }
    }
    assert!(slot.losses < policy.attempts_max, "a task goes on that lost all its attempts");
    assert!(slot.failures <= slot.retries_max, "a task goes on that failed too often");
    let bounced = sends - in_flight - answered;
    assert!(bounced < policy.resends_max, "a task goes on that came back too often");
}

/// A worker holds tasks on its link only, no more than its window, in the order of sending.
/// Returns how many.
fn check_held(tasks: &[TaskSlot], at: u32, worker: &WorkerSlot) -> u64 {
    let held = worker.held.len();
    let mut suspects = 0;
    let may_hold = worker.phase.is_up() || worker.is_away();
    assert!(may_hold || held == 0, "a worker without a link or its grace holds tasks");
    assert!(held <= worker.window, "a worker holds more than its window");
    assert!(worker.allowance <= worker.window, "a worker may hold more than its window");
    assert!(worker.allowance >= 1 && worker.runs >= 1, "a worker may hold nothing at all");
    let mut latest = Instant::EPOCH;
    worker.held.check(tasks, |task| {
        let slot = &tasks[task as usize];
        assert!(slot.state.is_held(), "a worker holds a task that is not in flight");
        assert!(wide(slot.worker) == at, "a worker holds another's attempt");
        if !slot.is_timed() {
            assert!(latest <= slot.due, "a worker's tasks are out of order");
            latest = slot.due;
        }
        suspects += u32::from(slot.is_suspect);
    });
    assert!(suspects == u32::from(worker.has_suspect), "a worker holds two suspects, or hides one");
    u64::from(held)
}

fn check_worker_lists(state: &SchedulerState, workers: &[WorkerSlot]) {
    let count = |keep: fn(&WorkerSlot) -> bool| workers.iter().filter(|slot| keep(slot)).count();
    let slot = |worker: u32| &workers[worker as usize];

    state.todo.check(workers, |worker| {
        assert!(slot(worker).wants_action(), "a worker is listed without anything to do");
    });
    let todo = count(WorkerSlot::wants_action);
    assert!(state.todo.len() as usize == todo, "a worker with something to do is not listed");

    for (group, suspended) in state.suspended.iter().enumerate() {
        suspended.check(workers, |worker| {
            assert!(slot(worker).group() == group, "a suspended worker is in another set's list");
            assert!(
                slot(worker).phase == LinkPhase::Up(Duty::Suspended),
                "a worker is listed as suspended"
            );
        });
    }
    let suspended = count(|slot| slot.phase == LinkPhase::Up(Duty::Suspended));
    assert!(state.resting_workers() as usize == suspended, "a suspended worker is not listed");
    // With queues it is the last one of each that does not.
    let has_any = state.serving > 0 || state.is_queued();
    assert!(suspended == 0 || has_any, "the last worker rests");
    state.absent.check(workers, |worker| {
        assert!(slot(worker).phase == LinkPhase::Absent, "a worker is listed as absent");
    });
    let absent = count(|slot| slot.phase == LinkPhase::Absent);
    assert!(state.absent.len() as usize == absent, "an absent worker is not listed");

    state.members.check(workers, |worker| {
        assert!(!slot(worker).removing, "a worker that is removed is still a member");
        let leaving = matches!(slot(worker).phase, LinkPhase::Free | LinkPhase::Leaving);
        assert!(!leaving, "a worker that leaves is still a member");
    });
    let members =
        count(|slot| !slot.removing && !matches!(slot.phase, LinkPhase::Free | LinkPhase::Leaving));
    assert!(state.members.len() as usize == members, "a worker is not a member");

    let unused = state.unused_workers.check(workers, |worker| {
        assert!(slot(worker).phase == LinkPhase::Free, "a worker in use is listed as unused");
    });
    assert!(state.stats.workers as usize + unused == workers.len(), "workers are miscounted");
    assert!(
        count(|slot| slot.phase == LinkPhase::Free) == unused,
        "an unused worker is not listed"
    );
    let up = count(|slot| slot.phase.is_up());
    assert!(state.stats.workers_up as usize == up, "workers that are up are miscounted");

    for slot in workers {
        assert!(
            !slot.notice || slot.phase == LinkPhase::Up(Duty::Suspended),
            "no suspension to announce"
        );
        let idle = slot.phase == LinkPhase::Up(Duty::Draining) && slot.held.is_empty();
        assert!(!idle, "a worker that drained is still up");
        let removed = slot.removing && slot.phase.is_serving();
        assert!(!removed, "a worker that is removed still serves");
    }
}

/// Exactly the workers that serve and have room are in the levels.
fn check_balance(state: &SchedulerState, workers: &[WorkerSlot]) {
    let serving = workers.iter().filter(|slot| slot.phase.is_serving());
    assert!(state.serving as usize == serving.clone().count(), "workers serving are miscounted");
    let mut with_room = 0;
    for (at, slot) in (0..NONE).zip(workers) {
        let has_room = slot.phase.is_serving() && slot.has_room() && !slot.is_paced();
        assert!(
            has_room == state.balance.contains(workers, at),
            "a worker is in the balance, or is not, wrongly"
        );
        let has_special =
            slot.has_suspect || slot.timed() > 0 || slot.kept() > 0 || slot.hedged() > 0;
        let is_plain = slot.phase.is_serving() && !has_special && !state.is_queued();
        let is_plain = is_plain && !state.judges() && !slot.is_rated();
        assert!(slot.is_plain == is_plain, "a worker is plain, or is not, wrongly");
        with_room += u32::from(has_room);
    }
    assert!(state.balance.check(workers) == with_room, "the levels miss a worker");
}

/// Each timer is in time: early where something was heard since, exact otherwise.
fn check_timers(state: &SchedulerState, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    let mut armed = 0;
    for (worker, slot) in (0..NONE).zip(workers) {
        let at = state.timer(tasks, worker, slot);
        if wide(slot.place) == NONE {
            let none = Instant::FAR_FUTURE;
            assert!((at, slot.timer) == (none, none), "a timer is missing");
            continue;
        }
        armed += 1;
        assert!(slot.timer <= at, "a timer is late");
        assert!(slot.timer == at || slot.phase.is_up(), "a timer is early without a reason");
    }
    assert!(state.timers.check(workers) == armed, "a timer is not in the heap");
}
