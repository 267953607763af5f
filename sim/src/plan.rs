//! What happens in a run: drawn from its seed, in parts that can be left out one by one.
//!
//! Each kind of fault has a rate of its own in each run, mostly none and at times very much of one kind
//! (swarm testing: Groce and others, ISSTA 2012): so that what one fault hides is seen where it is absent.

use std::time::Duration;

use chargehand::Class;

use crate::dice::Dice;
use crate::served::{self, Wants};

/// The number of the part that is a worker which always does its work: others may all be gone or useless, and what
/// must come to an end depends on it.
pub(crate) const HONEST: usize = 0;
/// How long faults go on.
pub(crate) const FAULTY: Duration = Duration::from_secs(4);

/// A whole run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) pool: PoolPlan,
    pub(crate) lines: LinePlan,
    pub(crate) ending: Ending,
    /// Each with its number, by which it can be left out.
    pub(crate) parts: Vec<(usize, Part)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Part {
    Worker(WorkerPlan),
    Job(JobPlan),
    Fault(FaultPlan),
    Pause(PausePlan),
}

/// A queue beside the one that is always there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueuePlan {
    pub(crate) class: Class,
    pub(crate) weight: u16,
    pub(crate) in_flight_max: Option<u32>,
    /// How many a second, and at once.
    pub(crate) rate: Option<(u32, u32)>,
}

/// A queue is stopped for a while.
#[derive(Clone, Debug)]
pub(crate) struct PausePlan {
    pub(crate) at: Duration,
    pub(crate) span: Duration,
    /// 0 is the one that is always there.
    pub(crate) queue: usize,
}

/// Limits and policies of the pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolPlan {
    pub(crate) attempts_max: u16,
    pub(crate) resends_max: u16,
    pub(crate) retries_max: u16,
    pub(crate) failures_max: u16,
    pub(crate) strikes_max: u16,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retry_delay: Duration,
    pub(crate) elsewhere_wait: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) backoff_cap: Duration,
    pub(crate) trust_initial: u32,
    pub(crate) in_flight: Option<u16>,
    pub(crate) tasks_max: u32,
    pub(crate) queue_max: usize,
    pub(crate) workers_max: u32,
    /// How many frames of the longest kind fit its memory, where that is short.
    pub(crate) frames: Option<usize>,
    /// The window of a worker in the pool's own process, if there is one.
    pub(crate) in_process: Option<u16>,
    pub(crate) judgement: JudgementPlan,
    pub(crate) queues: Vec<QueuePlan>,
    /// How long a worker whose link broke is waited for.
    pub(crate) grace: Duration,
    /// How many second attempts there may be at once, and for a thousand other sends.
    pub(crate) hedges: (u32, u16),
}

/// How the pool judges its workers.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a rule that is on or off")]
pub(crate) struct JudgementPlan {
    /// By what their answers have shown.
    pub(crate) by_answers: bool,
    /// Windows size themselves.
    pub(crate) windows: bool,
    /// Those that are far off the others rest.
    pub(crate) ejects: bool,
    /// All retries have a budget.
    pub(crate) budget: bool,
}

impl JudgementPlan {
    const NONE: Self = Self { by_answers: false, windows: false, ejects: false, budget: false };

    fn draw(dice: &mut Dice) -> Self {
        let by_answers = dice.percent(60);
        Self {
            by_answers,
            windows: by_answers && dice.percent(40),
            ejects: by_answers && dice.percent(40),
            budget: dice.percent(10),
        }
    }
}

/// How wires are.
#[derive(Clone, Debug)]
pub(crate) struct LinePlan {
    pub(crate) latency: Duration,
    pub(crate) bytes_per_second: u32,
    pub(crate) capacity: Option<usize>,
    /// How long every third answer is.
    pub(crate) long: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything is done, then the pool stops.
    Idle,
    /// The pool is stopped in the middle.
    Drain { at: Duration, within: Duration },
    /// The manager's process dies in the middle, and another goes on with what the ledgers say.
    Restart { at: Duration, away: Duration },
}

#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) kind: WorkerKind,
    pub(crate) concurrency: u16,
    pub(crate) takes: Duration,
    pub(crate) is_proven: bool,
    /// How long it goes on without a link.
    pub(crate) grace: Duration,
    /// Joins then, if not at the start.
    pub(crate) joins: Option<Duration>,
    /// Is removed then.
    pub(crate) leaves: Option<Duration>,
    /// Of a thousand requests, how many are answered so.
    pub(crate) acts: Vec<(ActKind, u64)>,
    /// Which tasks it wants.
    pub(crate) wants: Wants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerKind {
    /// Plays a script, and is dialled.
    Scripted,
    /// Plays a script, and dials in.
    DialsIn,
    /// As that, with the name of another one, if one dials in.
    Clashes,
    /// Says that it takes very many at once, and runs as many as it does.
    Boasts,
    /// Is this library's own.
    Real,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ActKind {
    Fail,
    Hang,
    Late,
    Twice,
    Unusable,
    Lie,
    Steal,
    Garbage,
    Close,
    Crash,
    /// It cannot now.
    Throttled,
    /// The key of what is asked cannot now.
    KeyThrottled,
    /// It says that it makes progress, and never answers.
    Pretend,
    /// It says so far more often than it may.
    Flood,
    /// It says how far it is, as it should.
    Progress,
}

pub(crate) const ACTS: [ActKind; 10] = [
    ActKind::Fail,
    ActKind::Hang,
    ActKind::Late,
    ActKind::Twice,
    ActKind::Unusable,
    ActKind::Lie,
    ActKind::Steal,
    ActKind::Garbage,
    ActKind::Close,
    ActKind::Crash,
];

#[derive(Clone, Debug)]
pub(crate) struct FaultPlan {
    pub(crate) at: Duration,
    pub(crate) kind: FaultKind,
    /// The number of the worker's part.
    pub(crate) worker: usize,
    /// How long it lasts.
    pub(crate) span: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    LosesLink,
    /// Its process dies, and is back after a while.
    Dies,
    /// Its network is away: half-open links, as where a process is stopped and continued.
    HalfOpen,
    Garbles,
    /// Its process is asked to stop, and is back after a while.
    Stops,
    /// The manager's driver is not polled for a while.
    LateManager,
    /// Nobody is: the clock jumps.
    ClockJumps,
}

const FAULTS: [FaultKind; 7] = [
    FaultKind::LosesLink,
    FaultKind::Dies,
    FaultKind::HalfOpen,
    FaultKind::Garbles,
    FaultKind::Stops,
    FaultKind::LateManager,
    FaultKind::ClockJumps,
];

#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    pub(crate) kind: JobKind,
    pub(crate) begins: Duration,
    pub(crate) count: u64,
    /// Between two of its requests, or of its outcomes.
    pub(crate) pause: Duration,
    /// Of a hundred calls, how many are dropped after a while.
    pub(crate) drops: u64,
    pub(crate) deadline: Option<Duration>,
    /// How long its attempts may take in all where they make progress.
    pub(crate) attempt_max: Option<Duration>,
    pub(crate) reorder_max: Option<usize>,
    /// Takes nothing before the faults are over.
    pub(crate) is_stuck: bool,
    /// Its first request takes every worker down that runs it.
    pub(crate) is_poison: bool,
    /// Which of the pool's queues it is in; 0 is the one that is always there.
    pub(crate) queue: usize,
    /// The key of its tasks, and how many of that go at once.
    pub(crate) key: Option<(u64, u32)>,
    /// Of all calls with its key only one is under way, whose outcome the others have.
    pub(crate) is_unique: bool,
    /// A second attempt is sent after so long; zero for as long as most take.
    pub(crate) hedge: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// One call after the other.
    Calls,
    /// All at once, then their outcomes.
    Submits,
    /// With callbacks.
    Callbacks,
    Map,
    Range,
}

impl Plan {
    /// Draws the run of a seed, without some of its parts.
    pub(crate) fn draw(seed: u64, without: &[usize]) -> Self {
        let mut dice = Dice::new(seed ^ 0x6368_6172_6765);
        let (mut swarm, mut pool, mut lines) = (dice.own(), dice.own(), dice.own());
        let mut pool = PoolPlan::draw(&mut pool);
        let lines = LinePlan::draw(&mut lines, pool.frames.is_some());
        let ending = Ending::draw(&mut dice.own());
        let mut parts = Vec::new();
        let is_all_proven = dice.percent(20);
        let workers = 1 + dice.below(5);
        let acts = ACTS.map(|kind| (kind, swarm.one_of(&[0, 0, 0, 0, 0, 10, 50, 300])));
        for index in 0..workers {
            let worker = WorkerPlan::draw(&mut dice.own(), &acts, index, is_all_proven);
            parts.push(Part::Worker(worker));
        }
        for _ in 0..=dice.below(4) {
            parts.push(Part::Job(JobPlan::draw(&mut dice.own())));
        }
        let rates = FAULTS.map(|_| rate(&mut swarm));
        for (kind, rate) in FAULTS.into_iter().zip(rates) {
            let count = if rate > 0 { dice.below(rate) } else { 0 };
            for _ in 0..count {
                let mut own = dice.own();
                let worker = usize::try_from(own.below(workers)).expect("a few");
                let at = own.millis(millis_of(FAULTY));
                let span = own.one_of(&[5, 60, 300, 1500]);
                let span = own.millis(span) + Duration::from_millis(1);
                parts.push(Part::Fault(FaultPlan { at, kind, worker, span }));
            }
        }
        // Drawn apart, so that the seeds that are kept mean what they did.
        let mut later = Dice::new(seed ^ 0x006e_6f74_206e_6f77);
        let throttled = later.one_of(&[0, 0, 0, 10, 100, 500]);
        for part in &mut parts {
            if let Part::Worker(worker) = part {
                worker.acts.push((ActKind::Throttled, throttled * u64::from(later.percent(60))));
            }
        }
        let mut later = Dice::new(seed ^ 0x0068_6f77_2066_6172);
        let said = [
            (ActKind::Pretend, later.one_of(&[0, 0, 10, 100])),
            (ActKind::Flood, later.one_of(&[0, 0, 0, 20])),
            (ActKind::Progress, later.one_of(&[0, 500, 1000])),
        ];
        let mut is_first = true;
        for part in &mut parts {
            match part {
                Part::Worker(worker) => {
                    let is_real = worker.kind == WorkerKind::Real;
                    let fits = |kind| is_real == (kind == ActKind::Progress);
                    let may = |&(kind, _): &(ActKind, u64)| fits(kind) && (is_real || !is_first);
                    worker.acts.extend(said.into_iter().filter(may));
                    is_first = false;
                }
                Part::Job(job) if later.percent(30) => {
                    job.attempt_max = Some(pool.attempt_timeout * later.one_of(&[1, 2, 3]));
                }
                _ => {}
            }
        }
        draw_queues(&mut Dice::new(seed ^ 0x0071_7565_7565), &mut pool, &mut parts);
        let mut later = Dice::new(seed ^ 0x6765_7473_2062_6163);
        pool.grace = Duration::from_millis(later.one_of(&[0, 100, 600, 2000]));
        for part in &mut parts {
            if let Part::Worker(worker) = part {
                worker.grace = Duration::from_millis(later.one_of(&[0, 150, 2000, 2000]));
            }
        }
        served::draw(&mut Dice::new(seed ^ 0x0073_6572_7665), &pool, &mut parts);
        draw_hedges(&mut Dice::new(seed ^ 0x0068_6564_6765), &mut pool, &mut parts);
        draw_unique(&mut Dice::new(seed ^ 0x756e_6971_7565), &mut parts);
        let kept = |(number, _): &(usize, Part)| !without.contains(number);
        let parts = parts.into_iter().enumerate().filter(kept).collect();
        Self { seed, pool, lines, ending, parts }
    }

    /// Lets the pool not judge its workers, as before there was that, where this is so wanted. All else stays.
    pub(crate) fn plain(mut self, is_plain: bool) -> Self {
        if is_plain {
            self.pool.judgement = JudgementPlan::NONE;
        }
        self
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = (usize, &WorkerPlan)> {
        self.parts.iter().filter_map(|(number, part)| match part {
            Part::Worker(worker) => Some((*number, worker)),
            _ => None,
        })
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = (usize, &JobPlan)> {
        self.parts.iter().filter_map(|(number, part)| match part {
            Part::Job(job) => Some((*number, job)),
            _ => None,
        })
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = &FaultPlan> {
        self.parts.iter().filter_map(|(_, part)| match part {
            Part::Fault(fault) => Some(fault),
            _ => None,
        })
    }

    pub(crate) fn pauses(&self) -> impl Iterator<Item = &PausePlan> {
        self.parts.iter().filter_map(|(_, part)| match part {
            Part::Pause(pause) => Some(pause),
            _ => None,
        })
    }

    /// Returns within what time everything must be done once the faults are over, whatever they left
    /// behind: workers join again, attempts under way outlive their deadlines, and then the rest is done
    /// by the one worker that is sure to be there.
    pub(crate) fn finish_bound(&self) -> Duration {
        let PoolPlan { backoff_cap, heartbeat_interval, heartbeat_timeout, .. } = self.pool;
        let silence = heartbeat_interval + heartbeat_timeout;
        // A worker's next messages are garbled whenever it says them, be it after the faults: each takes a
        // link with it, or a handshake.
        let garbled = self.faults().filter(|fault| fault.kind == FaultKind::Garbles).count();
        let garbled = u32::try_from(garbled).expect("a few") * backoff_cap.max(REDIAL);
        let grace = self.pool.grace;
        let rejoin = grace + 2 * backoff_cap + CONNECT_TIMEOUT + 2 * silence + REDIAL + garbled;
        // One that waits behind others is given its time again, and another one that hangs takes its
        // place meanwhile: three times for each loss.
        let losses = u32::from(self.pool.attempts_max) + 1;
        let longest = self.jobs().filter_map(|(_, job)| job.attempt_max).max();
        let longest = longest.unwrap_or(self.pool.attempt_timeout);
        let tries = losses * (3 * longest + silence + backoff_cap + grace);
        let retries = u32::from(self.pool.retries_max.max(1)) + 1;
        let rests = retries * (self.pool.retry_delay + self.pool.elsewhere_wait + backoff_cap);
        // A new task may wait for a better worker, as long as the one that has room is expected to take.
        let held_back = self.pool.elsewhere_wait.max(self.pool.attempt_timeout);
        let rests = rests + if self.pool.judgement.by_answers { held_back } else { Duration::ZERO };
        let line = |bytes: usize| {
            let nanos =
                (bytes as u64 * 1_000_000_000).checked_div(self.lines.bytes_per_second.into());
            Duration::from_nanos(nanos.unwrap_or(0))
        };
        let each = LONGEST_TAKES + 2 * self.lines.latency + 2 * line(self.lines.long + 300);
        let tasks: u64 = self.jobs().map(|(_, job)| job.count).sum();
        let tasks = u32::try_from(tasks).expect("a few hundred");
        let pauses: Duration = self
            .jobs()
            .map(|(_, job)| job.pause * u32::try_from(job.count).expect("a few hundred"))
            .sum();
        // In the slowest queue, each of its sends at its rate.
        let rates = self.pool.queues.iter().filter_map(|queue| queue.rate);
        let slowest = rates.map(|(rate, _)| Duration::from_secs(1) / rate).max();
        let rated = tasks * (losses + retries) * slowest.unwrap_or_default();
        let done = rejoin + tries + rests + THROTTLE + tasks * each * 2 + rated;
        done + pauses + Duration::from_secs(5)
    }
}

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// Scripted workers dial in again after a second.
const REDIAL: Duration = Duration::from_secs(2);
/// For how long a worker gets nothing that cannot now.
pub(crate) const THROTTLE: Duration = Duration::from_millis(120);
const LONGEST_TAKES: Duration = Duration::from_millis(60);
/// The first key of which only one call is under way.
const FIRST_UNIQUE: u64 = 1000;
/// The longest frame, where memory is short.
pub(crate) const FRAME: usize = 8192;

/// Gives a run queues, keys and pauses, or not. Drawn apart, and at the end, so that the seeds that are kept
/// mean what they did.
fn draw_queues(dice: &mut Dice, pool: &mut PoolPlan, parts: &mut Vec<Part>) {
    if dice.percent(50) {
        return;
    }
    let most = u64::from(pool.tasks_max / 2).min(3);
    let count = if most > 1 { dice.below(most) } else { 0 };
    for _ in 0..count {
        let queue = QueuePlan {
            class: dice.one_of(&[Class::Urgent, Class::Normal, Class::Normal, Class::Low]),
            weight: dice.one_of(&[1, 1, 3, 50]),
            in_flight_max: dice.percent(30).then(|| dice.one_of(&[1, 2, 5])),
            rate: dice.percent(30).then(|| (dice.one_of(&[50, 300]), dice.one_of(&[1, 10]))),
        };
        pool.queues.push(queue);
    }
    for part in parts.iter_mut() {
        if let Part::Job(job) = part {
            job.queue = usize::try_from(dice.below(count + 1)).expect("a few");
            let at_once = dice.one_of(&[1, 1, 3]);
            // Whoever has the same key says the same of it.
            let key = u64::from(at_once) * 10 + dice.below(2);
            job.key = dice.percent(25).then_some((key, at_once));
        }
    }
    let pauses = dice.one_of(&[0, 30, 100]);
    for queue in 0..=pool.queues.len() {
        let at = dice.millis(millis_of(FAULTY));
        let span = dice.millis(millis_of(FAULTY.saturating_sub(at)).min(1500) + 1);
        if dice.percent(pauses) {
            parts.push(Part::Pause(PausePlan { at, span, queue }));
        }
    }
}

/// Has some jobs be hedged, or none. Drawn apart, and at the end, as the queues are.
fn draw_hedges(dice: &mut Dice, pool: &mut PoolPlan, parts: &mut [Part]) {
    if dice.percent(60) {
        return;
    }
    pool.hedges = (dice.one_of(&[1, 3, 64]), dice.one_of(&[20, 1000]));
    for part in parts {
        if let Part::Job(job) = part {
            let after = Duration::from_millis(dice.one_of(&[0, 1, 10, 70]));
            job.hedge = (dice.percent(60) && job.key.is_none()).then_some(after);
        }
    }
}

/// Has some jobs ask the same as others, or as themselves a moment ago. Drawn apart, and at the end, as the queues
/// are.
fn draw_unique(dice: &mut Dice, parts: &mut [Part]) {
    if dice.percent(70) {
        return;
    }
    for part in parts {
        let Part::Job(job) = part else { continue };
        let is_call = !matches!(job.kind, JobKind::Map | JobKind::Range);
        job.is_unique = dice.percent(70) && is_call && job.key.is_none() && job.hedge.is_none();
        if job.is_unique {
            job.key = Some((FIRST_UNIQUE + dice.below(2), 1));
        }
    }
}

/// How much of one kind of fault there is in a run: half of the time none.
fn rate(swarm: &mut Dice) -> u64 {
    swarm.one_of(&[0, 0, 0, 0, 3, 3, 6, 40])
}

fn millis_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("a few seconds")
}

impl PoolPlan {
    fn draw(dice: &mut Dice) -> Self {
        let millis = Duration::from_millis;
        // Of a copy, so that all else of a seed is drawn as it was before there was this.
        let mut own = dice.clone().own().own();
        Self {
            judgement: JudgementPlan::draw(&mut own),
            attempts_max: dice.one_of(&[1, 2, 3, 5]),
            resends_max: dice.one_of(&[2, 8, 64]),
            retries_max: dice.one_of(&[0, 0, 1, 3]),
            failures_max: dice.one_of(&[1, 3, 16]),
            strikes_max: dice.one_of(&[1, 3]),
            attempt_timeout: dice.one_of(&[150, 200, 400].map(millis)),
            retry_delay: dice.one_of(&[0, 10, 300].map(millis)),
            elsewhere_wait: dice.one_of(&[0, 50, 500].map(millis)),
            heartbeat_interval: dice.one_of(&[100, 500, 5000].map(millis)),
            heartbeat_timeout: dice.one_of(&[100, 500].map(millis)),
            backoff_cap: dice.one_of(&[100, 500, 2000].map(millis)),
            trust_initial: dice.one_of(&[1, 4, 16]),
            in_flight: dice.percent(30).then(|| dice.one_of(&[1, 4, 16])),
            tasks_max: dice.one_of(&[1, 2, 8, 32]),
            queue_max: dice.one_of(&[1, 4, 64]),
            // Rarely fewer than there are.
            workers_max: dice.one_of(&[3, 8, 8, 8]),
            frames: dice.percent(50).then(|| dice.one_of(&[5, 6, 9])),
            in_process: dice.percent(15).then(|| dice.one_of(&[1, 3])),
            queues: Vec::new(),
            grace: Duration::ZERO,
            hedges: (64, 20),
        }
    }
}

impl LinePlan {
    fn draw(dice: &mut Dice, is_short: bool) -> Self {
        let latency = dice.one_of(&[0, 0, 1, 10, 30]);
        let long = if is_short { dice.one_of(&[0, 2000, 4000, FRAME - 200]) } else { 0 };
        Self {
            latency: Duration::from_millis(latency),
            bytes_per_second: dice.one_of(&[0, 0, 0, 200_000, 1_000_000]),
            capacity: dice.percent(30).then(|| dice.one_of(&[1, 2])),
            long,
        }
    }
}

impl Ending {
    fn draw(dice: &mut Dice) -> Self {
        let at = Duration::from_millis(300) + dice.millis(millis_of(FAULTY));
        match dice.below(10) {
            0 | 1 => {
                let within = dice.one_of(&[0, 1, 200, 2000]);
                Self::Drain { at, within: Duration::from_millis(within) }
            }
            2 | 3 => Self::Restart { at, away: Duration::from_millis(1) + dice.millis(800) },
            _ => Self::Idle,
        }
    }
}

impl WorkerPlan {
    fn draw(dice: &mut Dice, acts: &[(ActKind, u64)], index: u64, is_all_proven: bool) -> Self {
        use WorkerKind::{Boasts, Clashes, DialsIn, Real, Scripted};
        let first = index == HONEST as u64;
        let kind = if first {
            dice.one_of(&[Scripted, Real])
        } else {
            dice.one_of(&[Scripted, Scripted, Real, Real, DialsIn, DialsIn, Clashes, Boasts])
        };
        let late = FAULTY / 2;
        let is_dialled = matches!(kind, Scripted | Real | Boasts) && !first;
        let mut worker = Self {
            kind,
            concurrency: dice.one_of(&[1, 1, 2, 5]),
            takes: Duration::from_millis(dice.one_of(&[0, 2, 20, 60])),
            is_proven: is_all_proven || dice.percent(20),
            grace: Duration::ZERO,
            joins: (is_dialled && dice.percent(20)).then(|| dice.millis(millis_of(late))),
            leaves: (is_dialled && dice.percent(20)).then(|| late + dice.millis(millis_of(late))),
            acts: Vec::new(),
            wants: Wants::default(),
        };
        // The first one is honest, so that somebody is. This library's own cannot lie.
        let can = |kind| worker.kind != Real || matches!(kind, ActKind::Fail | ActKind::Hang);
        let mut acts = acts.to_vec();
        acts.retain(|&(kind, chance)| !first && chance > 0 && can(kind) && dice.percent(70));
        worker.acts = acts;
        worker
    }
}

impl JobPlan {
    fn draw(dice: &mut Dice) -> Self {
        use JobKind::{Callbacks, Calls, Map, Range, Submits};
        Self {
            kind: dice.one_of(&[Calls, Submits, Callbacks, Map, Range, Range]),
            begins: dice.millis(millis_of(FAULTY) / 2),
            count: 1 + dice.one_of(&[3, 30, 80]).min(dice.below(80)),
            pause: dice.one_of(&[0, 0, 3, 20].map(Duration::from_millis)),
            drops: dice.one_of(&[0, 0, 10, 50]),
            deadline: dice.percent(25).then(|| Duration::from_millis(20) + dice.millis(1500)),
            attempt_max: None,
            reorder_max: dice.percent(40).then(|| dice.one_of(&[0, 1, 7, 40])),
            is_stuck: dice.percent(20),
            is_poison: dice.percent(15),
            queue: 0,
            key: None,
            is_unique: false,
            hedge: None,
        }
    }
}
