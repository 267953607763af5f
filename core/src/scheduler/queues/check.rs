//! The invariants of queues, each checked by counting anew.

use super::super::index::{NONE, wide};
use super::super::list::List;
use super::super::roll::Roll;
use super::super::slot::{TaskSlot, TaskState, WorkerSlot};
use super::super::tasks::SchedulerState;
use super::line::Line;
use super::{FREED_LIST, Stand};
use crate::time::Instant;

/// Checks the lines, and what tasks and workers say of them.
///
/// # Panics
/// If a task is in the wrong one, or something is miscounted.
pub(in crate::scheduler) fn check(
    state: &SchedulerState,
    tasks: &[TaskSlot],
    workers: &[WorkerSlot],
) {
    let queues = &state.queues;
    assert!(state.is_gated == (state.is_draining || state.is_queued()), "the gate is wrong");
    if !state.is_queued() {
        assert!(tasks.iter().all(|slot| !slot.is_keyed && slot.line == 0), "a line that is none");
        return;
    }
    assert!(state.waiting.iter().all(List::is_empty), "a task waits in no line");
    assert!(state.holders.iter().all(Roll::is_empty), "a task came back to no line");
    assert!(state.calm_until == Instant::EPOCH, "what may be sent would be missed");
    let (mut waiting, mut returned) = (0, 0);
    for (at, line) in queues.lines.iter().enumerate() {
        check_lanes(at, line, tasks);
        check_wards(at, line, tasks);
        check_counts(at, line, tasks);
        waiting += line.fresh.iter().map(List::len).sum::<u32>() + line.behind;
        returned += line.returned;
    }
    assert!(waiting == queues.waiting, "tasks that wait in lines are miscounted");
    assert!(returned == state.returned, "tasks that came back to lines are miscounted");
    assert!(workers.iter().all(|slot| !slot.is_plain), "a worker is plain in spite of queues");
    queues.keys.check(tasks, state.clock);
}

#[cfg(test)]
impl super::Queues {
    /// Returns all that decides what is done next, now being `clock`.
    pub(in crate::scheduler) fn words(
        &self,
        tasks: &[TaskSlot],
        clock: Instant,
    ) -> alloc::vec::Vec<u32> {
        let mut words = alloc::vec::Vec::new();
        words.extend(self.owed.map(u32::from));
        let low = |number: u64| u32::try_from(number).expect("a few strides, or milliseconds");
        let ahead = |at: Instant| at.as_nanos().saturating_sub(clock.as_nanos());
        for line in &self.lines {
            words.extend([u32::from(line.options.is_paused), low(line.pass)]);
            words.push(u32::from(line.turn % super::turn::LANES));
            words.push(low(ahead(line.full)));
            for fresh in &line.fresh {
                fresh.check(tasks, |task| words.push(task));
                words.push(NONE);
            }
            for wards in &line.wards {
                wards.holders.check(&wards.table, |worker| {
                    words.push(worker);
                    wards.table[worker as usize].tasks.check(tasks, |task| words.push(task));
                    words.push(NONE);
                });
                words.push(NONE);
            }
        }
        self.keys.words(tasks, clock, &mut words);
        words
    }
}

/// Each new task is in the lane of its line that it says.
fn check_lanes(at: usize, line: &Line, tasks: &[TaskSlot]) {
    for (list, fresh) in line.fresh.iter().enumerate() {
        fresh.check(tasks, |task| {
            let slot = &tasks[task as usize];
            assert!(usize::from(slot.line) == at, "a task is in another's line");
            assert!(slot.state == TaskState::Waiting, "a task is in a lane that does not wait");
            let wanted = match slot.stand {
                Stand::Lane => slot.lane as usize,
                Stand::Freed => FREED_LIST,
                Stand::Behind => usize::MAX,
            };
            assert!(list == wanted, "a task waits in another lane of its line");
        });
    }
}

/// Each task that came back is in the ward that it says, and those that have some are listed.
fn check_wards(at: usize, line: &Line, tasks: &[TaskSlot]) {
    let mut kept = 0;
    for (class, wards) in line.wards.iter().enumerate() {
        wards.holders.check(&wards.table, |worker| {
            assert!(wards.head(worker).is_some(), "an empty ward of a line is listed");
        });
        let listed = wards.table.iter().filter(|ward| !ward.tasks.is_empty()).count();
        assert!(listed == wards.holders.len() as usize, "a ward of a line is not listed");
        for (worker, ward) in (0..NONE).zip(&wards.table) {
            ward.tasks.check(tasks, |task| {
                let slot = &tasks[task as usize];
                assert!(usize::from(slot.line) == at, "a task came back to another's line");
                assert!(slot.state == TaskState::Returned, "a task is kept that did not come back");
                assert!(wide(slot.worker) == worker, "another worker's ward of a line");
                assert!(usize::from(slot.is_suspect) == class, "the other class's ward");
            });
            kept += ward.tasks.len();
        }
    }
    assert!(kept == line.returned, "tasks of a line that came back are miscounted");
}

/// What a line counts is what its tasks say, and no more than it may.
fn check_counts(at: usize, line: &Line, tasks: &[TaskSlot]) {
    let mine = || tasks.iter().filter(|slot| usize::from(slot.line) == at);
    let seconds = mine().filter(|slot| slot.state != TaskState::InFlight && slot.state.is_held());
    let seconds = seconds.count();
    let count = |keep: &dyn Fn(&TaskSlot) -> bool| mine().filter(|slot| keep(slot)).count();
    assert!(seconds == line.seconds as usize, "second attempts of a queue are miscounted");
    let in_flight = count(&|slot| slot.state.is_held());
    assert!(in_flight == line.in_flight as usize, "tasks of a queue in flight are miscounted");
    let most = line.options.in_flight_max;
    assert!(
        most.is_none_or(|most| line.in_flight <= most),
        "a queue has more in flight than it may"
    );
    let waits = |slot: &TaskSlot| slot.state == TaskState::Waiting;
    let behind = count(&|slot| waits(slot) && slot.stand == Stand::Behind);
    assert!(behind == line.behind as usize, "tasks behind a key are miscounted");
    let open = count(&|slot| {
        use TaskState::{Finished, Free, Withdrawing};
        !matches!(slot.state, Free | Withdrawing | Finished(_))
    });
    assert!(open - seconds == line.open as usize, "open tasks of a queue are miscounted");
    for (lane, &counted) in line.waiting.iter().enumerate() {
        let is_in = |slot: &TaskSlot| {
            waits(slot) && slot.stand != Stand::Behind && slot.lane as usize == lane
        };
        assert!(count(&is_in) == counted as usize, "tasks of a lane in line are miscounted");
    }
}
