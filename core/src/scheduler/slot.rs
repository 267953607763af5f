//! What the scheduler keeps of one task and of one worker.

use super::balance::Level;
use super::index::{NONE, Stored, narrow, wide};
use super::list::{Linkage, List, Neighbours, define_linkage};
use super::roll::{ROLL_KINDS, RollKind};
use super::timers::{TimerSlot, timer_slot};
use crate::error::EventError;
use crate::event::{Outcome, Reason, Route};
use crate::id::{Link, TaskId, WorkerId};
use crate::options::Lane;
use crate::time::Instant;

/// Room for one task. Opaque; public so that its size can be known.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct TaskSlot {
    /// When the attempt in flight outlives its deadline, a resting task is due, or one that came back
    /// may go to its last worker again. In a queue, until it is first sent: when it was submitted.
    pub(super) due: Instant,
    /// Its place in the list of its state. Tasks in flight, being withdrawn or returned are in lists of
    /// their worker.
    pub(super) queue: Neighbours,
    /// The slot of the worker that the latest attempt was sent to. An attempt in flight is always on
    /// that worker's latest link, so no epoch is kept (decision 0007).
    pub(super) worker: Stored,
    pub(super) generation: u32,
    /// How many failures it may have and still be tried again.
    pub(super) retries_max: u16,
    // From here to the lane all is zero in a new task, and adjacent, so that it is a single store.
    /// How many times it was sent; also the number of the latest attempt.
    pub(super) attempts: u16,
    /// How many of the attempts ended with the handler's failure.
    pub(super) failures: u16,
    /// How many of the attempts were lost and count, since the task may have been the cause.
    pub(super) losses: u16,
    /// It may have ended a link, and has not been answered since.
    pub(super) is_suspect: bool,
    /// What is to be done for it that is not for most: [`TIMED`], [`HEDGED`].
    #[cfg(feature = "task-times")]
    pub(super) special: u8,
    #[cfg(feature = "task-times")]
    pub(super) kept: Kept,
    pub(super) lane: Lane,
    pub(super) state: TaskState,
    // From here on nothing is written as long as a pool is without queues and keys.
    /// Its queue.
    #[cfg(feature = "queues")]
    pub(super) line: u8,
    /// Where it stands there, until it is sent.
    #[cfg(feature = "queues")]
    pub(super) stand: super::queues::Stand,
    #[cfg(feature = "queues")]
    pub(super) is_keyed: bool,
}

const _: () = assert!(size_of::<TaskSlot>() <= 40);

/// It has times of its own.
#[cfg(feature = "task-times")]
pub(super) const TIMED: u8 = 1;
/// It may be sent to two workers at once.
#[cfg(feature = "hedging")]
pub(super) const HEDGED: u8 = 2;

/// Whether a task's worker has lost its link since it was sent, and has not said that it still has it.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg(feature = "task-times")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    No,
    /// It had not begun when the link broke, as far as is known.
    Waiting,
    /// It may have begun by then.
    Begun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum TaskState {
    Free,
    /// For its first attempt.
    Waiting,
    /// For another attempt, elsewhere than with its last worker if it can be.
    Returned,
    InFlight,
    /// In flight, and not a task but the second attempt of one.
    #[cfg(feature = "hedging")]
    Second,
    /// Cancelled while in flight; the worker is still to be told.
    Withdrawing,
    /// Until `due`, then it is tried again.
    Resting,
    Finished(Outcome),
}

impl TaskState {
    /// Whether a worker holds it.
    pub(super) fn is_held(self) -> bool {
        #[cfg(feature = "hedging")]
        if self == Self::Second {
            return true;
        }
        self == Self::InFlight
    }
}

impl TaskSlot {
    pub(crate) const fn new() -> Self {
        Self {
            due: Instant::FAR_FUTURE,
            queue: Neighbours::OUT,
            worker: narrow(NONE),
            generation: 0,
            attempts: 0,
            failures: 0,
            losses: 0,
            retries_max: 0,
            lane: Lane::Single,
            is_suspect: false,
            #[cfg(feature = "task-times")]
            special: 0,
            #[cfg(feature = "task-times")]
            kept: Kept::No,
            state: TaskState::Free,
            #[cfg(feature = "queues")]
            line: 0,
            #[cfg(feature = "queues")]
            stand: super::queues::Stand::Lane,
            #[cfg(feature = "queues")]
            is_keyed: false,
        }
    }

    #[inline]
    pub(super) fn id(&self, slot: u32) -> TaskId {
        TaskId::from_parts(slot, self.generation)
    }

    /// Says what is wrong with an answer that names this slot, but not the attempt in flight, or that
    /// came from another worker.
    // Without: above the flash aim by 16 bytes, and 1.5 % more instructions a cycle.
    #[cold]
    pub(super) fn objection(&self, id: TaskId, attempt: u16) -> EventError {
        if id.generation() != self.generation {
            // The counter wraps, so half of all numbers count as ahead.
            let ahead = id.generation().wrapping_sub(self.generation) <= u32::MAX / 2;
            return if ahead { EventError::Foreign } else { EventError::Stale };
        }
        if self.state == TaskState::Free || attempt == 0 || attempt > self.attempts {
            return EventError::Foreign;
        }
        if attempt < self.attempts || self.state != TaskState::InFlight {
            return EventError::Stale;
        }
        EventError::Foreign
    }
}

define_linkage! {
    /// The list that a task is in.
    Queue: TaskSlot, queue
}

/// Room for one worker. Opaque; public so that its size can be known.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
pub struct WorkerSlot {
    // The fields that every send and every reply use come first.
    pub(super) generation: u32,
    /// The number of the latest link. It tells what comes late on an older link of the same worker
    /// from what is current, so that nothing that a dead connection still says can do harm.
    pub(super) epoch: u32,
    pub(super) phase: LinkPhase,
    pub(super) route: Route,
    /// Removed by the caller or by the drain: when its link is gone, so is it.
    pub(super) removing: bool,
    /// A suspension is still to be announced.
    pub(super) notice: bool,
    /// A ping is not answered yet.
    pub(super) pinged: bool,
    /// Holds a suspect. It gets no second one.
    pub(super) has_suspect: bool,
    /// It serves, has no rate, and holds neither a suspect nor a task with times of its own or of an earlier link.
    /// Cached, so that the hot path tests one flag.
    pub(super) is_plain: bool,
    /// What it holds beyond what it runs is to be taken back.
    pub(super) recall: bool,
    /// It is delayed because it said that it cannot do any now.
    #[cfg(feature = "queues")]
    pub(super) is_throttled: bool,
    /// What it holds, in the order of sending. For tasks without times of their own that is the order
    /// of deadlines, too: each of their attempts has the same time (decision 0007).
    pub(super) held: List<Queue>,
    /// Tasks cancelled on the link that is up, of which the worker is still to be told. Emptied when
    /// the link ends, so that nothing is withdrawn from its successor.
    pub(super) withdrawn: List<Queue>,
    /// How many of those that it holds have times of their own.
    #[cfg(feature = "task-times")]
    pub(super) timed: u32,
    /// How many of those that it holds are of an earlier link.
    #[cfg(feature = "task-times")]
    pub(super) kept: u32,
    /// How many of those that it holds are of tasks that may be sent to two workers at once.
    #[cfg(feature = "hedging")]
    pub(super) hedged: u32,
    /// How much it may hold now: from 1 to `window` (decision 0019).
    pub(super) allowance: u32,
    pub(super) window: u32,
    /// How much it runs at once, as it says itself: the rest of what it holds has not begun.
    pub(super) runs: u32,
    /// Which level node it is a member of, or `NONE`.
    pub(super) level: Stored,
    pub(super) ready: Neighbours,
    /// When something was heard last, or the ping sent that is not answered yet.
    pub(super) silent_since: Instant,
    pub(super) done: u64,

    /// When the phase ends by itself.
    pub(super) due: Instant,
    pub(super) up_since: Instant,
    /// When the first of the strikes was.
    pub(super) struck_at: Instant,
    /// How long it is waited for once its link breaks, in nanoseconds, and until when it is.
    #[cfg(feature = "task-times")]
    pub(super) grace: u64,
    #[cfg(feature = "task-times")]
    pub(super) grace_until: Instant,
    /// Until then a link that dials in gets no task.
    pub(super) not_before: Instant,
    /// Until then no attempt outlives its deadline: bytes of it are on their way.
    pub(super) hold_until: Instant,
    /// The deadline for which the caller was last asked to look, before it is judged.
    pub(super) looked: Instant,
    /// Attempts in a row that outlived their deadline.
    pub(super) strikes: u16,
    /// Failed tasks in a row.
    pub(super) streak: u16,
    /// Rests in a row.
    pub(super) suspensions: u32,
    /// Connects since the backoff was reset.
    pub(super) attempts: u32,
    /// The jitter's state.
    pub(super) random: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    /// How many links it has had.
    pub(super) links_made: u32,
    /// Tasks that came back from here: those that are not suspects, and those that are. They stay with
    /// the slot when another worker gets it.
    pub(super) wards: [List<Queue>; 2],
    /// By [`RollKind`].
    pub(super) rolls: [Neighbours; ROLL_KINDS],
    /// Which workers serve the same queues.
    #[cfg(feature = "queues")]
    pub(super) group: u8,
    /// What it has of its rate.
    #[cfg(feature = "queues")]
    pub(super) pace: super::rates::Pace,
    /// What is known of its answers.
    #[cfg(feature = "choice")]
    pub(super) record: super::track_record::Record,
    /// The timer's deadline, and its place in the heap; `FAR_FUTURE` and `NONE` without one.
    pub(super) timer: Instant,
    pub(super) place: Stored,

    // Parts of structures that span all worker slots, and say nothing about this slot's worker.
    /// Which worker is at this slot's place in the timer heap.
    pub(super) heap: Stored,
    /// A node of the levels that order workers by load.
    pub(super) node: Level,
}

/// How things stand with a worker's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum LinkPhase {
    /// The slot is unused.
    Free,
    /// It has not dialled in yet, or not again; until `due`.
    Absent,
    /// Before the next connect; until `due`.
    BackingOff,
    /// The caller is to be asked to connect.
    WantConnect,
    /// The caller was asked to; until `due`.
    Connecting,
    Up(Duty),
    /// The caller is to be asked to disconnect; holds nothing any more.
    Closing(Reason),
    /// No link; to be announced as gone.
    Leaving,
}

/// What a worker whose link is up is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Duty {
    /// Gets tasks.
    Serving,
    /// Gets none until `due`, since it only failed.
    Suspended,
    /// Gets none until `due`: it dialled in again too soon after links that did nothing, or said that it
    /// cannot now.
    Delayed,
    /// Gets none until the caller says so.
    Busy,
    /// Gets none any more: it, or the caller, asked to stop.
    Draining,
}

impl Duty {
    /// Whether it ends by itself, at the slot's `due`.
    pub(super) fn is_for_a_time(self) -> bool {
        matches!(self, Self::Suspended | Self::Delayed)
    }
}

impl LinkPhase {
    #[inline]
    pub(super) fn is_up(self) -> bool {
        matches!(self, Self::Up(_))
    }

    #[inline]
    pub(super) fn is_serving(self) -> bool {
        self == Self::Up(Duty::Serving)
    }

    /// Whether the caller is to be told something.
    pub(super) fn wants_action(self) -> bool {
        matches!(self, Self::WantConnect | Self::Closing(_) | Self::Leaving)
    }
}

impl WorkerSlot {
    pub(crate) const fn new() -> Self {
        Self {
            generation: 0,
            epoch: 0,
            phase: LinkPhase::Free,
            route: Route::Dial,
            removing: false,
            notice: false,
            pinged: false,
            has_suspect: false,
            is_plain: false,
            recall: false,
            #[cfg(feature = "queues")]
            is_throttled: false,
            held: List::new(),
            withdrawn: List::new(),
            #[cfg(feature = "task-times")]
            timed: 0,
            #[cfg(feature = "task-times")]
            kept: 0,
            #[cfg(feature = "hedging")]
            hedged: 0,
            allowance: 1,
            window: 1,
            runs: 1,
            level: narrow(NONE),
            ready: Neighbours::OUT,
            silent_since: Instant::EPOCH,
            done: 0,
            due: Instant::FAR_FUTURE,
            up_since: Instant::EPOCH,
            struck_at: Instant::EPOCH,
            #[cfg(feature = "task-times")]
            grace: 0,
            #[cfg(feature = "task-times")]
            grace_until: Instant::EPOCH,
            not_before: Instant::EPOCH,
            hold_until: Instant::EPOCH,
            looked: Instant::EPOCH,
            strikes: 0,
            streak: 0,
            suspensions: 0,
            attempts: 0,
            random: 0,
            failed: 0,
            lost: 0,
            links_made: 0,
            wards: [List::new(); 2],
            rolls: [Neighbours::OUT; ROLL_KINDS],
            #[cfg(feature = "queues")]
            group: 0,
            #[cfg(feature = "queues")]
            pace: super::rates::Pace::new(),
            #[cfg(feature = "choice")]
            record: super::track_record::Record::new(),
            timer: Instant::FAR_FUTURE,
            place: narrow(NONE),
            heap: narrow(NONE),
            node: Level::new(),
        }
    }

    /// Makes the slot a new worker's.
    pub(super) fn reset(&mut self, route: Route, random: u64) {
        let mut rolls = self.rolls;
        rolls[RollKind::Todo as usize] = Neighbours::OUT;
        *self = Self {
            route,
            random,
            generation: self.generation,
            heap: self.heap,
            node: self.node,
            wards: self.wards,
            rolls,
            ..Self::new()
        };
    }

    #[inline]
    pub(super) fn id(&self, slot: u32) -> WorkerId {
        WorkerId::from_parts(slot, self.generation)
    }

    #[inline]
    pub(super) fn link(&self, slot: u32) -> Link {
        Link::new(self.id(slot), self.epoch)
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.held.len() < self.allowance
    }

    /// Returns which order of the balance it belongs to.
    #[inline]
    pub(super) fn order(&self) -> usize {
        2 * self.group() + usize::from(self.has_suspect)
    }

    /// Whether the caller is to be told something.
    pub(super) fn wants_action(&self) -> bool {
        self.notice || self.recall || !self.withdrawn.is_empty() || self.phase.wants_action()
    }
}

timer_slot!(WorkerSlot);

/// The unused worker slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unused;

impl Linkage for Unused {
    type Slot = WorkerSlot;
    fn neighbours(slot: &WorkerSlot) -> &Neighbours {
        &slot.rolls[RollKind::Todo as usize]
    }
    fn neighbours_mut(slot: &mut WorkerSlot) -> &mut Neighbours {
        &mut slot.rolls[RollKind::Todo as usize]
    }
}
