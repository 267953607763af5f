//! Chargehand over a serial line, or any other byte stream that may lose, add and change bytes.
//!
//! [`SerialLine`] is an open line, with this end either opening links ([`Connect`], so that a pool
//! dials a worker at the other end) or taking them ([`Listen`], so that a worker serves).
//! [`SerialConnector`] opens a stream of its own for each link, through a runtime's [`Dial`]. Both
//! give a [`SerialWire`]. The frames are those of [`chargehand_core::serial`], which firmware speaks
//! without a heap.
//!
//! A pool takes one end and a worker the other (`Builder::connect` and `Worker::serve` of `chargehand`).
//! Here the line is a pair of sockets:
//!
//! ```
//! use std::future::poll_fn;
//! use chargehand_core::io::{Connect, Listen, Wire};
//! use chargehand_runtime_smol::Smol;
//! use chargehand_transport_serial::{Limits, SerialConnector, SerialLine};
//!
//! # smol::block_on(async {
//! # use chargehand_core::io::Accept;
//! let mut socket = Smol::bind("127.0.0.1:0").await?;
//! let address = socket.local_addr()?.to_string();
//! let mut connector = SerialConnector::new(Smol::new(), &address);
//! let mut near = connector.connect().await?;
//! let (opening, peer) = poll_fn(|cx| socket.poll_accept(cx)).await?;
//! let mut line = SerialLine::new(opening.await?, &peer.to_string(), Limits::new());
//!
//! // The first frame opens the link, so it is sent before the other end is there.
//! poll_fn(|cx| near.poll_send(cx, b"head, ", b"body")).await?;
//! poll_fn(|cx| near.poll_flush(cx)).await?;
//! let mut far = poll_fn(|cx| line.poll_accept(cx)).await?.await?;
//! let message = poll_fn(|cx| far.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec)));
//! assert_eq!(message.await?.as_deref(), Some(&b"head, body"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # When a frame is lost
//!
//! A damaged frame is dropped, and nothing at this level sends it again. What then happens to the
//! message in it:
//!
//! | lost | found by | then |
//! |---|---|---|
//! | first frame of a link, Hello | `connect_timeout` | the next link, after the backoff |
//! | Welcome | the worker, by the next message | it says Goodbye; the next link |
//! | Request, Response | `attempt_timeout` | the task is sent again, and the worker has a strike |
//! | Cancel | the next request, where that goes past the window | Goodbye; the next link |
//! | Ping, Pong | `heartbeat_timeout` | the next link; its tasks are sent again |
//!
//! Set these deadlines to what the line can do: a few times the longest answer, not the defaults of
//! 10 and 60 seconds. As everywhere, a task may so be run twice and has one outcome.
//!
//! Bytes within a message are progress (`Wire::progress`), so that a long one on a slow line is not taken for
//! silence. Noise is not.
//!
//! A line of 9600 baud carries 960 bytes each second, below the least rate of 1 KiB/s that a pool or worker
//! asks of others. So [`Limits`] has a least rate of its own, by default for that line: set
//! [`Limits::baud`] for a slower one, and for a faster one that is to be found dead sooner.
//!
//! At 115,200 baud a line carries about 11 KB each second, so a message at the default limit takes
//! a third of a second, and holds up all others and the heartbeats for so long.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod home;
mod line;
mod port;
mod wire;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(doc)]
use chargehand_core::io::Listen;
use chargehand_core::io::{Connect, Dial, Exposure};
use chargehand_core::serial::ANY_LINK;
use futures_io::{AsyncRead, AsyncWrite};

pub use crate::error::{BoxError, SerialError};
pub use crate::line::{SerialLine, Taking};
use crate::port::Port;
pub use crate::wire::SerialWire;

/// How much one line may make this end hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long a message may be, either way. A longer one that comes is dropped as if damaged; one
    /// to be sent is an error. Default 4 KiB, which is also about what a line holds in memory: a buffer
    /// of that length is there from the beginning.
    pub frame_bytes_max: usize,
    /// How many bytes may wait to leave. Past it a sender waits; one message always fits, however
    /// long. Default 16 KiB.
    pub write_buffer_bytes_max: usize,
    /// The least number of bytes of a long message per second on a working line: below that
    /// its link is taken for silent. Where a pool or worker asks for less (`progress_rate_min`), that
    /// holds. Default 240, a quarter of what 9600 baud carry; [`baud`](Limits::baud) sets it for others.
    pub least_rate: u32,
}

impl Limits {
    /// Makes the default limits.
    pub const fn new() -> Self {
        Self { frame_bytes_max: 4 << 10, write_buffer_bytes_max: 16 << 10, least_rate: 0 }
            .baud(9600)
    }

    /// Sets the least rate for a line of that many bits per second: to a quarter of what it carries, at ten
    /// bits for each byte, for the other direction, escapes and noise take their share. At least 1.
    #[must_use]
    pub const fn baud(self, bits_per_second: u32) -> Self {
        let least_rate = bits_per_second / 40;
        Self { least_rate: if least_rate == 0 { 1 } else { least_rate }, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens a byte stream anew for each link to the worker at its other end.
///
/// For a stream that is open already, and stays so, there is [`SerialLine`].
#[derive(Clone, Debug)]
pub struct SerialConnector<D> {
    dial: D,
    address: Box<str>,
    limits: Limits,
    link: u16,
}

impl<D> SerialConnector<D> {
    /// Makes a connector to `address`, which means whatever `dial` takes it for: a device's path,
    /// or `host:port` of a serial server.
    pub fn new(dial: D, address: &str) -> Self {
        Self { dial, address: address.into(), limits: Limits::new(), link: any_link() }
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl<D> Connect for SerialConnector<D>
where
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = SerialWire<D::Stream>;
    type Error = SerialError;
    type Connecting = Connecting<D::Dialling>;

    fn connect(&mut self) -> Self::Connecting {
        self.link = next_link(self.link);
        Connecting {
            dialling: Box::pin(self.dial.dial(&self.address)),
            peer: self.address.clone(),
            limits: self.limits,
            link: self.link,
        }
    }

    fn peer(&self) -> &str {
        &self.address
    }

    /// As the [`Dial`] says: a serial server is somewhere on a network.
    fn exposure(&self) -> Exposure {
        self.dial.exposure(&self.address)
    }
}

/// Completes with the open wire.
pub struct Connecting<F> {
    dialling: Pin<Box<F>>,
    peer: Box<str>,
    limits: Limits,
    link: u16,
}

impl<F, S, E> Future for Connecting<F>
where
    F: Future<Output = Result<S, E>>,
    E: Into<BoxError>,
{
    type Output = Result<SerialWire<S>, SerialError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.dialling.as_mut().poll(cx).map(|result| match result {
            Ok(stream) => {
                let port = Port::new(stream, self.peer.clone(), self.limits);
                Ok(SerialWire::opening(port, None, self.link))
            }
            Err(error) => Err(SerialError::Dial { peer: self.peer.clone(), error: error.into() }),
        })
    }
}

impl<F> fmt::Debug for Connecting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Returns where to begin to count: not where the process before this one did.
fn any_link() -> u16 {
    // Each `RandomState` has keys of its own, which `std` draws from the system.
    let [low, high, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn next_link(link: u16) -> u16 {
    match link.wrapping_add(1) {
        ANY_LINK => 1,
        next => next,
    }
}
