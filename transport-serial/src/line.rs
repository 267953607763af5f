//! A line that is open, and lent to one link after another.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use chargehand_core::io::{Connect, Exposure, Listen};
use chargehand_core::serial::{Acceptor, FrameHeader, FrameKind, FrameMeaning};
use futures_io::{AsyncRead, AsyncWrite};

use crate::error::SerialError;
use crate::home::{Home, Lent};
use crate::port::{Port, READS_MAX};
use crate::wire::{FRAMES_MAX, SerialWire};
use crate::{Limits, any_link, next_link};

/// A serial line over a stream that is open already. One link at a time uses it.
///
/// Of its two ends one must connect and the other listen. This end connects where it is given to
/// whatever takes a [`Connect`] (a pool's `connect`, a worker's `dial`), and listens where it is
/// given to what takes a [`Listen`] (a worker's `serve`, a pool's `accept`).
///
/// Once the stream has ended or failed the line is of no more use, and every further link an error.
pub struct SerialLine<S> {
    home: Arc<Home<S>>,
    name: Box<str>,
    limits: Limits,
    /// The number of the latest link that this end opened.
    link: u16,
    /// Whether the other end was told that this one has started.
    said_started: bool,
    message: Vec<u8>,
}

impl<S> SerialLine<S> {
    /// Takes over an open stream. `name` names it in errors and events.
    pub fn new(stream: S, name: &str, limits: Limits) -> Self {
        let port = Port::new(stream, name.into(), limits);
        Self {
            home: Arc::new(Home::new(port)),
            name: name.into(),
            limits,
            link: any_link(),
            said_started: false,
            message: Vec::new(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connect for SerialLine<S> {
    type Wire = SerialWire<S>;
    type Error = SerialError;
    type Connecting = Taking<S>;

    fn connect(&mut self) -> Taking<S> {
        self.link = next_link(self.link);
        Taking { home: Arc::clone(&self.home), name: self.name.clone(), link: self.link }
    }

    fn peer(&self) -> &str {
        &self.name
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// Completes with a wire once no other link uses the line.
pub struct Taking<S> {
    home: Arc<Home<S>>,
    name: Box<str>,
    link: u16,
}

impl<S> Future for Taking<S> {
    type Output = Result<SerialWire<S>, SerialError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.home.lock();
        if matches!(slot.lent, Lent::Broken) {
            return Poll::Ready(Err(SerialError::Ended { peer: self.name.clone() }));
        }
        let Some(port) = slot.take() else {
            slot.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let home = Arc::clone(&self.home);
        Poll::Ready(Ok(SerialWire::opening(*port, Some(home), self.link)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Listen for SerialLine<S> {
    type Wire = SerialWire<S>;
    type Error = SerialError;
    // There is no handshake.
    type Accepting = Ready<Result<Self::Wire, SerialError>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, SerialError>> {
        let mut slot = self.home.lock();
        if matches!(slot.lent, Lent::Broken) {
            return Poll::Ready(Err(SerialError::Ended { peer: self.name.clone() }));
        }
        let Some(mut port) = slot.take() else {
            slot.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let newer = slot.newer.take();
        drop(slot);
        let mut acceptor = Acceptor::new();
        let opened = match newer {
            Some((link, first)) => {
                acceptor.hear(FrameHeader { kind: FrameKind::Open, link });
                self.message = first;
                Poll::Ready(Ok(()))
            }
            None => self.poll_opened(cx, &mut port, &mut acceptor),
        };
        match opened {
            Poll::Ready(Ok(())) => {
                let first = mem::take(&mut self.message);
                let home = Arc::clone(&self.home);
                let wire = SerialWire::accepted(*port, home, acceptor, first);
                Poll::Ready(Ok(ready(Ok(wire))))
            }
            Poll::Ready(Err(error)) => {
                self.home.lock().lent = Lent::Broken;
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.home.lock().lent = Lent::No(port);
                Poll::Pending
            }
        }
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SerialLine<S> {
    /// Reads until the other end opens a link; its first message is then in `message`.
    fn poll_opened(
        &mut self,
        cx: &mut Context<'_>,
        port: &mut Port<S>,
        acceptor: &mut Acceptor,
    ) -> Poll<Result<(), SerialError>> {
        if !mem::replace(&mut self.said_started, true) {
            port.queue(FrameHeader::STARTED, &[], &[])?;
        }
        let mut reads_left = READS_MAX;
        for _ in 0..FRAMES_MAX {
            // What is refused here is short, and a pending write does not stop the reading.
            let _ = port.poll_write_out(cx)?;
            let frame = port.poll_frame(cx, &mut self.message, &mut reads_left)?;
            let Poll::Ready(header) = frame else { return Poll::Pending };
            match acceptor.hear(header) {
                FrameMeaning::Opened => return Poll::Ready(Ok(())),
                FrameMeaning::Refuse(header) if port.has_room(0) => port.queue(header, &[], &[])?,
                FrameMeaning::Refuse(_)
                | FrameMeaning::Message
                | FrameMeaning::Closed
                | FrameMeaning::Nothing => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> fmt::Debug for SerialLine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialLine")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Taking<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taking").field("name", &self.name).finish_non_exhaustive()
    }
}
