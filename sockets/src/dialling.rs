//! The future of a connection attempt.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Resolves to the connected stream: a [`Dial::Dialling`](chargehand_core::io::Dial::Dialling) that can be
/// named. Dropping it abandons the attempt.
pub struct Dialling<S>(Pin<Box<dyn Future<Output = io::Result<S>> + Send>>);

impl<S> Dialling<S> {
    /// Wraps the future that opens the stream.
    pub fn new(open: impl Future<Output = io::Result<S>> + Send + 'static) -> Self {
        Self(Box::pin(open))
    }
}

impl<S> Future for Dialling<S> {
    type Output = io::Result<S>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S> fmt::Debug for Dialling<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialling").finish_non_exhaustive()
    }
}
