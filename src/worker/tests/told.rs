//! A wire that is told what to say of itself, and tells what it was told.

use core::future::{Ready, ready};
use core::task::{Context, Poll, ready as ready_or_return};

use chargehand_core::io::{Exposure, Listen, Progress};

use super::*;

/// What the test and the wires of its listener share.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) progress: Progress,
    pub(super) message_bytes_max: usize,
    /// What the wires were told to take, in order.
    pub(super) limits: Vec<usize>,
    /// Whether the listener was told that there is no room, each time it was told.
    pub(super) is_full: Vec<bool>,
}

pub(super) type Shared = Arc<Mutex<Talk>>;

pub(super) struct Told {
    inner: MemoryWire,
    talk: Shared,
}

pub(super) struct ToldListener {
    inner: MemoryListener,
    talk: Shared,
}

/// Makes a listener of told wires, in any dialect.
pub(super) fn told(dialect: Dialect, capacity: usize) -> (MemoryConnector, ToldListener, Shared) {
    let (connector, inner) = pair_of(dialect, capacity);
    let talk = Talk {
        progress: Progress::default(),
        message_bytes_max: usize::MAX,
        limits: Vec::new(),
        is_full: Vec::new(),
    };
    let talk = Arc::new(Mutex::new(talk));
    (connector, ToldListener { inner, talk: Arc::clone(&talk) }, talk)
}

impl Wire for Told {
    type Error = MemoryError;

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn peer(&self) -> &str {
        self.inner.peer()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, MemoryError>> {
        self.inner.poll_recv(cx)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), MemoryError>> {
        if head.len() + body.len() > self.message_bytes_max() {
            return Poll::Ready(Err(MemoryError::Closed)); // As good as any.
        }
        self.inner.poll_send(cx, head, body)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.inner.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.inner.poll_close(cx)
    }

    fn progress(&self) -> Progress {
        self.talk.lock().unwrap().progress
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.talk.lock().unwrap().limits.push(bytes_max);
    }

    fn message_bytes_max(&self) -> usize {
        self.talk.lock().unwrap().message_bytes_max
    }
}

impl Listen for ToldListener {
    type Wire = Told;
    type Error = MemoryError;
    type Accepting = Ready<Result<Told, MemoryError>>;

    fn set_full(&mut self, is_full: bool) {
        self.talk.lock().unwrap().is_full.push(is_full);
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        let accepting = ready_or_return!(self.inner.poll_accept(cx))?;
        let (inner, talk) = (accepting.into_inner()?, Arc::clone(&self.talk));
        Poll::Ready(Ok(ready(Ok(Told { inner, talk }))))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}
