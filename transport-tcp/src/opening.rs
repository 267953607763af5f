//! The wait for a stream that is being opened, and the wire that is made of it then.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use chargehand_core::io::Proof;

use crate::{BoxError, Limits, TcpError, TcpWire};

/// What a wire is made of, beside its stream.
struct Made<S> {
    peer: Box<str>,
    limits: Limits,
    proof: Proof<S>,
}

impl<S> Made<S> {
    fn wire(&self, stream: S) -> TcpWire<S> {
        TcpWire::new(stream, &self.peer, self.limits).proven(self.proof)
    }
}

/// Completes with the open wire.
pub struct Connecting<F, S> {
    dialling: Pin<Box<F>>,
    made: Made<S>,
    explain: fn(BoxError) -> BoxError,
}

impl<F, S> Connecting<F, S> {
    /// Makes one of the future that opens the stream, for a connector of your own. Errors name `peer`;
    /// `proof` is [`Proof::of_dial`] as a rule.
    pub fn new(dialling: F, peer: &str, limits: Limits, proof: Proof<S>) -> Self {
        let made = Made { peer: peer.into(), limits, proof };
        Self { dialling: Box::pin(dialling), made, explain: |error| error }
    }

    /// Sets what becomes of an error of the dialling before it is told: a remedy can be added to it.
    /// By default it stays as it is.
    #[must_use]
    pub fn explained(self, explain: fn(BoxError) -> BoxError) -> Self {
        Self { explain, ..self }
    }
}

impl<F, S, E> Future for Connecting<F, S>
where
    F: Future<Output = Result<S, E>>,
    E: Into<BoxError>,
{
    type Output = Result<TcpWire<S>, TcpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.dialling.as_mut().poll(cx).map(|result| match result {
            Ok(stream) => Ok(self.made.wire(stream)),
            Err(error) => {
                let error = (self.explain)(error.into());
                Err(TcpError::Dial { peer: self.made.peer.clone(), error })
            }
        })
    }
}

impl<F, S> fmt::Debug for Connecting<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("peer", &self.made.peer).finish_non_exhaustive()
    }
}

/// Completes with the wire once its stream is open, which a plain one is already.
pub struct Accepting<F, S> {
    opening: Pin<Box<F>>,
    made: Made<S>,
}

impl<F, S> Accepting<F, S> {
    pub(crate) fn new(opening: F, peer: &str, limits: Limits, proof: Proof<S>) -> Self {
        Self { opening: Box::pin(opening), made: Made { peer: peer.into(), limits, proof } }
    }
}

impl<F, S, E> Future for Accepting<F, S>
where
    F: Future<Output = Result<S, E>>,
    E: Into<BoxError>,
{
    type Output = Result<TcpWire<S>, TcpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.opening.as_mut().poll(cx).map(|result| match result {
            Ok(stream) => Ok(self.made.wire(stream)),
            Err(error) => Err(TcpError::Open { peer: self.made.peer.clone(), error: error.into() }),
        })
    }
}

impl<F, S> fmt::Debug for Accepting<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("peer", &self.made.peer).finish_non_exhaustive()
    }
}
