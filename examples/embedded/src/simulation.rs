//! A pool in a simulated world: a scheduler, workers that misbehave, and virtual time, all from one
//! seed. The host compiles this very file, too, and must come to the same trace.

use core::time::Duration;

use chargehand_core::{
    Action, BackoffPolicy, Config, Event, Inline, Instant, Link, Loss, Offer, Outcome, Route,
    Scheduler, TaskId, Verdict,
};
use heapless::Vec;

/// How many tasks the scheduler holds at once.
pub const TASKS: usize = 16;
/// How many workers there are.
pub const WORKERS: usize = 4;
/// How many tasks each world does.
pub const TASKS_OF_A_WORLD: u32 = 200;

/// What can be under way at once: for each attempt an answer, given twice perhaps, for each worker
/// a connect, a loss and a sign of life.
const UNDER_WAY_MAX: usize = 128;
/// No world needs nearly as many.
const STEPS_MAX: u32 = 100_000;

/// What became of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// A hash of all that happened, in order.
    pub trace: u64,
    /// How many tasks had an outcome.
    pub finished: u32,
    /// How many of them were done.
    pub done: u32,
    /// How many attempts it took.
    pub attempts: u32,
    /// How many links were up, of all workers.
    pub links: u32,
    /// When the last task had its outcome, in virtual milliseconds.
    pub millis: u32,
}

/// Runs the world of a seed in the memory that is lent.
///
/// # Panics
/// Where a rule is broken: a task with two outcomes, or a world that never ends.
pub fn run(slots: &mut Inline<TASKS, WORKERS>, seed: u64) -> End {
    *slots = Inline::new();
    let scheduler = Scheduler::new(slots, config(seed)).expect("every field is in its range");
    let mut world = World {
        scheduler,
        random: Random(seed),
        now: Instant::EPOCH,
        under_way: Vec::new(),
        order: 0,
        to_submit: TASKS_OF_A_WORLD,
        open: Vec::new(),
        end: End { trace: FNV_START, finished: 0, done: 0, attempts: 0, links: 0, millis: 0 },
    };
    for _ in 0..WORKERS {
        world.scheduler.add_worker(world.now, Route::Dial).expect("there is a slot for each");
    }
    world.run();
    world.end
}

fn config(seed: u64) -> Config {
    let millis = Duration::from_millis;
    let mut config = Config::new(seed);
    config.attempts_max = 8;
    config.attempt_timeout = millis(40);
    config.retries_max = 1;
    config.retry_delay = millis(5);
    config.connect_timeout = millis(20);
    config.heartbeat_interval = millis(30);
    config.heartbeat_timeout = millis(15);
    config.failures_max = 3;
    config.stable_after = millis(50);
    config.backoff = BackoffPolicy::new().base(millis(2)).cap(millis(20));
    config
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        let upper = self.next() >> 32;
        u32::try_from((upper * u64::from(limit)) >> 32).expect("it is below a u32")
    }
}

/// Something that comes about at a time; of two at the same time the one that was planned first.
#[derive(Clone, Copy)]
struct UnderWay {
    at: Instant,
    order: u32,
    event: Event,
}

struct World<'s> {
    scheduler: Scheduler<&'s mut Inline<TASKS, WORKERS>>,
    random: Random,
    now: Instant,
    under_way: Vec<UnderWay, UNDER_WAY_MAX>,
    order: u32,
    to_submit: u32,
    /// The tasks without an outcome.
    open: Vec<TaskId, TASKS>,
    end: End,
}

impl World<'_> {
    fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            self.submit();
            self.carry_out();
            self.scheduler.check();
            if self.to_submit == 0 && self.open.is_empty() {
                assert!(self.scheduler.is_idle(), "no task is left");
                return;
            }
            self.go_on();
        }
        panic!("a world that does not end");
    }

    fn submit(&mut self) {
        while self.to_submit > 0 && !self.scheduler.is_full() {
            let task = self.scheduler.submit(self.now).expect("there is room");
            self.open.push(task).expect("as many places as slots");
            self.to_submit -= 1;
        }
    }

    /// Carries out all that the scheduler wants now.
    fn carry_out(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Connect { link } => self.on_connect(link),
                Action::Send { link, task, attempt } => self.on_send(link, task, attempt),
                // What has come was reported already.
                Action::Look { .. } => {}
                Action::Ping { link } => self.on_ping(link),
                Action::Disconnect { link, reason } => {
                    self.note(&[3, link.worker().slot(), link.epoch(), reason as u32]);
                }
                Action::Withdraw { link, task, attempt } => {
                    let slot = link.worker().slot();
                    self.note(&[4, slot, link.epoch(), task.slot(), attempt.into()]);
                }
                Action::Suspend { worker, .. } => self.note(&[5, worker.slot()]),
                Action::Gone { worker } => self.note(&[6, worker.slot()]),
                Action::Finish { task, outcome, attempts } => {
                    self.on_finish(task, outcome, attempts);
                }
            }
        }
    }

    fn on_connect(&mut self, link: Link) {
        self.note(&[0, link.worker().slot(), link.epoch()]);
        match self.random.below(8) {
            0 => self.after(1, Event::Refused { link }),
            // Nobody answers.
            1 => {}
            _ => {
                let offer = Offer::new(1 + self.random.below(2)).window(1 + self.random.below(4));
                self.after(1, Event::Connected { link, offer });
                if self.random.below(3) == 0 {
                    let millis = 5 + self.random.below(80);
                    let how = if self.random.below(4) == 0 { Loss::Stopped } else { Loss::Broken };
                    self.after(millis, Event::Lost { link, how });
                }
            }
        }
    }

    fn on_send(&mut self, link: Link, task: TaskId, attempt: u16) {
        self.note(&[1, link.worker().slot(), link.epoch(), task.slot(), attempt.into()]);
        self.end.attempts += 1;
        let verdict = if self.random.below(8) == 0 { Verdict::Failed } else { Verdict::Done };
        let reply = Event::Replied { link, task, attempt, verdict };
        let millis = 1 + self.random.below(12);
        match self.random.below(16) {
            // It hangs.
            0 => {}
            // It answers too late.
            1 => self.after(millis + 45, reply),
            // It answers twice.
            2 => {
                self.after(millis, reply);
                self.after(millis + 2, reply);
            }
            _ => self.after(millis, reply),
        }
    }

    fn on_ping(&mut self, link: Link) {
        self.note(&[2, link.worker().slot(), link.epoch()]);
        if self.random.below(4) != 0 {
            self.after(2, Event::Heard { link });
        }
    }

    fn on_finish(&mut self, task: TaskId, outcome: Outcome, attempts: u16) {
        self.note(&[7, task.slot(), task.generation(), outcome as u32, attempts.into()]);
        let place = self.open.iter().position(|&open| open == task);
        self.open.swap_remove(place.expect("a task has one outcome"));
        self.end.finished += 1;
        self.end.done += u32::from(outcome == Outcome::Done);
        self.end.millis = self.now_millis();
    }

    /// Goes on to the next time at which anything happens.
    fn go_on(&mut self) {
        let first = (0..self.under_way.len())
            .min_by_key(|&place| (self.under_way[place].at, self.under_way[place].order));
        let timeout = self.scheduler.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        match first {
            Some(place) if self.under_way[place].at <= timeout => {
                let UnderWay { at, event, .. } = self.under_way.swap_remove(place);
                self.now = self.now.max(at);
                self.happen(event);
            }
            _ => {
                assert!(timeout < Instant::FAR_FUTURE, "nothing is left to wait for");
                self.now = self.now.max(timeout);
                self.scheduler.handle_timeout(self.now);
            }
        }
    }

    #[allow(
        clippy::match_wildcard_for_single_variants,
        reason = "how many depends on core's features"
    )]
    fn happen(&mut self, event: Event) {
        let (kind, link) = match event {
            Event::Connected { link, .. } => (8, link),
            Event::Refused { link } => (9, link),
            Event::Lost { link, .. } => (10, link),
            Event::Replied { link, .. } => (11, link),
            Event::Heard { link } => (12, link),
            Event::Draining { link } => (13, link),
            Event::Busy { link } => (14, link),
            Event::Ready { link } => (15, link),
            Event::Useless { link, .. } => (16, link),
            Event::Excused { link } => (17, link),
            Event::Moving { link, .. } => (18, link),
            // With other features of core there are more, which nobody here reports.
            #[allow(unreachable_patterns)]
            _ => unreachable!("no worker here says that"),
        };
        let taken = self.scheduler.handle_event(self.now, event).is_ok();
        self.end.links += u32::from(taken && kind == 8);
        self.note(&[kind, link.worker().slot(), link.epoch(), taken.into()]);
    }

    fn after(&mut self, millis: u32, event: Event) {
        let at = self.now.saturating_add(Duration::from_millis(millis.into()));
        self.order += 1;
        let new = UnderWay { at, order: self.order, event };
        assert!(self.under_way.push(new).is_ok(), "more is under way than there is room for");
    }

    fn now_millis(&self) -> u32 {
        u32::try_from(self.now.as_nanos() / 1_000_000).expect("an hour is far away")
    }

    fn note(&mut self, what: &[u32]) {
        let [low, high] = [self.now.as_nanos() & 0xffff_ffff, self.now.as_nanos() >> 32];
        let what = what.iter().map(|&part| u64::from(part));
        for part in [low, high].into_iter().chain(what) {
            for byte in &part.to_le_bytes()[..4] {
                self.end.trace = (self.end.trace ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
            }
        }
    }
}

/// The hash is FNV-1a of 64 bits (`draft-eastlake-fnv`).
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
