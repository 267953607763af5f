//! A pool at one moment, in numbers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use chargehand_core::{Stats, WorkerId, WorkerStats};

use crate::link::reason::DisconnectReason;

/// A pool at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// The tasks, counted by state and by outcome.
    pub tasks: Stats,
    /// Every worker in the pool.
    pub workers: Vec<WorkerInfo>,
}

/// A worker at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// The address that is dialled, the name of a worker that dials in, or `local` with a number.
    pub peer: Arc<str>,
    /// Whom its transport had proven it to be when its link was made last: a member's name, as a rule. `None`
    /// where the transport proves nothing, and before there was a link.
    pub identity: Option<Arc<str>>,
    /// Its state and counters.
    pub stats: WorkerStats,
    /// Why its latest link was lost, or could not be made.
    pub last_error: Option<DisconnectReason>,
}
