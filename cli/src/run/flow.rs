//! Tasks on their way out, and outcomes on their way in.

use std::rc::Rc;

use chargehand::core::WorkerId;
use chargehand::{
    Events, FromStream, Outcomes, Pool, PoolEvent, Requests, TaskError, TaskOptions, from_stream,
};
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::events::Others;
use super::job::{Job, Tally};
use super::progress::Progress;
use super::task::{Task, is_final};
use super::tasks::{Gate, Tasks};
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::stop::{Stop, Stops};

/// How many tasks may be under way for each that a worker holds: so none of them waits for us.
const AHEAD_TIMES: u64 = 2;
/// And in any case.
const AHEAD_MIN: u64 = 16;
/// How many outcomes are taken before there is a look at anything else.
const AT_ONCE: usize = 256;

/// How a run ended.
#[derive(Debug)]
pub(super) enum End {
    Complete,
    /// A task has failed, and nothing more was to be begun then.
    FailedFast,
    /// Whoever has the token of the status page had the pool drain.
    Drained,
    Stopped(Stop),
}

type Results = Outcomes<Vec<u8>, Requests<FromStream<Tasks>>>;
type Taken = (Task, Result<Vec<u8>, TaskError>);

pub(super) struct Flow<'a> {
    pool: &'a Pool,
    job: Job,
    gate: Rc<Gate>,
    stops: Stops,
    progress: Progress,
    others: Others,
    local: u64,
    args: &'a RunArgs,
    /// Why nothing more is begun, and workers that finish what they hold meanwhile.
    draining: Option<End>,
    removals: JoinSet<()>,
    /// A task came back without having been tried to its end.
    is_cut: bool,
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        job: Job,
        stops: Stops,
        progress: Progress,
        local: u64,
        args: &'a RunArgs,
    ) -> Self {
        let gate = job.gate();
        Self {
            pool,
            job,
            gate,
            stops,
            progress,
            others: Others::default(),
            local,
            args,
            draining: None,
            removals: JoinSet::new(),
            is_cut: false,
        }
    }

    /// Returns what there is to say of it at the end.
    pub(super) fn over(self) -> (Tally, Progress) {
        (self.job.tally, self.progress)
    }

    /// Gives out all tasks and takes what comes of them, unless there is a reason to stop before that. What was
    /// taken is in the output and the state then, unless these are what failed.
    pub(super) async fn run(&mut self, tasks: Tasks, mut events: Events) -> Result<End, Failure> {
        let options = TaskOptions::new().retries(self.args.retries);
        let outcomes = self.pool.with(options).map::<Vec<u8>, _>(from_stream(tasks));
        let ended = self.flow(outcomes, &mut events).await;
        while let Some(Some(event)) = events.next().now_or_never() {
            self.hear(&event);
        }
        self.progress.clear();
        let ended = ended.and_then(|end| match self.gate.failure() {
            None => Ok(end),
            Some(failure) => Err(failure),
        });
        // Whatever it ended by: a later run goes on from here.
        let finished = self.job.finish().await;
        match (ended, finished) {
            (Ok(end), Ok(())) => Ok(end),
            (Err(failure), _) | (Ok(_), Err(failure)) => {
                let more = self.how_far(&failure);
                Err(failure.and(&more))
            }
        }
    }

    async fn flow(&mut self, mut outcomes: Results, events: &mut Events) -> Result<End, Failure> {
        // What is overwritten goes now: nothing but the tasks themselves can be wrong any more.
        self.job.flush()?;
        // If it cannot be saved, better now than after a second of work.
        self.job.save_now().await?;
        let mut ticks = interval(self.progress.interval());
        // The first one is at once, and there is nothing to show.
        ticks.tick().await;
        let mut is_told = true;
        loop {
            self.open_gate();
            let is_draining = self.draining.is_some();
            tokio::select! {
                next = outcomes.next() => match next {
                    None => return Ok(self.end()),
                    Some(taken) => {
                        self.take(taken)?;
                        self.take_ready(&mut outcomes)?;
                    }
                },
                event = events.next(), if is_told => match event {
                    None => is_told = false,
                    Some(event) => self.hear(&event),
                },
                stop = self.stops.first(), if !is_draining => self.drain(End::Stopped(stop)).await,
                removed = self.removals.join_next(), if is_draining => {
                    if removed.is_none() {
                        return self.last(outcomes).await;
                    }
                }
                due = self.job.save_is_due() => due.and_then(|()| self.job.save())?,
                _ = ticks.tick() => {
                    let workers = self.args.is_remote().then(|| self.others.count());
                    self.progress.show(self.job.tally, self.job.total(), workers, self.local);
                }
            }
        }
    }

    /// Takes what has come already, and lets it be seen once there is no more.
    fn take_ready(&mut self, outcomes: &mut Results) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            self.open_gate();
            match outcomes.next().now_or_never() {
                Some(Some(taken)) => self.take(taken)?,
                // Its end is seen once more.
                Some(None) | None => return self.job.flush(),
            }
        }
        Ok(())
    }

    fn take(&mut self, (task, outcome): Taken) -> Result<(), Failure> {
        let has_failed = self.job.take(&task, &outcome)?;
        self.is_cut |= !is_final(&outcome);
        if has_failed && self.args.fail_fast && self.draining.is_none() {
            self.progress.say(&format!("task {} has failed: nothing more is begun", task.number));
            self.close(End::FailedFast);
        }
        Ok(())
    }

    /// Has as many tasks under way as keep the workers busy.
    fn open_gate(&self) {
        let room = (self.local + self.others.room()) * AHEAD_TIMES;
        self.gate.limit.set(room.max(AHEAD_MIN));
    }

    fn hear(&mut self, event: &PoolEvent) {
        if let Some(text) = self.others.hear(event) {
            self.progress.say(&text);
        }
        // One that comes back while the others end what they hold.
        if let (true, PoolEvent::Connected { worker, .. }) = (self.draining.is_some(), event) {
            let (pool, worker) = (self.pool.clone(), *worker);
            self.removals.spawn(remove(pool, worker));
        }
    }

    /// Begins nothing more.
    fn close(&mut self, why: End) {
        self.gate.is_closed.set(true);
        self.draining = Some(why);
        let pool = self.pool.clone();
        // A worker that is removed gets nothing more, and ends what it holds.
        self.removals.spawn(async move {
            let Ok(stats) = pool.stats().await else { return };
            let mut removals = JoinSet::new();
            for worker in stats.workers {
                removals.spawn(remove(pool.clone(), worker.id));
            }
            removals.join_all().await;
        });
    }

    async fn drain(&mut self, why: End) {
        self.close(why);
        // It may have ended meanwhile: whoever has the status page's token can have it drain.
        if let Ok(stats) = self.pool.stats().await {
            self.progress.say(&format!(
                "stopping: {} tasks are under way and end; interrupt again to kill them",
                stats.tasks.in_flight
            ));
        }
    }

    /// Takes the outcomes of what the workers held last.
    async fn last(&mut self, mut outcomes: Results) -> Result<End, Failure> {
        // The driver has been through all of it once it answers, or has ended.
        let _ = self.pool.stats().await;
        while let Some(Some(taken)) = outcomes.next().now_or_never() {
            self.take(taken)?;
        }
        Ok(self.draining.take().unwrap_or(End::Complete))
    }

    /// Returns why there are no more outcomes. A pool that drains takes no more tasks, and gives those back that
    /// it has not begun.
    fn end(&mut self) -> End {
        let gate = &self.gate;
        let is_whole = gate.is_exhausted.get() && gate.given.get() == gate.ended.get();
        let is_complete = is_whole && !self.is_cut;
        let why = if is_complete { End::Complete } else { End::Drained };
        self.draining.take().unwrap_or(why)
    }

    fn how_far(&self, failure: &Failure) -> String {
        let Tally { done, failed, .. } = self.job.tally;
        // Wrong input is as wrong the next time.
        let goes_on = self.job.is_kept() && !matches!(failure, Failure::Input(_));
        let on = if goes_on { "; the same command goes on from here" } else { "" };
        format!("; stopped with {done} done and {failed} failed{on}")
    }
}

/// Has a worker end what it holds, and get nothing more.
async fn remove(pool: Pool, worker: WorkerId) {
    // One that is gone, or is being removed, is as good.
    let _ = pool.remove(worker).await;
}
