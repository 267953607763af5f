//! The accepting end of the handshake.

use std::fmt::{self, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::io::{Dialect, Proof};
use futures_io::{AsyncRead, AsyncWrite};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::Request;

use crate::SUBPROTOCOL;
use crate::address::Peer;
use crate::denial::Denial;
use crate::door::{Agreement, Door};
use crate::error::{BoxError, WsError, words};
use crate::head::{Flaw, Head, Outgoing};
use crate::wire::{Role, WsWire};

const EXPECTED: &str = "a WebSocket request";
const POLLED_AGAIN: &str = "a future was polled after it had completed";

/// Completes with the wire once its stream is open, which a plain one is already, and the client's request
/// was answered.
pub struct Accepting<F, S> {
    step: Step<F, S>,
    proof: Proof<S>,
    peer: Peer,
    door: Door,
    head: Head,
    reply: Option<Reply>,
}

enum Step<F, S> {
    Opening(Pin<Box<F>>),
    Answering(S),
    Done,
}

/// What is answered, and what it means.
struct Reply {
    outgoing: Outgoing,
    verdict: Result<Accepted, WsError>,
}

struct Accepted {
    identity: Option<Box<str>>,
    dialect: Dialect,
    /// How long the request was.
    length: usize,
}

impl<F, S> Accepting<F, S> {
    pub(crate) fn new(opening: F, proof: Proof<S>, peer: Peer, door: Door) -> Self {
        let step = Step::Opening(Box::pin(opening));
        Self { step, proof, peer, door, head: Head::default(), reply: None }
    }

    /// Answers what came.
    fn reply(&self, head: Result<(), Flaw>) -> Result<Reply, WsError> {
        let peer = &self.peer.name;
        if let Err(flaw) = head {
            let answerable =
                matches!(flaw, Flaw::Foreign | Flaw::TooLong) && !self.head.speaks_tls();
            let bytes_max = self.door.limits.handshake_bytes_max;
            return match self.head.error(flaw, peer, EXPECTED, bytes_max) {
                WsError::Handshake { problem, .. } if answerable => {
                    Ok(refusal(&Denial::Bad(problem.into()), peer))
                }
                error => Err(error),
            };
        }
        Ok(answer(self.head.bytes(), &self.door, self.peer.identity.is_some())
            .unwrap_or_else(|denial| refusal(&denial, peer)))
    }
}

impl<F, S, E> Future for Accepting<F, S>
where
    F: Future<Output = Result<S, E>>,
    S: AsyncRead + AsyncWrite + Unpin,
    E: Into<BoxError>,
{
    type Output = Result<WsWire<S>, WsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::Opening(opening) = &mut this.step {
            let stream = ready!(opening.as_mut().poll(cx)).map_err(|error| WsError::Open {
                peer: this.peer.name.clone(),
                error: error.into(),
            })?;
            this.peer.identity = (this.proof.identity)(&stream).map(Into::into);
            this.step = Step::Answering(stream);
        }
        let Step::Answering(stream) = &mut this.step else { panic!("{POLLED_AGAIN}") };
        if this.reply.is_none() {
            let bytes_max = this.door.limits.handshake_bytes_max;
            let head = ready!(this.head.poll(cx, stream, b"GET ", bytes_max));
            this.reply = Some(this.reply(head)?);
        }
        let Step::Answering(stream) = &mut this.step else { panic!("{POLLED_AGAIN}") };
        let reply = this.reply.as_mut().expect("it was made above");
        let sent = ready!(reply.outgoing.poll(cx, stream));
        if reply.verdict.is_err() && sent.is_ok() {
            // The refusal should arrive before the reset that may follow.
            let _ = ready!(Pin::new(stream).poll_close(cx));
        }
        let Step::Answering(stream) = std::mem::replace(&mut this.step, Step::Done) else {
            panic!("{POLLED_AGAIN}")
        };
        let accepted = this.reply.take().expect("it was made above").verdict?;
        sent.map_err(|error| WsError::Io { peer: this.peer.name.clone(), error })?;
        let tail = std::mem::take(&mut this.head).into_tail(accepted.length);
        let (dialect, limits, mut peer) = (accepted.dialect, this.door.limits, this.peer.clone());
        // Where both are proven, the stream's is that of what is in front of the client.
        peer.identity = accepted.identity.or(peer.identity);
        let wire = WsWire::new(stream, &tail, Role::Server, dialect, limits, peer);
        Poll::Ready(Ok(wire.proven(this.proof)))
    }
}

// Only the boxed future is pinned, and that stays where it is.
impl<F, S> Unpin for Accepting<F, S> {}

impl<F, S> fmt::Debug for Accepting<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("peer", &self.peer.name).finish_non_exhaustive()
    }
}

/// Agrees to a request, or says what is wrong with it.
fn answer(head: &[u8], door: &Door, is_proven: bool) -> Result<Reply, Denial> {
    let request = Request::try_parse(head).map_err(|error| Denial::Bad(words(&error)))?;
    let (length, request) =
        request.ok_or_else(|| Denial::Bad("the request is not HTTP".to_owned()))?;
    let Agreement { dialect, proof, identity } = door.judge(request.headers(), is_proven)?;
    let agreed = match dialect {
        Dialect::Native => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
        Dialect::Json => String::new(),
    };
    let bytes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {proof}\r\n{agreed}\r\n"
    );
    let outgoing = Outgoing::new(bytes.into_bytes());
    Ok(Reply { outgoing, verdict: Ok(Accepted { identity, dialect, length }) })
}

fn refusal(denial: &Denial, peer: &str) -> Reply {
    let (status, problem) = (denial.status(), denial.to_string());
    let mut extra = String::new();
    for (name, value) in denial.headers() {
        let _ = write!(extra, "{name}: {value}\r\n");
    }
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
