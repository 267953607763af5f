//! Messages of one link over a line.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chargehand_core::io::{BytesMoved, Wire};
use chargehand_core::serial::{ANY_LINK, Acceptor, FrameHeader, FrameKind, FrameMeaning};
use futures_io::{AsyncRead, AsyncWrite};

use crate::error::SerialError;
use crate::home::Home;
use crate::port::{Port, READS_MAX};

/// How many frames of other links one poll looks at before it lets others run.
pub(crate) const FRAMES_MAX: usize = 64;

/// A link that carries messages over a serial line.
///
/// Dropping it gives an open line back, so that another link may follow.
pub struct SerialWire<S> {
    /// `None` only while it is dropped.
    port: Option<Port<S>>,
    /// Where the port goes afterwards; a dialled one goes nowhere.
    home: Option<Arc<Home<S>>>,
    end: End,
    /// What was received last.
    message: Vec<u8>,
    /// Whether `message` is the first message of all, not given out yet.
    is_first: bool,
    /// The link that the other end has opened instead, with its first message in `message`. From then on the
    /// line is that link's: nothing is read from it here, and nothing written to it.
    newer: Option<u16>,
    is_closed: bool,
    /// Whether the end of the link was said.
    said_close: bool,
    /// What the caller takes at most for now.
    incoming_bytes_max: usize,
    /// What the line had moved before this link.
    before: BytesMoved,
    least_rate: u32,
}

/// Which part this side plays.
enum End {
    /// It opened the link: with its next frame, as long as nothing was sent.
    Opener { link: u16, is_open: bool, has_heard: bool },
    /// The other side did.
    Acceptor(Acceptor),
}

/// What is to be done about a frame.
enum Step {
    Deliver,
    Ignore,
    End,
    Fail(SerialError),
    Refuse(FrameHeader),
}

impl<S> SerialWire<S> {
    pub(crate) fn opening(port: Port<S>, home: Option<Arc<Home<S>>>, link: u16) -> Self {
        Self::new(port, home, End::Opener { link, is_open: false, has_heard: false })
    }

    /// Makes the wire of a link that the other end opened with the message `first`.
    pub(crate) fn accepted(
        port: Port<S>,
        home: Arc<Home<S>>,
        acceptor: Acceptor,
        first: Vec<u8>,
    ) -> Self {
        let mut wire = Self::new(port, Some(home), End::Acceptor(acceptor));
        wire.message = first;
        wire.is_first = true;
        wire
    }

    fn new(port: Port<S>, home: Option<Arc<Home<S>>>, end: End) -> Self {
        Self {
            before: port.progress(),
            least_rate: port.limits.least_rate,
            incoming_bytes_max: usize::MAX,
            port: Some(port),
            home,
            end,
            message: Vec::new(),
            is_first: false,
            newer: None,
            is_closed: false,
            said_close: false,
        }
    }

    fn port(&mut self) -> &mut Port<S> {
        self.port.as_mut().expect("it is there until the drop")
    }

    fn peer_name(&self) -> Box<str> {
        self.port.as_ref().map_or_else(Box::default, |port| port.peer.clone())
    }

    fn judge(&mut self, header: FrameHeader) -> Step {
        let peer = self.peer_name();
        match &mut self.end {
            End::Opener { link, has_heard, .. } => match header {
                FrameHeader { kind: FrameKind::Open, .. } => {
                    Step::Fail(SerialError::BothOpen { peer })
                }
                // Before it has said anything on this link, that was on its way already.
                FrameHeader { kind: FrameKind::Close, link: ANY_LINK } if *has_heard => {
                    Step::Fail(SerialError::Restarted { peer })
                }
                FrameHeader { link: other, .. } if other != *link => Step::Ignore,
                FrameHeader { kind: FrameKind::Data, .. } => {
                    *has_heard = true;
                    Step::Deliver
                }
                FrameHeader { kind: FrameKind::Close, .. } => Step::End,
            },
            End::Acceptor(acceptor) => match acceptor.hear(header) {
                FrameMeaning::Message => Step::Deliver,
                FrameMeaning::Closed => Step::End,
                FrameMeaning::Nothing => Step::Ignore,
                FrameMeaning::Refuse(header) => Step::Refuse(header),
                FrameMeaning::Opened => {
                    self.newer = Some(header.link);
                    Step::Fail(SerialError::Superseded { peer })
                }
            },
        }
    }

    /// Judges the length of what is in `message`, where that is for this link.
    fn checked(&self) -> Result<bool, SerialError> {
        let (length, bytes_max) = (self.message.len(), self.incoming_bytes_max);
        if length > bytes_max {
            return Err(SerialError::Early { peer: self.peer_name(), length, bytes_max });
        }
        Ok(true)
    }

    /// Returns the header of the next frame to send, `None` where the link is over.
    fn next_header(&self, kind: FrameKind) -> Option<FrameHeader> {
        // The acceptor's link is the newer one.
        if self.newer.is_some() {
            return None;
        }
        let link = match &self.end {
            End::Opener { link, is_open: false, .. } if kind == FrameKind::Data => {
                return Some(FrameHeader { kind: FrameKind::Open, link: *link });
            }
            End::Opener { link, .. } => *link,
            End::Acceptor(acceptor) => acceptor.link()?,
        };
        Some(FrameHeader { kind, link })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SerialWire<S> {
    /// Reads until a message is in `message` (`true`) or the link ends (`false`).
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SerialError>> {
        if mem::take(&mut self.is_first) {
            return Poll::Ready(self.checked());
        }
        let mut reads_left = READS_MAX;
        for _ in 0..FRAMES_MAX {
            if self.is_closed || self.newer.is_some() {
                return Poll::Ready(Ok(false));
            }
            let port = self.port.as_mut().expect("it is there until the drop");
            let header = ready!(port.poll_frame(cx, &mut self.message, &mut reads_left))?;
            match self.judge(header) {
                Step::Deliver => return Poll::Ready(self.checked()),
                Step::Ignore => {}
                Step::End => self.is_closed = true,
                Step::Fail(error) => return Poll::Ready(Err(error)),
                Step::Refuse(header) => {
                    let port = self.port();
                    if port.has_room(0) {
                        port.queue(header, &[], &[])?;
                        let _ = port.poll_write_out(cx)?;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for SerialWire<S> {
    type Error = SerialError;

    fn peer(&self) -> &str {
        self.port.as_ref().map_or("", |port| &port.peer)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, SerialError>> {
        let has_message = ready!(self.poll_fill(cx))?;
        Poll::Ready(Ok(has_message.then_some(&self.message[..])))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), SerialError>> {
        // Where the link is over, reading says so; what would be sent has nobody to go to.
        let Some(header) = self.next_header(FrameKind::Data) else { return Poll::Ready(Ok(())) };
        let length = head.len().saturating_add(body.len());
        let port = self.port();
        if port.unsent() > 0 && !port.has_room(length) {
            // Pending may have made room all the same.
            let _ = port.poll_write_out(cx)?;
            if port.unsent() > 0 && !port.has_room(length) {
                return Poll::Pending;
            }
        }
        port.queue(header, head, body)?;
        if let End::Opener { is_open, .. } = &mut self.end {
            *is_open = true;
        }
        Poll::Ready(Ok(()))
    }

    fn message_bytes_max(&self) -> usize {
        self.port.as_ref().map_or(0, |port| port.limits.frame_bytes_max)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SerialError>> {
        if self.newer.is_some() {
            // What has not left is for nobody, and would hold up the newer link.
            return Poll::Ready(Ok(()));
        }
        self.port().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SerialError>> {
        if !mem::replace(&mut self.said_close, true) && !self.is_closed {
            if let Some(header) = self.next_header(FrameKind::Close) {
                self.port().queue(header, &[], &[])?;
            }
        }
        ready!(self.poll_flush(cx))?;
        // An open line stays so.
        if self.home.is_none() { self.port().poll_close(cx) } else { Poll::Ready(Ok(())) }
    }

    /// That of [`Limits::least_rate`](crate::Limits::least_rate).
    fn least_rate_max(&self) -> u32 {
        self.least_rate
    }

    /// A damaged frame is dropped, and its message with it.
    fn may_lose(&self) -> bool {
        true
    }

    /// Bytes that came count in good frames and in what may be the beginning of one; noise does not.
    fn progress(&self) -> BytesMoved {
        let now = self.port.as_ref().map_or(self.before, Port::progress);
        BytesMoved {
            received: now.received.wrapping_sub(self.before.received),
            sent: now.sent.wrapping_sub(self.before.sent),
        }
    }

    /// The line's own limit holds as well: what is longer than that is dropped as if damaged.
    fn limit_incoming(&mut self, bytes_max: usize) {
        self.incoming_bytes_max = bytes_max;
    }
}

impl<S> Drop for SerialWire<S> {
    fn drop(&mut self) {
        if let (Some(port), Some(home)) = (self.port.take(), self.home.take()) {
            let newer = self.newer.map(|link| (link, mem::take(&mut self.message)));
            home.put_back(port, newer);
        }
    }
}

impl<S> fmt::Debug for SerialWire<S> {
    // Without the bytes: they may be large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = self.next_header(FrameKind::Data).map(|header| header.link);
        f.debug_struct("SerialWire")
            .field("peer", &self.peer_name())
            .field("link", &link)
            .field("unsent_bytes", &self.port.as_ref().map(Port::unsent))
            .field("damaged_frames", &self.port.as_ref().map(Port::damaged))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
