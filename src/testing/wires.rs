//! The wires of a [`World`](super::World): in memory, with delays, and they can be cut.
//!
//! They carry whole messages in order, as every transport does. What is on its way when a worker
//! dies still arrives; what is on its way when a link breaks does not; and while a worker's network
//! is away, nothing arrives and neither end notices.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::vec::Vec;

use chargehand_core::io::{Connect, Dialect, Exposure, Listen, Timer, Wire};

use super::clock::ManualSleep;
use super::site::{End, Received, Site, keep};
use super::watch::Step;

/// Why a wire of a world broke, or could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorldError {
    /// The worker's process does not run.
    Refused,
    /// The other end is gone.
    Closed,
    /// The link was cut.
    Broken,
    /// A longer message came than is taken.
    TooLong,
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused: the worker's process does not run",
            Self::Closed => "the other end is gone",
            Self::Broken => "the link was cut",
            Self::TooLong => "a longer message came than is taken",
        })
    }
}

impl Error for WorldError {}

/// A worker of a world as a manager reaches it: its site, and where its process takes links in.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) site: Arc<Site>,
    pub(super) door: Arc<Door>,
    /// What whoever dials it speaks.
    pub(super) dialect: Dialect,
}

impl Home {
    /// Kills the process, with the links that it had not taken in yet.
    pub(super) fn die(&self) {
        self.over("dies");
    }

    /// The process ends by itself.
    pub(super) fn end(&self) {
        self.over("ends");
    }

    fn over(&self, how: &'static str) {
        self.site.die(how);
        self.door.clear();
    }
}

/// Wires on their way to a listener.
#[derive(Debug, Default)]
pub(super) struct Door(Mutex<Arrivals>);

#[derive(Debug, Default)]
struct Arrivals {
    wires: VecDeque<WorldWire>,
    listener: Option<Waker>,
}

impl Door {
    pub(super) fn push(&self, wire: WorldWire) {
        let mut arrivals = self.lock();
        arrivals.wires.push_back(wire);
        let listener = arrivals.listener.take();
        drop(arrivals);
        listener.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<WorldWire> {
        let mut arrivals = self.lock();
        if let Some(wire) = arrivals.wires.pop_front() {
            return Poll::Ready(wire);
        }
        keep(&mut arrivals.listener, cx);
        Poll::Pending
    }

    fn clear(&self) {
        let dropped = std::mem::take(&mut self.lock().wires);
        drop(dropped); // Without the lock: it wakes the other ends.
    }

    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        // Nothing panics while it holds the lock, and the list is valid at every point.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of a worker in a world: made by
/// [`WorkerHandle::connector`](super::WorkerHandle::connector). Its clones lead to the same worker.
#[derive(Clone, Debug)]
pub struct WorldConnector(pub(super) Home);

impl Connect for WorldConnector {
    type Wire = WorldWire;
    type Error = WorldError;
    type Connecting = Connecting;

    fn connect(&mut self) -> Connecting {
        Connecting(self.0.clone())
    }

    fn peer(&self) -> &str {
        &self.0.site.name
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// A wire in the making. While the worker's network is away, it waits.
#[derive(Debug)]
pub struct Connecting(Home);

impl Future for Connecting {
    type Output = Result<WorldWire, WorldError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Home { site, door, dialect } = &self.0;
        let number = match ready!(site.dial(*dialect, cx)) {
            Ok(number) => number,
            Err(error) => return Poll::Ready(Err(error)),
        };
        door.push(WorldWire::new(site, number, End::Worker, *dialect));
        Poll::Ready(Ok(WorldWire::new(site, number, End::Manager, *dialect)))
    }
}

/// Takes in the wires that somebody else opens.
#[derive(Debug)]
pub struct WorldListener(pub(super) Arc<Door>);

impl Listen for WorldListener {
    type Wire = WorldWire;
    type Error = WorldError;
    type Accepting = Ready<Result<WorldWire, WorldError>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, WorldError>> {
        self.0.poll(cx).map(|wire| Ok(ready(Ok(wire))))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// One end of a wire in a world. It holds few messages each way: see
/// [`World::wire_capacity`](super::World::wire_capacity).
#[derive(Debug)]
pub struct WorldWire {
    site: Arc<Site>,
    number: u64,
    end: End,
    dialect: Dialect,
    /// The message that `poll_recv` lent last.
    current: Vec<u8>,
    /// Until a message arrives that is on its way.
    sleep: Option<ManualSleep>,
    is_hopeful: bool,
    /// The longest message that is taken.
    incoming_bytes_max: usize,
    /// The longest message that there is memory for.
    admitted: usize,
    /// A longer one, which waits: the next one that arrives.
    held: Option<Vec<u8>>,
}

impl WorldWire {
    pub(super) fn new(site: &Arc<Site>, number: u64, end: End, dialect: Dialect) -> Self {
        Self {
            site: Arc::clone(site),
            number,
            end,
            dialect,
            current: Vec::new(),
            sleep: None,
            is_hopeful: false,
            incoming_bytes_max: usize::MAX,
            admitted: usize::MAX,
            held: None,
        }
    }
}

impl Wire for WorldWire {
    type Error = WorldError;

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn peer(&self) -> &str {
        match self.end {
            End::Manager => &self.site.name,
            End::Worker => "the manager",
        }
    }

    fn identity(&self) -> Option<&str> {
        self.site.identity.as_deref().filter(|_| self.end == End::Manager)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, WorldError>> {
        self.sleep = None;
        let frame = loop {
            if let Some(frame) = self.held.take() {
                break frame;
            }
            match self.site.receive(self.number, self.end, cx)? {
                Received::Message(frame) => break frame,
                Received::Ended => return Poll::Ready(Ok(None)),
                Received::Nothing => return Poll::Pending,
                Received::Due(at) => {
                    let sleep = self.sleep.insert(self.site.timer.sleep_until(at));
                    ready!(Pin::new(sleep).poll(cx));
                }
            }
        };
        if frame.len() > self.incoming_bytes_max {
            return Poll::Ready(Err(WorldError::TooLong));
        }
        if frame.len() > self.admitted {
            self.held = Some(frame);
            return Poll::Pending;
        }
        let step = if self.end == End::Manager { Step::ManagerGot } else { Step::WorkerGot };
        self.site.tell(self.number, step, &frame);
        self.current = frame;
        Poll::Ready(Ok(Some(&self.current)))
    }

    fn expects_next(&mut self) -> bool {
        // Right or wrong, nothing may depend on it.
        self.is_hopeful = !self.is_hopeful;
        self.is_hopeful
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), WorldError>> {
        self.site.send(self.number, self.end, cx, head, body)
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), WorldError>> {
        Poll::Ready(Ok(())) // What is taken is on its way already.
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), WorldError>> {
        self.site.close(self.number, self.end);
        Poll::Ready(Ok(()))
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.incoming_bytes_max = bytes_max;
    }

    fn admit(&mut self, bytes_max: usize) {
        self.admitted = bytes_max;
    }

    fn incoming(&self) -> usize {
        self.held.as_ref().map_or(0, Vec::len)
    }
}

impl Drop for WorldWire {
    fn drop(&mut self) {
        self.site.leave(self.number, self.end);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::super::clock::ManualTimer;
    use super::super::dice::Dice;
    use super::super::trace::Trace;
    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn home() -> Home {
        let timer = ManualTimer::new();
        let site = Site::new("w".into(), None, Trace::new(timer.clone()), timer, Dice::new(1));
        Home { site: Arc::new(site), door: Arc::default(), dialect: Dialect::Native }
    }

    #[test]
    fn a_link_that_a_process_has_not_taken_in_yet_dies_with_it() {
        let home = home();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut connector = WorldConnector(home.clone());
        let Poll::Ready(Ok(mut wire)) = Pin::new(&mut connector.connect()).poll(cx) else {
            panic!("the process runs");
        };
        home.die();
        home.site.revive();
        assert!(home.door.poll(cx).is_pending(), "the next life knows nothing of it");
        assert_eq!(wire.poll_recv(cx), Poll::Ready(Ok(None)));
        assert_eq!(wire.poll_send(cx, b"x", b""), Poll::Ready(Err(WorldError::Closed)));
    }

    #[test]
    fn whoever_dials_while_the_network_is_away_is_woken_when_it_is_back() {
        let home = home();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = &mut Context::from_waker(&waker);
        home.site.set_online(false);
        let mut connecting = WorldConnector(home.clone()).connect();
        assert!(Pin::new(&mut connecting).poll(cx).is_pending());
        home.site.set_online(true);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(Pin::new(&mut connecting).poll(cx).is_ready());
    }
}
