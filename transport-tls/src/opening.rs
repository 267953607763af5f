//! From a stream below that is still to be opened to one over TLS.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::handshake::Handshake;
use crate::rules::Rules;
use crate::{BoxError, TlsError, TlsStream};

/// Completes with the open stream: that below is opened, then the handshake is done.
pub struct Opening<F, S> {
    step: Step<F, S>,
}

enum Step<F, S> {
    Failed(TlsError),
    Below { opening: Pin<Box<F>>, start: Start, rules: Rules },
    Handshake(Box<Handshake<S>>),
    Done,
}

/// What a session is made of.
pub(crate) enum Start {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(Arc<ServerConfig>),
}

impl Start {
    fn session(self) -> Result<Connection, TlsError> {
        match self {
            Self::Client(config, name) => ClientConnection::new(config, name).map(Into::into),
            Self::Server(config) => ServerConnection::new(config).map(Into::into),
        }
        .map_err(TlsError::of)
    }
}

impl<F, S> Opening<F, S> {
    pub(crate) fn new(opening: F, start: Start, rules: Rules) -> Self {
        Self { step: Step::Below { opening: Box::pin(opening), start, rules } }
    }

    pub(crate) const fn failed(error: TlsError) -> Self {
        Self { step: Step::Failed(error) }
    }
}

impl<F, S, E> Future for Opening<F, S>
where
    F: Future<Output = Result<S, E>>,
    S: AsyncRead + AsyncWrite + Unpin,
    E: Into<BoxError>,
{
    type Output = Result<TlsStream<S>, TlsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Step::Below { opening, .. } = &mut self.step {
            let stream = ready!(opening.as_mut().poll(cx))
                .map_err(|error| TlsError::Stream { error: error.into() })?;
            let below = std::mem::replace(&mut self.step, Step::Done);
            if let Step::Below { start, rules, .. } = below {
                // Not before: a session is large, and many may wait for their stream.
                let handshake = Handshake::new(stream, start.session()?, rules);
                self.step = Step::Handshake(Box::new(handshake));
            }
        }
        let result = match &mut self.step {
            Step::Handshake(handshake) => ready!(handshake.poll(cx)),
            _ => match std::mem::replace(&mut self.step, Step::Done) {
                Step::Failed(error) => Err(error),
                _ => panic!("a future was polled after it had completed"),
            },
        };
        self.step = Step::Done;
        Poll::Ready(result)
    }
}

// Only the boxed future is pinned, and that stays where it is.
impl<F, S> Unpin for Opening<F, S> {}

impl<F, S> fmt::Debug for Opening<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}
