//! The callers of a run.

use std::rc::Rc;
use std::time::Duration;

use chargehand::core::ledger::Ledger as Spans;
use serde::{Serialize, Serializer};

use chargehand::{Hedge, Ledger, Outcomes, Pool, Source, TaskError, TaskKey, TaskOptions};

use crate::dice::Dice;
use crate::oracle::Reply;
use crate::plan::{FAULTY, JobKind, JobPlan};
use crate::stage::{Shared, locked};

/// The requests of different jobs are that far apart.
pub(crate) const APART: u64 = 1_000_000;

/// A request: its number, and something that has a length, which handlers in the pool's own process do
/// not take.
struct Ask(u64, Option<String>);

impl Serialize for Ask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.1 {
            Some(padding) => (self.0, padding).serialize(serializer),
            None => self.0.serialize(serializer),
        }
    }
}

/// Does a job to its end, whichever that is.
pub(crate) async fn run(
    stage: Shared,
    number: usize,
    plan: JobPlan,
    (is_short, is_plain): (bool, bool),
) {
    stage.sleep_until(plan.begins).await;
    let job = Job {
        first: (number as u64 + 1) * APART,
        dice: Dice::new(stage.seed ^ number as u64),
        padding: (!is_plain).then_some(if is_short { 1500 } else { 0 }),
        stage,
        plan,
    };
    if job.plan.is_poison {
        job.stage.poison.borrow_mut().insert(job.first);
        job.stage.count("request that takes workers down");
    }
    let (stage, kind) = (Rc::clone(&job.stage), job.plan.kind);
    stage.under_way.borrow_mut().insert(number, kind);
    match kind {
        JobKind::Calls => job.calls().await,
        JobKind::Submits => job.submits().await,
        JobKind::Callbacks => job.callbacks().await,
        JobKind::Map => job.map().await,
        JobKind::Range => job.range().await,
    }
    stage.under_way.borrow_mut().remove(&number);
}

/// What the pool's queues are called: that which is always there, and then the others.
pub(crate) fn name_of_queue(place: usize) -> String {
    if place == 0 { "default".to_owned() } else { format!("queue {place}") }
}

struct Job {
    stage: Shared,
    plan: JobPlan,
    first: u64,
    dice: Dice,
    padding: Option<usize>,
}

impl Job {
    fn ids(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.plan.count
    }

    fn ask(&self, id: u64) -> Ask {
        let length = |longest: usize| if id.is_multiple_of(5) { longest } else { 0 };
        Ask(id, self.padding.map(|longest| "y".repeat(length(longest))))
    }

    async fn pool(&self) -> Pool {
        let pool = self.stage.pool_after(0).await;
        let mut options = self.options(&pool);
        let JobPlan { deadline, attempt_max, .. } = self.plan;
        (options.deadline, options.attempt_max) = (deadline, attempt_max);
        if options == TaskOptions::new() { pool } else { pool.with(options) }
    }

    /// What is special about its tasks, but for times, which those of ranges and maps have none of.
    fn options(&self, pool: &Pool) -> TaskOptions {
        let mut options = TaskOptions::new();
        if self.plan.queue > 0 {
            let queue = pool.queue(&name_of_queue(self.plan.queue));
            options = options.queue(queue.expect("it is one of the pool's"));
        }
        if let Some(after) = self.plan.hedge {
            let p95 = after.is_zero();
            options = options.hedge(if p95 { Hedge::after_p95() } else { Hedge::after(after) });
        }
        match self.plan.key {
            Some((key, _)) if self.plan.is_unique => options.key(TaskKey::from(key).unique()),
            Some((key, at_once)) => options.key(TaskKey::from(key).at_once(at_once)),
            None => options,
        }
    }

    async fn pause(&self) {
        if !self.plan.pause.is_zero() {
            self.stage.timer.sleep(self.plan.pause).await;
        }
    }

    /// Waits until the faults are over, if that is how this one is.
    async fn be_stuck(&self) {
        if self.plan.is_stuck && self.stage.is_faulty() {
            self.stage.count("consumer that is stuck");
            self.stage.sleep_until(FAULTY).await;
        }
    }

    fn accepted(&self, id: u64) {
        self.note_key(id);
        self.stage.oracle().on_accepted(id, self.stage.now(), None, self.plan.deadline);
    }

    /// Tells that it may be sent to two workers at once, and of whose key it is, where one of that goes at a time: on a wire it is seen before it is accepted.
    fn note_key(&self, id: u64) {
        if let Some((key, 1)) = self.plan.key {
            self.stage.oracle().on_keyed(id, key);
        }
        if self.plan.hedge.is_some() {
            self.stage.oracle().on_hedged(id);
        }
    }

    fn ended(&self, id: u64, outcome: &Result<Reply, TaskError>) {
        self.stage.oracle().on_outcome(id, self.stage.now(), outcome);
    }

    /// Tells of a call that it is submitted now, where it may have the outcome of another one.
    fn submits_now(&self, id: u64) {
        if let Some((key, _)) = self.plan.key.filter(|_| self.plan.is_unique) {
            self.stage.oracle().on_unique(id, key, self.plan.queue, self.stage.now());
        }
    }

    /// Returns whether a task was taken; one that was not is fair where the pool is on its way out.
    fn is_taken<T>(&self, id: u64, submitted: &Result<T, TaskError>) -> bool {
        match submitted {
            Ok(_) => {
                self.accepted(id);
                true
            }
            Err(error) => {
                let mut oracle = self.stage.oracle();
                if !oracle.is_ending {
                    oracle.found(|| format!("request {id} was not taken: {error}"));
                }
                false
            }
        }
    }

    async fn calls(mut self) {
        for id in self.ids() {
            let pool = self.pool().await;
            self.submits_now(id);
            let submitted = pool.submit::<Reply, _>(&self.ask(id)).await;
            if !self.is_taken(id, &submitted) {
                continue;
            }
            let task = submitted.expect("it is taken");
            if self.dice.percent(self.plan.drops) {
                let span = self.dice.millis(60);
                self.stage.timer.sleep(span).await;
                self.stage.oracle().on_dropped(id, self.stage.now());
                drop(task);
                continue;
            }
            let outcome = task.await;
            self.ended(id, &outcome);
            self.pause().await;
        }
    }

    /// Whoever submits all before taking any may wait for ever, where memory is short: so each is taken
    /// beside the others.
    async fn submits(mut self) {
        let drops: Vec<bool> = self.ids().map(|_| self.dice.percent(self.plan.drops)).collect();
        let job = &self;
        let calls = self.ids().zip(drops).map(|(id, is_dropped)| async move {
            let pool = job.pool().await;
            job.submits_now(id);
            let submitted = pool.submit::<Reply, _>(&job.ask(id)).await;
            if !job.is_taken(id, &submitted) {
                return;
            }
            // What is measured of one with a deadline is not its caller, and it may be another one's.
            if job.plan.deadline.is_none() && !job.plan.is_unique {
                job.be_stuck().await;
            }
            if is_dropped {
                return job.stage.oracle().on_dropped(id, job.stage.now());
            }
            job.ended(id, &submitted.expect("it is taken").await);
        });
        futures_util::future::join_all(calls).await;
    }

    async fn callbacks(self) {
        for id in self.ids() {
            let pool = self.pool().await;
            let (oracle, timer) =
                (std::sync::Arc::clone(&self.stage.oracle), self.stage.timer.clone());
            let then = move |outcome: Result<Reply, TaskError>| {
                locked(&oracle).on_outcome(id, timer.elapsed(), &outcome);
            };
            self.submits_now(id);
            let queued = pool.submit_then(&self.ask(id), then).await;
            self.is_taken(id, &queued);
            self.pause().await;
        }
        // Its outcomes come while it does nothing.
        while !self.stage.oracle().is_ending && self.ids().any(|id| self.stage.oracle().is_open(id))
        {
            self.stage.timer.sleep(Duration::from_millis(20)).await;
        }
        self.let_go();
    }

    /// Those without an outcome went with the pool, which is fair where that ends.
    fn let_go(&self) {
        let mut oracle = self.stage.oracle();
        if oracle.is_ending {
            let gone: Vec<u64> = self.ids().filter(|&id| !oracle.has_ended(id)).collect();
            for id in gone {
                oracle.on_let_go(id);
            }
        }
    }

    fn accept_all(&self) {
        self.ids().for_each(|id| self.note_key(id));
        let (mut oracle, now) = (self.stage.oracle(), self.stage.now());
        for id in self.ids() {
            oracle.on_accepted(id, now, Some(self.stage.retries), None);
        }
    }

    async fn map(self) {
        let pool = self.stage.pool_after(0).await;
        let pool = pool.with(self.options(&pool));
        self.accept_all();
        let requests: Vec<Ask> = self.ids().map(|id| self.ask(id)).collect();
        let mut stream = pool.map::<Reply, _>(requests);
        drop(pool);
        if let Some(reorder_max) = self.plan.reorder_max {
            stream = stream.in_order(reorder_max);
        }
        self.take_all(&mut stream, |ask: &Ask| ask.0).await;
        drop(stream);
        self.let_go();
    }

    async fn range(self) {
        self.accept_all();
        let heights = self.first..=self.first + self.plan.count - 1;
        let mut ledger: Ledger = Spans::growing(heights, 10_000);
        loop {
            let epoch = self.stage.epoch.get();
            let pool = self.stage.pool_after(epoch).await;
            let pool = pool.with(self.options(&pool));
            let mut stream = pool.process::<Reply>(ledger);
            drop(pool);
            if let Some(reorder_max) = self.plan.reorder_max {
                stream = stream.in_order(reorder_max);
            }
            self.take_all(&mut stream, |height: &u64| *height).await;
            // As a snapshot in a file would have it.
            let spans = stream.ledger().snapshot().into_owned();
            drop(stream);
            ledger = Spans::resume_growing(&spans, 10_000).expect("its own");
            let has_more = self.ids().any(|id| !self.stage.oracle().has_ended(id));
            if !has_more || !self.stage.restarts.get() {
                break;
            }
            self.stage.count("range resumed by another manager");
            // The one before is over.
            self.stage.pool_after(epoch + 1).await;
            self.stage.oracle().on_resumed(self.ids());
        }
        self.let_go();
    }

    async fn take_all<S: Source<Reply>>(
        &self,
        stream: &mut Outcomes<Reply, S>,
        id_of: impl Fn(&S::Request) -> u64,
    ) {
        let mut is_first = true;
        while let Some((request, outcome)) = stream.next().await {
            if outcome != Err(TaskError::Closed) {
                self.ended(id_of(&request), &outcome);
            }
            if std::mem::take(&mut is_first) {
                self.be_stuck().await;
            }
            self.pause().await;
        }
    }
}
