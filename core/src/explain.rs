//! Why a task waits and why a worker gets none, by the rules that send.

use crate::time::Instant;

/// Gives each variant of an enum of reasons a name, and the enum all of these: so that whoever has to know of every
/// reason does not compile without a new one.
#[doc(hidden)]
#[macro_export]
macro_rules! names {
    ($of:ident { $($variant:ident = $name:literal,)+ }) => {
        impl $of {
            /// What they are called, in their order.
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// Returns what it is called: its variant in lower case, with underscores.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}
/// Why a task is not sent now: the first of these that holds.
///
/// Those that come later are nearer to being sent, so of several tasks the one with the greatest says what keeps
/// a worker with room from getting any. `until` is when that ends by itself; [`Instant::FAR_FUTURE`] where it
/// does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Waits {
    /// Its handler failed, and it rests until it is tried again.
    Rests {
        /// When that is.
        until: Instant,
    },
    /// As many tasks of its key as may be are under way, and it comes after them.
    Key,
    /// A handler said that no task of its key can be done now.
    KeyPaused {
        /// When it may be again.
        until: Instant,
    },
    /// Its queue is paused.
    Paused,
    /// As many tasks of its queue as may be are in flight.
    QueueInFlight,
    /// Its queue has sent as many as its rate allows.
    QueueRate {
        /// When that sends the next one.
        until: Instant,
    },
    /// The pool has no worker, or none but those that are on their way out.
    NoWorker,
    /// None of the pool's workers is connected.
    Away {
        /// When the first one is connected to again; never by itself, where all of them dial in or are being
        /// connected to.
        until: Instant,
    },
    /// Workers are connected, and none of them gets a task now: [`Idles`] says why of each.
    NoneServes {
        /// When the first one does again; never by itself, where all of them said that they are busy.
        until: Instant,
    },
    /// Workers serve, but none of them its queue.
    NotServed,
    /// Every worker that serves its queue holds as many tasks as it may, or has been sent as many as its rate allows
    /// for now: [`Idles`] says which.
    NoRoom,
    /// It may have ended a link, and every worker with room holds one already of which that is so.
    Suspect,
    /// The only worker with room is the one that it came back from, and it may find another until then.
    Elsewhere {
        /// When it may go back to that one.
        until: Instant,
    },
    /// A worker has room, and those that are busy are expected to have done it sooner: see
    /// [`Choice::FirstAnswer`](crate::Choice).
    HeldBack {
        /// When it goes to whoever has room; not settled before the next poll where that is
        /// [`Instant::FAR_FUTURE`].
        until: Instant,
    },
    /// The pool stops, and the time for that is over: it is about to be given up.
    Stopping,
    /// Nothing keeps it: it is sent with the next actions.
    Turn,
}

names! {
    Waits {
        Rests = "rests",
        Key = "key",
        KeyPaused = "key_paused",
        Paused = "paused",
        QueueInFlight = "queue_in_flight",
        QueueRate = "queue_rate",
        NoWorker = "no_worker",
        Away = "away",
        NoneServes = "none_serves",
        NotServed = "not_served",
        NoRoom = "no_room",
        Suspect = "suspect",
        Elsewhere = "elsewhere",
        HeldBack = "held_back",
        Stopping = "stopping",
        Turn = "turn",
    }
}

impl Waits {
    /// Returns when it ends by itself, if it does and that is known.
    pub fn until(self) -> Option<Instant> {
        let (Self::Rests { until }
        | Self::KeyPaused { until }
        | Self::QueueRate { until }
        | Self::Away { until }
        | Self::NoneServes { until }
        | Self::Elsewhere { until }
        | Self::HeldBack { until }) = self
        else {
            return None;
        };
        (until != Instant::FAR_FUTURE).then_some(until)
    }
}

/// Why a worker gets no task now. `until` is as in [`Waits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Idles {
    /// It is not connected.
    Away {
        /// When it is connected to again; never by itself, where it dials in or is being connected to.
        until: Instant,
    },
    /// It only failed, so many times in a row that it rests.
    Failing {
        /// When it gets tasks again, at the latest.
        until: Instant,
    },
    /// It is far slower than the others, or fails far more often, and rests.
    OffOthers {
        /// When it is tried again.
        until: Instant,
    },
    /// It said that it can do none now.
    Throttled {
        /// When it gets tasks again.
        until: Instant,
    },
    /// It dialled in again soon after a link that did nothing.
    Early {
        /// When it gets tasks.
        until: Instant,
    },
    /// It said that it is busy, and has not said that it is ready.
    Busy,
    /// It finishes what it holds, and leaves: it or its caller wants that.
    Leaving,
    /// It was sent as many as its rate allows.
    Rate {
        /// When it gets the next one.
        until: Instant,
    },
    /// It holds as many as it may now.
    Full,
    /// Nothing keeps it: it gets the next task that may be sent. If it gets none, none waits, or
    /// [`waits`](crate::Scheduler::waits) says of those that do why they may not be sent.
    Room,
}

names! {
    Idles {
        Away = "away",
        Failing = "failing",
        OffOthers = "off_others",
        Throttled = "throttled",
        Early = "early",
        Busy = "busy",
        Leaving = "leaving",
        Rate = "rate",
        Full = "full",
        Room = "room",
    }
}

impl Idles {
    /// Returns when it ends by itself, if it does and that is known.
    pub fn until(self) -> Option<Instant> {
        let (Self::Away { until }
        | Self::Failing { until }
        | Self::OffOthers { until }
        | Self::Throttled { until }
        | Self::Early { until }
        | Self::Rate { until }) = self
        else {
            return None;
        };
        (until != Instant::FAR_FUTURE).then_some(until)
    }
}

/// What became of a task's attempts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TaskStats {
    /// How many times it was sent.
    pub attempts: u16,
    /// How many of them ended with its handler's failure.
    pub failures: u16,
    /// How many of them were lost with their link, or outlived their time, and count: it may have been the cause.
    pub losses: u16,
    /// It may have ended a link, and has not been answered since. No worker gets two such tasks at once.
    pub is_suspect: bool,
}
