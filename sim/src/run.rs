//! One run: a world is made of a plan, lives through its faults, is healed, and must then come to its end
//! within a bound.

mod faults;
mod maker;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::RetryBudget;
use chargehand::testing::{WorkerHandle, World};
use chargehand::{Pool, PoolStats, Threaded};

use crate::oracle::{Counts, Oracle, Rules};
use crate::plan::{Ending, FAULTY, FaultKind, Plan, WorkerKind};
use crate::served::Service;
use crate::stage::{Shared, Stage, locked};
use crate::{cast, jobs};
use faults::{break_things, come_and_go, end_early, pause};
use maker::{Gate, Maker};

/// How long a pool that stops may take beyond its drain: links close in good order.
const CLOSING: Duration = Duration::from_secs(3);
/// How often the figures are added up from outside.
const SAMPLE: Duration = Duration::from_millis(150);

/// What a run came to.
pub(crate) struct Report {
    pub(crate) counts: Counts,
    /// Calls of the driver, each followed by a check of all that it knows.
    pub(crate) checks: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) lost: u64,
    /// What was wrong, if anything.
    pub(crate) failure: Option<String>,
    pub(crate) trace: Option<String>,
}

/// Runs a plan. Whatever goes wrong in it is in the report.
pub(crate) fn run(plan: &Plan, wants_trace: bool) -> Report {
    let rules = Rules {
        attempts_max: plan.pool.attempts_max,
        resends_max: plan.pool.resends_max,
        retries_max: plan.pool.retries_max,
        attempt_timeout: plan.pool.attempt_timeout,
        failures_min: (plan.pool.judgement.budget)
            .then(|| u32::from(RetryBudget::new().tokens.div_ceil(2))),
        is_held_up_beside: plan.pool.in_process.is_some()
            && plan.faults().filter(|fault| is_late(fault.kind)).count() > 1,
        lateness: lateness(plan),
        room: room(plan),
    };
    let oracle = Arc::new(Mutex::new(Oracle::new(rules, Service::of(plan))));
    let checks = Rc::new(Cell::new(0));
    let world = World::new(plan.seed);
    let stage = stage(plan, &world, Arc::clone(&oracle));
    let lived = catch_unwind(AssertUnwindSafe(|| live(&world, plan, &stage, &checks)));
    let panic = lived.err().map(|panic| {
        let (text, left) = (crate::panics::text_of(&*panic), stage.under_way.borrow());
        if left.is_empty() { text } else { format!("{text}\njobs under way: {left:?}") }
    });
    let (mut oracle, virtual_time) = (locked(&oracle), world.elapsed());
    let lost = if panic.is_none() { oracle.lost() } else { Vec::new() };
    let loss = (!lost.is_empty()).then(|| format!("no outcome: {lost:?}"));
    let failure = oracle.wrong().map(str::to_owned).or(panic).or(loss);
    let trace = wants_trace.then(|| world.trace().to_string());
    let counts = std::mem::take(&mut oracle.counts);
    let lost = lost.len() as u64;
    drop(oracle);
    // A world that broke off may panic again as it goes.
    let _ = catch_unwind(AssertUnwindSafe(|| drop((stage, world))));
    Report { counts, checks: checks.get(), virtual_time, lost, failure, trace }
}

const fn is_late(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::LateManager | FaultKind::ClockJumps)
}

/// How much later than its deadline an outcome may be: as long as the manager was kept from its work.
fn lateness(plan: &Plan) -> Duration {
    let late = plan.faults().filter(|fault| is_late(fault.kind)).map(|fault| fault.span);
    late.sum::<Duration>() + Duration::from_millis(5)
}

/// With how many open tasks there is room for one more in any queue: half of all places are for the queues in
/// equal parts.
fn room(plan: &Plan) -> usize {
    let queues = plan.pool.queues.len() + 1;
    let places = plan.pool.tasks_max as usize / 2 / queues;
    if plan.pool.frames.is_some() { 0 } else { places.min(plan.pool.queue_max) }
}

fn stage(plan: &Plan, world: &World, oracle: Arc<Mutex<Oracle>>) -> Shared {
    Rc::new(Stage {
        seed: plan.seed,
        timer: world.timer(),
        trace: world.trace(),
        oracle,
        pool: RefCell::default(),
        epoch: Cell::new(0),
        members: RefCell::default(),
        poison: RefCell::default(),
        fallen: RefCell::default(),
        long: plan.lines.long,
        retries: plan.pool.retries_max.max(1),
        under_way: RefCell::default(),
        restarts: Cell::new(matches!(plan.ending, Ending::Restart { .. })),
    })
}

/// Lives through a plan.
///
/// # Panics
/// Where something is not done in time, or the pool's own checks fail.
fn live(world: &World, plan: &Plan, stage: &Shared, checks: &Rc<Cell<u64>>) {
    let watching = Arc::clone(&stage.oracle);
    world.watch(move |passing| locked(&watching).on_passing(passing));
    let cast: BTreeMap<usize, WorkerHandle> = cast::make(world, plan, stage).into_iter().collect();
    let gate = Rc::new(Gate::new(world.timer()));
    let (stage_too, checks) = (Rc::clone(stage), Rc::clone(checks));
    let maker = Rc::new(Maker { plan: plan.clone(), stage: stage_too, gate, checks });
    for (number, worker) in plan.workers() {
        if is_dialled(worker.kind) && worker.joins.is_none() {
            stage.members.borrow_mut().insert(number, (cast[&number].clone(), None));
        }
    }
    maker.begin(world.listener(), |driver| drop(world.spawn(driver)));
    world.spawn(cast::revive(Rc::clone(stage), cast.values().cloned().collect()));
    world.spawn(sample(Rc::clone(stage)));
    come_and_go(world, plan, &cast, stage);
    break_things(world, plan, &cast, stage, &maker);
    pause(world, plan, stage);
    let stopping = end_early(world, plan, stage, &maker);
    let style = (plan.pool.frames.is_some(), plan.pool.in_process.is_some());
    let jobs: Vec<_> = plan
        .jobs()
        .map(|(number, job)| {
            (number, world.spawn(jobs::run(Rc::clone(stage), number, job.clone(), style)))
        })
        .collect();
    world.advance(FAULTY);
    for worker in cast.values() {
        worker.regains_network().now();
        worker.revives().now();
    }
    world.time_limit(plan.finish_bound());
    for (_, job) in jobs {
        world.run(job);
    }
    match plan.ending {
        Ending::Idle => {}
        Ending::Drain { .. } => world.run(stopping),
        Ending::Restart { .. } => drop(world.run(stage.pool_after(2))),
    }
    let pool = stage.pool.borrow().clone();
    if let Some(pool) = pool {
        finish(world, plan, stage, &pool);
    }
}

/// Waits for the end of everything, and holds the figures against what was counted outside.
fn finish(world: &World, plan: &Plan, stage: &Shared, pool: &Pool<Threaded>) {
    let is_over = stage.oracle().is_ending && matches!(plan.ending, Ending::Drain { .. });
    if is_over {
        return;
    }
    // What callers let go of, as callbacks are when a manager dies and another goes on, has as long as what
    // they wait for: its workers may have to join again first.
    world.time_limit(plan.finish_bound());
    world.run(pool.all_taken()).expect("the driver lives");
    // A turn later, so that the driver has looked at itself while nothing is held.
    world.advance(Duration::from_millis(1));
    let stats = world.run(pool.stats()).expect("the driver lives");
    check_stats(stage, &stats);
    let tasks = stats.tasks;
    assert_eq!((tasks.waiting, tasks.resting, tasks.in_flight), (0, 0, 0), "idle, says the pool");
    let done = stage.oracle().done();
    let is_one = stage.epoch.get() == 1;
    assert!(!is_one || tasks.done >= done, "{} done, and callers have {done}", tasks.done);
    world.time_limit(CLOSING);
    stage.oracle().is_ending = true;
    stage.pool.borrow_mut().take();
    let last = world.run(pool.stop()).expect("the driver lives until then");
    check_stats(stage, &last);
}

/// The figures add up.
fn check_stats(stage: &Shared, stats: &PoolStats) {
    let tasks = &stats.tasks;
    let settled = tasks.done + tasks.failed + tasks.exhausted + tasks.bounced + tasks.cancelled;
    let settled = settled + tasks.aborted + tasks.expired;
    let open = tasks.waiting + tasks.resting + tasks.in_flight;
    let is_sum = tasks.submitted == settled + u64::from(open);
    let held: u32 = stats.workers.iter().map(|worker| worker.stats.in_flight).sum();
    // Those that two workers hold count once.
    let twice = u32::try_from(tasks.hedged).unwrap_or(u32::MAX).min(tasks.in_flight);
    let is_held = (tasks.in_flight..=tasks.in_flight + twice).contains(&held);
    if !is_sum || (!is_held && !stats.workers.is_empty()) {
        stage.oracle().found(|| format!("figures that do not add up: {stats:?}"));
    }
}

async fn sample(stage: Shared) {
    loop {
        stage.timer.sleep(SAMPLE).await;
        let pool = stage.pool.borrow().clone();
        let Some(pool) = pool else { continue };
        if let Ok(stats) = pool.stats().await {
            check_stats(&stage, &stats);
        }
    }
}

const fn is_dialled(kind: WorkerKind) -> bool {
    matches!(kind, WorkerKind::Scripted | WorkerKind::Boasts | WorkerKind::Real)
}
