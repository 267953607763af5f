//! The accepting end of the handshake.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use chargehand_core::io::Dialect;
use futures_io::{AsyncRead, AsyncWrite};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::Request;
use tungstenite::http::HeaderMap;
use tungstenite::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};

use crate::error::{WsError, quoted, words};
use crate::head::{Flaw, Head, Outgoing};
use crate::headers::{list, lists, single};
use crate::origin::Origin;
use crate::wire::{Peer, Role, WsWire};
use crate::{Limits, SUBPROTOCOL};

const EXPECTED: &str = "a WebSocket request";
const POLLED_AGAIN: &str = "a future was polled after it had completed";

/// Whom a listener lets in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) json: bool,
    pub(crate) origins: Arc<Vec<Origin>>,
    /// Whether there is no room. Handshakes that are under way see it change.
    pub(crate) is_full: Arc<AtomicBool>,
    pub(crate) limits: Limits,
}

/// Completes with the wire once the client's request was answered.
pub struct Accepting<S> {
    /// `None` once it has completed.
    stream: Option<S>,
    peer: Peer,
    door: Door,
    head: Head,
    reply: Option<Reply>,
}

/// What is answered, and what it means.
struct Reply {
    outgoing: Outgoing,
    verdict: Result<Accepted, WsError>,
}

#[derive(Clone, Copy)]
struct Accepted {
    dialect: Dialect,
    /// How long the request was.
    length: usize,
}

/// Why a client is not let in.
enum Denial {
    /// Its request is none, or not one that can be agreed to.
    Bad(String),
    /// It speaks another version of WebSocket.
    Version,
    /// A browser's page of elsewhere.
    Origin(String),
    /// There is no room.
    Full,
}

impl<S> Accepting<S> {
    pub(crate) fn new(stream: S, peer: Peer, door: Door) -> Self {
        Self { stream: Some(stream), peer, door, head: Head::default(), reply: None }
    }

    /// Answers what came.
    fn reply(&self, head: Result<(), Flaw>) -> Result<Reply, WsError> {
        let peer = &self.peer.name;
        if let Err(flaw) = head {
            let speaks_tls = self.head.bytes().starts_with(&[0x16]);
            let answerable = matches!(flaw, Flaw::Foreign | Flaw::TooLong) && !speaks_tls;
            let bytes_max = self.door.limits.handshake_bytes_max;
            return match self.head.error(flaw, peer, EXPECTED, bytes_max) {
                WsError::Handshake { problem, .. } if answerable => {
                    Ok(refusal(&Denial::Bad(problem.into()), peer))
                }
                error => Err(error),
            };
        }
        Ok(answer(self.head.bytes(), &self.door).unwrap_or_else(|denial| refusal(&denial, peer)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Accepting<S> {
    type Output = Result<WsWire<S>, WsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let stream = this.stream.as_mut().expect(POLLED_AGAIN);
        if this.reply.is_none() {
            let bytes_max = this.door.limits.handshake_bytes_max;
            let head = ready!(this.head.poll(cx, stream, b"GET ", bytes_max));
            this.reply = Some(this.reply(head)?);
        }
        let stream = this.stream.as_mut().expect(POLLED_AGAIN);
        let reply = this.reply.as_mut().expect("it was made above");
        let sent = ready!(reply.outgoing.poll(cx, stream));
        if reply.verdict.is_err() && sent.is_ok() {
            // The refusal should arrive before the reset that may follow.
            let _ = ready!(Pin::new(stream).poll_close(cx));
        }
        let stream = this.stream.take().expect(POLLED_AGAIN);
        let accepted = this.reply.take().expect("it was made above").verdict?;
        sent.map_err(|error| WsError::Io { peer: this.peer.name.clone(), error })?;
        let tail = std::mem::take(&mut this.head).into_tail(accepted.length);
        let (dialect, limits, peer) = (accepted.dialect, this.door.limits, this.peer.clone());
        Poll::Ready(Ok(WsWire::new(stream, &tail, Role::Server, dialect, limits, peer)))
    }
}

impl<S> fmt::Debug for Accepting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("peer", &self.peer.name).finish_non_exhaustive()
    }
}

/// Agrees to a request, or says what is wrong with it.
fn answer(head: &[u8], door: &Door) -> Result<Reply, Denial> {
    let request = Request::try_parse(head).map_err(|error| Denial::Bad(words(&error)))?;
    let (length, request) =
        request.ok_or_else(|| Denial::Bad("the request is not HTTP".to_owned()))?;
    let headers = request.headers();
    let key = upgrade(headers)?;
    // Before the origin: a manager of the Go package should hear of its dialect.
    let dialect = dialect(headers, door.json).map_err(Denial::Bad)?;
    let_in(headers, door)?;
    // Last: who would not be let in anyway is told the reason that stays.
    if door.is_full.load(Ordering::Relaxed) {
        return Err(Denial::Full);
    }
    let agreed = match dialect {
        Dialect::Native => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
        Dialect::Json => String::new(),
    };
    let proof = derive_accept_key(key);
    let bytes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {proof}\r\n{agreed}\r\n"
    );
    let outgoing = Outgoing::new(bytes.into_bytes());
    Ok(Reply { outgoing, verdict: Ok(Accepted { dialect, length }) })
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

fn refusal(denial: &Denial, peer: &str) -> Reply {
    let (status, extra, problem) = match denial {
        Denial::Bad(problem) => ("400 Bad Request", "", problem.clone()),
        Denial::Version => (
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "the client speaks another version of WebSocket than 13".to_owned(),
        ),
        Denial::Origin(origin) => (
            "403 Forbidden",
            "",
            format!(
                "pages of the origin {origin} are not allowed here: WsListener::allow_origin \
                 allows one (and WsListener::json that of the Go package, http://localhost)"
            ),
        ),
        Denial::Full => (
            "503 Service Unavailable",
            "Retry-After: 1\r\n",
            "there is no room for another connection now: try again later".to_owned(),
        ),
    };
    let length = problem.len() + 1;
    let bytes = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{extra}Content-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{problem}\n"
    );
    let peer = peer.into();
    let error = match denial {
        Denial::Full => WsError::Full { peer },
        _ => WsError::Handshake { peer, problem: problem.into() },
    };
    Reply { outgoing: Outgoing::new(bytes.into_bytes()), verdict: Err(error) }
}
