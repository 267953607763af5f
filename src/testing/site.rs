//! The place where a worker of a world lives: its process, its network, and every wire to it.

use std::borrow::ToOwned;
use std::collections::{BTreeMap, VecDeque};
use std::string::String;
use std::string::ToString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::io::{Dialect, Timer};
use chargehand_core::message::{Aside, Message, Progress};
use chargehand_core::{Instant, TaskId, Verdict};

use super::clock::ManualTimer;
use super::dice::{Delay, Dice};
use super::go;
use super::trace::Trace;
use super::watch::{Passing, Step, Watcher};
use super::wires::WorldError;

/// How many messages a wire holds each way, where the number is drawn. Mostly few, so that senders have to
/// wait for room, as on a transport with little credit.
pub(super) const CAPACITIES: [usize; 4] = [1, 2, 8, 1024];

/// An end of a wire: whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Manager,
    Worker,
}

/// What there is to read.
pub(super) enum Received {
    Message(Vec<u8>),
    /// A message is on its way until then.
    Due(Instant),
    Nothing,
    /// The other end closed in good order, or its process died.
    Ended,
}

/// How a worker's process is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    pub(super) alive: bool,
    /// Differs from life to life.
    pub(super) life: u64,
    /// It was asked to stop.
    pub(super) stopping: bool,
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: Arc<str>,
    pub(super) timer: ManualTimer,
    pub(super) trace: Trace,
    /// Whom its transport proves it to be.
    pub(super) identity: Option<Arc<str>>,
    pub(super) watcher: Watcher,
    state: Mutex<SiteState>,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is about something else")]
struct SiteState {
    alive: bool,
    online: bool,
    /// Counts the deaths and returns: even while it lives.
    life: u64,
    /// It was asked to stop.
    stopping: bool,
    /// The next message of the worker turns into garbage on its way.
    garbles: bool,
    asked: u64,
    latency: Delay,
    /// How many messages a wire holds each way.
    capacity: usize,
    /// How many bytes go each way in a second; 0 for no limit.
    rate: u32,
    dice: Dice,
    channels: BTreeMap<u64, Channel>,
    opened: u64,
    /// Whoever dials while the network is away.
    dialling: Vec<Waker>,
    worker: Option<Waker>,
}

/// One wire.
#[derive(Debug, Default)]
struct Channel {
    dialect: Dialect,
    manager: Side,
    worker: Side,
    broken: bool,
}

/// One end of a wire, and what it has sent.
#[derive(Debug, Default)]
struct Side {
    /// Each with the time at which it has come the way. What is behind it waits for it.
    sent: VecDeque<(Instant, Vec<u8>)>,
    /// When the line has taken all of that.
    busy_until: Instant,
    /// It sends nothing more.
    ended: bool,
    /// Nobody is there any more.
    gone: bool,
    /// Waits for something to read.
    reader: Option<Waker>,
    /// Waits for room.
    writer: Option<Waker>,
}

impl Channel {
    /// Returns an end, and the opposite one.
    const fn sides(&mut self, end: End) -> (&mut Side, &mut Side) {
        match end {
            End::Manager => (&mut self.manager, &mut self.worker),
            End::Worker => (&mut self.worker, &mut self.manager),
        }
    }

    fn leave(&mut self, end: End) {
        let (near, far) = self.sides(end);
        near.gone = true;
        near.ended = true;
        far.sent.clear(); // Nobody will read it.
    }

    fn take_wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let Self { manager, worker, .. } = self;
        let wakers =
            [&mut manager.reader, &mut manager.writer, &mut worker.reader, &mut worker.writer];
        wakers.map(Option::take).into_iter().flatten()
    }
}

impl Site {
    pub(super) fn new(
        name: Arc<str>,
        identity: Option<Arc<str>>,
        trace: Trace,
        timer: ManualTimer,
        mut dice: Dice,
    ) -> Self {
        let drawn = dice.below(CAPACITIES.len() as u64);
        let capacity = CAPACITIES[usize::try_from(drawn).expect("it is an index")];
        let state = SiteState {
            alive: true,
            online: true,
            life: 0,
            stopping: false,
            garbles: false,
            asked: 0,
            latency: Delay::default(),
            capacity,
            rate: 0,
            dice,
            channels: BTreeMap::new(),
            opened: 0,
            dialling: Vec::new(),
            worker: None,
        };
        let watcher = Watcher::default();
        Self { name, timer, trace, identity, watcher, state: Mutex::new(state) }
    }

    /// Has those told of what goes over its wires who watch its world.
    pub(super) fn watched_by(mut self, watcher: Watcher) -> Self {
        self.watcher = watcher;
        self
    }

    /// Tells who watches of a message, or of an end.
    pub(super) fn tell(&self, link: u64, step: Step, frame: &[u8]) {
        let at = self.timer.elapsed();
        self.watcher.tell(&Passing { at, worker: &self.name, link, step, frame });
    }

    pub(super) fn set_latency(&self, latency: Delay) {
        self.lock().latency = latency;
    }

    pub(super) fn set_rate(&self, bytes_per_second: u32) {
        self.lock().rate = bytes_per_second;
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.lock().capacity = capacity;
    }

    /// Returns how many requests were sent here, whatever they are worth in the JSON dialect.
    pub(super) fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Returns whether a link was ever opened.
    pub(super) fn is_known(&self) -> bool {
        self.lock().opened > 0
    }

    /// Returns how the process is, and sets whom to wake when that changes.
    pub(super) fn register(&self, cx: &Context<'_>) -> Pulse {
        let mut state = self.lock();
        keep(&mut state.worker, cx);
        Pulse { alive: state.alive, life: state.life, stopping: state.stopping }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.lock().alive
    }

    /// The process is over. Whoever plays it drops its ends of all wires before it does anything
    /// else. What it has sent still arrives.
    pub(super) fn die(&self, how: &'static str) {
        self.change(|state| {
            if !state.alive {
                return None;
            }
            state.alive = false;
            state.stopping = false;
            state.life += 1;
            Some(how)
        });
    }

    /// The process is asked to stop.
    pub(super) fn stop(&self) {
        self.change(|state| {
            if !state.alive || std::mem::replace(&mut state.stopping, true) {
                return None;
            }
            Some("is asked to stop")
        });
    }

    pub(super) fn revive(&self) {
        self.change(|state| {
            if state.alive {
                return None;
            }
            state.alive = true;
            state.life += 1;
            Some("is back")
        });
    }

    /// Every wire breaks, and both ends notice at once.
    pub(super) fn lose_link(&self) {
        self.change(|state| {
            state.channels.values_mut().for_each(|channel| channel.broken = true);
            Some("loses its link")
        });
    }

    /// Nothing gets through until the network is back, and nobody notices.
    pub(super) fn set_online(&self, online: bool) {
        self.change(|state| {
            if std::mem::replace(&mut state.online, online) == online {
                return None;
            }
            Some(if online { "has its network back" } else { "loses its network" })
        });
    }

    pub(super) fn garble(&self) {
        self.lock().garbles = true;
    }

    /// Opens a wire of that dialect: `None` while the network is away, and then wakes when it is back.
    pub(super) fn dial(&self, dialect: Dialect, cx: &Context<'_>) -> Poll<Result<u64, WorldError>> {
        let mut state = self.lock();
        if !state.online {
            state.dialling.push(cx.waker().clone());
            return Poll::Pending;
        }
        if !state.alive {
            return Poll::Ready(Err(WorldError::Refused));
        }
        state.opened += 1;
        let number = state.opened;
        state.channels.insert(number, Channel { dialect, ..Channel::default() });
        Poll::Ready(Ok(number))
    }

    pub(super) fn send(
        &self,
        number: u64,
        end: End,
        cx: &Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), WorldError>> {
        let now = self.timer.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let (online, capacity, rate) = (state.online, state.capacity, state.rate);
        let (near, far, dialect, broken) = match state.channels.get_mut(&number) {
            None => return Poll::Ready(Err(WorldError::Closed)),
            Some(channel) => {
                let (dialect, broken) = (channel.dialect, channel.broken);
                let (near, far) = channel.sides(end);
                (near, far, dialect, broken)
            }
        };
        if broken {
            return Poll::Ready(Err(WorldError::Broken));
        }
        if near.ended || (far.gone && online) {
            return Poll::Ready(Err(WorldError::Closed));
        }
        if near.sent.len() >= capacity {
            keep(&mut near.writer, cx);
            return Poll::Pending;
        }
        let mut frame = [head, body].concat();
        if end == End::Worker && std::mem::take(&mut state.garbles) {
            frame = state.dice.garbage();
            self.trace.note(format!("{} has a message garbled on its way", self.name));
        }
        near.busy_until = near.busy_until.max(now).saturating_add(on_the_line(frame.len(), rate));
        let arrives = near.busy_until.saturating_add(state.latency.draw(&mut state.dice));
        let reader = far.reader.take();
        let (is_request, text) = match dialect {
            Dialect::Native => {
                let message = Message::decode(&frame).ok();
                let is_request = matches!(message, Some(Message::Request { .. }));
                if let Some(Message::Request { task, attempt, .. }) = message {
                    self.watcher.note_asked(&self.name, task, attempt);
                }
                (is_request, describe(end, message, &frame))
            }
            Dialect::Json => (end == End::Manager, Some(go::describe(end, &frame))),
        };
        state.asked += u64::from(is_request);
        if let Some(text) = text {
            self.trace.note(format!("{} {text}", self.name));
        }
        let step = if end == End::Manager { Step::ManagerSent } else { Step::WorkerSent };
        self.tell(number, step, &frame);
        near.sent.push_back((arrives, frame));
        drop(guard);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    pub(super) fn receive(
        &self,
        number: u64,
        end: End,
        cx: &Context<'_>,
    ) -> Result<Received, WorldError> {
        let now = self.timer.now();
        let mut state = self.lock();
        let online = state.online;
        let Some(channel) = state.channels.get_mut(&number) else { return Err(WorldError::Closed) };
        if channel.broken {
            return Err(WorldError::Broken);
        }
        let (near, far) = channel.sides(end);
        if !online {
            keep(&mut near.reader, cx);
            return Ok(Received::Nothing);
        }
        match far.sent.front() {
            Some((at, _)) if *at <= now => {
                let (_, frame) = far.sent.pop_front().expect("just seen");
                let writer = far.writer.take();
                drop(state);
                writer.into_iter().for_each(Waker::wake);
                return Ok(Received::Message(frame));
            }
            None if far.ended => return Ok(Received::Ended),
            _ => keep(&mut near.reader, cx),
        }
        Ok(far.sent.front().map_or(Received::Nothing, |(at, _)| Received::Due(*at)))
    }

    /// Ends what is sent from one end of a wire, after what was sent so far.
    pub(super) fn close(&self, number: u64, end: End) {
        self.change_channel(number, |channel| channel.sides(end).0.ended = true);
    }

    /// One end of a wire is dropped.
    pub(super) fn leave(&self, number: u64, end: End) {
        let step = if end == End::Manager { Step::ManagerLeft } else { Step::WorkerLeft };
        self.tell(number, step, &[]);
        self.change_channel(number, |channel| channel.leave(end));
    }

    fn change_channel(&self, number: u64, change: impl FnOnce(&mut Channel)) {
        let mut state = self.lock();
        let Some(channel) = state.channels.get_mut(&number) else { return };
        change(channel);
        let woken: Vec<Waker> = channel.take_wakers().collect();
        if channel.manager.gone && channel.worker.gone {
            state.channels.remove(&number);
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Changes what everybody may have to notice, and traces it if it is one.
    fn change(&self, change: impl FnOnce(&mut SiteState) -> Option<&'static str>) {
        let mut state = self.lock();
        let Some(text) = change(&mut state) else { return };
        self.trace.note(format!("{} {text}", self.name));
        let mut woken: Vec<Waker> = state.worker.take().into_iter().collect();
        woken.append(&mut state.dialling);
        woken.extend(state.channels.values_mut().flat_map(Channel::take_wakers));
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, SiteState> {
        // Nothing panics while it holds the lock, and the state is valid at every point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how long so many bytes take at that rate, of which 0 is no limit.
fn on_the_line(bytes: usize, rate: u32) -> Duration {
    let nanos = (bytes as u64).saturating_mul(1_000_000_000).checked_div(rate.into());
    Duration::from_nanos(nanos.unwrap_or(0))
}

pub(super) fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

/// Says what a message is, from the worker's point of view; nothing about handshakes, heartbeats
/// and the like.
fn describe(end: End, message: Option<Message<'_>>, frame: &[u8]) -> Option<String> {
    let name = |task: TaskId, attempt: u16| {
        format!("task {}.{} #{attempt}", task.slot(), task.generation())
    };
    Some(match message {
        None => match Aside::decode(frame) {
            Ok(Aside::Progress(Progress { task, attempt, done, total })) => {
                format!("says that {} is at {done} of {total}", name(task, attempt))
            }
            // As heartbeats are.
            Ok(_) => return None,
            Err(_) => format!("sends garbage, {} bytes", frame.len()),
        },
        Some(Message::Request { task, attempt, body, .. }) => {
            format!("is asked {}: {}", name(task, attempt), show(body))
        }
        Some(Message::Response { task, attempt, verdict: Verdict::Done, body }) => {
            format!("answers {}: {}", name(task, attempt), show(body))
        }
        Some(Message::Response { task, attempt, verdict: Verdict::Failed, body }) => {
            format!("fails {}: {:?}", name(task, attempt), String::from_utf8_lossy(body))
        }
        Some(Message::Response { task, attempt, verdict: Verdict::Returned, .. }) => {
            format!("gives back {}", name(task, attempt))
        }
        Some(Message::Cancel { task, attempt }) => {
            format!("is told to drop {}", name(task, attempt))
        }
        Some(Message::Drain) => "wants nothing more".to_owned(),
        Some(Message::Goodbye { code, text }) => match end {
            End::Manager => format!("is told Goodbye ({code:?}): {text}"),
            End::Worker => format!("says Goodbye ({code:?}): {text}"),
        },
        Some(Message::Hello(_) | Message::Welcome { .. } | Message::Ping | Message::Pong) => {
            return None;
        }
    })
}

/// Shows a body: a number where it is a postcard one.
fn show(body: &[u8]) -> String {
    match number::<u64>(body) {
        Some(number) => number.to_string(),
        None => format!("{} bytes", body.len()),
    }
}

/// Returns the number that a body is, in postcard's encoding and nothing else.
pub(super) fn number<N: serde::de::DeserializeOwned>(body: &[u8]) -> Option<N> {
    match postcard::take_from_bytes(body) {
        Ok((number, [])) => Some(number),
        _ => None,
    }
}
