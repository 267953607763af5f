//! Decides by the headers of a request who gets in, for our own listener and for other HTTP servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chargehand_core::io::Dialect;
use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use tungstenite::handshake::derive_accept_key;

use crate::address::AddressError;
use crate::bearer::Bearers;
use crate::denial::Denial;
use crate::error::quoted;
use crate::headers::{list, lists, single};
use crate::origin::Origin;
use crate::{Limits, SUBPROTOCOL};

/// Whom an endpoint lets in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) json: bool,
    origins: Arc<Vec<Origin>>,
    /// Whom tokens stand for, where there are any.
    bearers: Option<Bearers>,
    /// Whether there is no room. Handshakes that are under way see it change.
    is_full: Arc<AtomicBool>,
    pub(crate) limits: Limits,
}

/// What a request is answered with that may become a connection.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    pub(crate) dialect: Dialect,
    /// That the request was understood (RFC 6455 section 1.3).
    pub(crate) proof: String,
    /// Whom its token stands for, if it has one.
    pub(crate) identity: Option<Box<str>>,
}

impl Door {
    pub(crate) fn new() -> Self {
        let is_full = Arc::new(AtomicBool::new(false));
        Self { json: false, origins: Arc::default(), bearers: None, is_full, limits: Limits::new() }
    }

    pub(crate) fn allow_origin(&mut self, origin: &str) -> Result<(), AddressError> {
        let parsed = Origin::parse(origin).map_err(|problem| AddressError::new(origin, problem))?;
        Arc::make_mut(&mut self.origins).push(parsed);
        Ok(())
    }

    pub(crate) fn set_bearers(&mut self, bearers: Bearers) {
        self.bearers = Some(bearers);
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Agrees to a request, or says why not. Who has proven who it is already needs no token.
    pub(crate) fn judge(&self, headers: &HeaderMap, is_proven: bool) -> Result<Agreement, Denial> {
        let key = upgrade(headers)?;
        // Before the origin: a manager of the Go package should hear of its dialect.
        let dialect = dialect(headers, self.json).map_err(Denial::Bad)?;
        let_in(headers, self)?;
        let identity = match &self.bearers {
            Some(bearers) => bearers.identity(headers)?,
            None => None,
        };
        if self.bearers.is_some() && identity.is_none() && !is_proven {
            return Err(Denial::NoToken);
        }
        // Last: who would not be let in anyway is told the reason that stays.
        if self.is_full.load(Ordering::Relaxed) {
            return Err(Denial::Full);
        }
        Ok(Agreement { dialect, proof: derive_accept_key(key), identity })
    }
}

/// Checks that this is a request for WebSocket (RFC 6455 section 4.2.1); returns its key.
fn upgrade(headers: &HeaderMap) -> Result<&[u8], Denial> {
    let bad = |problem: &str| Err(Denial::Bad(problem.to_owned()));
    if single(headers, &HOST).map_err(Denial::Bad)?.is_none() {
        return bad("the request has no \"Host\"");
    }
    if !lists(headers, CONNECTION, "upgrade") {
        return bad(
            "the request has no \"Connection: Upgrade\": this is a WebSocket endpoint, ask \
                    for an upgrade",
        );
    }
    if !lists(headers, UPGRADE, "websocket") {
        return bad("the request has no \"Upgrade: websocket\"");
    }
    // What follows a body would be taken for frames, or a body for them.
    let has_body = list(headers, CONTENT_LENGTH).any(|length| length != b"0");
    if has_body || headers.contains_key(TRANSFER_ENCODING) {
        return bad("the request has a body");
    }
    if !lists(headers, SEC_WEBSOCKET_VERSION, "13") {
        return Err(Denial::Version);
    }
    match single(headers, &SEC_WEBSOCKET_KEY).map_err(Denial::Bad)? {
        Some(key) if is_key(key) => Ok(key),
        Some(_) => bad("its \"Sec-WebSocket-Key\" is not 16 bytes in base64"),
        None => bad("the request has no \"Sec-WebSocket-Key\""),
    }
}

/// Whether this is base64 of 16 bytes: the last digit before the padding has two bits of them.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let [digits @ .., last, b'=', b'='] = key else { return false };
    digits.len() == 21 && digits.iter().all(is_digit) && b"AQgw".contains(last)
}

/// Turns away pages of other sites than those allowed. Who says none is no browser.
fn let_in(headers: &HeaderMap, door: &Door) -> Result<(), Denial> {
    let Some(text) = single(headers, &ORIGIN).map_err(Denial::Bad)? else { return Ok(()) };
    let origin = std::str::from_utf8(text).ok().and_then(|text| Origin::parse(text).ok());
    let is_allowed = origin.is_some_and(|origin| {
        door.origins.contains(&origin) || door.json && origin == Origin::of_go()
    });
    if is_allowed { Ok(()) } else { Err(Denial::Origin(quoted(text).into())) }
}

fn dialect(headers: &HeaderMap, json: bool) -> Result<Dialect, String> {
    let mut offered = list(headers, SEC_WEBSOCKET_PROTOCOL).peekable();
    if offered.peek().is_none() {
        return if json {
            Ok(Dialect::Json)
        } else {
            Err(format!(
                "the client offers no subprotocol, and the JSON dialect, which goes without, is \
                 off here: offer {SUBPROTOCOL}"
            ))
        };
    }
    if offered.any(|name| name == SUBPROTOCOL.as_bytes()) {
        return Ok(Dialect::Native);
    }
    Err(format!("the client offers other subprotocols only: offer {SUBPROTOCOL}"))
}
