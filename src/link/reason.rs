//! Why a link ended, or never came up: one list for pools and workers.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::error::Error;
use core::fmt::{self, Display};
use core::time::Duration;

use chargehand_core::message::{Code, MessageError};
use chargehand_core::session::SessionError;
use chargehand_core::{Config, Loss, Reason};
use serde::{Serialize, Serializer};

/// Any error of a transport or a runtime.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a link ended, or why a connection never became one.
///
/// [`Display`] says what happened and what to do. Texts of a peer or a transport are kept word for word; `Display`
/// escapes those of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// No connection could be made, or the transport's handshake failed. The text is the transport's.
    Unreachable(String),
    /// The connection broke. The text is the transport's.
    Reset(String),
    /// The peer closed the connection without a Goodbye, as the operating system does for a process that ends.
    Closed,
    /// The peer closed the connection before its Hello.
    ClosedEarly,
    /// The peer said Goodbye.
    Goodbye {
        /// The reason, for programs.
        code: Code,
        /// The reason, for people.
        text: String,
    },
    /// The peer violated the protocol or a limit of this side.
    Protocol {
        /// The code that was sent to the peer.
        code: Code,
        /// What it sent, and what to do about it.
        text: String,
    },
    /// The two sides were set up with different [schemas](crate::Builder::schema).
    WrongSchema {
        /// The schema of this side.
        ours: String,
        /// The schema of the peer.
        theirs: String,
        /// The name that the peer gives itself.
        peer: String,
    },
    /// The connection uses the JSON dialect, which this side does not accept there.
    JsonRefused,
    /// Nothing was heard for this long.
    Silent(Duration),
    /// Connecting, including the handshake, took longer than the pool's `connect_timeout`, which was this.
    ConnectTimeout(Duration),
    /// The handshake of an incoming connection took longer than this: a pool's `connect_timeout`, or a worker's
    /// `handshake_timeout`.
    HandshakeTimeout(Duration),
    /// Newer connections replaced it before its handshake was done.
    PushedOut,
    /// This many attempts in a row took longer than `attempt_timeout`.
    Strikes(u16),
    /// The worker took no request within `attempt_timeout`.
    Stuck,
    /// A worker of the Go package gave no answer for this height within `attempt_timeout`.
    Unanswered {
        /// The height that it was asked for.
        height: i64,
    },
    /// This side serves as many peers as it may.
    Busy {
        /// The setting that limits them.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// The link was idle and made room for another manager.
    MadeRoom,
    /// Another worker of this name is connected and alive.
    NameTaken {
        /// The name.
        name: String,
    },
    /// The peer gave a name that does not match its proven identity.
    WrongName {
        /// The name.
        name: String,
        /// The proven identity.
        identity: String,
    },
    /// The name belongs to a worker with a proven identity, which the newcomer has not proven.
    NotTheirs {
        /// The name.
        name: String,
        /// The proven identity of the worker that has the name.
        owner: String,
        /// The proven identity of the newcomer, if any.
        identity: Option<String>,
    },
    /// The manager is not among those that may [use this worker](crate::Worker::managers).
    NotAllowed {
        /// The manager's proven identity, if any.
        identity: Option<String>,
    },
    /// The peer's identity is no longer valid: its certificate has expired or was revoked.
    NoLongerProven {
        /// The transport's text.
        why: String,
    },
    /// The identity or host has as many links as a single one may have.
    ShareTaken {
        /// The identity or host.
        peer: String,
        /// The setting that limits it.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// The worker had done nothing on this link and made room for a worker of a peer with fewer links.
    GaveWay,
    /// A newer link of the same worker replaced it.
    Displaced,
    /// The worker was removed, or asked to drain, and holds no task any more.
    Drained,
    /// The worker is being removed from the pool.
    Removed,
    /// The pool or the worker is stopping.
    Stopped,
    /// The worker stopped before everything was done, after its `drain_timeout`, which was this.
    DrainTimeout(Duration),
}

impl DisconnectReason {
    /// For a connection that could not be made.
    pub(crate) fn unreachable(error: impl Into<BoxError>) -> Self {
        Self::Unreachable(error.into().to_string())
    }

    /// For a wire that broke.
    pub(crate) fn reset(error: impl Into<BoxError>) -> Self {
        Self::Reset(error.into().to_string())
    }

    /// For a message that is not allowed.
    pub(crate) fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol { code: Code::BadMessage, text: text.into() }
    }

    /// For a Goodbye of the peer's.
    pub(crate) fn goodbye(code: Code, text: &str) -> Self {
        Self::Goodbye { code, text: text.into() }
    }

    /// For what the scheduler decided.
    pub(crate) fn of(reason: Reason, config: &Config) -> Self {
        match reason {
            Reason::ConnectTimeout => Self::ConnectTimeout(config.connect_timeout),
            Reason::Silent => Self::silent(config),
            Reason::Strikes => Self::Strikes(config.strikes_max),
            Reason::Drained => Self::Drained,
            Reason::Stopped => Self::Stopped,
        }
    }

    /// For a worker that says nothing.
    pub(crate) fn silent(config: &Config) -> Self {
        Self::Silent(config.heartbeat_interval.saturating_add(config.heartbeat_timeout))
    }

    /// Returns what the peer is told in a Goodbye, with this reason's text, if it can be told.
    pub(crate) fn told(&self) -> Option<Code> {
        match self {
            Self::Unreachable(_)
            | Self::Reset(_)
            | Self::Closed
            | Self::ClosedEarly
            | Self::Goodbye { .. }
            | Self::JsonRefused
            | Self::PushedOut
            | Self::Unanswered { .. } => None,
            Self::Protocol { code, .. } => Some(*code),
            Self::WrongSchema { .. } => Some(Code::WrongSchema),
            Self::Silent(_)
            | Self::ConnectTimeout(_)
            | Self::HandshakeTimeout(_)
            | Self::Strikes(_)
            | Self::Stuck => Some(Code::Timeout),
            Self::Busy { .. } | Self::MadeRoom | Self::ShareTaken { .. } | Self::GaveWay => {
                Some(Code::Busy)
            }
            Self::NameTaken { .. } => Some(Code::NameTaken),
            Self::WrongName { .. }
            | Self::NotTheirs { .. }
            | Self::NotAllowed { .. }
            | Self::NoLongerProven { .. } => Some(Code::NotAllowed),
            Self::Displaced => Some(Code::Displaced),
            Self::Drained | Self::Removed | Self::Stopped | Self::DrainTimeout(_) => {
                Some(Code::Stopped)
            }
        }
    }

    /// Returns how the scheduler is to take the loss.
    pub(crate) fn loss(&self) -> Loss {
        match self {
            // Of the latter nobody is to blame but whoever sent it away.
            Self::Goodbye { code: Code::Stopped | Code::Displaced, .. } | Self::GaveWay => {
                Loss::Stopped
            }
            Self::Reset(_) | Self::Closed | Self::Silent(_) => Loss::Away,
            _ => Loss::Broken,
        }
    }
}

impl From<MessageError> for DisconnectReason {
    fn from(error: MessageError) -> Self {
        Self::Protocol { code: error.code(), text: format!("sent an invalid message: {error}") }
    }
}

impl From<SessionError> for DisconnectReason {
    fn from(error: SessionError) -> Self {
        Self::protocol(error.to_string())
    }
}

impl Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Reset(text) | Self::Protocol { text, .. } => {
                f.write_str(text)
            }
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::ClosedEarly => f.write_str(
                "the peer closed the connection before its Hello: does it speak chargehand's \
                 protocol?",
            ),
            Self::Goodbye { code, text } => write!(f, "the peer said {code:?}: {text:?}"),
            Self::JsonRefused => f.write_str(
                "it speaks JSON: that takes the feature `json`, and a pool takes it only where it dials",
            ),
            Self::WrongSchema { ours, theirs, peer } => write!(
                f,
                "the schema here is {ours:?}, and that of the peer ({peer}) is {theirs:?}: upgrade \
                 the older side, so that both speak of the same requests and answers"
            ),
            Self::Silent(span) => write!(f, "silent: nothing heard for {span:?}"),
            Self::ConnectTimeout(span) => {
                write!(f, "connecting took longer than connect_timeout ({span:?})")
            }
            Self::HandshakeTimeout(span) => {
                write!(f, "no handshake within {span:?}: does the peer speak chargehand's protocol?")
            }
            Self::PushedOut => f.write_str("pushed out of its handshake by newer connections"),
            Self::Strikes(count) => {
                write!(f, "{count} attempts in a row took longer than attempt_timeout")
            }
            Self::Stuck => f.write_str("it took no request within attempt_timeout"),
            Self::Unanswered { height } => {
                write!(f, "no answer for height {height} within attempt_timeout")
            }
            Self::Busy { limit, max } => {
                write!(f, "there is no room: raise {limit}, which is {max}, or try later")
            }
            Self::MadeRoom => f.write_str("it was idle and had to make room for another manager"),
            Self::NameTaken { name } => write!(
                f,
                "{name}: another worker of this name is connected and alive: give each its own name"
            ),
            Self::WrongName { name, identity } => f.write_str(&wrong_name(name, identity)),
            Self::NotTheirs { name, owner, identity } => {
                f.write_str(&not_theirs(name, owner, identity.as_deref()))
            }
            Self::NotAllowed { identity } => f.write_str(&not_allowed(identity.as_deref())),
            Self::NoLongerProven { why } => write!(f, "no longer trusted: {why}"),
            Self::ShareTaken { peer, limit, max } => write!(
                f,
                "{peer} has as many links as a peer may have: raise {limit}, which is {max}, or try \
                 later"
            ),
            Self::GaveWay => f.write_str(
                "it had done nothing and had to make room for a worker of a peer with fewer links: raise \
                 workers_max, or try later",
            ),
            Self::Displaced => {
                f.write_str("a newer link of the same worker took this one's place")
            }
            Self::Drained => f.write_str("drained"),
            Self::Removed => f.write_str("this worker is being removed from the pool"),
            Self::Stopped => f.write_str("it is stopping"),
            Self::DrainTimeout(span) => {
                write!(f, "it stopped before everything was done, after drain_timeout ({span:?})")
            }
        }
    }
}

/// As the text that it displays.
impl Serialize for DisconnectReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Error for DisconnectReason {}

fn wrong_name(name: &str, identity: &str) -> String {
    let instance = format!("{identity}/1");
    format!(
        "the peer calls itself {name:?} but has proven to be {identity:?}: give it that name, or one with an \
         instance, as in {instance:?}"
    )
}

fn not_theirs(name: &str, owner: &str, identity: Option<&str>) -> String {
    let newcomer = proven(identity);
    format!(
        "{name}: that name belongs to a worker that has proven to be {owner:?}, and the newcomer {newcomer}: \
         give it another name"
    )
}

fn not_allowed(identity: Option<&str>) -> String {
    let manager = proven(identity);
    format!(
        "the manager {manager}, and is not among those that may use this worker: add it to `managers`"
    )
}

/// Says whom somebody has proven to be, for people.
fn proven(identity: Option<&str>) -> String {
    match identity {
        Some(identity) => format!("has proven to be {identity:?}"),
        None => "has proven nothing".to_owned(),
    }
}
