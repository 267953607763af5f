//! A pool on a clock that is moved by hand, and a peer of it that says what the test says.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chargehand::core::io::{Connect, Listen, Timer, Wire};
use chargehand::core::message::{Code, EXTENDED_HEAD_BYTES_MAX, Message, Role};
use chargehand::core::{Config, Instant, TaskId, Verdict};
use chargehand::memory::{MemoryConnector, MemoryListener, MemoryWire, pair};
use chargehand::testing::{self, ManualTimer};
use chargehand::{Builder, Pool, PoolEvent, PoolStats, Task, Threaded};

/// Polls once, with nobody to wake.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A pool, and what it said so far.
pub(crate) struct World {
    inner: testing::World,
    pub(crate) pool: Pool,
    log: Rc<RefCell<Vec<(Instant, PoolEvent)>>>,
    /// The pool's driver has ended.
    pub(crate) over: Rc<Cell<bool>>,
}

impl World {
    pub(crate) fn new(
        set: impl FnOnce(Builder<ManualTimer, Threaded>) -> Builder<ManualTimer, Threaded>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let inner = testing::World::new(7);
        let pool = inner.pool(|builder| {
            set(builder.configure(|config| {
                config.seed = 7;
                change(config);
            }))
        });
        let (log, over) = (Rc::<RefCell<Vec<_>>>::default(), Rc::new(Cell::new(false)));
        let (mut events, timer) = (pool.events(), inner.timer());
        let (lines, end) = (Rc::clone(&log), Rc::clone(&over));
        inner.spawn(async move {
            while let Some(event) = events.next().await {
                lines.borrow_mut().push((timer.now(), event));
            }
            end.set(true);
        });
        let world = Self { inner, pool, log, over };
        world.settle();
        world
    }

    pub(crate) fn now(&self) -> Instant {
        self.timer().now()
    }

    /// Lets happen what needs no time.
    pub(crate) fn settle(&self) {
        self.advance(Duration::ZERO);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let before = self.now();
        let stats = self.run(self.pool.stats()).expect("the driver lives");
        assert_eq!(self.now(), before, "it takes no time");
        stats
    }

    pub(crate) fn submit(&self, height: u64) -> Task<u64> {
        let task = self.pool.try_submit::<u64, u64>(height).expect("there is room");
        self.settle();
        task
    }

    /// Forgets what happened so far, and returns it.
    pub(crate) fn take_log(&self) -> Vec<(Instant, PoolEvent)> {
        self.log.take()
    }
}

impl Deref for World {
    type Target = testing::World;

    fn deref(&self) -> &testing::World {
        &self.inner
    }
}

/// A peer of the pool, by hand.
pub(crate) struct Peer(MemoryWire);

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

    pub(crate) fn say(&mut self, message: &Message<'_>, body: &[u8]) {
        let cx = &mut Context::from_waker(Waker::noop());
        let head = &mut [0; EXTENDED_HEAD_BYTES_MAX];
        let head = message.encode_extended(head).expect("it fits");
        let sent = self.0.poll_send(cx, head, body);
        assert!(matches!(sent, Poll::Ready(Ok(()))));
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

    pub(crate) fn greet(&mut self, world: &World, name: &str, window: u16) {
        self.say(&Message::hello(Role::Worker, window, 1, name), &[]);
        world.settle();
        let hello = self.hear(|message| matches!(message, Message::Hello(_)));
        let welcome = self.hear(|message| matches!(message, Message::Welcome { .. }));
        assert_eq!((hello, welcome), (Some(true), Some(true)));
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

    pub(crate) fn goodbye(&mut self) -> Code {
        let code = self.hear(|message| match message {
            Message::Goodbye { code, .. } => code,
            other => panic!("no Goodbye but {other:?}"),
        });
        code.expect("a Goodbye")
    }
}

/// A pool that dials one peer by hand, which is up.
pub(crate) fn with_peer(
    window: u16,
    change: impl FnOnce(&mut Config),
) -> (World, Peer, MemoryListener) {
    let (connector, mut listener) = pair(64);
    let world = World::new(|builder| builder.connect(connector), change);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.greet(&world, "by hand", window);
    world.take_log();
    (world, peer, listener)
}
