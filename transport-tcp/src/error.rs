//! Why a wire broke, or never was.

use std::error::Error;
use std::fmt;
use std::io;

use chargehand_core::prefix::{HEADER_BYTES, TooLong};

/// Any error that a runtime's `Dial` or `Accept` gives.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a wire broke, or could not be made. The text names the peer and, where there is one, the
/// remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum TcpError {
    /// The stream could not be opened.
    Dial {
        /// The address.
        peer: Box<str>,
        /// What the runtime says.
        error: BoxError,
    },
    /// No stream could be taken in.
    Accept {
        /// What the runtime says.
        error: BoxError,
    },
    /// A stream was taken in, but its own handshake failed: that of TLS, say.
    Open {
        /// The other end.
        peer: Box<str>,
        /// What the runtime says.
        error: BoxError,
    },
    /// Reading or writing failed.
    Io {
        /// The other end.
        peer: Box<str>,
        /// What the stream says.
        error: io::Error,
    },
    /// The peer closed the connection in the middle of a message.
    Truncated {
        /// The other end.
        peer: Box<str>,
    },
    /// The peer announced a message above the limit.
    Received {
        /// The other end.
        peer: Box<str>,
        /// The length and the limit.
        too_long: TooLong,
    },
    /// The peer announced a message above the limit that [`Wire::limit_incoming`] has set, which is
    /// lower than this transport's own: as a rule that of a greeting, until the peer has introduced
    /// itself.
    ///
    /// [`Wire::limit_incoming`]: chargehand_core::io::Wire::limit_incoming
    Early {
        /// The other end.
        peer: Box<str>,
        /// The length and the limit.
        too_long: TooLong,
    },
    /// A message to send is above the limit. Nothing of it was sent.
    Sending {
        /// The other end.
        peer: Box<str>,
        /// The length and the limit.
        too_long: TooLong,
    },
    /// The peer speaks another protocol.
    Foreign {
        /// The other end.
        peer: Box<str>,
        /// Which protocol: `HTTP` or `TLS`.
        protocol: &'static str,
    },
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { peer, error } => write!(f, "cannot connect to {peer}: {error}"),
            Self::Accept { error } => write!(f, "cannot accept a connection: {error}"),
            Self::Open { peer, error } => {
                write!(f, "cannot open the connection from {peer}: {error}")
            }
            Self::Io { peer, error } => write!(f, "connection with {peer}: {error}"),
            Self::Truncated { peer } => {
                write!(f, "{peer} closed the connection in the middle of a message")
            }
            Self::Received { peer, too_long } => write!(f, "from {peer}: {too_long}"),
            Self::Early { peer, too_long: TooLong { length, frame_bytes_max } } => write!(
                f,
                "from {peer}: a frame of {length} bytes is above the limit of {frame_bytes_max} that \
                 holds for now, which is a greeting's until the peer has introduced itself: is it \
                 chargehand, and of a version that fits?"
            ),
            Self::Sending { peer, too_long } => write!(f, "to {peer}: {too_long}"),
            Self::Foreign { peer, protocol: protocol @ "TLS" } => write!(
                f,
                "{peer} speaks {protocol}, not chargehand's messages: is the address right? Either both ends \
                 speak TLS (tls:// to dial, TlsAccept to listen), or neither"
            ),
            Self::Foreign { peer, protocol } => {
                write!(
                    f,
                    "{peer} speaks {protocol}, not chargehand's messages: is the address right?"
                )
            }
        }
    }
}

impl Error for TcpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial { error, .. } | Self::Open { error, .. } | Self::Accept { error } => {
                Some(&**error)
            }
            Self::Io { error, .. } => Some(error),
            Self::Received { too_long, .. }
            | Self::Early { too_long, .. }
            | Self::Sending { too_long, .. } => Some(too_long),
            Self::Truncated { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// Returns which other protocol a stream begins with, judged by its first four bytes. As the length
/// of a first message, which is a short greeting, none of them makes sense.
pub(crate) fn foreign_protocol(first: [u8; HEADER_BYTES]) -> Option<&'static str> {
    match &first {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"PRI " | b"CONN" | b"HTTP" => {
            Some("HTTP")
        }
        // A handshake, or an alert.
        [0x16 | 0x15, 0x03, 0x01..=0x04, _] => Some("TLS"),
        _ => None,
    }
}
