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
    /// Adds a worker, which the manager dials at once, and returns its id. [`WorkerOptions::new`] leaves everything
    /// at the pool's defaults.
    ///
    /// # Errors
    /// Returns [`WorkerError::Full`] if the pool has `workers_max` workers, and [`WorkerError::NoWindow`] if the
    /// window in `options` is 0.
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

    /// Removes a worker: it gets no new task, finishes those that it holds, and has left when this completes.
    /// Dropping the future does not stop the removal.
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
    /// A range or a map of an iterator is under way until its last outcome. So with an endless one, or one whose
    /// stream is no longer polled, the pool is never idle. A map of a stream ([`from_stream`]) is not under way while
    /// the stream has no request and every earlier request has its outcome, so this completes beside a stream that
    /// waits forever.
    ///
    /// Tasks of your runtime that await an outcome may not have run by then; [`all_taken`](Pool::all_taken) waits for
    /// them. Callbacks have returned.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver ends first.
    pub async fn idle(&self) -> Result<(), Closed> {
        self.ask(|reply| Control::Idle { taken: false, reply }).await
    }

    /// Completes once the pool is [idle](Pool::idle) and the outcome of every call and [`Task`] was
    /// taken: its future has returned it, or was dropped or detached.
    ///
    /// So it waits forever for a [`Task`] that is kept and never awaited: do not await this while you hold one. An
    /// outcome that was taken may not be handled yet; where that matters use [`submit_then`](Pool::submit_then). For
    /// a range or a map, the end of its stream says the same.
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

    /// Stops the pool and returns its final figures, with the workers that it had when it was stopped.
    ///
    /// The pool accepts no new task, waits up to `drain_timeout` for those it has, ends the rest as
    /// [`TaskError::Aborted`], and closes all links. Tasks that still wait to enter the pool, because it holds
    /// `tasks_max` already, end as [`TaskError::Stopping`]; detached tasks then end without notice. To finish
    /// everything first, await [`idle`](Pool::idle).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is dropped first, or had ended before.
    pub async fn stop(&self) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stop { within: None, reply }).await
    }

    /// Stops the pool like [`stop`](Pool::stop), but waits up to `within` instead of `drain_timeout`.
    ///
    /// # Errors
    /// As [`stop`](Pool::stop).
    pub async fn stop_within(&self, within: Duration) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stop { within: Some(within), reply }).await
    }

    /// Returns figures about the pool's tasks, queues and workers. Costs O(workers).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    pub async fn stats(&self) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stats { reply }).await
    }

    /// Returns the pool's figures with measurements: latencies, failures grouped by text, and the progress of ranges.
    ///
    /// The first call starts the measuring, which costs a few percent of the maximum throughput. Each call takes
    /// O(workers + [`tasks_max`](Builder::tasks_max)) of the driver's time, about a millisecond with a thousand
    /// workers.
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

    /// Returns why tasks wait and workers get none, as the scheduler decides it, once it has nothing left to do.
    /// Takes O(workers + [`tasks_max`](Builder::tasks_max)) of the driver's time, about a millisecond.
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

    /// Returns what a task is doing now and why, for each task that matches: several if several ranges contain the
    /// height, none if none does. Costs as much as [`explain`](Self::explain).
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

    /// Pauses a queue: none of its tasks is sent until it is [resumed](Pool::resume), including retries. Tasks that
    /// workers hold go on, and new tasks are queued as long as there is room.
    ///
    /// [`idle`](Pool::idle) waits for the tasks of a paused queue, and [`stop`](Pool::stop) does up to its deadline.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    ///
    /// # Panics
    /// If it is a queue of another pool.
    pub async fn pause(&self, queue: &Queue) -> Result<(), Closed> {
        self.set_paused(queue, true).await
    }

    /// Resumes a queue that was [paused](Pool::pause), or that [started paused](QueueOptions::paused).
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
