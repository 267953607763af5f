//! Messages over a WebSocket.

use std::fmt;
use std::io;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use chargehand_core::io::{BytesMoved, Dialect, Proof, Trust, Wire};
use futures_io::{AsyncRead, AsyncWrite};

use crate::Limits;
use crate::address::Peer;
use crate::error::{WsError, quoted};
use crate::frame::{Kind, is_close_code};
use crate::idle::Allowance;
use crate::reader::{Breach, Control, Event, Reader, Rules};
use crate::writer::Writer;

/// How often one `poll_recv` reads before it lets others run.
const READS_MAX: u32 = 64;
/// How many bytes one `poll_recv` reads, but for the last read, before it lets others run.
const READ_BYTES_MAX: usize = 256 << 10;
/// How many frames that carry nothing one `poll_recv` takes before it lets others run.
const IDLE_FRAMES_MAX: u32 = 64;
/// How many bytes one read takes at most in the JSON dialect, which has one short message in flight.
const JSON_READ_BYTES: usize = 512;

/// Why this end closes a connection (RFC 6455 section 7.4.1).
mod code {
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const UNSUPPORTED: u16 = 1003;
    pub(super) const NOT_UTF8: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_LONG: u16 = 1009;
}

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// A connection that carries messages over a WebSocket.
///
/// Pings and close frames are answered while [`poll_recv`](Wire::poll_recv) is polled; of the pings that
/// come before the answer to an earlier one has left, the latest. A peer that breaks the protocol or a
/// limit is told so by a close frame, if that can be written at once.
///
/// Memory for a message is taken as its bytes come. Once a message was given out and no other is
/// there, or once all that was sent has left, the memory of long ones is given back: an idle
/// connection holds [`read_buffer_bytes`](Limits::read_buffer_bytes) twice and
/// [`write_buffer_bytes`](Limits::write_buffer_bytes) twice at most.
pub struct WsWire<S> {
    stream: S,
    reader: Reader,
    writer: Writer,
    peer: Peer,
    trust: fn(&mut S) -> Trust<'_>,
    dialect: Dialect,
    limits: Limits,
    /// How long a received message may be now, which is no more than the limits say.
    incoming_bytes_max: usize,
    /// For frames that carry nothing.
    idle: Allowance,
    /// The latest ping, while the answer to an earlier one waits to leave.
    ping: Option<Control>,
    /// Where the latest answer to a ping ends in all that is sent, until it has left.
    pong_end: Option<u64>,
    /// Wakes whoever waits to send.
    sender: Option<Waker>,
    /// Whether this end has said that it closes.
    closing: bool,
    /// Whether nothing more is to be read.
    ended: bool,
}

impl<S> WsWire<S> {
    /// Makes a wire of a stream whose handshake is done; `tail` came right behind it.
    pub(crate) fn new(
        stream: S,
        tail: &[u8],
        role: Role,
        dialect: Dialect,
        limits: Limits,
        peer: Peer,
    ) -> Self {
        let rules = Rules {
            is_masked: role == Role::Server,
            takes_text: dialect == Dialect::Json,
            message_bytes_max: limits.message_bytes_max,
            frame_bytes_max: limits.frame_bytes_max,
        };
        let read_bytes = match dialect {
            Dialect::Native => limits.read_buffer_bytes,
            Dialect::Json => limits.read_buffer_bytes.min(JSON_READ_BYTES),
        };
        let kept = limits.write_buffer_bytes.saturating_mul(2);
        let now = Instant::now();
        Self {
            stream,
            reader: Reader::new(rules, tail, read_bytes),
            writer: Writer::new(role == Role::Client, kept),
            peer,
            trust: |_| Trust::Holds,
            dialect,
            limits,
            incoming_bytes_max: limits.message_bytes_max,
            idle: Allowance::new(limits.idle_frames_burst, limits.idle_frames_per_second, now),
            ping: None,
            pong_end: None,
            sender: None,
            closing: false,
            ended: false,
        }
    }

    /// Sets how to ask the stream what its other end has proven. Where a token has proven whom it is, that
    /// holds: the stream's is that of what is in front of the client.
    pub(crate) fn proven(mut self, proof: Proof<S>) -> Self {
        if self.peer.identity.is_none() {
            self.peer.identity = (proof.identity)(&self.stream).map(Into::into);
        }
        Self { trust: proof.trust, ..self }
    }

    fn io_error(&self, error: io::Error) -> WsError {
        WsError::Io { peer: self.peer.name.clone(), error }
    }

    fn protocol_error(&self, problem: &str) -> WsError {
        WsError::Protocol { peer: self.peer.name.clone(), problem: problem.into() }
    }

    /// Turns a breach into the code to close with and the error to report.
    fn verdict(&self, breach: Breach) -> (u16, WsError) {
        match breach {
            Breach::Frame(problem) => (code::PROTOCOL, self.protocol_error(problem)),
            Breach::Text => {
                let problem = "a text message, where the native dialect has binary ones";
                (code::UNSUPPORTED, self.protocol_error(problem))
            }
            Breach::NotUtf8 => (code::NOT_UTF8, self.protocol_error("text that is not UTF-8")),
            Breach::TooLong { length, limit } => {
                let peer = self.peer.name.clone();
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let is_early =
                    limit == self.incoming_bytes_max && limit < self.limits.message_bytes_max;
                let error = if is_early {
                    WsError::ReceivedEarly { peer, length, limit }
                } else {
                    WsError::Received { peer, length, limit }
                };
                (code::TOO_LONG, error)
            }
        }
    }

    /// Judges the end of the stream: in order where the peer knows no better.
    fn end(&mut self) -> Result<(), WsError> {
        self.ended = true;
        match self.dialect {
            // The Go package knows no close frame.
            Dialect::Json => Ok(()),
            Dialect::Native => Err(WsError::Truncated { peer: self.peer.name.clone() }),
        }
    }

    /// Counts a frame that carries nothing.
    fn count_idle(&mut self) -> Result<(), (u16, WsError)> {
        if self.idle.take(Instant::now) {
            return Ok(());
        }
        let Limits { idle_frames_burst, idle_frames_per_second, .. } = self.limits;
        let error = self.protocol_error(&format!(
            "a flood of frames that carry nothing (pings, pongs, empty messages and fragments), \
             above the limits idle_frames_burst, {idle_frames_burst}, and idle_frames_per_second, \
             {idle_frames_per_second}"
        ));
        Err((code::POLICY, error))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsWire<S> {
    /// Takes what was read, up to a message (`true`) or until there is nothing whole, and acts on
    /// what is no message.
    fn take(&mut self, cx: &mut Context<'_>, idle: &mut u32) -> Result<Taken, (u16, WsError)> {
        while *idle < IDLE_FRAMES_MAX {
            let event = self.reader.next().map_err(|breach| self.verdict(breach))?;
            match event {
                Event::Message if self.reader.message().is_empty() => {
                    self.count_idle()?;
                    return Ok(Taken::Message);
                }
                Event::Message => {
                    self.idle.earn();
                    return Ok(Taken::Message);
                }
                Event::Held => return Ok(Taken::Held),
                Event::Hungry => return Ok(Taken::Nothing),
                Event::Close(frame) => {
                    self.take_close(frame.bytes(), cx)?;
                    return Ok(Taken::Close);
                }
                Event::Idle | Event::Pong => self.count_idle()?,
                Event::Ping(frame) => {
                    self.count_idle()?;
                    self.answer_ping(frame, cx)?;
                }
            }
            *idle += 1;
        }
        Ok(Taken::Enough)
    }

    /// Answers a ping, unless a later one comes before that can leave.
    fn answer_ping(&mut self, ping: Control, cx: &mut Context<'_>) -> Result<(), (u16, WsError)> {
        if self.closing {
            return Ok(());
        }
        self.ping = Some(ping);
        self.write_out(cx).map_err(|error| (code::PROTOCOL, error))
    }

    /// Puts the answer to the latest ping behind all that waits to leave, unless an earlier answer does.
    ///
    /// So pings take no memory, however many come while a long message leaves: RFC 6455 section 5.5.3
    /// lets the latest answer stand for those before it.
    fn queue_pong(&mut self) {
        if self.closing || self.pong_end.is_some_and(|end| self.writer.sent() < end) {
            return;
        }
        if let Some(ping) = self.ping.take() {
            self.writer.push(Kind::Pong, ping.bytes(), &[]);
            self.pong_end = Some(self.writer.sent() + self.writer.waiting() as u64);
        }
    }

    /// Completes once everything has left, and the answer to the latest ping with it.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.queue_pong();
            let flushed = ready!(self.writer.poll_flush(cx, &mut self.stream));
            // Also where that failed: what has come may still be read.
            self.pong_end = None;
            if flushed.is_err() || self.closing || self.ping.is_none() {
                return Poll::Ready(flushed);
            }
        }
    }

    /// Writes what waits, as far as that goes, from the receiving side.
    fn write_out(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        // Whoever waits to send flushes all there is, and may be another than who receives.
        let sender = self.sender.take();
        let mut cx = sender.as_ref().map_or(Context::from_waker(cx.waker()), Context::from_waker);
        match self.poll_out(&mut cx) {
            Poll::Pending => self.sender = sender,
            Poll::Ready(result) => {
                if let Some(waker) = sender {
                    waker.wake();
                }
                result.map_err(|error| self.io_error(error))?;
            }
        }
        Ok(())
    }

    /// Answers a close frame and judges it. What is not orderly is an error.
    fn take_close(&mut self, payload: &[u8], cx: &mut Context<'_>) -> Result<(), (u16, WsError)> {
        self.ended = true;
        let refused = |problem| Err((code::PROTOCOL, self.protocol_error(problem)));
        let (code, reason) = match payload {
            [] => (None, &[][..]),
            [_] => return refused("a close frame with half a code"),
            [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
        };
        if code.is_some_and(|code| !is_close_code(code)) {
            return refused("a close frame with a code that none may have");
        }
        if std::str::from_utf8(reason).is_err() {
            let error = self.protocol_error("a close frame whose text is not UTF-8");
            return Err((code::NOT_UTF8, error));
        }
        // If the answer cannot leave at once, it need not.
        self.say_goodbye(code, cx);
        match code {
            None | Some(1000 | 1001) => Ok(()),
            Some(code) => {
                let (peer, reason) = (self.peer.name.clone(), quoted(reason));
                Err((code, WsError::Closed { peer, code, reason }))
            }
        }
    }

    /// Ends the connection, with `code` where the peer has not closed it already.
    fn refuse(&mut self, (code, error): (u16, WsError), cx: &mut Context<'_>) -> WsError {
        self.ended = true;
        self.say_goodbye(Some(code), cx);
        error
    }

    /// Tells the peer that and why the connection ends, if that can be done at once.
    fn say_goodbye(&mut self, code: Option<u16>, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.closing, true) {
            let code = code.map(u16::to_be_bytes);
            self.writer.push(Kind::Close, code.as_ref().map_or(&[], |code| &code[..]), &[]);
            let _ = self.write_out(cx);
        }
    }

    /// Receives until there is a message (`true`) or the end (`false`).
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, WsError>> {
        let (mut reads, mut bytes, mut idle) = (0, 0, 0);
        while !self.ended {
            match self.take(cx, &mut idle) {
                Ok(Taken::Message) => return Poll::Ready(Ok(true)),
                Ok(Taken::Held) => return Poll::Pending,
                Ok(Taken::Close) => break,
                Ok(Taken::Nothing) if reads < READS_MAX && bytes < READ_BYTES_MAX => {
                    let Poll::Ready(count) = self.reader.poll_fill(cx, &mut self.stream) else {
                        self.reader.rest();
                        return Poll::Pending;
                    };
                    match count {
                        Ok(0) => return Poll::Ready(self.end().map(|()| false)),
                        Ok(count) => (reads, bytes) = (reads + 1, bytes + count),
                        Err(error) => {
                            self.ended = true;
                            return Poll::Ready(Err(self.io_error(error)));
                        }
                    }
                }
                Ok(Taken::Nothing | Taken::Enough) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(verdict) => return Poll::Ready(Err(self.refuse(verdict, cx))),
            }
        }
        Poll::Ready(Ok(false))
    }

    /// Says whom to wake once more can leave.
    fn wait_to_send(&mut self, cx: &Context<'_>) {
        match &mut self.sender {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Completes once everything has left.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        let Poll::Ready(result) = self.poll_out(cx) else {
            self.wait_to_send(cx);
            return Poll::Pending;
        };
        self.sender = None;
        Poll::Ready(result.map_err(|error| self.io_error(error)))
    }
}

/// How far what was read went.
enum Taken {
    Message,
    /// The peer has closed.
    Close,
    /// The next message waits to be admitted.
    Held,
    /// There is nothing whole.
    Nothing,
    /// There may be more, but others should run.
    Enough,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for WsWire<S> {
    type Error = WsError;

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn peer(&self) -> &str {
        &self.peer.name
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, WsError>> {
        self.reader.release();
        if self.pong_end.is_some() {
            self.write_out(cx)?;
        }
        let is_message = ready!(self.poll_message(cx))?;
        Poll::Ready(Ok(is_message.then(|| self.reader.message())))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), WsError>> {
        let length = head.len().saturating_add(body.len());
        let limit = self.limits.message_bytes_max;
        if length > limit {
            let peer = self.peer.name.clone();
            return Poll::Ready(Err(WsError::Sending { peer, length, limit }));
        }
        if self.closing || self.ended {
            let error = io::Error::new(io::ErrorKind::NotConnected, "it is closed already");
            return Poll::Ready(Err(self.io_error(error)));
        }
        if self.writer.waiting() > self.limits.write_buffer_bytes {
            ready!(self.poll_leave(cx))?;
        }
        let kind = match self.dialect {
            Dialect::Native => Kind::Binary,
            Dialect::Json if is_utf8(head, body) => Kind::Text,
            Dialect::Json => {
                let problem = "we tried to send text that is not UTF-8";
                return Poll::Ready(Err(self.protocol_error(problem)));
            }
        };
        self.queue_pong();
        if let Err(error) = self.writer.push_out(cx, &mut self.stream, kind, head, body) {
            return Poll::Ready(Err(self.io_error(error)));
        }
        if self.writer.waiting() > self.limits.write_buffer_bytes {
            // Where that is not possible yet, the next call waits for it.
            if let Poll::Ready(Err(error)) = self.writer.poll_write(cx, &mut self.stream) {
                return Poll::Ready(Err(self.io_error(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn message_bytes_max(&self) -> usize {
        self.limits.message_bytes_max
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        self.poll_leave(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        if !std::mem::replace(&mut self.closing, true) {
            self.writer.push(Kind::Close, &[], &[]);
        }
        ready!(self.poll_leave(cx))?;
        // The close frame has left. Closing the stream as well tells a peer that ignores it.
        let closed = ready!(std::pin::Pin::new(&mut self.stream).poll_close(cx));
        Poll::Ready(closed.map_err(|error| self.io_error(error)))
    }

    fn progress(&self) -> BytesMoved {
        BytesMoved { received: self.reader.received(), sent: self.writer.sent() }
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.incoming_bytes_max = bytes_max.min(self.limits.message_bytes_max);
        self.reader.limit(self.incoming_bytes_max);
    }

    fn admit(&mut self, bytes_max: usize) {
        self.reader.admit(bytes_max);
    }

    fn incoming(&self) -> usize {
        self.reader.incoming()
    }

    fn host(&self) -> Option<&str> {
        self.peer.host.as_deref()
    }

    fn identity(&self) -> Option<&str> {
        self.peer.identity.as_deref()
    }

    fn trust(&mut self) -> Trust<'_> {
        (self.trust)(&mut self.stream)
    }
}

/// Whether the two together are UTF-8.
fn is_utf8(head: &[u8], body: &[u8]) -> bool {
    // What core makes is split between characters, if at all.
    match (std::str::from_utf8(head), std::str::from_utf8(body)) {
        (Ok(_), Ok(_)) => true,
        _ => std::str::from_utf8(&[head, body].concat()).is_ok(),
    }
}

impl<S> fmt::Debug for WsWire<S> {
    // Without the bytes: they may be large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsWire")
            .field("peer", &self.peer.name)
            .field("identity", &self.peer.identity)
            .field("dialect", &self.dialect)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
