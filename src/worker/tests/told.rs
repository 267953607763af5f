//! A wire that is told what to say of itself, and tells what it was told.

use core::task::Poll;

use chargehand_core::io::BytesMoved;

use super::meddled::{Meddle, MeddledListener};

use super::*;

/// What the test and the wires of its listener share.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) progress: BytesMoved,
    pub(super) message_bytes_max: usize,
    /// What the wires were told to take, in order.
    pub(super) limits: Vec<usize>,
    /// Whether the listener was told that there is no room, each time it was told.
    pub(super) is_full: Vec<bool>,
}

pub(super) type Shared = Arc<Mutex<Talk>>;

/// Makes a listener of told wires, in any dialect.
pub(super) fn told(
    dialect: Dialect,
    capacity: usize,
) -> (MemoryConnector, MeddledListener<impl FnMut() -> Shared>, Shared) {
    let (connector, inner) = pair_of(dialect, capacity);
    let talk = Talk {
        progress: BytesMoved::default(),
        message_bytes_max: usize::MAX,
        limits: Vec::new(),
        is_full: Vec::new(),
    };
    let talk = Arc::new(Mutex::new(talk));
    let (wires, heard) = (Arc::clone(&talk), Arc::clone(&talk));
    let listener = MeddledListener::new(inner, move || Arc::clone(&wires))
        .on_full(move |is_full| heard.lock().unwrap().is_full.push(is_full));
    (connector, listener, talk)
}

impl Meddle for Shared {
    fn poll_take(&mut self, bytes: usize) -> Poll<Result<(), MemoryError>> {
        let is_short = bytes <= self.message_bytes_max();
        Poll::Ready(is_short.then_some(()).ok_or(MemoryError::Closed)) // As good as any.
    }

    fn progress(&self) -> BytesMoved {
        self.lock().unwrap().progress
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.lock().unwrap().limits.push(bytes_max);
    }

    fn message_bytes_max(&self) -> usize {
        self.lock().unwrap().message_bytes_max
    }
}
