//! What happens in the pool, in words.

use std::collections::HashMap;

use chargehand::{DisconnectReason, Events, PoolEvent};

use crate::progress::Progress;
use crate::report::Resent;

/// Says what happens, and counts what is sent again.
pub(crate) async fn watch(mut events: Events, progress: Progress, resent: Resent) {
    let mut said = HashMap::new();
    while let Some(event) = events.next().await {
        match &event {
            PoolEvent::Retried { peer, .. } => resent.count(peer),
            PoolEvent::Gone { .. } | PoolEvent::Closed { .. } => {}
            PoolEvent::Refused { peer, reason, .. } => {
                // Each new reason once, however often it is tried.
                if said.insert(peer.clone(), reason.clone()).as_ref() != Some(reason) {
                    progress.say(&format!("{event}; keeps trying"));
                }
            }
            PoolEvent::Connected { peer, .. } => {
                said.remove(peer);
                progress.say(&event.to_string());
            }
            // Not "lost": that is said of heights.
            PoolEvent::Lost { peer, reason, .. } => {
                progress.say(&format!("{peer}: connection broken: {reason}"));
            }
            _ => progress.say(&event.to_string()),
        }
    }
}

/// Says that there is no connection. Transports name the peer themselves, and what failed.
pub(crate) fn refused(peer: &str, reason: &DisconnectReason) -> String {
    let why = reason.to_string();
    let place = peer.rsplit("://").next().unwrap_or(peer).trim_end_matches('/');
    if why.starts_with("cannot connect") && why.contains(place) {
        why
    } else {
        format!("{peer}: cannot connect: {why}")
    }
}
