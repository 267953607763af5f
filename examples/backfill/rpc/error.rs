//! Why a node gave no block, and whether to ask again.

use std::fmt;
use std::time::Duration;

use super::url::NodeUrl;

/// Why a node gave no block.
#[derive(Debug)]
pub(super) enum RpcError {
    /// It cannot be reached, or does not answer in time.
    Unreachable(String),
    /// It answered with an HTTP error.
    Status(u16),
    /// It answered, but not as JSON-RPC wants it.
    Malformed(String),
    /// It refused the call.
    Refused { code: i64, message: String },
    /// It has more to do than it can, or than we may ask for.
    Busy {
        why: Box<RpcError>,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
    /// It has no such block, or not yet.
    NoBlock(u64),
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// It would be the same the next time.
    GiveUp,
    /// Something went wrong that passes.
    Again,
    /// The node wants less of everybody here.
    Later,
    /// Nothing is wrong: the block is not there yet.
    NotYet,
}

/// JSON-RPC's codes for calls that are wrong in themselves (section 5.1 of its specification), and
/// those of EIP-1474 likewise.
const WRONG_CALLS: [i64; 7] = [-32700, -32600, -32601, -32602, -32003, -32004, -32006];
/// Codes for too many calls: EIP-1474's "limit exceeded", and what providers use besides.
const TOO_MANY_CALLS: [i64; 3] = [-32005, -32016, 429];
const TOO_MANY_WORDS: [&str; 3] = ["rate limit", "limit exceeded", "too many requests"];

impl RpcError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            Self::Busy { .. } => Advice::Later,
            Self::NoBlock(_) => Advice::NotYet,
            Self::Refused { code, .. } if WRONG_CALLS.contains(code) => Advice::GiveUp,
            // 408: it was slow; 425: it would rather not yet; above that it is its own fault.
            Self::Status(status) if !matches!(status, 408 | 425 | 500..) => Advice::GiveUp,
            _ => Advice::Again,
        }
    }

    /// Returns this, or that the node is busy where that is what it means: by the status of the
    /// answer, by how long it asks to wait, or by its words.
    pub(super) fn or_busy(self, status: u16, after: Option<Duration>) -> Self {
        let is_busy = match &self {
            _ if matches!(status, 429 | 503) => true,
            Self::Refused { code, message } => {
                let message = message.to_lowercase();
                TOO_MANY_CALLS.contains(code)
                    || TOO_MANY_WORDS.iter().any(|words| message.contains(words))
            }
            _ => false,
        };
        // An error that comes with a time to wait passes then, whatever it is.
        let asks_to_wait = after.is_some() && !(200..300).contains(&status);
        if is_busy || asks_to_wait { Self::Busy { why: Box::new(self), after } } else { self }
    }

    /// Says it as a sentence about the node, without the node's key.
    pub(super) fn of(&self, node: &NodeUrl) -> String {
        format!("node {node}: {}", node.hide(&self.to_string()))
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::Status(status) => write!(f, "it answers with HTTP status {status}"),
            Self::Malformed(why) => write!(f, "its answer is not understood: {why}"),
            Self::Refused { code, message } => write!(f, "it refuses: {message} (code {code})"),
            Self::Busy { why, after: None } => write!(f, "it is busy: {why}"),
            Self::Busy { why, after: Some(after) } => {
                write!(f, "it is busy, for {} s as it says: {why}", after.as_secs())
            }
            Self::NoBlock(height) => write!(f, "it has no block {height} yet"),
        }
    }
}
