//! Messages over a WebSocket.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Message};
use chargehand_core::io::{Dialect, Wire};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{FutureExt, Sink};

use crate::Limits;
use crate::error::{WsError, quoted, words};
use crate::paced::Paced;

/// How often one `poll_recv` reads before it lets others run.
const READS_MAX: u32 = 64;
/// How many control frames one `poll_recv` handles before it lets others run.
const CONTROLS_MAX: u32 = 64;
/// How many answers to pings may wait for the peer to read before it is refused.
const PONGS_MAX: u32 = 64;
/// Room in the write buffer for these, and for the header of a message.
const CONTROL_BYTES: usize = 16 << 10;

/// How many bytes one read takes at most in the JSON dialect, which has one short message in flight.
const JSON_READ_BYTES: usize = 512;

/// Makes a WebSocket of a stream whose handshake is done; `tail` came right behind it.
pub(crate) fn open<S>(
    stream: S,
    tail: Vec<u8>,
    role: Role,
    dialect: Dialect,
    limits: &Limits,
) -> WebSocketStream<Paced<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The WebSocket insists on a maximum above it, which there must be room for.
    let write_buffer_bytes = limits.write_buffer_bytes.min(usize::MAX / 4);
    let whole = write_buffer_bytes.saturating_add(limits.message_bytes_max);
    let read_buffer_bytes = match dialect {
        Dialect::Native => limits.read_buffer_bytes,
        // Before each read the WebSocket fills so much with zeros.
        Dialect::Json => limits.read_buffer_bytes.min(JSON_READ_BYTES),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(read_buffer_bytes)
        .write_buffer_size(write_buffer_bytes)
        .max_write_buffer_size(whole.saturating_add(CONTROL_BYTES))
        .max_message_size(Some(limits.message_bytes_max))
        .max_frame_size(Some(limits.frame_bytes_max))
        .accept_unmasked_frames(false);
    WebSocketStream::from_partially_read(Paced::new(stream), tail, role, Some(config))
        .now_or_never()
        .expect("it neither reads nor writes")
}

/// A connection that carries messages over a WebSocket.
///
/// Pings and close frames are answered while [`poll_recv`](Wire::poll_recv) is polled. A peer that
/// breaks the protocol or a limit is told so by a close frame, if that can be written at once.
pub struct WsWire<S> {
    socket: WebSocketStream<Paced<S>>,
    peer: Box<str>,
    dialect: Dialect,
    limits: Limits,
    /// The message that was given out last.
    message: Bytes,
    /// Answers to pings that the peer may not have read.
    pongs: u32,
    /// Whether the peer has closed.
    ended: bool,
}

impl<S> WsWire<S> {
    pub(crate) fn new(
        socket: WebSocketStream<Paced<S>>,
        peer: &str,
        dialect: Dialect,
        limits: Limits,
    ) -> Self {
        let peer = peer.into();
        Self { socket, peer, dialect, limits, message: Bytes::new(), pongs: 0, ended: false }
    }

    fn protocol_error(&self, problem: &str) -> WsError {
        WsError::Protocol { peer: self.peer.clone(), problem: problem.into() }
    }

    /// Judges a close frame: `None` where it is orderly.
    fn close_error(&self, frame: Option<CloseFrame>) -> Option<WsError> {
        match frame {
            None | Some(CloseFrame { code: CloseCode::Normal | CloseCode::Away, .. }) => None,
            Some(CloseFrame { code, reason }) => Some(WsError::Closed {
                peer: self.peer.clone(),
                code: code.into(),
                reason: quoted(reason.as_bytes()),
            }),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsWire<S> {
    /// Receives one message of any kind: `true` where it is for the caller, in `message`.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, WsError>> {
        let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(self.broken(error, cx).map(|()| false)),
            None => {
                self.ended = true;
                return Poll::Ready(Ok(false));
            }
        };
        match message {
            Message::Binary(bytes) => self.message = bytes,
            Message::Text(text) if self.dialect == Dialect::Json => self.message = text.into(),
            Message::Text(_) => {
                self.say_goodbye(CloseCode::Unsupported, cx);
                let problem = "a text message, where the native dialect has binary ones";
                return Poll::Ready(Err(self.protocol_error(problem)));
            }
            Message::Ping(_) => return Poll::Ready(self.answer_ping(cx).map(|()| false)),
            Message::Pong(_) | Message::Frame(_) => return Poll::Ready(Ok(false)),
            Message::Close(frame) => {
                self.ended = true;
                // The answer to it waits in the buffer; if it cannot leave at once, it need not.
                let _ = Pin::new(&mut self.socket).poll_flush(cx);
                return Poll::Ready(self.close_error(frame).map_or(Ok(false), Err));
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Sends the answer, which the WebSocket has made already.
    fn answer_ping(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => self.pongs = 0,
            Poll::Ready(Err(error)) => self.broken(error, cx)?,
            Poll::Pending => self.pongs += 1,
        }
        if self.pongs > PONGS_MAX {
            return Err(self.protocol_error("a flood of pings whose answers it does not read"));
        }
        Ok(())
    }

    /// Turns an error of the WebSocket into ours, or into the orderly end that it is.
    fn broken(&mut self, error: Error, cx: &mut Context<'_>) -> Result<(), WsError> {
        let peer = self.peer.clone();
        let (code, error) = match error {
            Error::ConnectionClosed | Error::AlreadyClosed => {
                self.ended = true;
                return Ok(());
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                self.ended = true;
                // The Go package knows no close frame.
                return match self.dialect {
                    Dialect::Json => Ok(()),
                    Dialect::Native => Err(WsError::Truncated { peer }),
                };
            }
            Error::Io(error) => return Err(WsError::Io { peer, error }),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                (CloseCode::Size, WsError::Received { peer, length: size, limit: max_size })
            }
            Error::Utf8(_) => (CloseCode::Invalid, self.protocol_error("text that is not UTF-8")),
            other => (CloseCode::Protocol, self.protocol_error(&words(&other))),
        };
        self.say_goodbye(code, cx);
        Err(error)
    }

    /// Tells the peer why the connection ends, if that can be done at once.
    fn say_goodbye(&mut self, code: CloseCode, cx: &mut Context<'_>) {
        let frame = CloseFrame { code, reason: "".into() };
        let mut socket = Pin::new(&mut self.socket);
        if socket.as_mut().start_send(Message::Close(Some(frame))).is_ok() {
            let _ = socket.poll_flush(cx);
        }
    }

    /// Makes one message of two parts.
    fn message(&self, head: &[u8], body: &[u8]) -> Result<Message, WsError> {
        let mut bytes = Vec::with_capacity(head.len() + body.len());
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(body);
        match self.dialect {
            Dialect::Native => Ok(Message::Binary(bytes.into())),
            Dialect::Json => String::from_utf8(bytes)
                .map(Message::text)
                .map_err(|_| self.protocol_error("we tried to send text that is not UTF-8")),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for WsWire<S> {
    type Error = WsError;

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn outgoing_bytes_max(&self) -> usize {
        self.limits.message_bytes_max
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, WsError>> {
        // Before reading: it frees the read buffer, which is then used again.
        self.message = Bytes::new();
        self.socket.get_mut().allow(READS_MAX);
        for _ in 0..CONTROLS_MAX {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_message(cx))? {
                return Poll::Ready(Ok(Some(&self.message)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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
            let peer = self.peer.clone();
            return Poll::Ready(Err(WsError::Sending { peer, length, limit }));
        }
        let sent = match ready!(Pin::new(&mut self.socket).poll_ready(cx)) {
            Ok(()) => {
                let message = self.message(head, body)?;
                Pin::new(&mut self.socket).start_send(message)
            }
            Err(error) => Err(error),
        };
        Poll::Ready(sent.or_else(|error| self.unsendable(error, cx)))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        Poll::Ready(flushed.or_else(|error| self.unsendable(error, cx)))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        if let Err(error) = ready!(Sink::poll_close(Pin::new(&mut self.socket), cx)) {
            return Poll::Ready(self.broken(error, cx));
        }
        // The close frame has left. Closing the stream as well tells a peer that ignores it.
        Pin::new(self.socket.get_mut())
            .poll_close(cx)
            .map_err(|error| WsError::Io { peer: self.peer.clone(), error })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsWire<S> {
    /// Turns an error of sending into ours: here an end, however orderly, is an error.
    fn unsendable(&mut self, error: Error, cx: &mut Context<'_>) -> Result<(), WsError> {
        if !matches!(error, Error::Protocol(ProtocolError::SendAfterClosing)) {
            self.broken(error, cx)?;
        }
        let error = io::Error::new(io::ErrorKind::NotConnected, "it is closed already");
        Err(WsError::Io { peer: self.peer.clone(), error })
    }
}

impl<S> fmt::Debug for WsWire<S> {
    // Without the bytes: they may be large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsWire")
            .field("peer", &self.peer)
            .field("dialect", &self.dialect)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
