//! The next item of one of the pool's streams, for callers without `StreamExt`.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;

/// A future of the next item of [`Outcomes`](crate::Outcomes) or [`Events`](crate::Events), or
/// `None` after the last one. Dropping it loses nothing: the item is returned by the next call.
// A type of its own, not `impl Future`: it is `Unpin`, and a borrow ends with its last use.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Next<'a, S>(pub(crate) &'a mut S);

impl<S: Stream + Unpin> Future for Next<'_, S> {
    type Output = Option<S::Item>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.0).poll_next(cx)
    }
}
