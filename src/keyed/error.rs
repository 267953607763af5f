//! Why a link with a key did not come up, or broke.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use chargehand_core::keyed::{ChannelError, ExchangeError};
use chargehand_core::message::Code;

use crate::link::reason::BoxError;

/// Why a link with a key did not come up, or broke. Its text names the peer and says what to do, and holds
/// nothing of a key.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyedError {
    /// The transport below could not connect, or broke.
    Transport(BoxError),
    /// The source of nonces has none.
    Nonce(BoxError),
    /// The peer did not prove its key.
    Exchange {
        /// The peer's address, as the transport has it.
        peer: Box<str>,
        /// What was wrong.
        error: ExchangeError,
    },
    /// The peer says a name of which no such key is known here.
    UnknownKey {
        /// The peer's address, as the transport has it.
        peer: Box<str>,
        /// Its name for itself, which it has not proven.
        name: Box<str>,
    },
    /// The peer refused this side. That it was the peer is not proven.
    Refused {
        /// The peer's address, as the transport has it.
        peer: Box<str>,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        text: Box<str>,
    },
    /// The peer closed before it had proven its key.
    Closed {
        /// The peer's address, as the transport has it.
        peer: Box<str>,
    },
    /// The connection speaks the JSON dialect, which knows no keys.
    Json {
        /// The peer's address, as the transport has it.
        peer: Box<str>,
    },
    /// A message is not what the peer sent, or cannot be sent.
    Message {
        /// The peer's address, as the transport has it.
        peer: Box<str>,
        /// What is wrong.
        error: ChannelError,
    },
}

impl fmt::Display for KeyedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Nonce(error) => write!(f, "no nonce for a link with a key: {error}"),
            Self::Exchange { peer, error } => write!(f, "{peer}: {error}"),
            Self::UnknownKey { peer, name } => write!(
                f,
                "{peer} says that it is {name:?}, and no such key is known here for that name: add it, or \
                 mend the name there"
            ),
            Self::Refused { peer, code, text } => write!(
                f,
                "{peer} said {code:?} in place of the proof of a key: {text:?}. Give both sides the same \
                 key and the names that they are known by"
            ),
            Self::Closed { peer } => write!(
                f,
                "{peer} closed the connection before it had proven its key: does it have one?"
            ),
            Self::Json { peer } => write!(
                f,
                "{peer} speaks JSON, which knows no keys: use TLS, or no key where only such peers are"
            ),
            Self::Message { peer, error } => write!(f, "{peer}: {error}"),
        }
    }
}

impl Error for KeyedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // What it displays is all of it.
            Self::Transport(error) => error.source(),
            Self::Nonce(error) => Some(&**error),
            Self::Exchange { error, .. } => Some(error),
            Self::Message { error, .. } => Some(error),
            Self::UnknownKey { .. }
            | Self::Refused { .. }
            | Self::Closed { .. }
            | Self::Json { .. } => None,
        }
    }
}
