//! The dialling end of the handshake.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::io::{Dialect, Proof};
use futures_io::{AsyncRead, AsyncWrite};
use http::StatusCode;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use tungstenite::handshake::client::{Response, generate_key};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;

use crate::address::Target;
use crate::bearer::Token;
use crate::error::{BoxError, WsError, quoted, words};
use crate::head::{Head, Outgoing};
use crate::headers::{list, lists, single};
use crate::wire::{Role, WsWire};
use crate::{Limits, SUBPROTOCOL};

const EXPECTED: &str = "an HTTP answer";
const POLLED_AGAIN: &str = "a future was polled after it had completed";

/// Completes with the open wire: dials, then asks for the upgrade to WebSocket.
pub struct Connecting<F, S> {
    step: Step<F, S>,
    proof: Proof<S>,
    target: Target,
    dialect: Dialect,
    token: Option<Token>,
    limits: Limits,
}

enum Step<F, S> {
    Dialling(Pin<Box<F>>),
    Asking(Asking<S>),
    Done,
}

struct Asking<S> {
    stream: S,
    /// `Sec-WebSocket-Accept` has to be this.
    proof: String,
    request: Outgoing,
    head: Head,
}

impl<F, S> Connecting<F, S> {
    pub(crate) fn new(
        dialling: F,
        proof: Proof<S>,
        target: Target,
        dialect: Dialect,
        token: Option<Token>,
        limits: Limits,
    ) -> Self {
        Self { step: Step::Dialling(Box::pin(dialling)), proof, target, dialect, token, limits }
    }

    /// Completes with how long the server's consent is.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, WsError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Step::Asking(asking) = &mut self.step else { panic!("{POLLED_AGAIN}") };
        let peer = &self.target.url;
        let Asking { stream, request, head, proof } = asking;
        ready!(request.poll(cx, stream))
            .map_err(|error| WsError::Io { peer: peer.clone(), error })?;
        let bytes_max = self.limits.handshake_bytes_max;
        ready!(head.poll(cx, stream, b"HTTP", bytes_max))
            .map_err(|flaw| head.error(flaw, peer, EXPECTED, bytes_max))?;
        Poll::Ready(verified(head.bytes(), peer, proof, self.dialect))
    }
}

impl<F, S, E> Future for Connecting<F, S>
where
    F: Future<Output = Result<S, E>>,
    S: AsyncRead + AsyncWrite + Unpin,
    E: Into<BoxError>,
{
    type Output = Result<WsWire<S>, WsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::Dialling(dialling) = &mut this.step {
            let stream = ready!(dialling.as_mut().poll(cx)).map_err(|error| WsError::Dial {
                peer: this.target.url.clone(),
                error: error.into(),
            })?;
            let key = generate_key();
            let request =
                Outgoing::new(request(&this.target, &key, this.dialect, this.token.as_ref()));
            let proof = derive_accept_key(key.as_bytes());
            this.step = Step::Asking(Asking { stream, proof, request, head: Head::default() });
        }
        let answer = ready!(this.poll_answer(cx));
        let Step::Asking(Asking { stream, head, .. }) =
            std::mem::replace(&mut this.step, Step::Done)
        else {
            panic!("{POLLED_AGAIN}")
        };
        let tail = head.into_tail(answer?);
        let (dialect, limits) = (this.dialect, this.limits);
        let wire = WsWire::new(stream, &tail, Role::Client, dialect, limits, this.target.peer());
        Poll::Ready(Ok(wire.proven(this.proof)))
    }
}

// Only the boxed future is pinned, and that stays where it is.
impl<F, S> Unpin for Connecting<F, S> {}

impl<F, S> fmt::Debug for Connecting<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("peer", &self.target.url).finish_non_exhaustive()
    }
}

/// Returns the request. The Go package's server insists on an `Origin`.
fn request(target: &Target, key: &str, dialect: Dialect, token: Option<&Token>) -> Vec<u8> {
    let Target { host, path, .. } = target;
    let token = token.map(Token::line).unwrap_or_default();
    let last = match dialect {
        Dialect::Native => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}"),
        Dialect::Json => "Origin: http://localhost".to_owned(),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{token}{last}\r\n\r\n"
    )
    .into_bytes()
}

/// Returns the length of the server's response head, or why it is no consent (RFC 6455 section 4.1).
fn verified(head: &[u8], peer: &str, proof: &str, dialect: Dialect) -> Result<usize, WsError> {
    let flawed = |problem: &str| WsError::Handshake { peer: peer.into(), problem: problem.into() };
    let (length, response) = Response::try_parse(head)
        .map_err(|error| flawed(&words(&error)))?
        .ok_or_else(|| flawed("the answer is not HTTP"))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(response.status(), &head[length..], peer, dialect));
    }
    let headers = response.headers();
    if !lists(headers, UPGRADE, "websocket") {
        return Err(flawed("the answer has no \"Upgrade: websocket\""));
    }
    if !lists(headers, CONNECTION, "upgrade") {
        return Err(flawed("the answer has no \"Connection: Upgrade\""));
    }
    let accepted = single(headers, &SEC_WEBSOCKET_ACCEPT).map_err(|problem| flawed(&problem))?;
    if accepted != Some(proof.as_bytes()) {
        return Err(flawed("the answer's Sec-WebSocket-Accept is wrong"));
    }
    if list(headers, SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
        return Err(flawed("the server uses an extension that was not offered"));
    }
    let agreed: Vec<&[u8]> = list(headers, SEC_WEBSOCKET_PROTOCOL).collect();
    match (dialect, &agreed[..]) {
        (Dialect::Native, [agreed]) if *agreed == SUBPROTOCOL.as_bytes() => Ok(length),
        (Dialect::Json, []) => Ok(length),
        (Dialect::Native, _) => Err(flawed(
            "the server does not agree to the subprotocol chargehand.2; if it is a worker of the \
             Go package, choose Dialect::Json",
        )),
        (Dialect::Json, _) => Err(flawed("the server chose a subprotocol, but none was offered")),
    }
}

fn refused(status: StatusCode, text: &[u8], peer: &str, dialect: Dialect) -> WsError {
    // The Go package's server wants an Origin, which only the JSON dialect sends.
    let hint = if status == StatusCode::FORBIDDEN && dialect == Dialect::Native {
        " (a worker of the Go package does so: choose Dialect::Json for it)"
    } else {
        ""
    };
    let text = match &*quoted(text) {
        "" => format!("{}{hint}", status.canonical_reason().unwrap_or("no reason given")),
        text => format!("{text}{hint}"),
    };
    let text = text.into();
    WsError::Refused { peer: peer.into(), status: status.as_u16(), text }
}
