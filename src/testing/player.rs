//! A scripted worker at work: it speaks the messages of either dialect itself, so that it can lie.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::io::{Dialect, Timer, Wire};
use chargehand_core::message::{HEAD_BYTES_MAX, Message, PROGRESS_BYTES_MAX, Progress, Role};
use chargehand_core::{Instant, TaskId, Verdict};

use super::clock::ManualSleep;
use super::dice::Dice;
use super::go;
use super::script::{Act, Request, Script};
use super::site::{End, Pulse};
use super::wires::{Door, Home, WorldWire};
use crate::failure::FAILURE_BYTES_MAX;

/// How long a worker that dials in waits between two connects.
const REDIAL_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Player {
    script: Script,
    home: Home,
    /// Where the world's first pool takes workers in.
    front: Arc<Door>,
    dice: Dice,
    /// Which life of the process this is.
    life: u64,
    links: Vec<Option<PlayedLink>>,
    /// Requests without a place yet, in order.
    waiting: VecDeque<PlayedTask>,
    /// The others, by the time at which something is done about them.
    begun: BTreeMap<(Instant, u64), PlayedTask>,
    requests: u64,
    /// When what is behind the worker takes the next request.
    free_at: Instant,
    dials_at: Instant,
    /// It wants nothing more, and has said so.
    draining: bool,
    /// When the dead process is started again.
    back_at: Option<Instant>,
    sleep: Option<ManualSleep>,
}

struct PlayedLink {
    wire: WorldWire,
    /// What the wire had no room for.
    out: VecDeque<Vec<u8>>,
}

/// A request under way.
struct PlayedTask {
    link: usize,
    number: u64,
    asked: Asked,
    body: Vec<u8>,
    act: Act,
    /// The manager wants no answer any more, and gets one all the same.
    withdrawn: bool,
}

/// What an answer is to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Task { task: TaskId, attempt: u16 },
    Height(i64),
}

/// What a frame means to a worker.
enum Heard {
    Request {
        asked: Asked,
        body: Vec<u8>,
    },
    Cancel {
        task: TaskId,
        attempt: u16,
    },
    Ping,
    /// Nothing to do about it.
    Other,
    End,
}

impl Player {
    pub(super) fn new(script: Script, home: Home, front: Arc<Door>, dice: Dice) -> Self {
        Self {
            script,
            home,
            front,
            dice,
            life: 0,
            links: Vec::new(),
            waiting: VecDeque::new(),
            begun: BTreeMap::new(),
            requests: 0,
            free_at: Instant::EPOCH,
            dials_at: Instant::EPOCH,
            draining: false,
            back_at: None,
            sleep: None,
        }
    }

    fn is_go(&self) -> bool {
        self.home.dialect == Dialect::Json
    }

    /// Does what can be done now. Returns whether there may be more.
    fn step(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = self.take_in(cx, now);
        for link in 0..self.links.len() {
            moved |= self.read(link, cx, now);
            moved |= self.flush(link, cx);
        }
        self.begin(now);
        moved | self.act(cx, now)
    }

    /// Says that it wants nothing more, and ends once its managers have closed their links.
    /// Returns whether that is now.
    fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.draining, true) {
            for link in 0..if self.is_go() { 0 } else { self.links.len() } {
                self.say(link, cx, &Message::Drain, &[]);
            }
        }
        if self.is_go() && self.waiting.is_empty() && self.begun.is_empty() {
            self.links.clear(); // It can say nothing, so it just goes.
        }
        let over = self.links.iter().all(Option::is_none);
        if over {
            self.home.end();
        }
        over
    }

    /// Gets a new link, if there is one.
    fn take_in(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.draining {
            return false;
        }
        let wire = if self.script.dials_in {
            match self.dial(cx, now) {
                Some(wire) => wire,
                None => return false,
            }
        } else {
            match self.home.door.poll(cx) {
                Poll::Ready(wire) => wire,
                Poll::Pending => return false,
            }
        };
        let free = self.links.iter().position(Option::is_none).unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        self.links[free] = Some(PlayedLink { wire, out: VecDeque::new() });
        if self.is_go() {
            return true;
        }
        let name = Arc::clone(&self.home.site.name);
        let said = self.script.calls_itself.clone();
        let said = said.as_deref().unwrap_or(&name);
        let offered = self.script.offers.unwrap_or(self.script.concurrency);
        let hello = Message::hello(Role::Worker, offered, self.life, said);
        self.say(free, cx, &hello, &[]);
        true
    }

    fn dial(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<WorldWire> {
        let site = &self.home.site;
        if self.links.iter().any(Option::is_some) || now < self.dials_at {
            return None;
        }
        let Poll::Ready(Ok(number)) = site.dial(Dialect::Native, cx) else { return None };
        self.front.push(WorldWire::new(site, number, End::Manager, Dialect::Native));
        Some(WorldWire::new(site, number, End::Worker, Dialect::Native))
    }

    /// Reads all that there is on a link.
    fn read(&mut self, index: usize, cx: &mut Context<'_>, now: Instant) -> bool {
        let (mut moved, is_go) = (false, self.is_go());
        while let Some(link) = &mut self.links[index] {
            let heard = match link.wire.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(frame))) if is_go => Heard::of_go(frame),
                Poll::Ready(Ok(Some(frame))) => Heard::of(frame),
                Poll::Ready(Ok(None) | Err(_)) => Heard::End,
            };
            moved = true;
            match heard {
                Heard::Request { asked, body } => self.on_request(index, asked, body),
                Heard::Cancel { task, attempt } => self.on_cancel(index, task, attempt),
                Heard::Ping => self.say(index, cx, &Message::Pong, &[]),
                Heard::Other => {}
                Heard::End => self.on_end(index, now),
            }
        }
        moved
    }

    fn on_request(&mut self, link: usize, asked: Asked, body: Vec<u8>) {
        self.requests += 1;
        let number = self.requests;
        let at = self.home.site.timer.elapsed();
        let request = asked.request(number, at, &body);
        let act = self.script.act(&request, &mut self.dice);
        self.waiting.push_back(PlayedTask { link, number, asked, body, act, withdrawn: false });
    }

    fn on_cancel(&mut self, link: usize, task: TaskId, attempt: u16) {
        let asked = Asked::Task { task, attempt };
        let meant = |job: &PlayedTask| (job.link, job.asked) == (link, asked);
        self.waiting.retain(|job| !meant(job));
        self.begun.retain(|_, job| {
            let late = matches!(job.act, Act::Late(_));
            job.withdrawn |= meant(job);
            late || !meant(job)
        });
    }

    fn on_end(&mut self, index: usize, now: Instant) {
        self.links[index] = None;
        self.waiting.retain(|job| job.link != index);
        self.begun.retain(|_, job| job.link != index);
        self.dials_at = now.saturating_add(REDIAL_AFTER);
    }

    /// Gives requests their places, in order.
    fn begin(&mut self, now: Instant) {
        let mut places = usize::from(self.script.concurrency);
        if !self.waiting.is_empty() {
            let taken = self.begun.values().filter(|job| !job.withdrawn).count();
            places = places.saturating_sub(taken);
        }
        for _ in 0..places {
            let Some(job) = self.waiting.pop_front() else { return };
            let at = self.home.site.timer.elapsed();
            self.script.begin(&job.asked.request(job.number, at, &job.body));
            let start = now.max(self.free_at);
            self.free_at = start.saturating_add(self.script.one_per);
            let due = start.saturating_add(self.script.takes.draw(&mut self.dice));
            let due = match job.act {
                Act::Hang => Instant::FAR_FUTURE,
                Act::Pretend(_) if self.is_go() => Instant::FAR_FUTURE,
                Act::Pretend(every) => start.saturating_add(every),
                Act::Late(span) => due.saturating_add(span),
                _ => due,
            };
            self.begun.insert((due, job.number), job);
        }
    }

    /// Does what the script says about one request whose time has come.
    fn act(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(first) = self.begun.first_entry().filter(|job| job.key().0 <= now) else {
            return false;
        };
        let job = first.remove();
        let at = self.home.site.timer.elapsed();
        let request = job.asked.request(job.number, at, &job.body);
        let answer = |player: &Self| player.script.answer(&request);
        match &job.act {
            Act::Answer | Act::Late(_) => self.respond(cx, &job, Verdict::Done, &answer(self)),
            Act::Fail(text) => self.respond(cx, &job, Verdict::Failed, text.as_bytes()),
            Act::Advise(failure) if self.is_go() => {
                self.respond(cx, &job, Verdict::Failed, failure.text().as_bytes());
            }
            Act::Advise(failure) => {
                let mut body = Vec::new();
                failure.write(FAILURE_BYTES_MAX, &mut body);
                self.respond(cx, &job, Verdict::Failed, &body);
            }
            Act::Twice => {
                let body = answer(self);
                self.respond(cx, &job, Verdict::Done, &body);
                self.respond(cx, &job, Verdict::Done, &body);
            }
            Act::Bytes(frame) if self.is_go() => self.send(job.link, cx, frame, &[]),
            Act::Bytes(body) => self.respond(cx, &job, Verdict::Done, body),
            Act::Lie => {
                let lie =
                    PlayedTask { asked: job.asked.above(), body: Vec::new(), act: Act::Lie, ..job };
                self.respond(cx, &lie, Verdict::Done, &[]);
            }
            Act::Steal => {
                let other = self.home.site.watcher.asked_elsewhere(&self.home.site.name);
                let asked =
                    other.map_or(job.asked, |(task, attempt)| Asked::Task { task, attempt });
                let body = answer(self);
                let theft = PlayedTask { asked, body: Vec::new(), act: Act::Steal, ..job };
                self.respond(cx, &theft, Verdict::Done, &body);
            }
            &Act::Pretend(every) => {
                self.tell_progress(cx, &job, u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
                self.begun.insert((now.saturating_add(every), job.number), job);
            }
            &Act::Flood(count) => {
                (1..=count).for_each(|done| self.tell_progress(cx, &job, done.into()));
                let body = answer(self);
                self.respond(cx, &job, Verdict::Done, &body);
            }
            Act::Close => {
                self.on_end(job.link, now);
            }
            Act::Garbage => {
                let garbage = self.dice.garbage();
                self.send(job.link, cx, &garbage, &[]);
            }
            Act::Die => self.home.die(),
            Act::Restart(span) => {
                self.home.die();
                self.back_at = Some(now.saturating_add(*span));
            }
            Act::Hang => unreachable!("the far future does not come"),
        }
        true
    }

    fn respond(&mut self, cx: &mut Context<'_>, job: &PlayedTask, verdict: Verdict, body: &[u8]) {
        match job.asked {
            Asked::Task { task, attempt } => {
                let head = Message::Response { task, attempt, verdict, body: &[] };
                self.say(job.link, cx, &head, body);
            }
            Asked::Height(height) => {
                self.send(job.link, cx, &go::response(height, verdict, body), &[]);
            }
        }
    }

    fn tell_progress(&mut self, cx: &mut Context<'_>, job: &PlayedTask, done: u64) {
        if let Asked::Task { task, attempt } = job.asked {
            let progress = Progress { task, attempt, done, total: 0 };
            self.send(job.link, cx, progress.encode(&mut [0; PROGRESS_BYTES_MAX]), &[]);
        }
    }

    fn say(&mut self, link: usize, cx: &mut Context<'_>, message: &Message<'_>, body: &[u8]) {
        self.send(link, cx, message.encode(&mut [0; HEAD_BYTES_MAX]), body);
    }

    /// Sends, or keeps for later. That a link is over is seen when it is read.
    fn send(&mut self, link: usize, cx: &mut Context<'_>, head: &[u8], body: &[u8]) {
        let Some(link) = &mut self.links[link] else { return };
        if !link.out.is_empty() || link.wire.poll_send(cx, head, body).is_pending() {
            link.out.push_back([head, body].concat());
        }
    }

    fn flush(&mut self, link: usize, cx: &mut Context<'_>) -> bool {
        let Some(link) = &mut self.links[link] else { return false };
        let mut moved = false;
        while let Some(frame) = link.out.front() {
            if link.wire.poll_send(cx, frame, &[]).is_pending() {
                break;
            }
            link.out.pop_front();
            moved = true;
        }
        moved
    }

    /// A process that died has nothing, and one that was started begins anew.
    fn begin_life(&mut self, life: u64) {
        self.life = life;
        self.links.clear();
        self.waiting.clear();
        self.begun.clear();
        self.free_at = Instant::EPOCH;
        self.dials_at = Instant::EPOCH;
        self.draining = false;
    }

    /// Returns when to look again without being woken.
    fn next_due(&self, alive: bool, now: Instant) -> Option<Instant> {
        if !alive {
            return self.back_at;
        }
        let first = self.begun.first_key_value().map(|((at, _), _)| *at);
        // What was to be dialled by now waits for the network, and is woken by that.
        let dials =
            self.script.dials_in && self.dials_at > now && self.links.iter().all(Option::is_none);
        let due = first.into_iter().chain(dials.then_some(self.dials_at)).min();
        due.filter(|at| *at < Instant::FAR_FUTURE)
    }

    /// Sleeps until then. Returns whether it is time already.
    fn sleep(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> bool {
        self.sleep = due.map(|at| self.home.site.timer.sleep_until(at));
        self.sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready())
    }
}

impl Future for Player {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let player = &mut *self;
        loop {
            let now = player.home.site.timer.now();
            let Pulse { alive, life, stopping } = player.home.site.register(cx);
            if life != player.life {
                player.begin_life(life);
            }
            if alive {
                player.back_at = None;
                if (stopping && player.drain(cx)) || player.step(cx, now) {
                    continue;
                }
            } else if player.back_at.is_some_and(|at| at <= now) {
                player.back_at = None;
                player.home.site.revive();
                continue;
            }
            let due = player.next_due(alive, now);
            if !player.sleep(cx, due) {
                return Poll::Pending;
            }
        }
    }
}

impl Asked {
    /// Returns the request as rules see it.
    fn request(self, number: u64, at: Duration, body: &[u8]) -> Request<'_> {
        let (task, attempt, go_height) = match self {
            Self::Task { task, attempt } => (Some(task), attempt, None),
            // It is not told which sending it is.
            Self::Height(height) => (None, 1, Some(height)),
        };
        Request { number, attempt, task, at, body, go_height }
    }

    /// Returns what it was not asked: the next task of that slot, which was not submitted yet, or the
    /// next height.
    fn above(self) -> Self {
        match self {
            Self::Task { task, attempt } => {
                let task = TaskId::from_parts(task.slot(), task.generation().wrapping_add(1));
                Self::Task { task, attempt }
            }
            Self::Height(height) => Self::Height(height.wrapping_add(1)),
        }
    }
}

impl Heard {
    /// What a Go worker reads. One that cannot read it ends.
    fn of_go(frame: &[u8]) -> Self {
        match go::request(frame) {
            Some(height) => Self::Request { asked: Asked::Height(height), body: frame.to_vec() },
            None => Self::End,
        }
    }

    fn of(frame: &[u8]) -> Self {
        match Message::decode(frame) {
            Ok(Message::Request { task, attempt, body, .. }) => {
                Self::Request { asked: Asked::Task { task, attempt }, body: body.to_vec() }
            }
            Ok(Message::Cancel { task, attempt }) => Self::Cancel { task, attempt },
            Ok(Message::Ping) => Self::Ping,
            Ok(Message::Goodbye { .. }) | Err(_) => Self::End,
            Ok(_) => Self::Other,
        }
    }
}
