//! Wires in memory that a test meddles with: what is sent, when it leaves, and what they say of themselves.
//! They know nothing of what comes next.

use alloc::boxed::Box;
use core::future::{Ready, ready};
use core::task::{Context, Poll, ready as ready_or_return};

use chargehand_core::io::{BytesMoved, Exposure, Listen};

use super::*;

/// What a test does to one wire. Without any of these it is a plain one, but for its limit.
pub(super) trait Meddle {
    /// Says whether the wire takes a message of that many bytes.
    fn poll_take(&mut self, bytes: usize) -> Poll<Result<(), MemoryError>> {
        let _ = bytes;
        Poll::Ready(Ok(()))
    }

    /// Is called before each flush.
    fn flush(&mut self) {}

    fn progress(&self) -> BytesMoved {
        BytesMoved::default()
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        let _ = bytes_max;
    }

    fn message_bytes_max(&self) -> usize {
        usize::MAX
    }
}

pub(super) struct Meddled<M> {
    inner: MemoryWire,
    with: M,
}

/// Gives each wire that it accepts what `make` makes for it.
pub(super) struct MeddledListener<F> {
    inner: MemoryListener,
    make: F,
    on_full: Box<dyn FnMut(bool)>,
}

impl<F> MeddledListener<F> {
    pub(super) fn new(inner: MemoryListener, make: F) -> Self {
        Self { inner, make, on_full: Box::new(|_| {}) }
    }

    /// Calls `on_full` whenever the listener is told whether there is room.
    pub(super) fn on_full(mut self, on_full: impl FnMut(bool) + 'static) -> Self {
        self.on_full = Box::new(on_full);
        self
    }
}

impl<M: Meddle> Wire for Meddled<M> {
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
        ready_or_return!(self.with.poll_take(head.len() + body.len()))?;
        self.inner.poll_send(cx, head, body)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.with.flush();
        self.inner.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.inner.poll_close(cx)
    }

    fn progress(&self) -> BytesMoved {
        self.with.progress()
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.with.limit_incoming(bytes_max);
    }

    fn message_bytes_max(&self) -> usize {
        self.with.message_bytes_max()
    }
}

impl<M: Meddle, F: FnMut() -> M> Listen for MeddledListener<F> {
    type Wire = Meddled<M>;
    type Error = MemoryError;
    type Accepting = Ready<Result<Meddled<M>, MemoryError>>;

    fn set_full(&mut self, is_full: bool) {
        (self.on_full)(is_full);
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        let accepting = ready_or_return!(self.inner.poll_accept(cx))?;
        let inner = accepting.into_inner()?;
        Poll::Ready(Ok(ready(Ok(Meddled { inner, with: (self.make)() }))))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}
