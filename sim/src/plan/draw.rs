//! How a run is drawn from its seed.

use std::time::Duration;

use chargehand::Class;

use super::{
    ACTS, ActKind, Ending, FAULTS, FAULTY, FRAME, FaultPlan, HONEST, JobKind, JobPlan,
    JudgementPlan, LinePlan, Part, PausePlan, Plan, PoolPlan, QueuePlan, WorkerKind, WorkerPlan,
};
use crate::dice::Dice;
use crate::served::{self, Wants};

/// The first key of which only one call is under way.
const FIRST_UNIQUE: u64 = 1000;

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
        draw_faults(&mut dice, &mut swarm, workers, &mut parts);
        // Drawn apart, so that the seeds that are kept mean what they did.
        let mut later = Dice::new(seed ^ 0x006e_6f74_206e_6f77);
        let throttled = later.one_of(&[0, 0, 0, 10, 100, 500]);
        for part in &mut parts {
            if let Part::Worker(worker) = part {
                worker.acts.push((ActKind::Throttled, throttled * u64::from(later.percent(60))));
            }
        }
        draw_progress(&mut Dice::new(seed ^ 0x0068_6f77_2066_6172), &pool, &mut parts);
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
}

impl JudgementPlan {
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

/// Breaks things, each kind as often as its rate in this run says.
fn draw_faults(dice: &mut Dice, swarm: &mut Dice, workers: u64, parts: &mut Vec<Part>) {
    let rates = FAULTS.map(|_| rate(swarm));
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
}

/// Has some workers say how far they are, truly or not, and some jobs give time for that. Drawn apart, as the
/// queues are.
fn draw_progress(dice: &mut Dice, pool: &PoolPlan, parts: &mut [Part]) {
    let said = [
        (ActKind::Pretend, dice.one_of(&[0, 0, 10, 100])),
        (ActKind::Flood, dice.one_of(&[0, 0, 0, 20])),
        (ActKind::Progress, dice.one_of(&[0, 500, 1000])),
    ];
    let mut is_first = true;
    for part in parts {
        match part {
            Part::Worker(worker) => {
                let is_real = worker.kind == WorkerKind::Real;
                let fits = |kind| is_real == (kind == ActKind::Progress);
                let may = |&(kind, _): &(ActKind, u64)| fits(kind) && (is_real || !is_first);
                worker.acts.extend(said.into_iter().filter(may));
                is_first = false;
            }
            Part::Job(job) if dice.percent(30) => {
                job.attempt_max = Some(pool.attempt_timeout * dice.one_of(&[1, 2, 3]));
            }
            _ => {}
        }
    }
}

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

/// Has some jobs ask the same as others, or as themselves a moment ago, and some have the key of those and their
/// outcomes to themselves. Drawn apart, and at the end, as the queues are.
fn draw_unique(dice: &mut Dice, parts: &mut [Part]) {
    // Of a copy, so that who asks the same is drawn as it was before there were the others.
    let mut own = dice.clone().own();
    if dice.percent(70) {
        return;
    }
    for part in parts {
        let Part::Job(job) = part else { continue };
        let is_call = !matches!(job.kind, JobKind::Map | JobKind::Range);
        job.is_unique = dice.percent(70) && is_call && job.key.is_none() && job.hedge.is_none();
        if job.is_unique {
            job.key = Some((FIRST_UNIQUE + dice.below(2), 1));
        } else if job.key.is_none() && job.hedge.is_none() && own.percent(40) {
            job.key = Some((FIRST_UNIQUE + own.below(2), 1));
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
