//! Small errors, one per operation.

use core::fmt;

macro_rules! error_text {
    ($($kind:ty: |$e:ident| $text:expr;)*) => { $(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $e = self;
                f.write_str($text)
            }
        }
        impl core::error::Error for $kind {}
    )* };
}

/// The task or worker named is not, or no longer, the pool's. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stale;

/// Every worker slot is taken. Remove a worker, or build the pool with more slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WorkersFull;

/// A task was not accepted. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SubmitError {
    /// Every task slot is taken, or every one that its queue may have. Wait for a finished task, then try
    /// again.
    Full,
    /// The pool is draining and takes no new task.
    Draining,
    /// There is no such queue. Name one of those that the pool was made with.
    #[cfg(feature = "queues")]
    NoQueue,
    /// There is no key with this number. Use one below [`Config::keys_max`](crate::Config::keys_max), or raise
    /// that.
    #[cfg(feature = "queues")]
    NoKey,
}

/// There is no such queue. Nothing was changed. Name one of those that the pool was made with.
#[cfg(feature = "queues")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NoQueue;

#[cfg(feature = "queues")]
error_text! {
    NoQueue: |_e| "no such queue: name one of those that the pool was made with";
}

/// An event was not accepted. Nothing was changed but a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EventError {
    /// It came late or twice: the link, the attempt or the task is over. Ignore it.
    Stale,
    /// It names what was never this link's: a task that does not exist, an attempt that was never
    /// made, or one that another worker holds. The peer is broken or lies: close the link.
    Foreign,
}

error_text! {
    Stale: |_e| "no such task or worker in this pool (any more)";
    WorkersFull: |_e| "every worker slot is taken: remove a worker or build the pool with more slots";
    SubmitError: |e| match e {
        Self::Full => "every task slot is taken: wait for a finished task, then try again",
        Self::Draining => "the pool is draining and takes no new task",
        #[cfg(feature = "queues")]
        Self::NoQueue => "no such queue: name one of those that the pool was made with",
        #[cfg(feature = "queues")]
        Self::NoKey => "there is no key with this number: use one below keys_max, or raise keys_max",
    };
    EventError: |e| match e {
        Self::Stale => "late or duplicate: the link, attempt or task is over",
        Self::Foreign => "names a task or attempt that this link never held",
    };
}
