//! Streams on which the other end offers the subprotocol of the native dialect, and does not see that this end
//! agrees to it: Autobahn's peers know of none, and that dialect is nowhere without it.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand::core::io::{Accept, Dial, Exposure};
use chargehand::smol::{Smol, SmolListener};
use futures_io::{AsyncRead, AsyncWrite};

const LINE: &[u8] = b"Sec-WebSocket-Protocol: chargehand.2\r\n";
const END: &[u8] = b"\r\n\r\n";

type SmolStream = <Smol as Dial>::Stream;

/// A stream whose first head that comes has the line, and whose first head that leaves has not.
pub(crate) struct Headed {
    stream: SmolStream,
    coming: Head,
    leaving: Head,
}

/// The head of HTTP in one direction.
enum Head {
    /// What there is of it.
    Part(Vec<u8>),
    /// It is whole and changed, and so much of it was passed on.
    Whole(Vec<u8>, usize),
    Over,
}

impl Headed {
    fn new(stream: SmolStream) -> Self {
        let part = || Head::Part(Vec::new());
        Self { stream, coming: part(), leaving: part() }
    }

    /// Passes on what is left of the head that leaves.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Head::Whole(head, passed) = &mut self.leaving {
            if *passed == head.len() {
                self.leaving = Head::Over;
                break;
            }
            *passed += ready!(Pin::new(&mut self.stream).poll_write(cx, &head[*passed..]))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Headed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let Self { stream, coming, .. } = &mut *self;
            match coming {
                Head::Part(part) => {
                    let mut bytes = [0; 1024];
                    let count = ready!(Pin::new(stream).poll_read(cx, &mut bytes))?;
                    if count == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    part.extend_from_slice(&bytes[..count]);
                    if let Some(end) = find(part, END) {
                        let mut head = std::mem::take(part);
                        head.splice(end + 2..end + 2, LINE.iter().copied());
                        *coming = Head::Whole(head, 0);
                    }
                }
                Head::Whole(head, passed) if *passed < head.len() => {
                    let count = room.len().min(head.len() - *passed);
                    room[..count].copy_from_slice(&head[*passed..*passed + count]);
                    *passed += count;
                    return Poll::Ready(Ok(count));
                }
                Head::Whole(..) => *coming = Head::Over,
                Head::Over => return Pin::new(stream).poll_read(cx, room),
            }
        }
    }
}

impl AsyncWrite for Headed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Head::Part(part) = &mut self.leaving {
            part.extend_from_slice(bytes);
            if find(part, END).is_some() {
                let mut head = std::mem::take(part);
                if let Some(at) = find(&head, LINE) {
                    head.drain(at..at + LINE.len());
                }
                self.leaving = Head::Whole(head, 0);
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_head(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

pub(crate) struct HeadedDial(pub(crate) Smol);

impl Dial for HeadedDial {
    type Stream = Headed;
    type Error = io::Error;
    type Dialling = Pin<Box<dyn Future<Output = io::Result<Headed>>>>;

    fn dial(&self, address: &str) -> Self::Dialling {
        let dialling = self.0.dial(address);
        Box::pin(async { dialling.await.map(Headed::new) })
    }

    fn exposure(&self, address: &str) -> Exposure {
        self.0.exposure(address)
    }
}

pub(crate) struct HeadedAccept(pub(crate) SmolListener);

impl Accept for HeadedAccept {
    type Stream = Headed;
    type Peer = <SmolListener as Accept>::Peer;
    type Error = io::Error;
    type Opening = Ready<io::Result<Headed>>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, Self::Peer)>> {
        let (opening, peer) = ready!(self.0.poll_accept(cx))?;
        let stream = opening.into_inner().map(Headed::new);
        Poll::Ready(Ok((ready(stream), peer)))
    }

    fn exposure(&self) -> Exposure {
        self.0.exposure()
    }
}
