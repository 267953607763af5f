//! The accepting end of the handshake.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::handshake::machine::TryParse;
use async_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use async_tungstenite::tungstenite::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use async_tungstenite::tungstenite::protocol::Role;
use chargehand_core::io::Dialect;
use futures_io::{AsyncRead, AsyncWrite};

use crate::error::{WsError, words};
use crate::head::{Flaw, Head, Outgoing};
use crate::wire::{WsWire, open};
use crate::{Limits, SUBPROTOCOL};

const EXPECTED: &str = "a WebSocket request";
const POLLED_AGAIN: &str = "a future was polled after it had completed";

/// Completes with the wire once the client's request was answered.
pub struct Accepting<S> {
    /// `None` once it has completed.
    stream: Option<S>,
    peer: Box<str>,
    json: bool,
    limits: Limits,
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

impl<S> Accepting<S> {
    pub(crate) fn new(stream: S, peer: &str, json: bool, limits: Limits) -> Self {
        let (stream, peer) = (Some(stream), peer.into());
        Self { stream, peer, json, limits, head: Head::default(), reply: None }
    }

    /// Answers what came.
    fn reply(&self, head: Result<(), Flaw>) -> Result<Reply, WsError> {
        if let Err(flaw) = head {
            let speaks_tls = self.head.bytes().starts_with(&[0x16]);
            let answerable = matches!(flaw, Flaw::Foreign | Flaw::TooLong) && !speaks_tls;
            let error =
                self.head.error(flaw, &self.peer, EXPECTED, self.limits.handshake_bytes_max);
            return if answerable { Ok(refusal(error)) } else { Err(error) };
        }
        Ok(answer(self.head.bytes(), self.json).unwrap_or_else(|problem| {
            refusal(WsError::Handshake { peer: self.peer.clone(), problem: problem.into() })
        }))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Accepting<S> {
    type Output = Result<WsWire<S>, WsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let stream = this.stream.as_mut().expect(POLLED_AGAIN);
        if this.reply.is_none() {
            let bytes_max = this.limits.handshake_bytes_max;
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
        sent.map_err(|error| WsError::Io { peer: this.peer.clone(), error })?;
        let tail = std::mem::take(&mut this.head).into_tail(accepted.length);
        let socket = open(stream, tail, Role::Server, accepted.dialect, &this.limits);
        Poll::Ready(Ok(WsWire::new(socket, &this.peer, accepted.dialect, this.limits)))
    }
}

impl<S> fmt::Debug for Accepting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Agrees to a request, or says what is wrong with it.
fn answer(head: &[u8], json: bool) -> Result<Reply, String> {
    let request = Request::try_parse(head).map_err(|error| words(&error))?;
    let (length, request) = request.ok_or("the request is not HTTP")?;
    let mut response = create_response(&request).map_err(|error| words(&error))?;
    let dialect = dialect(&request, json)?;
    if dialect == Dialect::Native {
        let agreed = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, agreed);
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|error| words(&error))?;
    let outgoing = Outgoing::new(bytes);
    Ok(Reply { outgoing, verdict: Ok(Accepted { dialect, length }) })
}

fn dialect(request: &Request, json: bool) -> Result<Dialect, String> {
    let headers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = headers
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .peekable();
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

fn refusal(error: WsError) -> Reply {
    let body = match &error {
        WsError::Handshake { problem, .. } => format!("{problem}\n"),
        other => format!("{other}\n"),
    };
    let length = body.len();
    let bytes = format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    Reply { outgoing: Outgoing::new(bytes.into_bytes()), verdict: Err(error) }
}
