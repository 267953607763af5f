//! What happens in a run: drawn from its seed, in parts that can be left out one by one.
//!
//! Each kind of fault has a rate of its own in each run, mostly none and at times very much of one kind
//! (swarm testing: Groce and others, ISSTA 2012): so that what one fault hides is seen where it is absent.

mod draw;

use std::time::Duration;

use chargehand::Class;

use crate::served::Wants;

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
/// The longest frame, where memory is short.
pub(crate) const FRAME: usize = 8192;
