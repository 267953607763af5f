//! A pool in a world of broken workers and networks: virtual time, one seed, no threads.
//!
//! The manager is a scheduler driven as its documentation says; the workers are [`Node`]s; the
//! network is a queue of what happens when. Every step is audited from the outside.

mod audit;
mod manager;
mod node;
mod queues;
mod serving;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chargehand_core::{
    BackoffPolicy, Config, Event, Heap, Instant, Jitter, Link, Loss, Offer, Route, Scheduler,
    TaskId, Useless, Verdict, WorkerId,
};

use audit::Audit;
use node::{Does, Held, Mood, Node};
use queues::Queueing;

use crate::rng::Rng;

/// What is on its way.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The user submits some tasks.
    Submit(u64),
    /// The user cancels some task.
    Cancel,
    AddWorker(usize),
    RemoveWorker(usize),
    Drain(Instant),
    /// A worker's behaviour changes.
    Mood(usize),
    Restart(usize),
    /// A worker that dials in does so.
    DialIn(usize),
    /// A worker announces that it stops.
    Leaving(usize),
    /// Something reaches the manager.
    ToManager(Event),
    /// A task reaches a worker.
    ToWorker {
        link: Link,
        task: TaskId,
        attempt: u16,
    },
    /// A ping reaches a worker.
    Ping(Link),
    /// A worker hears that an attempt is no longer wanted.
    Drop {
        link: Link,
        task: TaskId,
        attempt: u16,
    },
    /// A worker that keeps its work has ended an attempt.
    Ends {
        node: usize,
        life: u32,
        task: TaskId,
        attempt: u16,
        done: bool,
    },
    /// The link of a worker breaks, and both ends notice.
    Cut(usize),
    /// The rest of an interrupted poll.
    Wake,
}

/// How long after the end of all faults things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rejoin: Duration,
    pub(crate) finish: Duration,
}

/// The pool and everything around it.
pub(crate) struct World {
    rng: Rng,
    /// For what was added later, so that a seed's world stays what it was but for that.
    side: Rng,
    queueing: Queueing,
    config: Config,
    scheduler: Scheduler<Heap>,
    audit: Audit,
    nodes: Vec<Node>,
    owners: BTreeMap<WorkerId, usize>,
    poison: BTreeSet<TaskId>,
    /// Connects that are under way.
    dialling: BTreeMap<Link, Offer>,
    queue: BTreeMap<(Instant, u64), Happening>,
    queued: u64,
    now: Instant,
    /// The latest time that the scheduler was told.
    clock: Instant,
    faulty: bool,
    /// The manager polls everything each time.
    prompt: bool,
    trace: DefaultHasher,
    steps_at_once: u32,
    /// How often each rare case was met.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

const LATENCY_MILLIS: u64 = 3;
/// How many times as long as the others' the attempts of some tasks may take.
const LONGEST: u32 = 2;
const TASKS: u32 = 24;
const WORKERS: u32 = 5;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut config = config(&mut rng);
        let count = 2 + rng.below(u64::from(WORKERS) - 1);
        let mut nodes: Vec<_> = (0..count).map(|_| Node::new(&mut rng)).collect();
        let mut side = Rng::new(seed ^ 0x70_726f_6772_6573);
        config.grace = Duration::from_millis(side.pick(&[0, 0, 25, 80]));
        for node in &mut nodes {
            let millis = side.pick(&[0, 15, 60]);
            node.offer = node.offer.keeps(Duration::from_millis(millis));
        }
        let queueing = Queueing::draw(seed);
        serving::restrict(&mut nodes, &queueing.options, seed);
        let mut world = Self {
            rng,
            side,
            config,
            scheduler: queueing.make(config),
            audit: Audit::new(config, queueing.options.clone(), (TASKS as usize, WORKERS as usize)),
            queueing,
            nodes,
            owners: BTreeMap::new(),
            poison: BTreeSet::new(),
            dialling: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            now: Instant::EPOCH,
            clock: Instant::EPOCH,
            faulty: true,
            prompt: false,
            trace: DefaultHasher::new(),
            steps_at_once: 0,
            seen: BTreeMap::new(),
        };
        for node in 0..world.nodes.len() {
            let millis = world.rng.below(20);
            world.after(millis, Happening::AddWorker(node));
            world.after(millis + 10, Happening::Mood(node));
        }
        world
    }

    /// Lets faults and work happen for a while.
    pub(crate) fn live(&mut self, millis: u64) {
        let end = self.now.saturating_add(Duration::from_millis(millis));
        for _ in 0..millis / 4 {
            let at = self.rng.below(millis);
            let what = match self.rng.below(40) {
                0..24 => Happening::Submit(1 + self.rng.below(3)),
                24..28 => Happening::Cancel,
                28 => Happening::RemoveWorker(self.any_node()),
                29 => Happening::DialIn(self.any_node()),
                30 if self.rng.percent(30) => Happening::Leaving(self.any_node()),
                31 => Happening::Restart(self.any_node()),
                _ => Happening::Mood(self.any_node()),
            };
            self.after(at, what);
        }
        for _ in 0..self.side.below(12) {
            let node = self.side.index(self.nodes.len());
            let at = self.side.below(millis);
            self.after(at, Happening::Cut(node));
        }
        self.run_until(end);
    }

    /// Ends all faults: the first worker and some of the others are well, the rest stays away.
    pub(crate) fn heal(&mut self) {
        self.faulty = false;
        self.resume_all();
        for node in 0..self.nodes.len() {
            let well = node == 0 || self.rng.percent(50);
            self.nodes[node].mood = if well { Mood::Honest } else { Mood::Refusing };
            if well {
                self.restart(node);
            } else {
                self.crash(node, true);
            }
        }
    }

    /// What the configuration promises from now on, with the work that is left.
    pub(crate) fn bounds(&self) -> Bounds {
        let config = &self.config;
        let cap = config.backoff.delay(u32::MAX, u64::MAX);
        let latency = Duration::from_millis(4 * LATENCY_MILLIS + 10);
        let silence = config.heartbeat_interval + config.heartbeat_timeout;
        let attempt = LONGEST * config.attempt_timeout;
        let deadline = silence.max(config.connect_timeout).max(attempt);
        // One that is waited for is not replaced meanwhile.
        let rejoin = deadline + cap + latency + config.grace;
        // Every sending may have to wait for a rest, a lost link, a timeout and a retry delay.
        let cycle = rejoin + deadline + cap + attempt + config.retry_delay + config.elsewhere_wait;
        let sendings = u32::from(config.attempts_max + config.retries_max);
        let (mut open, mut deaths) = (0, 1);
        for task in self.audit.open_tasks() {
            open += 1;
            deaths += if self.poison.contains(&task) { sendings } else { 0 };
        }
        let work = Duration::from_millis(4) + latency;
        Bounds { rejoin, finish: cycle * sendings * deaths + work * open * sendings }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_until(self.now.saturating_add(span));
    }

    /// Runs until no task is open, for that long at most; true if that came about.
    pub(crate) fn run_until_idle(&mut self, span: Duration) -> bool {
        let end = self.now.saturating_add(span);
        while !self.scheduler.is_idle() && self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.scheduler.is_idle()
    }

    /// Whether the first worker has a link that is up at both ends.
    pub(crate) fn first_is_up(&self) -> bool {
        self.nodes[0].link.is_some_and(|link| self.audit.is_up(link))
    }

    pub(crate) fn has_poison(&self) -> bool {
        self.audit.open_tasks().any(|task| self.poison.contains(&task))
    }

    /// Submits what a user still has, then drains; true if all was over by the deadline.
    pub(crate) fn shut_down(&mut self, millis: u64) -> bool {
        self.happen(Happening::Submit(6));
        let deadline = self.now.saturating_add(Duration::from_millis(millis));
        self.happen(Happening::Drain(deadline));
        self.prompt = true;
        self.run_until(deadline);
        self.happen(Happening::Wake);
        self.scheduler.is_drained()
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.audit.submitted()
    }

    pub(crate) fn stats(&self) -> chargehand_core::Stats {
        self.scheduler.stats()
    }

    /// A fingerprint of everything that happened.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.trace.finish()
    }

    fn run_until(&mut self, end: Instant) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn next_at(&self) -> Option<Instant> {
        let next = self.queue.keys().next().map(|&(at, _)| at);
        let wake = self.scheduler.poll_timeout();
        next.into_iter().chain(wake).min()
    }

    fn step(&mut self) {
        let at = self.next_at().expect("something to do").max(self.now);
        self.steps_at_once = if at == self.now { self.steps_at_once + 1 } else { 0 };
        assert!(self.steps_at_once < 5_000, "a busy loop at {at:?}");
        self.now = at;
        match self.queue.first_key_value() {
            Some((&(due, _), _)) if due <= at => {
                let (_, what) = self.queue.pop_first().expect("just seen");
                self.happen(what);
            }
            _ => self.happen(Happening::Wake),
        }
    }

    fn happen(&mut self, what: Happening) {
        self.trace((self.now, what));
        self.maybe_pause();
        match what {
            Happening::Submit(count) => (0..count).for_each(|_| self.submit()),
            Happening::Cancel => self.cancel(),
            Happening::AddWorker(node) => self.add_worker(node),
            Happening::RemoveWorker(node) => self.remove_worker(node),
            Happening::Drain(deadline) => self.drain(deadline),
            Happening::Mood(node) => {
                if self.faulty {
                    self.nodes[node].change_mood(&mut self.rng);
                }
            }
            Happening::Restart(node) => self.restart(node),
            Happening::DialIn(node) => self.dial_in(node),
            Happening::Leaving(node) => {
                if let Some(link) = self.nodes[node].link {
                    self.note("a worker announced that it stops");
                    self.after(LATENCY_MILLIS, Happening::ToManager(Event::Draining { link }));
                    if self.rng.percent(50) {
                        // It does not finish what it holds.
                        let event = Event::Lost { link, how: Loss::Stopped };
                        self.after(2 * LATENCY_MILLIS, Happening::ToManager(event));
                    }
                }
            }
            Happening::ToManager(event) => self.report(event),
            Happening::ToWorker { link, task, attempt } => self.arrive(link, task, attempt),
            Happening::Ping(link) => {
                let hears = self.node_of(link).is_some_and(|node| self.nodes[node].gets(link));
                if hears {
                    self.after(LATENCY_MILLIS, Happening::ToManager(Event::Heard { link }));
                }
            }
            Happening::Drop { link, task, attempt } => {
                if let Some(node) = self.node_of(link).filter(|&node| self.nodes[node].gets(link)) {
                    self.nodes[node].forget(task, attempt);
                }
            }
            Happening::Ends { node, life, task, attempt, done } => {
                self.end(node, life, (task, attempt), done);
            }
            Happening::Cut(node) => self.cut(node),
            Happening::Wake => self.wake(),
        }
        self.manage();
    }

    fn arrive(&mut self, link: Link, task: TaskId, attempt: u16) {
        let Some(node) = self.node_of(link) else { return };
        if !self.nodes[node].gets(link) {
            return;
        }
        let poisoned = self.poison.contains(&task);
        let does = if poisoned {
            self.note("a poison task killed a worker");
            Does::Dies
        } else {
            self.nodes[node].on_task(task, attempt, &mut self.rng)
        };
        let delay = LATENCY_MILLIS + self.rng.below(2);
        let reply = |task, attempt, done: bool| {
            let verdict = if done { Verdict::Done } else { Verdict::Failed };
            Happening::ToManager(Event::Replied { link, task, attempt, verdict })
        };
        match does {
            Does::Nothing => self.note("an attempt was left hanging"),
            Does::Dies => {
                let noticed = self.rng.percent(70);
                self.crash(node, noticed);
            }
            Does::Works { done: false, millis, .. } if self.faulty && self.rng.percent(30) => {
                let wait = Duration::from_millis(self.rng.below(200));
                let advice =
                    [Useless::Permanent, Useless::RetryAfter(wait), Useless::Throttled(wait)];
                let mut why = self.rng.pick(&advice);
                if self.queueing.of_key() {
                    why = Useless::KeyThrottled(wait);
                }
                let event = Event::Useless { link, task, attempt, why };
                self.after(millis + delay, Happening::ToManager(event));
            }
            Does::Works { done, millis, twice } => {
                let done = done || !self.faulty;
                self.tell_progress(millis, link, task, attempt);
                if self.nodes[node].keeps() && !twice {
                    self.nodes[node].held.push(Held { task, attempt, answer: None });
                    let life = self.nodes[node].life;
                    return self.after(millis, Happening::Ends { node, life, task, attempt, done });
                }
                self.after(millis + delay, reply(task, attempt, done));
                if twice {
                    self.after(millis + delay + 1, reply(task, attempt, done));
                }
            }
            Does::GivesBack => {
                let verdict = Verdict::Returned;
                let event = Event::Replied { link, task, attempt, verdict };
                self.after(delay, Happening::ToManager(event));
            }
            Does::Lies { task, attempt } => self.after(delay, reply(task, attempt, true)),
        }
    }

    /// A worker says now and then how far it is, more or less, with what takes so long: in order, but not
    /// always with anything new. A liar goes on to say so for ever.
    fn tell_progress(&mut self, millis: u64, link: Link, task: TaskId, attempt: u16) {
        if !self.side.percent(40) {
            return;
        }
        let (every, mut done) = (1 + self.side.below(15), 0);
        let is_endless = self.faulty && self.side.percent(10);
        let end = if is_endless { 500 } else { millis };
        for at in (0..end).step_by(usize::try_from(every).expect("a few")) {
            done += self.side.below(3);
            let event = Event::Progress { link, task, attempt, done };
            self.after(at + LATENCY_MILLIS, Happening::ToManager(event));
        }
    }

    /// A worker that keeps its work has ended an attempt: it says so, or once it has a link again.
    fn end(&mut self, node: usize, life: u32, (task, attempt): (TaskId, u16), done: bool) {
        let its = &mut self.nodes[node];
        let is_it = |held: &&mut Held| (held.task, held.attempt) == (task, attempt);
        let held = its.held.iter_mut().find(is_it).filter(|_| its.life == life);
        let Some(held) = held else { return };
        held.answer = Some(done);
        if let Some(link) = its.link.filter(|_| its.mood != Mood::Silent) {
            self.tell_answer(link, (task, attempt), done);
        }
    }

    fn tell_answer(&mut self, link: Link, (task, attempt): (TaskId, u16), done: bool) {
        let Some(node) = self.node_of(link) else { return };
        self.nodes[node].forget(task, attempt);
        let verdict = if done { Verdict::Done } else { Verdict::Failed };
        let event = Event::Replied { link, task, attempt, verdict };
        let millis = LATENCY_MILLIS + self.rng.below(2);
        self.after(millis, Happening::ToManager(event));
    }

    /// A worker has a new link, and is the process that had the last one, or another.
    fn begin_link(&mut self, node: usize, link: Link, offer: Offer) {
        let its = &mut self.nodes[node];
        (its.link, its.known) = (Some(link), its.id.map(|id| (its.life, id)));
        if !its.keeps() || self.config.grace.is_zero() {
            return its.held.clear();
        }
        if !offer.resumes {
            its.held.clear();
        }
        if self.faulty && self.side.percent(10) {
            self.note("a worker that is back did not say what it has");
            return;
        }
        if self.faulty && self.side.percent(20) {
            // It ran out of memory, say.
            self.nodes[node].held.pop();
        }
        let held = self.nodes[node].held.clone();
        for Held { task, attempt, .. } in &held {
            let event = Event::Kept { link, task: *task, attempt: *attempt };
            self.after(LATENCY_MILLIS, Happening::ToManager(event));
        }
        self.after(LATENCY_MILLIS, Happening::ToManager(Event::Listed { link }));
        for Held { task, attempt, answer } in held {
            if let Some(done) = answer {
                self.tell_answer(link, (task, attempt), done);
            }
        }
    }

    /// The network between a worker and the manager breaks for a moment.
    fn cut(&mut self, node: usize) {
        let Some(link) = self.nodes[node].link.take() else { return };
        self.note("a link cut");
        let how = Loss::Away;
        self.after(LATENCY_MILLIS, Happening::ToManager(Event::Lost { link, how }));
        self.after(1 + LATENCY_MILLIS, Happening::DialIn(node));
    }

    /// A worker's process dies; `noticed` if the network tells the manager.
    fn crash(&mut self, node: usize, noticed: bool) {
        self.nodes[node].die();
        if let Some(link) = self.nodes[node].link.take() {
            if noticed {
                let how = Loss::Away;
                self.after(LATENCY_MILLIS, Happening::ToManager(Event::Lost { link, how }));
            } else {
                self.note("a link left half-open");
            }
        }
        if self.faulty || self.nodes[node].mood == Mood::Honest {
            let millis = 1 + self.rng.below(10);
            self.after(millis, Happening::Restart(node));
        }
    }

    /// A worker's process starts, where it does not run.
    fn restart(&mut self, node: usize) {
        self.nodes[node].runs = self.faulty || self.nodes[node].mood == Mood::Honest;
        if self.nodes[node].route == Route::Await && self.nodes[node].link.is_none() {
            self.after(1, Happening::DialIn(node));
        }
        if self.nodes[node].id.is_none() {
            self.after(1, Happening::AddWorker(node));
        }
    }

    fn node_of(&self, link: Link) -> Option<usize> {
        self.owners.get(&link.worker()).copied()
    }

    fn any_node(&mut self) -> usize {
        self.rng.index(self.nodes.len())
    }

    fn after(&mut self, millis: u64, what: Happening) {
        let at = self.now.saturating_add(Duration::from_millis(millis));
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    fn trace(&mut self, what: impl std::fmt::Debug) {
        format!("{what:?}").hash(&mut self.trace);
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

fn config(rng: &mut Rng) -> Config {
    let millis = Duration::from_millis;
    let mut config = Config::new(rng.next());
    config.attempts_max = rng.pick(&[2, 3, 4]);
    config.resends_max = rng.pick(&[2, 5, 64]);
    config.elsewhere_wait = millis(rng.pick(&[0, 10, 50]));
    config.window_max = rng.pick(&[2, 3, 1024]);
    config.trust_initial = rng.pick(&[1, 2, 16]);
    config.attempt_timeout = millis(rng.pick(&[20, 40]));
    config.retries_max = rng.pick(&[0, 1, 2]);
    config.retry_delay = millis(rng.pick(&[0, 5, 30]));
    config.connect_timeout = millis(20);
    config.heartbeat_interval = millis(rng.pick(&[10, 30]));
    config.heartbeat_timeout = millis(15);
    config.strikes_max = rng.pick(&[1, 2, 3]);
    config.failures_max = rng.pick(&[2, 4]);
    config.pause_max = millis(rng.pick(&[20, 100, 1000]));
    config.absent_max = rng.pick(&[millis(40), millis(200), Duration::MAX]);
    config.stable_after = millis(50);
    config.backoff = BackoffPolicy::new()
        .base(millis(2))
        .cap(millis(rng.pick(&[10, 40])))
        .jitter(rng.pick(&[Jitter::None, Jitter::Equal, Jitter::Full]));
    config
}
