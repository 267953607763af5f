//! A peer of a pool that a test plays by hand, message for message, over a wire in memory whose
//! progress and limits the test says.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use chargehand::core::io::{BytesMoved, Connect, Exposure, Listen, Wire};
use chargehand::core::message::{Aside, Code, EXTENDED_HEAD_BYTES_MAX, Hello, Message, Role};
use chargehand::core::{TaskId, Verdict};
use chargehand::memory::{MemoryConnector, MemoryError, MemoryListener, MemoryWire, pair};

/// What a test says of the pool's end of a wire, and what it sees there.
#[derive(Clone, Debug)]
pub(crate) struct Probe(Arc<Mutex<Probed>>);

#[derive(Debug)]
struct Probed {
    progress: BytesMoved,
    message_bytes_max: usize,
    /// Nothing that was taken has left.
    is_stuck: bool,
    /// The wire has ended, until the next one is made.
    is_cut: bool,
    /// What the pool's side has taken at most, each time that it said so.
    limits: Vec<usize>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Probe {
    fn with<R>(&self, change: impl FnOnce(&mut Probed) -> R) -> R {
        change(&mut self.0.lock().expect("nobody panics with it"))
    }

    /// So many bytes of a message come, or of several, none of which is whole.
    pub(crate) fn receives(&self, bytes: u64) {
        let reader = self.with(|probed| {
            probed.progress.received += bytes;
            probed.reader.take()
        });
        reader.into_iter().for_each(Waker::wake);
    }

    /// So many bytes leave.
    pub(crate) fn sends(&self, bytes: u64) {
        self.with(|probed| probed.progress.sent += bytes);
    }

    /// Lets what is taken leave only once that is told again, with `false`.
    pub(crate) fn is_stuck(&self, stuck: bool) {
        let writer = self.with(|probed| {
            probed.is_stuck = stuck;
            probed.writer.take()
        });
        writer.into_iter().for_each(Waker::wake);
    }

    /// Ends the wire for whoever reads it here.
    pub(crate) fn cut(&self) {
        let reader = self.with(|probed| {
            probed.is_cut = true;
            probed.reader.take()
        });
        reader.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn limits(&self) -> Vec<usize> {
        self.with(|probed| probed.limits.clone())
    }
}

/// Opens wires of which a [`Probe`] tells.
#[derive(Debug)]
pub(crate) struct Probing {
    connector: MemoryConnector,
    probe: Probe,
    identity: &'static str,
}

/// Makes both ends of such an address. The wires take messages of up to `message_bytes_max`.
pub(crate) fn probed(message_bytes_max: usize) -> (Probing, MemoryListener, Probe) {
    probed_as(1024, message_bytes_max, "")
}

/// The same with wires that hold so many messages each way.
pub(crate) fn probed_through(
    room: usize,
    message_bytes_max: usize,
) -> (Probing, MemoryListener, Probe) {
    probed_as(room, message_bytes_max, "")
}

/// As [`probed`], of a peer that has proven who it is, unless that is nobody.
pub(crate) fn probed_by(
    message_bytes_max: usize,
    identity: &'static str,
) -> (Probing, MemoryListener, Probe) {
    probed_as(1024, message_bytes_max, identity)
}

fn probed_as(
    room: usize,
    message_bytes_max: usize,
    identity: &'static str,
) -> (Probing, MemoryListener, Probe) {
    let (connector, listener) = pair(room);
    let probe = Probe(Arc::new(Mutex::new(Probed {
        progress: BytesMoved::default(),
        message_bytes_max,
        is_stuck: false,
        is_cut: false,
        limits: Vec::new(),
        reader: None,
        writer: None,
    })));
    (Probing { connector, probe: probe.clone(), identity }, listener, probe)
}

impl Connect for Probing {
    type Wire = ProbedWire;
    type Error = MemoryError;
    type Connecting = Ready<Result<ProbedWire, MemoryError>>;

    fn connect(&mut self) -> Self::Connecting {
        let Poll::Ready(wire) = poll(Pin::new(&mut self.connector.connect())) else {
            unreachable!("it is ready at once")
        };
        self.probe.with(|probed| probed.is_cut = false);
        let (probe, identity) = (self.probe.clone(), self.identity);
        ready(wire.map(|inner| ProbedWire { inner, probe, identity }))
    }

    #[expect(clippy::unnecessary_literal_bound, reason = "the trait says so")]
    fn peer(&self) -> &str {
        "by hand"
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

#[derive(Debug)]
pub(crate) struct ProbedWire {
    inner: MemoryWire,
    probe: Probe,
    identity: &'static str,
}

impl Wire for ProbedWire {
    type Error = MemoryError;

    #[expect(clippy::unnecessary_literal_bound, reason = "the trait says so")]
    fn peer(&self) -> &str {
        "by hand"
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, MemoryError>> {
        let is_cut = self.probe.with(|probed| {
            probed.reader = Some(cx.waker().clone());
            probed.is_cut
        });
        if is_cut { Poll::Ready(Ok(None)) } else { self.inner.poll_recv(cx) }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), MemoryError>> {
        let longest = self.message_bytes_max();
        assert!(head.len() + body.len() <= longest, "the pool was told how much it takes");
        self.inner.poll_send(cx, head, body)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.probe.with(|probed| {
            probed.writer = Some(cx.waker().clone());
            if probed.is_stuck { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.inner.poll_close(cx)
    }

    fn identity(&self) -> Option<&str> {
        (!self.identity.is_empty()).then_some(self.identity)
    }

    fn progress(&self) -> BytesMoved {
        self.probe.with(|probed| probed.progress)
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.probe.with(|probed| probed.limits.push(bytes_max));
        self.inner.limit_incoming(bytes_max);
    }

    fn message_bytes_max(&self) -> usize {
        self.probe.with(|probed| probed.message_bytes_max)
    }
}

/// The worker's side of a link.
pub(crate) struct Peer(MemoryWire);

/// Polls once, with nobody to wake.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

impl Peer {
    /// Takes the link that the pool has dialled.
    pub(crate) fn accept(listener: &mut MemoryListener) -> Option<Self> {
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(mut accepting)) = listener.poll_accept(cx) else { return None };
        let Poll::Ready(Ok(wire)) = poll(Pin::new(&mut accepting)) else { return None };
        Some(Self(wire))
    }

    pub(crate) fn dial(connector: &mut MemoryConnector) -> Self {
        let Poll::Ready(Ok(wire)) = poll(Pin::new(&mut connector.connect())) else {
            panic!("the pool listens")
        };
        Self(wire)
    }

    pub(crate) fn send(&mut self, head: &[u8], body: &[u8]) {
        let cx = &mut Context::from_waker(Waker::noop());
        let sent = self.0.poll_send(cx, head, body);
        assert!(matches!(sent, Poll::Ready(Ok(()))), "{sent:?}");
    }

    pub(crate) fn say(&mut self, message: &Message<'_>, body: &[u8]) {
        let head = &mut [0; EXTENDED_HEAD_BYTES_MAX];
        self.send(message.encode_extended(head).expect("it fits"), body);
    }

    pub(crate) fn hello(&mut self, name: &str, window: u16, frame_bytes_max: u32) {
        let hello = Hello::new(Role::Worker, window, 1, name);
        self.say(&Message::Hello(Hello { frame_bytes_max, ..hello }), &[]);
    }

    /// Takes the next message and makes something of it.
    pub(crate) fn hear<R>(&mut self, make: impl FnOnce(Message<'_>) -> R) -> Option<R> {
        let cx = &mut Context::from_waker(Waker::noop());
        match self.0.poll_recv(cx) {
            Poll::Ready(Ok(Some(frame))) => {
                Some(make(Message::decode(frame).expect("only messages are sent")))
            }
            _ => None,
        }
    }

    /// Takes the next message, which says what a worker still holds.
    pub(crate) fn held(&mut self) -> Option<Vec<(TaskId, u16)>> {
        let cx = &mut Context::from_waker(Waker::noop());
        match self.0.poll_recv(cx) {
            Poll::Ready(Ok(Some(frame))) => match Aside::decode(frame) {
                Ok(Aside::Holding(holding)) => Some(holding.iter().collect()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Takes all that there is, and returns what each message is.
    pub(crate) fn hear_all(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.hear(|message| message.kind())).collect()
    }

    pub(crate) fn request(&mut self) -> (TaskId, u16) {
        let request = self.hear(|message| match message {
            Message::Request { task, attempt, .. } => (task, attempt),
            other => panic!("no request but {other:?}"),
        });
        request.expect("a request")
    }

    pub(crate) fn answer(&mut self, (task, attempt): (TaskId, u16), value: u64) {
        let body = postcard::to_stdvec(&value).expect("a number");
        let verdict = Verdict::Done;
        self.say(&Message::Response { task, attempt, verdict, body: &[] }, &body);
    }

    pub(crate) fn fail(&mut self, (task, attempt): (TaskId, u16), text: &[u8]) {
        let verdict = Verdict::Failed;
        self.say(&Message::Response { task, attempt, verdict, body: &[] }, text);
    }

    pub(crate) fn goodbye(&mut self) -> (Code, String) {
        let goodbye = self.hear(|message| match message {
            Message::Goodbye { code, text } => (code, text.to_owned()),
            other => panic!("no Goodbye but {other:?}"),
        });
        goodbye.expect("a Goodbye")
    }
}
