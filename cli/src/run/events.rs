//! What happens in the pool, in words.

use std::collections::HashMap;
use std::sync::Arc;

use chargehand::core::WorkerId;
use chargehand::{DisconnectReason, PoolEvent};

/// What the pool calls workers in its own process, with a number.
const LOCAL: &str = "in-process ";

/// Which workers elsewhere are up, and what was said of those that are not.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// How many tasks each may hold.
    windows: HashMap<WorkerId, u32>,
    said: HashMap<Arc<str>, DisconnectReason>,
}

impl Others {
    /// Takes an event in. Returns what is to be said of it.
    pub(super) fn hear(&mut self, event: &PoolEvent) -> Option<String> {
        match event {
            PoolEvent::Connected { peer, .. }
            | PoolEvent::Gone { peer, .. }
            | PoolEvent::Closed { peer, .. }
                if peer.starts_with(LOCAL) =>
            {
                None
            }
            PoolEvent::Connected { worker, peer, window, .. } => {
                self.windows.insert(*worker, *window);
                self.said.remove(peer);
                Some(event.to_string())
            }
            // Tasks may be lost; a connection is broken.
            PoolEvent::Lost { worker, peer, reason, .. } => {
                self.windows.remove(worker);
                Some(format!("{peer}: connection broken: {reason}"))
            }
            PoolEvent::Closed { worker, .. } | PoolEvent::Gone { worker, .. } => {
                self.windows.remove(worker);
                None
            }
            // Each new reason once, however often it is tried.
            PoolEvent::Refused { peer, reason, .. } => {
                let is_new =
                    self.said.insert(Arc::clone(peer), reason.clone()).as_ref() != Some(reason);
                is_new.then(|| format!("{event}; keeps trying"))
            }
            PoolEvent::Retried { .. } => None,
            _ => Some(event.to_string()),
        }
    }

    /// Returns how many are up.
    pub(super) fn count(&self) -> usize {
        self.windows.len()
    }

    /// Returns how many tasks they may hold together.
    pub(super) fn room(&self) -> u64 {
        self.windows.values().map(|window| u64::from(*window)).sum()
    }
}
