//! Makes a run's pools, one after the other, and decides when their driver is polled.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use chargehand::core::{BackoffPolicy, Choice, Ejection, RetryBudget};
use chargehand::testing::wires::WorldListener;
use chargehand::testing::{ManualSleep, ManualTimer};
use chargehand::{Builder, Driver, Pool, PoolEvent, QueueOptions, Rate, Threaded, WorkerOptions};

use crate::jobs;
use crate::oracle::{Reply, UNSEEN};
use crate::plan::{CONNECT_TIMEOUT, FRAME, Plan, PoolPlan};
use crate::stage::{Shared, locked};

/// Makes pools, one after the other.
pub(super) struct Maker {
    pub(super) plan: Plan,
    pub(super) stage: Shared,
    pub(super) gate: Rc<Gate>,
    pub(super) checks: Rc<Cell<u64>>,
}

impl Maker {
    fn options_of(&self, number: usize) -> WorkerOptions {
        let mut workers = self.plan.workers();
        let worker = workers.find(|(other, _)| *other == number);
        worker.map_or_else(WorkerOptions::new, |(_, worker)| worker.wants.options())
    }

    /// Starts a manager, whose driver `spawn` gets.
    pub(super) fn begin(&self, listener: WorldListener, spawn: impl FnOnce(Driving)) {
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
pub(super) struct Gate {
    timer: ManualTimer,
    is_killed: Cell<bool>,
    shut_until: Cell<Duration>,
    sleep: RefCell<Option<Pin<Box<ManualSleep>>>>,
    waker: RefCell<Option<Waker>>,
}

impl Gate {
    pub(super) fn new(timer: ManualTimer) -> Self {
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

    pub(super) fn shut(&self, until: Duration) {
        self.shut_until.set(self.shut_until.get().max(until));
    }

    pub(super) fn kill(&self) {
        self.is_killed.set(true);
        self.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
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
