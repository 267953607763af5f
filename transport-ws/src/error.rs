//! Why a wire broke, or never was.

use std::error::Error;
use std::fmt;
use std::io;

/// Any error that a runtime's `Dial` or `Accept` gives.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a wire broke, or could not be made. The text names the peer and, where there is one, the
/// remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum WsError {
    /// The stream could not be opened.
    Dial {
        /// The URL.
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
    /// The HTTP handshake failed.
    Handshake {
        /// The other end.
        peer: Box<str>,
        /// What is wrong with the peer's part of it.
        problem: Box<str>,
    },
    /// The server answered the handshake with another status than 101.
    Refused {
        /// The other end.
        peer: Box<str>,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's text, and a hint where there is one.
        text: Box<str>,
    },
    /// The peer closed the connection with a code that tells of a problem.
    Closed {
        /// The other end.
        peer: Box<str>,
        /// The code, by RFC 6455 section 7.4.
        code: u16,
        /// The peer's words.
        reason: Box<str>,
    },
    /// The peer ended the connection without a close frame, perhaps in the middle of a message.
    Truncated {
        /// The other end.
        peer: Box<str>,
    },
    /// The peer broke the WebSocket protocol, or the rules of the dialect.
    Protocol {
        /// The other end.
        peer: Box<str>,
        /// What it did.
        problem: Box<str>,
    },
    /// The peer sent, or announced, a message or frame above the limit.
    Received {
        /// The other end.
        peer: Box<str>,
        /// How long it is so far, in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer sent, or announced, a message above the limit that holds until it has introduced
    /// itself.
    ReceivedEarly {
        /// The other end.
        peer: Box<str>,
        /// How long it is so far, in bytes.
        length: usize,
        /// The limit for now.
        limit: usize,
    },
    /// The listener has no room for another connection, and has told the peer so.
    Full {
        /// The other end.
        peer: Box<str>,
    },
    /// A message to send is above the limit. Nothing of it was sent.
    Sending {
        /// The other end.
        peer: Box<str>,
        /// How long it is, in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { peer, error } => write!(f, "cannot connect to {peer}: {error}"),
            Self::Accept { error } => write!(f, "cannot accept a connection: {error}"),
            Self::Open { peer, error } => {
                write!(f, "cannot open the connection from {peer}: {error}")
            }
            Self::Io { peer, error } => write!(f, "connection with {peer}: {error}"),
            Self::Handshake { peer, problem } => {
                write!(f, "WebSocket handshake with {peer}: {problem}")
            }
            Self::Refused { peer, status, text } => {
                write!(
                    f,
                    "{peer} refused the WebSocket handshake with HTTP status {status}: {text}"
                )
            }
            Self::Closed { peer, code, reason } => {
                write!(f, "{peer} closed the connection with code {code}: {reason}")
            }
            Self::Truncated { peer } => {
                write!(f, "{peer} ended the connection without a close frame")
            }
            Self::Protocol { peer, problem } => {
                write!(f, "{peer} broke the WebSocket protocol: {problem}")
            }
            Self::Received { peer, length, limit } => write!(
                f,
                "from {peer}: a message of {length} bytes or more is above the limit of {limit}: \
                 raise message_bytes_max and frame_bytes_max or send smaller messages"
            ),
            Self::ReceivedEarly { peer, length, limit } => write!(
                f,
                "from {peer}: a message of {length} bytes or more before it has introduced itself \
                 is above the limit of {limit}: is it a peer of this protocol?"
            ),
            Self::Full { peer } => {
                write!(f, "no room for another connection: {peer} was sent away with status 503")
            }
            Self::Sending { peer, length, limit } => write!(
                f,
                "to {peer}: a message of {length} bytes is above the limit of {limit}: raise \
                 message_bytes_max at both ends or send smaller messages"
            ),
        }
    }
}

impl Error for WsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial { error, .. } | Self::Open { error, .. } | Self::Accept { error } => {
                Some(&**error)
            }
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Returns what the parser says of the peer, without the title that our own error has.
pub(crate) fn words(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Protocol(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Returns a peer's words fit for one line of a log: no control characters, and not too many.
pub(crate) fn quoted(words: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&words[..words.len().min(300)]);
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().into()
}
