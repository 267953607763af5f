//! What a pool's scheduler was told, and what it did: recorded from a pool, and done again later.
//!
//! A manager that did something odd can be looked at afterwards: [`Builder::record`](crate::Builder::record)
//! has the driver write down each call of its [scheduler](chargehand_core::Scheduler), with its time and what
//! it gave. [`Replay`] makes the same calls to a new scheduler, checks every invariant after each of them, and
//! says where it decides otherwise, as after a change of the library it may.
//! `chargehand-sim --replay FILE`, in the repository, prints what it does.
//!
//! Such a record grows as long as the pool runs. A [`FlightRecorder`] has a file of a fixed size instead, for the latest
//! calls, and costs a fraction of that: see [`Builder::flight_recorder`](crate::Builder::flight_recorder). `Replay` and
//! `Recording` read both.
//!
//! There are ids in a record, times and the pool's configuration; no requests, answers, names or addresses.
//!
//! # Format
//!
//! JSON Lines. The first line names the format and its version, the sizes of the pool and its
//! [`Config`](chargehand_core::Config); each further one is a call, named as the scheduler's method is, with its
//! arguments and in `gave` what came of it. The last is `end`, with a sum over all lines before it. A record
//! without it breaks off: the process was killed, or the record could not be written any more. Times are
//! nanoseconds. Records of another version are refused.
//!
//! A flight record begins with such a line, too. What follows is binary, and read by the version of the library alone
//! that wrote it: checkpoints with all of the scheduler, and the calls since then, each with a sum.

mod entry;
mod estimate;
mod flight;
mod replay;
mod scheduler;

pub use self::estimate::{Change, ChangeError, Figures, Recording};
pub use self::flight::FlightRecorder;
pub use self::replay::{Replay, ReplayError, Replayed};
pub(crate) use self::scheduler::{Output, Scheduler};
