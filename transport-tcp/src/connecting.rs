//! The wait for a wire that is being opened.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::{BoxError, Limits, TcpError, TcpWire};

/// Completes with the open wire.
pub struct Connecting<F> {
    dialling: Pin<Box<F>>,
    peer: Box<str>,
    limits: Limits,
    explain: fn(BoxError) -> BoxError,
}

impl<F> Connecting<F> {
    /// Makes one of the future that opens the stream, for a connector of your own. Errors name `peer`.
    pub fn new(dialling: F, peer: &str, limits: Limits) -> Self {
        Self { dialling: Box::pin(dialling), peer: peer.into(), limits, explain: |error| error }
    }

    /// Sets what becomes of an error of the dialling before it is told: a remedy can be added to it.
    /// By default it stays as it is.
    #[must_use]
    pub fn explained(self, explain: fn(BoxError) -> BoxError) -> Self {
        Self { explain, ..self }
    }
}

impl<F, S, E> Future for Connecting<F>
where
    F: Future<Output = Result<S, E>>,
    E: Into<BoxError>,
{
    type Output = Result<TcpWire<S>, TcpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.dialling.as_mut().poll(cx).map(|result| match result {
            Ok(stream) => Ok(TcpWire::new(stream, &self.peer, self.limits)),
            Err(error) => {
                let error = (self.explain)(error.into());
                Err(TcpError::Dial { peer: self.peer.clone(), error })
            }
        })
    }
}

impl<F> fmt::Debug for Connecting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("peer", &self.peer).finish_non_exhaustive()
    }
}
