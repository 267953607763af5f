//! Why a wire broke, or never was.

use std::error::Error;
use std::fmt;
use std::io;

/// Any error that a runtime's `Dial` gives.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a wire broke, or could not be made. The text names the line and, where there is one, the
/// remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum SerialError {
    /// The stream could not be opened.
    Dial {
        /// The address.
        peer: Box<str>,
        /// What the runtime says.
        error: BoxError,
    },
    /// Reading or writing failed. An open line is of no more use.
    Io {
        /// The line.
        peer: Box<str>,
        /// What the stream says.
        error: io::Error,
    },
    /// The stream has ended, at this link or an earlier one. An open line is of no more use.
    Ended {
        /// The line.
        peer: Box<str>,
    },
    /// The other end has just started, and knows nothing of this link.
    Restarted {
        /// The line.
        peer: Box<str>,
    },
    /// The other end has opened a newer link.
    Superseded {
        /// The line.
        peer: Box<str>,
    },
    /// Both ends open links, or the line echoes what is sent.
    BothOpen {
        /// The line.
        peer: Box<str>,
    },
    /// A whole message came that is above the limit which [`Wire::limit_incoming`] has set, as a
    /// rule that of a greeting, until the peer has introduced itself.
    ///
    /// [`Wire::limit_incoming`]: chargehand_core::io::Wire::limit_incoming
    Early {
        /// The line.
        peer: Box<str>,
        /// How long it is, in bytes.
        length: usize,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// A message to send is above the limit. Nothing of it was sent.
    Sending {
        /// The line.
        peer: Box<str>,
        /// How long it is, in bytes.
        length: usize,
        /// The limit, in bytes.
        frame_bytes_max: usize,
    },
}

impl fmt::Display for SerialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { peer, error } => write!(f, "cannot open {peer}: {error}"),
            Self::Io { peer, error } => write!(f, "line {peer}: {error}"),
            Self::Ended { peer } => write!(f, "the stream of line {peer} has ended"),
            Self::Restarted { peer } => write!(f, "the other end of line {peer} has restarted"),
            Self::Superseded { peer } => {
                write!(f, "the other end of line {peer} has opened a newer link")
            }
            Self::BothOpen { peer } => write!(
                f,
                "both ends of line {peer} open links, or it echoes: one end connects, the other \
                 listens"
            ),
            Self::Early { peer, length, bytes_max } => write!(
                f,
                "from {peer}: a message of {length} bytes is above the limit of {bytes_max} that holds \
                 for now, which is a greeting's until the peer has introduced itself: is it chargehand, \
                 and of a version that fits?"
            ),
            Self::Sending { peer, length, frame_bytes_max } => write!(
                f,
                "to {peer}: a message of {length} bytes is above the limit of {frame_bytes_max} \
                 (frame_bytes_max): raise the limit at both ends or send smaller messages"
            ),
        }
    }
}

impl Error for SerialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial { error, .. } => Some(&**error),
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
