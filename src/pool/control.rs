//! What is asked of a pool besides tasks: its workers, its queues, its figures and its end.

#[cfg(feature = "std")]
use alloc::vec::Vec;
use core::time::Duration;

use async_channel::Sender;
#[cfg(doc)]
use chargehand_core::QueueOptions;
use chargehand_core::WorkerId;
use chargehand_core::io::Connect;

use super::Pool;
#[cfg(doc)]
use super::{Builder, Task, from_stream};
#[cfg(feature = "std")]
use crate::driver::explain::Question;
#[cfg(doc)]
use crate::error::TaskError;
use crate::error::{Closed, WorkerError};
use crate::handler::HandlerFn;
use crate::link::erased::{Connector, Holds, InProcessFn, Kind, Reach};
use crate::link::reason::BoxError;
use crate::mailbox::mail::Control;
use crate::options::{Queue, WorkerOptions};
use crate::stats::PoolStats;

impl<K: Kind> Pool<K> {
    /// Adds a worker that the manager dials, at once, and returns its id. It is used as `options` say, of
    /// which [`WorkerOptions::new`] says nothing.
    ///
    /// # Errors
    /// Returns [`WorkerError::Full`] if the pool has `workers_max` workers, and
    /// [`WorkerError::NoWindow`] if it is given a window of 0.
    pub async fn add<C>(&self, connect: C, options: WorkerOptions) -> Result<WorkerId, WorkerError>
    where
        C: Connect,
        C::Error: Into<BoxError>,
        K::Connector: Holds<Connector<C>>,
    {
        self.add_by(Reach::Dial(K::Connector::boxed(Connector::new(connect))), options).await
    }

    /// Adds a worker inside this process, as [`Builder::in_process`] does, and returns its id.
    ///
    /// # Errors
    /// As [`add`](Pool::add).
    pub async fn add_in_process<F, Args>(
        &self,
        handler: F,
        options: WorkerOptions,
    ) -> Result<WorkerId, WorkerError>
    where
        F: HandlerFn<Args>, // Said for its own errors; the next line is shown in the others.
        F: InProcessFn<K, Args>, // `Send` if the pool is `Threaded`; `Pool::local_builder` takes any.
    {
        self.add_by(Reach::InProcess(handler.boxed()), options).await
    }

    async fn add_by(
        &self,
        reach: Reach<K>,
        options: WorkerOptions,
    ) -> Result<WorkerId, WorkerError> {
        if options.is_idle() {
            return Err(WorkerError::NoWindow);
        }
        let answer = self.ask(|reply| Control::Add { reach, options, reply }).await;
        answer.unwrap_or(Err(WorkerError::Closed))
    }

    /// Removes a worker: it gets nothing more, finishes what it holds, and is gone when this
    /// completes. Dropping the future does not stop that.
    ///
    /// # Errors
    /// Returns [`WorkerError::Unknown`] if there is no such worker, or it is being removed already.
    pub async fn remove(&self, worker: WorkerId) -> Result<(), WorkerError> {
        let answer = self.ask(|reply| Control::Remove { worker, reply }).await;
        answer.unwrap_or(Err(WorkerError::Closed))
    }

    /// Completes once no task is queued or under way, and every callback of
    /// [`submit_then`](Pool::submit_then) has returned.
    ///
    /// A range is under way until its last outcome, and so is a map of an iterator: one without an end
    /// never lets its pool be idle, and neither does one whose stream nobody polls any more. A map of a
    /// stream ([`from_stream`]) is not under way while that has nothing for it and every request had its
    /// outcome, so this completes beside one that waits for ever.
    ///
    /// Whoever awaits an outcome may not have run by then. [`all_taken`](Pool::all_taken) waits for
    /// that, and callbacks are over.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver ends first.
    pub async fn idle(&self) -> Result<(), Closed> {
        self.ask(|reply| Control::Idle { taken: false, reply }).await
    }

    /// Completes once the pool is [idle](Pool::idle) and the outcome of every call and [`Task`] was
    /// taken: its future has returned it, or was dropped or detached.
    ///
    /// So it waits for ever for a task that is kept and never awaited: do not await this where one is held
    /// that is awaited later. What was taken may not be handled yet; where that matters use
    /// [`submit_then`](Pool::submit_then). Of a range or a map the end of its stream tells the same.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool, requests: Vec<String>) -> Result<(), chargehand::Closed> {
    /// # fn spawn(future: impl Future) {}
    /// for request in requests {
    ///     let pool = pool.clone();
    ///     spawn(async move { pool.call::<u64, _>(&request).await });
    /// }
    /// // ...
    /// pool.all_taken().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver ends first.
    pub async fn all_taken(&self) -> Result<(), Closed> {
        self.ask(|reply| Control::Idle { taken: true, reply }).await
    }

    /// Stops the pool: takes no new task, waits for those it has up to `drain_timeout`, ends the
    /// rest as [`TaskError::Aborted`], closes all links, and returns the final figures, with the
    /// workers that were in the pool when it was stopped. Tasks that
    /// still wait to get into the pool, because it holds `tasks_max` already, end as
    /// [`TaskError::Stopping`]; where they were detached, nobody hears of that. To have them all
    /// done, await [`idle`](Pool::idle) first.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is dropped first, or had ended before.
    pub async fn stop(&self) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stop { within: None, reply }).await
    }

    /// Stops the pool like [`stop`](Pool::stop), with `within` instead of `drain_timeout`.
    ///
    /// # Errors
    /// As [`stop`](Pool::stop).
    pub async fn stop_within(&self, within: Duration) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stop { within: Some(within), reply }).await
    }

    /// Returns the pool's tasks and workers, counted. Costs O(workers).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    pub async fn stats(&self) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stats { reply }).await
    }

    /// Returns the pool's figures with what it measures: times of tasks, failures by their text, how far ranges
    /// are. The first call has it measure from then on, which costs some percent of the highest throughput;
    /// each one costs O(workers + [`tasks_max`](Builder::tasks_max)) of the driver's time, a millisecond or so
    /// with a thousand workers.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::Closed> {
    /// let measures = pool.measure().await?;
    /// println!("half of all attempts take no longer than {:?}", measures.round_trip.quantile(0.5));
    /// for group in &measures.failures {
    ///     println!("{} times: {}", group.count, group.example);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    #[cfg(feature = "std")]
    pub async fn measure(&self) -> Result<crate::measure::Measures, Closed> {
        self.ask(|reply| Control::Measure { reply }).await
    }

    /// Returns why tasks wait and workers get none, from the scheduler itself, once that has nothing left to do.
    /// Costs O(workers + [`tasks_max`](Builder::tasks_max)) of the driver's time: a millisecond or so.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::Closed> {
    /// // 3 tasks of queue tip, 17 among them: each waits for its queue's rate, for 0.4 s at most. What would ..
    /// println!("{}", pool.explain().await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    #[cfg(feature = "std")]
    pub async fn explain(&self) -> Result<crate::explain::Explanation, Closed> {
        self.ask(|reply| Control::Explain(Question::Pool(reply))).await
    }

    /// Returns what a task does now and why, for each task that is found: several, where several ranges have a
    /// height; none, where none has it. Costs as much as [`explain`](Self::explain).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    #[cfg(feature = "std")]
    pub async fn explain_task(
        &self,
        task: crate::explain::Find,
    ) -> Result<Vec<crate::explain::TaskExplanation>, Closed> {
        self.ask(|reply| Control::Explain(Question::Task(task, reply))).await
    }

    /// Stops a queue: none of its tasks is sent until it is [resumed](Pool::resume), be they new or tried
    /// again. Those that workers hold go on, and new ones are queued as far as there is room.
    ///
    /// [`idle`](Pool::idle) waits for what waits in it, and [`stop`](Pool::stop) up to its deadline.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    ///
    /// # Panics
    /// If it is a queue of another pool.
    pub async fn pause(&self, queue: &Queue) -> Result<(), Closed> {
        self.set_paused(queue, true).await
    }

    /// Lets a queue go on that was [stopped](Pool::pause), or that began [so](QueueOptions::paused).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    ///
    /// # Panics
    /// If it is a queue of another pool.
    pub async fn resume(&self, queue: &Queue) -> Result<(), Closed> {
        self.set_paused(queue, false).await
    }

    async fn set_paused(&self, queue: &Queue, is_paused: bool) -> Result<(), Closed> {
        assert!(queue.is_of(&self.queues), "a queue of another pool");
        let queue = queue.id();
        self.ask(|reply| Control::Pause { queue, is_paused, reply }).await
    }

    async fn ask<R>(&self, question: impl FnOnce(Sender<R>) -> Control<K>) -> Result<R, Closed> {
        let (reply, answer) = async_channel::bounded(1);
        self.control.send(question(reply)).await.map_err(|_| Closed)?;
        self.mailbox.ring();
        answer.recv().await.map_err(|_| Closed)
    }
}
