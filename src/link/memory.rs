//! Links inside one process: a worker beside its manager, without a socket.
//!
//! They behave as any transport does: bounded, whole messages, and either end sees the other go.
//! Where a handler shall run within the pool's own future, [`Builder::in_process`](crate::Builder::in_process)
//! needs no link at all. This is for workers with a future or thread of their own, such as those of
//! [`Worker::blocking`](crate::Worker), and for tests that play one of the sides.
//!
//! ```
//! let (connector, listener) = chargehand::memory::pair(64);
//! // `connector` goes to `Pool`'s builder, `listener` to `Worker::serve`; or the other way round.
//! # let _ = (connector, listener);
//! ```

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::future::{self, Ready};
use core::task::{Context, Poll, Waker, ready};

use chargehand_core::copy;
use chargehand_core::io::{Connect, Dialect, Exposure, Listen, Wire};

use crate::link::lock::Lock;

/// How many connections may wait to be accepted.
const BACKLOG: usize = 128;
/// A buffer above this size is given back rather than used again.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Makes the two ends of an in-process address. A wire between them holds at most
/// `capacity_messages` messages each way (0 counts as 1): choose a manager's window or more. What is in
/// the wire counts towards neither end's `memory_max`: at most that many messages of `frame_bytes_max`.
pub fn pair(capacity_messages: usize) -> (MemoryConnector, MemoryListener) {
    pair_of(Dialect::Native, capacity_messages)
}

/// Like [`pair`], with any dialect.
pub(crate) fn pair_of(dialect: Dialect, capacity: usize) -> (MemoryConnector, MemoryListener) {
    let door = Arc::new(Lock::new(MemoryDoor::default()));
    let (capacity, known) = (capacity.max(1), Known::default());
    let connector = MemoryConnector { door: Arc::clone(&door), capacity, dialect, known };
    (connector, MemoryListener { door, host: None })
}

/// The end of a memory address that opens wires. Its clones lead to the same listener.
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    door: Arc<Lock<MemoryDoor>>,
    capacity: usize,
    dialect: Dialect,
    known: Known,
}

/// What a wire tells of its other end, as tests would have it.
#[derive(Clone, Debug, Default)]
struct Known {
    identity: Option<Arc<str>>,
    host: Option<Arc<str>>,
}

/// Peers as transports know them that prove identities and tell hosts apart, for tests.
#[cfg(any(test, feature = "testing"))]
impl MemoryConnector {
    /// Has the listener's wires say that this end has proven to be `identity`.
    #[must_use]
    pub fn proven(mut self, identity: &str) -> Self {
        self.known.identity = Some(identity.into());
        self
    }

    /// Has the listener's wires say that this end is on `host`.
    #[must_use]
    pub fn on_host(mut self, host: &str) -> Self {
        self.known.host = Some(host.into());
        self
    }
}

#[cfg(any(test, feature = "testing"))]
impl MemoryListener {
    /// Has the connectors' wires say that this end has proven to be `identity`.
    #[must_use]
    pub fn proven(self, identity: &str) -> Self {
        self.door.with(|door| door.known.identity = Some(identity.into()));
        self
    }
}

/// The end of a memory address that takes wires in.
#[derive(Debug)]
pub struct MemoryListener {
    door: Arc<Lock<MemoryDoor>>,
    /// The host of the latest wire.
    host: Option<Arc<str>>,
}

/// The wires on their way from connectors to the listener.
#[derive(Debug, Default)]
struct MemoryDoor {
    arrived: VecDeque<MemoryWire>,
    listener: Option<Waker>,
    closed: bool,
    /// What connectors' wires say of the listener.
    known: Known,
}

/// The other end of a wire or address in memory is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// The listener was dropped.
    NoListener,
    /// More connections than the listener has taken yet are waiting.
    Backlog,
    /// The other end of the wire was closed or dropped.
    Closed,
    /// The other end sent a longer message than this end takes: little until its Hello is accepted, and
    /// the reader's `frame_bytes_max` from then on.
    TooLong {
        /// How long it was, in bytes.
        length: usize,
        /// How long it might have been.
        limit: usize,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoListener => "nobody listens any more: the listener was dropped",
            Self::Backlog => "too many connections wait for the listener: is it still polled?",
            Self::Closed => "the other end is closed",
            Self::TooLong { length, limit } => {
                return write!(
                    f,
                    "a message of {length} bytes came, and at most {limit} are taken now: raise \
                     frame_bytes_max, unless it came before a Hello"
                );
            }
        };
        f.write_str(text)
    }
}

impl Error for MemoryError {}

impl Connect for MemoryConnector {
    type Wire = MemoryWire;
    type Error = MemoryError;
    type Connecting = Ready<Result<MemoryWire, MemoryError>>;

    fn connect(&mut self) -> Self::Connecting {
        let connected = self.door.with(|door| {
            if door.closed {
                return Err(MemoryError::NoListener);
            }
            if door.arrived.len() >= BACKLOG {
                return Err(MemoryError::Backlog);
            }
            let (mut near, mut far) = wires(self.dialect, self.capacity);
            near.known = door.known.clone();
            far.known = self.known.clone();
            door.arrived.push_back(far);
            Ok((near, door.listener.take()))
        });
        future::ready(connected.map(|(near, listener)| {
            wake(listener);
            near
        }))
    }

    fn peer(&self) -> &str {
        PEER
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

impl Listen for MemoryListener {
    type Wire = MemoryWire;
    type Error = MemoryError;
    type Accepting = Ready<Result<MemoryWire, MemoryError>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        let wire = self.door.with(|door| {
            let wire = door.arrived.pop_front();
            if wire.is_none() {
                keep(&mut door.listener, cx);
            }
            wire
        });
        let Some(wire) = wire else { return Poll::Pending };
        self.host.clone_from(&wire.known.host);
        Poll::Ready(Ok(future::ready(Ok(wire))))
    }

    fn accepted_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        let arrived = self.door.with(|door| {
            door.closed = true;
            core::mem::take(&mut door.arrived)
        });
        drop(arrived); // Without the lock: this wakes their other ends.
    }
}

const PEER: &str = "in this process";

/// One end of a wire inside this process.
#[derive(Debug)]
pub struct MemoryWire {
    incoming: Arc<Lock<Pipe>>,
    outgoing: Arc<Lock<Pipe>>,
    /// The message that `poll_recv` lent last.
    current: Vec<u8>,
    /// The longest message that is taken.
    incoming_bytes_max: usize,
    /// The longest message that there is memory for.
    admitted: usize,
    /// How long the next one is, where it waits for that.
    waiting: usize,
    dialect: Dialect,
    known: Known,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    messages: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    capacity: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wires(dialect: Dialect, capacity: usize) -> (MemoryWire, MemoryWire) {
    let pipe = || {
        Arc::new(Lock::new(Pipe {
            messages: VecDeque::new(),
            spare: Vec::new(),
            capacity,
            closed: false,
            reader: None,
            writer: None,
        }))
    };
    let (there, back) = (pipe(), pipe());
    let end = |incoming: &Arc<_>, outgoing: &Arc<_>| MemoryWire {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        current: Vec::new(),
        incoming_bytes_max: usize::MAX,
        admitted: usize::MAX,
        waiting: 0,
        dialect,
        known: Known::default(),
    };
    (end(&back, &there), end(&there, &back))
}

impl Wire for MemoryWire {
    type Error = MemoryError;

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn peer(&self) -> &str {
        PEER
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, MemoryError>> {
        let Self { incoming, current, incoming_bytes_max, admitted, waiting, .. } = self;
        *waiting = 0;
        // What is too long is taken all the same, to be refused.
        let waits = |length: &usize| *length > *admitted && *length <= *incoming_bytes_max;
        let taken = incoming.with(|pipe| {
            if let Some(length) = pipe.messages.front().map(Vec::len).filter(waits) {
                *waiting = length;
                return Poll::Pending;
            }
            let Some(message) = pipe.messages.pop_front() else {
                if pipe.closed {
                    return Poll::Ready(None);
                }
                keep(&mut pipe.reader, cx);
                return Poll::Pending;
            };
            let mut used = core::mem::replace(current, message);
            if used.capacity() <= SPARE_BYTES_MAX && pipe.spare.len() < pipe.capacity {
                used.clear();
                pipe.spare.push(used);
            }
            // Half empty: to wake for every single message would be a ping-pong.
            let half_empty = pipe.messages.len() <= pipe.capacity / 2;
            Poll::Ready(Some(if half_empty { pipe.writer.take() } else { None }))
        });
        let Some(writer) = ready!(taken) else { return Poll::Ready(Ok(None)) };
        wake(writer);
        let (length, limit) = (current.len(), *incoming_bytes_max);
        if length > limit {
            return Poll::Ready(Err(MemoryError::TooLong { length, limit }));
        }
        Poll::Ready(Ok(Some(current)))
    }

    fn expects_next(&mut self) -> bool {
        // The other end may run on another thread, and to look costs next to nothing.
        true
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), MemoryError>> {
        let reader = ready!(self.outgoing.with(|pipe| {
            if pipe.closed {
                return Poll::Ready(Err(MemoryError::Closed));
            }
            if pipe.messages.len() >= pipe.capacity {
                keep(&mut pipe.writer, cx);
                return Poll::Pending;
            }
            let mut message = pipe.spare.pop().unwrap_or_default();
            message.extend_from_slice(head);
            copy::append(&mut message, body);
            pipe.messages.push_back(message);
            Poll::Ready(Ok(pipe.reader.take()))
        }))?;
        wake(reader);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        Poll::Ready(Ok(())) // What is taken is with the other end already.
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        close(&self.outgoing);
        Poll::Ready(Ok(()))
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.incoming_bytes_max = bytes_max;
    }

    fn admit(&mut self, bytes_max: usize) {
        self.admitted = bytes_max;
    }

    fn incoming(&self) -> usize {
        self.waiting
    }

    fn host(&self) -> Option<&str> {
        self.known.host.as_deref()
    }

    fn identity(&self) -> Option<&str> {
        self.known.identity.as_deref()
    }
}

impl Drop for MemoryWire {
    fn drop(&mut self) {
        close(&self.outgoing);
        close(&self.incoming);
    }
}

fn close(pipe: &Lock<Pipe>) {
    let (reader, writer) = pipe.with(|pipe| {
        pipe.closed = true;
        (pipe.reader.take(), pipe.writer.take())
    });
    wake(reader);
    wake(writer);
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

/// Called without a lock: a waker may run anything.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use alloc::task::Wake;
    use core::future::poll_fn;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once, and returns the answer with how often the waker has been called so far.
    fn once<T>(wakes: &Arc<Wakes>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    fn woken(wakes: &Wakes) -> usize {
        wakes.0.load(Ordering::SeqCst)
    }

    async fn send(wire: &mut MemoryWire, head: &[u8], body: &[u8]) -> Result<(), MemoryError> {
        poll_fn(|cx| wire.poll_send(cx, head, body)).await
    }

    async fn recv(wire: &mut MemoryWire) -> Option<Vec<u8>> {
        poll_fn(|cx| wire.poll_recv(cx).map_ok(|frame| frame.map(<[u8]>::to_vec))).await.unwrap()
    }

    #[test]
    fn messages_arrive_whole_and_in_order_through_the_address() {
        smol::block_on(async {
            let (mut connector, mut listener) = pair(8);
            let mut near = connector.connect().await.unwrap();
            let accepting = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            let mut far = accepting.await.unwrap();
            for number in 0..100_u8 {
                send(&mut near, b"head", &[number]).await.unwrap();
                send(&mut far, &[], &[number; 3]).await.unwrap();
                assert_eq!(recv(&mut far).await.unwrap(), [b'h', b'e', b'a', b'd', number]);
                assert_eq!(recv(&mut near).await.unwrap(), [number; 3]);
            }
        });
    }

    #[test]
    fn a_full_wire_takes_nothing_and_wakes_its_writer_once_there_is_room() {
        let (mut near, mut far) = wires(Dialect::Native, 2);
        let (writer, reader) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        assert!(once(&reader, |cx| far.poll_recv(cx).map(drop)).is_pending());
        for _ in 0..2 {
            assert!(once(&writer, |cx| near.poll_send(cx, b"x", b"")).is_ready());
        }
        assert_eq!(woken(&reader), 1, "once, until it waits again");
        assert!(once(&writer, |cx| near.poll_send(cx, b"y", b"")).is_pending());
        for expected in [Some(&b"x"[..]), Some(b"x")] {
            let Poll::Ready(got) =
                once(&reader, |cx| far.poll_recv(cx).map_ok(|m| m.map(<[u8]>::to_vec)))
            else {
                panic!("a message is there");
            };
            assert_eq!(got.unwrap().as_deref(), expected);
        }
        assert_eq!(woken(&writer), 1);
        assert!(
            once(&reader, |cx| far.poll_recv(cx).map(drop)).is_pending(),
            "nothing of the third"
        );
    }

    #[test]
    fn a_message_that_there_is_no_memory_for_waits_in_the_wire() {
        let (mut near, mut far) = wires(Dialect::Native, 4);
        let wakes = Arc::new(Wakes::default());
        for message in [&[1; 10], &[2; 100][..], &[3; 300]] {
            assert!(once(&wakes, |cx| near.poll_send(cx, &[], message)).is_ready());
        }
        let length = |far: &mut MemoryWire| {
            once(&wakes, |cx| far.poll_recv(cx).map_ok(|frame| frame.map(<[u8]>::len)))
        };
        far.admit(99);
        assert_eq!(length(&mut far), Poll::Ready(Ok(Some(10))));
        assert_eq!((length(&mut far), far.incoming()), (Poll::Pending, 100));
        assert_eq!((length(&mut far), far.incoming()), (Poll::Pending, 100));
        far.admit(100);
        assert_eq!((length(&mut far), far.incoming()), (Poll::Ready(Ok(Some(100))), 0));
        far.limit_incoming(200);
        let too_long = MemoryError::TooLong { length: 300, limit: 200 };
        assert_eq!((length(&mut far), far.incoming()), (Poll::Ready(Err(too_long)), 0));
    }

    #[test]
    fn what_was_sent_before_the_end_still_arrives_and_then_the_end() {
        smol::block_on(async {
            let (mut near, mut far) = wires(Dialect::Native, 2);
            send(&mut near, b"last", b"").await.unwrap();
            poll_fn(|cx| near.poll_close(cx)).await.unwrap();
            assert_eq!(recv(&mut far).await.unwrap(), b"last");
            assert_eq!(recv(&mut far).await, None);
            send(&mut far, b"half closed", b"").await.unwrap();
            drop(near);
            assert_eq!(send(&mut far, b"x", b"").await, Err(MemoryError::Closed));
        });
    }

    #[test]
    fn dropping_one_end_wakes_both_directions_of_the_other() {
        let (near, mut far) = wires(Dialect::Native, 1);
        let (reader, writer) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        assert!(once(&reader, |cx| far.poll_recv(cx).map(drop)).is_pending());
        assert!(once(&writer, |cx| far.poll_send(cx, b"x", b"")).is_ready());
        assert!(once(&writer, |cx| far.poll_send(cx, b"x", b"")).is_pending());
        drop(near);
        assert_eq!((woken(&reader), woken(&writer)), (1, 1));
    }

    #[test]
    fn a_connector_is_told_when_nobody_listens_or_nobody_accepts() {
        smol::block_on(async {
            let (mut connector, listener) = pair(1);
            let mut waiting = Vec::new();
            for _ in 0..BACKLOG {
                waiting.push(connector.connect().await.unwrap());
            }
            assert_eq!(connector.connect().await.err(), Some(MemoryError::Backlog));
            drop(listener);
            assert_eq!(connector.clone().connect().await.err(), Some(MemoryError::NoListener));
            assert_eq!(recv(&mut waiting[0]).await, None, "those that waited see the end");
        });
    }
}
