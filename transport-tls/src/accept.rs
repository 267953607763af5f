//! The accepting end.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use chargehand_core::io::{Accept, Exposure, Trust};
use futures_io::{AsyncRead, AsyncWrite};
use rustls::{CommonState, ServerConfig};

use crate::configured::Configured;
use crate::opening::{Opening, Start};
use crate::rules::Rules;
use crate::{BoxError, TlsError, TlsStream};

/// Takes in streams over TLS: an [`Accept`] over any other.
#[derive(Clone)]
pub struct TlsAccept<A> {
    accept: A,
    config: Configured<ServerConfig>,
    rules: Rules,
    knows_who_comes: bool,
    is_for_anyone: bool,
}

impl<A> TlsAccept<A> {
    /// Makes a listener over another.
    pub fn new(accept: A, config: Arc<ServerConfig>) -> Self {
        let (config, rules) = (Configured::Fixed(config), Rules::default());
        Self { accept, config, rules, knows_who_comes: false, is_for_anyone: false }
    }

    /// Declares that this listener admits peers without proof of who they are: for
    /// a `config` that asks clients for no certificate. Until then a pool or worker that listens where others
    /// than this machine can reach it does not take the listener, unless it is told `insecure()`.
    #[must_use]
    pub fn for_anyone(self) -> Self {
        Self { is_for_anyone: true, ..self }
    }

    /// Sets what to make of the client's certificate once the handshake is done, of a resumed session's
    /// too: whom it proves ([`Wire::identity`]), or why the connection is refused all the same. It is asked
    /// again every few seconds as long as the connection is up, and an error ends that.
    ///
    /// Default nobody. Where `config` asks clients for certificates and each has its own name in it, take
    /// [`certificate_name`](crate::certificate_name).
    ///
    /// [`Wire::identity`]: chargehand_core::io::Wire::identity
    #[must_use]
    pub fn identify<F>(self, identify: F) -> Self
    where
        F: Fn(&CommonState) -> Result<Option<Box<str>>, BoxError> + Send + Sync + 'static,
    {
        Self { rules: Rules::new(identify), knows_who_comes: true, ..self }
    }

    #[cfg(feature = "members")]
    pub(crate) fn of_member(accept: A, config: Configured<ServerConfig>, rules: Rules) -> Self {
        Self { accept, config, rules, knows_who_comes: true, is_for_anyone: false }
    }

    /// Makes the same over another.
    #[cfg(test)]
    pub(crate) fn over<O>(&self, accept: O) -> TlsAccept<O> {
        let Self { config, rules, knows_who_comes, is_for_anyone, .. } = self;
        TlsAccept {
            accept,
            config: config.clone(),
            rules: rules.clone(),
            knows_who_comes: *knows_who_comes,
            is_for_anyone: *is_for_anyone,
        }
    }
}

impl<A> Accept for TlsAccept<A>
where
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Stream = TlsStream<A::Stream>;
    type Peer = A::Peer;
    type Error = TlsError;
    type Opening = Opening<A::Opening, A::Stream>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Self::Opening, Self::Peer), TlsError>> {
        self.accept.poll_accept(cx).map(|result| match result {
            Ok((opening, peer)) => {
                let opening = match self.config.get() {
                    Ok(config) => Opening::new(opening, Start::Server(config), self.rules.clone()),
                    Err(error) => Opening::failed(error),
                };
                Ok((opening, peer))
            }
            Err(error) => Err(TlsError::Stream { error: error.into() }),
        })
    }

    fn identity(stream: &Self::Stream) -> Option<&str> {
        stream.identity()
    }

    fn trust(stream: &mut Self::Stream) -> Trust<'_> {
        stream.trust()
    }

    fn exposure(&self) -> Exposure {
        match self.accept.exposure() {
            _ if self.knows_who_comes => Exposure::Protected,
            other => other.waived_if(self.is_for_anyone),
        }
    }

    fn connections_max(&self) -> Option<usize> {
        self.accept.connections_max()
    }
}

impl<A: fmt::Debug> fmt::Debug for TlsAccept<A> {
    // Without the configuration, which has the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAccept").field("accept", &self.accept).finish_non_exhaustive()
    }
}
