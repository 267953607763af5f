//! Why a client is not let in, as HTTP says it.

use std::fmt;

use http::StatusCode;

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// Its request is malformed, or not one that can be accepted.
    Bad(String),
    /// It speaks another version of WebSocket.
    Version,
    /// A browser's page of elsewhere.
    Origin(String),
    /// It has no token, and needs one.
    NoToken,
    /// Its token stands for nobody.
    Token,
    /// There is no room.
    Full,
    /// Nobody takes connections any more.
    Gone,
    /// It was asked for by another method than `GET`.
    Method(String),
}

impl Denial {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::NoToken | Self::Token => StatusCode::UNAUTHORIZED,
            Self::Full | Self::Gone => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Returns the headers that belong to the status, as they are usually written.
    pub(crate) const fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Version => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            Self::NoToken => &[("WWW-Authenticate", "Bearer")],
            Self::Token => &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")],
            Self::Full => &[("Retry-After", "1")],
            Self::Method(_) => &[("Allow", "GET")],
            Self::Bad(_) | Self::Origin(_) | Self::Gone => &[],
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(problem) => f.write_str(problem),
            Self::Version => f.write_str("the client speaks another version of WebSocket than 13"),
            Self::Origin(origin) => write!(
                f,
                "pages of the origin {origin} are not allowed here: the endpoint's allow_origin \
                 allows one (and its json that of the Go package, http://localhost)"
            ),
            Self::NoToken => f.write_str(
                "the request has no bearer token in an \"Authorization\" header: give the connector its \
                 `bearer`",
            ),
            Self::Token => f.write_str(
                "the request's \"Authorization\" is no bearer token that stands for somebody here: give the \
                 connector one of the endpoint's `bearers`",
            ),
            Self::Full => {
                f.write_str("there is no room for another connection now: try again later")
            }
            Self::Gone => f.write_str(
                "the worker or pool that took connections here has ended: start it again",
            ),
            Self::Method(method) => {
                write!(f, "a WebSocket is asked for by GET, and not by {method}")
            }
        }
    }
}
