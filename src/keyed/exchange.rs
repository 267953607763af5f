//! The exchange over a wire of any transport.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use chargehand_core::io::{Dialect, Wire};
use chargehand_core::keyed::{
    Channel, EXCHANGE_BYTES_MAX, ExchangeError, Initiator, KeyId, NONCE_BYTES, Responder, SharedKey,
};
use chargehand_core::message::{Code, HEAD_BYTES_MAX, HELLO_BYTES_MAX, Message};

use super::error::KeyedError;
use super::keys::Keys;
use super::me::Me;
use super::wire::KeyedWire;
use crate::link::reason::BoxError;

/// Completes with a wire whose peer has proven its key. Dropping it closes the connection. Like what it
/// wraps it has no deadline of its own: the caller who polls it sets one.
pub struct Exchanging<F, W> {
    stage: Stage<F, W>,
}

enum Stage<F, W> {
    /// The transport's own part.
    Below(Pin<Box<F>>, Box<Start>),
    Exchange(Box<Exchange<W>>),
    Over,
}

/// What a side begins with.
pub(super) struct Start {
    me: Me,
    nonce: Result<[u8; NONCE_BYTES], BoxError>,
    side: Side,
}

impl Start {
    pub(super) fn new(me: &Me, side: Side) -> Self {
        Self { me: me.clone(), nonce: (me.nonces)(), side }
    }
}

/// Who opened the wire, and what it knows.
pub(super) enum Side {
    Opens(SharedKey),
    Answers(Keys),
}

struct Exchange<W> {
    wire: W,
    me: Me,
    state: State,
    /// What is to be sent next: so much of it.
    out: [u8; OUT_BYTES],
    out_bytes: usize,
    /// By which of the keys here the other side is let in, once it has said which.
    let_in_by: Option<(Keys, KeyId)>,
}

const OUT_BYTES: usize =
    if EXCHANGE_BYTES_MAX > HEAD_BYTES_MAX { EXCHANGE_BYTES_MAX } else { HEAD_BYTES_MAX };

enum State {
    /// The other side opens.
    Waiting([u8; NONCE_BYTES], Keys),
    /// The other side is to prove itself first.
    Opened(Initiator),
    /// The other side is to prove itself.
    Challenged(Responder),
    /// It has.
    Proven(Channel),
    /// It has not, and is told so.
    Parting(KeyedError),
    Over,
}

impl<F, W> Exchanging<F, W> {
    pub(super) fn new(below: F, start: Start) -> Self {
        Self { stage: Stage::Below(Box::pin(below), Box::new(start)) }
    }
}

// Nothing in it is pinned but what has a box of its own.
impl<F, W> Unpin for Exchanging<F, W> {}

impl<F, W, E> Future for Exchanging<F, W>
where
    F: Future<Output = Result<W, E>>,
    E: Into<BoxError>,
    W: Wire<Error: Into<BoxError>>,
{
    type Output = Result<KeyedWire<W>, KeyedError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Below(below, _) = &mut self.stage {
            let wire = ready!(below.as_mut().poll(cx));
            let Stage::Below(_, start) = mem::replace(&mut self.stage, Stage::Over) else {
                unreachable!("it was looked at just now")
            };
            let wire = wire.map_err(|error| KeyedError::Transport(error.into()))?;
            self.stage = Stage::Exchange(Box::new(Exchange::new(wire, *start)?));
        }
        let Stage::Exchange(exchange) = &mut self.stage else {
            panic!("an exchange is polled after its end")
        };
        let channel = ready!(exchange.poll(cx));
        let Stage::Exchange(exchange) = mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("it was polled just now")
        };
        let Exchange { wire, let_in_by, .. } = *exchange;
        Poll::Ready(channel.map(|channel| KeyedWire::new(wire, channel, let_in_by)))
    }
}

impl<F, W> fmt::Debug for Exchanging<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Below(..) => "connecting",
            Stage::Exchange(_) => "exchanging proofs",
            Stage::Over => "over",
        };
        f.debug_struct("Exchanging").field("stage", &stage).finish_non_exhaustive()
    }
}

impl<W> Exchange<W>
where
    W: Wire<Error: Into<BoxError>>,
{
    fn new(mut wire: W, start: Start) -> Result<Self, KeyedError> {
        let Start { me, nonce, side } = start;
        if wire.dialect() != Dialect::Native {
            return Err(KeyedError::Json { peer: wire.peer().into() });
        }
        let nonce = nonce.map_err(KeyedError::Nonce)?;
        // Whoever has proven nothing has nothing longer to say; a Hello is read, to be refused by name.
        wire.limit_incoming(HELLO_BYTES_MAX);
        let (mut out, mut out_bytes) = ([0; OUT_BYTES], 0);
        let state = match side {
            Side::Answers(keys) => State::Waiting(nonce, keys),
            Side::Opens(key) => {
                let (initiator, open) = Initiator::new(me.member(), &key, nonce, room(&mut out));
                out_bytes = open.len();
                State::Opened(initiator)
            }
        };
        Ok(Self { wire, me, state, out, out_bytes, let_in_by: None })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Channel, KeyedError>> {
        loop {
            if self.out_bytes > 0 {
                let sent = ready!(self.wire.poll_send(cx, &self.out[..self.out_bytes], &[]));
                self.out_bytes = 0;
                if let Err(error) = sent {
                    return Poll::Ready(Err(self.broken(error)));
                }
            }
            match mem::replace(&mut self.state, State::Over) {
                State::Proven(channel) => {
                    // Nobody may have anything to say yet, and the other side waits for the proof.
                    return match self.wire.poll_flush(cx) {
                        Poll::Pending => {
                            self.state = State::Proven(channel);
                            Poll::Pending
                        }
                        Poll::Ready(Ok(())) => Poll::Ready(Ok(channel)),
                        Poll::Ready(Err(error)) => Poll::Ready(Err(self.broken(error))),
                    };
                }
                State::Parting(error) => {
                    if self.wire.poll_close(cx).is_pending() {
                        self.state = State::Parting(error);
                        return Poll::Pending;
                    }
                    return Poll::Ready(Err(error));
                }
                state => self.state = state,
            }
            if let Poll::Ready(Err(error)) = self.wire.poll_flush(cx) {
                return Poll::Ready(Err(self.broken(error)));
            }
            let mut frame = [0; HELLO_BYTES_MAX];
            let frame = match ready!(self.wire.poll_recv(cx)) {
                Ok(Some(message)) => {
                    // A transport without a limit for now may have let a longer one through: its
                    // beginning says as well what it is.
                    let length = message.len().min(frame.len());
                    frame[..length].copy_from_slice(&message[..length]);
                    &frame[..length]
                }
                Ok(None) => {
                    return Poll::Ready(Err(KeyedError::Closed { peer: self.wire.peer().into() }));
                }
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            };
            if let Err(error) = self.take(frame) {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Takes the other side's next message in.
    ///
    /// # Errors
    /// Returns why the exchange ends where the other side need not be told.
    fn take(&mut self, message: &[u8]) -> Result<(), KeyedError> {
        if let Ok(Message::Goodbye { code, text }) = Message::decode(message) {
            return Err(KeyedError::Refused {
                peer: self.wire.peer().into(),
                code,
                text: text.into(),
            });
        }
        let out = room(&mut self.out);
        let mut claimed = None;
        let taken = match mem::replace(&mut self.state, State::Over) {
            State::Waiting(nonce, keys) => {
                let let_in_by = &mut self.let_in_by;
                let find = |name: &str, id| {
                    claimed = Some(Box::from(name));
                    let found = keys.find(name, id);
                    *let_in_by = Some((keys, id));
                    found
                };
                let answered = Responder::new(self.me.member(), nonce, message, find, out);
                answered.map(|(responder, out)| (State::Challenged(responder), out.len()))
            }
            State::Opened(initiator) => {
                let answered = initiator.handle_challenge(message, out);
                answered.map(|(channel, out)| (State::Proven(channel), out.len()))
            }
            State::Challenged(responder) => {
                responder.handle_proof(message).map(|channel| (State::Proven(channel), 0))
            }
            State::Proven(_) | State::Parting(_) | State::Over => {
                unreachable!("nothing is read in these")
            }
        };
        (self.state, self.out_bytes) = match taken {
            Ok((State::Proven(channel), out_bytes)) => {
                let may_lose = self.wire.may_lose();
                let channel = if may_lose { channel.losing() } else { channel };
                (State::Proven(channel), out_bytes)
            }
            Ok(taken) => taken,
            Err(error) => self.part(error, claimed),
        };
        Ok(())
    }

    /// Tells the other side why it is refused.
    fn part(&mut self, error: ExchangeError, claimed: Option<Box<str>>) -> (State, usize) {
        let mut head = [0; HEAD_BYTES_MAX];
        let code: Code = error.code();
        let goodbye = Message::Goodbye { code, text: &error.to_string() };
        let goodbye = goodbye.encode(&mut head);
        self.out[..goodbye.len()].copy_from_slice(goodbye);
        let peer = self.wire.peer().into();
        let error = match (error, claimed) {
            (ExchangeError::UnknownKey, Some(name)) => KeyedError::UnknownKey { peer, name },
            (error, _) => KeyedError::Exchange { peer, error },
        };
        (State::Parting(error), goodbye.len())
    }

    /// Returns why the exchange ends with the wire: the first of the two reasons.
    fn broken(&mut self, error: W::Error) -> KeyedError {
        match mem::replace(&mut self.state, State::Over) {
            State::Parting(error) => error,
            _ => KeyedError::Transport(error.into()),
        }
    }
}

fn room(out: &mut [u8; OUT_BYTES]) -> &mut [u8; EXCHANGE_BYTES_MAX] {
    out.first_chunk_mut().expect("it is as long as the longer of the two")
}
