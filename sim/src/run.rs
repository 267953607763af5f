//! One run: a world is made of a plan, lives through its faults, is healed, and must then come to its end
//! within a bound.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use chargehand::core::{BackoffPolicy, Choice, Ejection, RetryBudget};
use chargehand::testing::wires::WorldListener;
use chargehand::testing::{ManualSleep, ManualTimer, WorkerHandle, World};
use chargehand::{
    Builder, Driver, Pool, PoolEvent, PoolStats, QueueOptions, Rate, Threaded, WorkerOptions,
};

use crate::oracle::{Counts, Oracle, Reply, Rules, UNSEEN};
use crate::plan::{CONNECT_TIMEOUT, Ending, FAULTY, FRAME, FaultKind, Plan, PoolPlan, WorkerKind};
use crate::served::Service;
use crate::stage::{Shared, Stage, locked};
use crate::{cast, jobs};

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

/// Makes pools, one after the other.
struct Maker {
    plan: Plan,
    stage: Shared,
    gate: Rc<Gate>,
    checks: Rc<Cell<u64>>,
}

impl Maker {
    fn options_of(&self, number: usize) -> WorkerOptions {
        let mut workers = self.plan.workers();
        let worker = workers.find(|(other, _)| *other == number);
        worker.map_or_else(WorkerOptions::new, |(_, worker)| worker.wants.options())
    }

    /// Starts a manager, whose driver `spawn` gets.
    fn begin(&self, listener: WorldListener, spawn: impl FnOnce(Driving)) {
        let (plan, stage) = (&self.plan.pool, &self.stage);
        // Another one at every start, as it is asked for: the manager's token is made of it, and by that workers
        // know whose process it is that they go on for.
        let seed = self.plan.seed.wrapping_add(stage.epoch.get().into());
        let mut builder = Pool::builder(stage.timer.clone()).seed(seed).accept(listener);
        let mut dialled = 0;
        for (number, (handle, id)) in stage.members.borrow_mut().iter_mut() {
            let options = self.options_of(*number);
            *id = Some(builder.add(handle.connector(), options));
            dialled += 1;
        }
        builder = set(builder, plan, dialled);
        if let Some(window) = plan.in_process {
            builder = in_process(builder, window, stage);
        }
        let (pool, driver) = builder.build().unwrap_or_else(|error| panic!("{error}"));
        let (mut events, seen) = (pool.events(), Rc::clone(stage));
        *stage.pool.borrow_mut() = Some(pool);
        stage.epoch.set(stage.epoch.get() + 1);
        self.gate.open();
        spawn(Box::pin(futures_util::future::join(
            drive(driver, Rc::clone(&self.gate), Rc::clone(&self.checks)),
            async move {
                while let Some(event) = events.next().await {
                    seen.count(name_of(&event));
                    seen.trace.note(format!("manager: {event}"));
                }
            },
        )));
    }
}

type Driving = Pin<Box<dyn Future<Output = ((), ())>>>;

fn set(
    builder: Builder<ManualTimer, Threaded>,
    plan: &PoolPlan,
    dialled: u32,
) -> Builder<ManualTimer, Threaded> {
    let plan = plan.clone();
    let mut builder = builder;
    for (place, queue) in (1..).zip(&plan.queues) {
        let mut options = QueueOptions::new().class(queue.class).weight(queue.weight);
        options.in_flight_max = queue.in_flight_max;
        options.rate = queue.rate.map(|(rate, burst)| Rate::per_second(rate).burst(burst));
        builder = builder.queue(&jobs::name_of_queue(place), options);
    }
    let mut builder = builder
        .tasks_max(plan.tasks_max)
        .queue_max(plan.queue_max)
        .workers_max(plan.workers_max.max(dialled + u32::from(plan.in_process.is_some())))
        .drain_timeout(Duration::from_secs(1));
    if let Some(count) = plan.in_flight {
        builder = builder.in_flight(count);
    } else if plan.judgement.windows {
        builder = builder.auto_windows();
    }
    if let Some(frames) = plan.frames {
        let bytes = u32::try_from(FRAME).expect("a few KiB");
        builder = builder.frame_bytes_max(bytes).memory_max(frames * FRAME);
    }
    builder.configure(move |config| {
        config.attempts_max = plan.attempts_max;
        config.resends_max = plan.resends_max;
        config.retries_max = plan.retries_max;
        config.failures_max = plan.failures_max;
        config.strikes_max = plan.strikes_max;
        config.attempt_timeout = plan.attempt_timeout;
        config.retry_delay = plan.retry_delay;
        config.elsewhere_wait = plan.elsewhere_wait;
        config.heartbeat_interval = plan.heartbeat_interval;
        config.heartbeat_timeout = plan.heartbeat_timeout;
        config.trust_initial = plan.trust_initial;
        config.connect_timeout = CONNECT_TIMEOUT;
        config.grace = plan.grace;
        config.hedges_max = plan.hedges.0;
        config.hedge_budget.per_thousand = plan.hedges.1;
        config.backoff = BackoffPolicy::powers_of_two(plan.backoff_cap)
            .base(Duration::from_millis(20).min(plan.backoff_cap));
        let judgement = &plan.judgement;
        if judgement.by_answers {
            config.choice = Choice::FirstAnswer;
        }
        config.ejection = judgement.ejects.then(|| {
            let mut ejection = Ejection::new();
            (ejection.answers, ejection.others_min) = (8, 1);
            (ejection.rest, ejection.rests_max) = (plan.backoff_cap / 2, 2);
            ejection
        });
        config.retry_budget = judgement.budget.then(RetryBudget::new);
    })
}

fn in_process(
    builder: Builder<ManualTimer, Threaded>,
    window: u16,
    stage: &Shared,
) -> Builder<ManualTimer, Threaded> {
    let (timer, long, oracle) = (stage.timer.clone(), stage.long, Arc::clone(&stage.oracle));
    builder.in_process(window, move |id: u64| {
        locked(&oracle).on_begin_here(id);
        let pause = timer.sleep(Duration::from_millis(id % 3 * 5));
        async move {
            pause.await;
            let length = if id.is_multiple_of(3) { long } else { 0 };
            Ok::<Reply, String>((id, UNSEEN, "x".repeat(length)))
        }
    })
}

/// A future that lets a driver be late, or killed, and looks at it after each call.
async fn drive(driver: Driver<ManualTimer>, gate: Rc<Gate>, checks: Rc<Cell<u64>>) {
    let mut driver = Some(Box::pin(driver));
    poll_fn(move |cx| {
        gate.leave(cx.waker());
        if gate.is_killed.get() {
            driver = None;
            return Poll::Ready(());
        }
        if gate.is_shut(cx) {
            return Poll::Pending;
        }
        let Some(living) = &mut driver else { return Poll::Ready(()) };
        checks.set(checks.get() + 1);
        if living.as_mut().poll(cx).is_ready() {
            driver = None;
            return Poll::Ready(());
        }
        living.check();
        Poll::Pending
    })
    .await;
}

/// Whether the driver is polled.
struct Gate {
    timer: ManualTimer,
    is_killed: Cell<bool>,
    shut_until: Cell<Duration>,
    sleep: RefCell<Option<Pin<Box<ManualSleep>>>>,
    waker: RefCell<Option<Waker>>,
}

impl Gate {
    fn new(timer: ManualTimer) -> Self {
        Self {
            timer,
            is_killed: Cell::new(false),
            shut_until: Cell::default(),
            sleep: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    fn open(&self) {
        self.is_killed.set(false);
    }

    fn leave(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// Returns whether nobody polls the driver now; if so, it is woken once somebody does.
    fn is_shut(&self, cx: &mut std::task::Context<'_>) -> bool {
        let left = self.shut_until.get().saturating_sub(self.timer.elapsed());
        if left.is_zero() {
            return false;
        }
        let mut sleep = Box::pin(self.timer.sleep(left));
        let is_shut = sleep.as_mut().poll(cx).is_pending();
        *self.sleep.borrow_mut() = Some(sleep);
        is_shut
    }

    fn shut(&self, until: Duration) {
        self.shut_until.set(self.shut_until.get().max(until));
    }

    fn kill(&self) {
        self.is_killed.set(true);
        self.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
    }
}

/// Has workers join and leave the pool when it is time.
fn come_and_go(world: &World, plan: &Plan, cast: &BTreeMap<usize, WorkerHandle>, stage: &Shared) {
    for (number, worker) in plan.workers() {
        let (handle, stage, worker) = (cast[&number].clone(), Rc::clone(stage), worker.clone());
        if !is_dialled(worker.kind) {
            continue;
        }
        world.spawn(async move {
            if let Some(joins) = worker.joins {
                stage.sleep_until(joins).await;
                let pool = stage.pool_after(0).await;
                let added = pool.add(handle.connector(), worker.wants.options()).await;
                stage.count(if added.is_ok() { "worker added" } else { "worker not added" });
                if let Ok(id) = added {
                    stage.members.borrow_mut().insert(number, (handle, Some(id)));
                }
            }
            if let Some(leaves) = worker.leaves {
                stage.sleep_until(leaves).await;
                let pool = stage.pool_after(0).await;
                let member = stage.members.borrow_mut().remove(&number);
                if let Some((_, Some(id))) = member {
                    let removed = pool.remove(id).await;
                    stage.count(if removed.is_ok() {
                        "worker removed"
                    } else {
                        "worker not removed"
                    });
                }
            }
        });
    }
}

/// Has the faults of a plan happen when it is time.
fn break_things(
    world: &World,
    plan: &Plan,
    cast: &BTreeMap<usize, WorkerHandle>,
    stage: &Shared,
    maker: &Rc<Maker>,
) {
    for fault in plan.faults() {
        let (fault, stage, maker) = (fault.clone(), Rc::clone(stage), Rc::clone(maker));
        let worker = cast.get(&fault.worker).cloned();
        world.spawn(async move {
            stage.sleep_until(fault.at).await;
            let until = fault.at + fault.span;
            match fault.kind {
                FaultKind::LateManager => {
                    stage.count(name_of_fault(fault.kind));
                    return maker.gate.shut(until);
                }
                FaultKind::ClockJumps => {
                    stage.count(name_of_fault(fault.kind));
                    return stage.timer.advance(fault.span);
                }
                _ => {}
            }
            // It may have been left out.
            let Some(worker) = worker else { return };
            stage.count(name_of_fault(fault.kind));
            match fault.kind {
                FaultKind::LosesLink => worker.loses_link().now(),
                FaultKind::Garbles => worker.garbles().now(),
                FaultKind::Dies => {
                    worker.dies().now();
                    stage.sleep_until(until).await;
                    worker.revives().now();
                }
                FaultKind::Stops => {
                    worker.stops().now();
                    stage.sleep_until(until).await;
                    worker.revives().now();
                }
                FaultKind::HalfOpen => {
                    worker.loses_network().now();
                    stage.sleep_until(until).await;
                    worker.regains_network().now();
                }
                FaultKind::LateManager | FaultKind::ClockJumps => {}
            }
        });
    }
}

/// Stops queues for a while. Nothing of them is sent meanwhile.
fn pause(world: &World, plan: &Plan, stage: &Shared) {
    for pause in plan.pauses() {
        let (pause, stage) = (pause.clone(), Rc::clone(stage));
        world.spawn(async move {
            stage.sleep_until(pause.at).await;
            let pool = stage.pool_after(0).await;
            let name = jobs::name_of_queue(pause.queue);
            let queue = pool.queue(&name).expect("it is one of the pool's");
            let sent = async || {
                let stats = pool.stats().await.ok()?;
                let queue = stats.queues.into_iter().find(|queue| *queue.name == *name);
                queue.map(|queue| (queue.stats.is_paused, queue.stats.sent))
            };
            if pool.pause(&queue).await.is_err() {
                return;
            }
            stage.count("queue paused");
            let before = sent().await;
            stage.sleep_until(pause.at + pause.span).await;
            if let (Some(before), Some(after)) = (before, sent().await) {
                if before != after {
                    stage.oracle().found(|| format!("{name} is paused: {after:?}, was {before:?}"));
                }
            }
            let _ = pool.resume(&queue).await;
        });
    }
}

/// Stops or kills the manager in the middle, where that is the plan.
fn end_early(
    world: &World,
    plan: &Plan,
    stage: &Shared,
    maker: &Rc<Maker>,
) -> impl Future<Output = ()> + use<> {
    let (stage, maker, ending, late) =
        (Rc::clone(stage), Rc::clone(maker), plan.ending, lateness(plan));
    let listener = world.listener();
    world.spawn(async move {
        match ending {
            Ending::Idle => {}
            Ending::Drain { at, within } => {
                stage.sleep_until(at).await;
                stage.count("pool stopped in the middle");
                stage.oracle().is_ending = true;
                let (pool, begun) = (stage.pool_after(0).await, stage.now());
                let stats = pool.stop_within(within).await.expect("the driver lives until then");
                check_stats(&stage, &stats);
                let took = stage.now().checked_sub(begun).unwrap();
                if took > within + CLOSING + late {
                    stage.oracle().found(|| format!("it took {took:?} to stop within {within:?}"));
                }
            }
            Ending::Restart { at, away } => {
                stage.sleep_until(at).await;
                stage.count("manager killed and started again");
                {
                    let mut oracle = stage.oracle();
                    oracle.is_ending = true;
                    oracle.begin_epoch();
                }
                stage.pool.borrow_mut().take();
                maker.gate.kill();
                stage.timer.sleep(away).await;
                let mut driving = None;
                maker.begin(listener, |driver| driving = Some(driver));
                driving.expect("it has begun").await;
            }
        }
    })
}

const fn name_of_fault(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::LosesLink => "link lost",
        FaultKind::Dies => "worker killed",
        FaultKind::HalfOpen => "network away",
        FaultKind::Garbles => "message garbled",
        FaultKind::Stops => "worker stopped politely",
        FaultKind::LateManager => "manager polled late",
        FaultKind::ClockJumps => "clock jumps",
    }
}

const fn name_of(event: &PoolEvent) -> &'static str {
    match event {
        PoolEvent::Connected { .. } => "told: connected",
        PoolEvent::Serves { .. } => "told: serves",
        PoolEvent::Refused { .. } => "told: refused",
        PoolEvent::Lost { .. } => "told: lost",
        PoolEvent::Closed { .. } => "told: closed",
        PoolEvent::Suspended { .. } => "told: suspended",
        PoolEvent::Gone { .. } => "told: gone",
        PoolEvent::Retried { .. } => "told: retried",
        PoolEvent::Hedged { .. } => "told: hedged",
        PoolEvent::TurnedAway { .. } => "told: turned away",
        PoolEvent::Missed { .. } => "told: missed",
        _ => "told: something else",
    }
}
