//! Why links end.

use alloc::string::String;
use alloc::string::ToString;

use chargehand_core::message::{Code, MessageError};
use chargehand_core::session::SessionError;

use crate::link::erased::BoxError;

/// Why a link ends.
#[derive(Debug)]
pub(super) enum End {
    /// The wire broke, or the peer closed it: there is nobody left to tell.
    Gone(String),
    /// The peer said Goodbye.
    SentAway(Code, String),
    /// This side has had enough: the peer is told, then the wire is closed.
    Leave(Code, String),
}

impl End {
    #[cold]
    pub(super) fn broken(error: impl Into<BoxError>) -> Self {
        Self::Gone(error.into().to_string())
    }

    #[cold]
    pub(super) fn closed() -> Self {
        Self::Gone("the peer closed it".into())
    }

    #[cold]
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::Leave(Code::BadMessage, text.into())
    }
}

impl From<MessageError> for End {
    #[cold]
    fn from(error: MessageError) -> Self {
        Self::Leave(error.code(), error.to_string())
    }
}

impl From<SessionError> for End {
    #[cold]
    fn from(error: SessionError) -> Self {
        Self::bad(error.to_string())
    }
}
