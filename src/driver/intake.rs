//! What the pool's handles left for the driver.

use alloc::sync::Arc;
use core::mem;
use core::time::Duration;

use async_channel::Sender;
use chargehand_core::io::Timer;
use chargehand_core::{Stats, SubmitError};

use super::{Driver, Payload};
use crate::error::{TaskError, WorkerError};
use crate::pool::{Control, Submit};
use crate::reply::Cell;
use crate::wire::Kind;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Takes what was left since the last ring.
    pub(crate) fn take_in(&mut self) {
        if !mem::take(&mut self.rung) {
            return;
        }
        self.settled = false;
        let inbox = self.ends.post.take();
        for listener in inbox.listeners {
            self.events.add(listener);
        }
        while let Ok(control) = self.ends.control.try_recv() {
            self.on_control(control);
        }
        for job in inbox.jobs {
            if self.is_stopping() { job.exchange.end() } else { self.jobs.add(job) }
        }
        for cell in inbox.cancels {
            self.on_cancel(&cell);
        }
        self.jobs.look_again();
        if self.ends.post.is_abandoned() && !self.is_stopping() {
            self.stop(self.limits.drain_timeout);
        }
    }

    /// Puts tasks into the scheduler while it has room.
    pub(crate) fn admit(&mut self) {
        let ranges_first = self.ranges_first;
        if ranges_first {
            self.admit_heights();
        }
        if self.submitted || self.stalled.is_some() {
            self.admit_submitted();
        }
        if !ranges_first {
            self.admit_heights();
        }
    }

    fn admit_submitted(&mut self) {
        loop {
            let next = self.stalled.take().or_else(|| self.ends.submits.try_recv().ok());
            let Some(Submit { body, promise }) = next else {
                self.submitted = false;
                return;
            };
            if promise.is_cancelled() {
                promise.fulfil(Err(TaskError::Cancelled));
                continue;
            }
            match self.scheduler.submit(self.now) {
                Ok(task) => {
                    self.ranges_first = true;
                    let wanted = promise.accepted(task);
                    self.tasks[task.slot() as usize].payload = Payload::Request { body, promise };
                    if !wanted {
                        self.scheduler.cancel(self.now, task).expect("it was accepted just now");
                    }
                }
                Err(SubmitError::Full) => {
                    self.stalled = Some(Submit { body, promise });
                    return;
                }
                Err(SubmitError::Draining) => promise.fulfil(Err(TaskError::Stopping)),
            }
        }
    }

    fn on_cancel(&mut self, cell: &Arc<Cell>) {
        if let Some(task) = cell.task() {
            // Stale: it is finished, which is as good.
            let _ = self.scheduler.cancel(self.now, task);
        }
        // Otherwise it is still queued, and seen to be cancelled when it is taken out.
    }

    fn on_control(&mut self, control: Control<K>) {
        match control {
            Control::Add { reach, reply } => {
                let added = self.add(reach).map_err(|_| WorkerError::Full);
                let _ = reply.try_send(added);
            }
            Control::Remove { worker, reply } => {
                if self.scheduler.remove_worker(self.now, worker).is_ok() {
                    self.peers.await_gone(worker, reply);
                } else {
                    let _ = reply.try_send(Err(WorkerError::Unknown));
                }
            }
            Control::Idle { reply } => self.idlers.push(reply),
            Control::Stop { within, reply } => {
                self.on_stop(within.unwrap_or(self.limits.drain_timeout), reply);
            }
            Control::Stats { reply } => {
                let _ = reply.try_send(self.stats());
            }
        }
    }

    fn on_stop(&mut self, within: Duration, reply: Sender<Stats>) {
        self.stoppers.push(reply);
        self.stop(within);
    }

    fn stop(&mut self, within: Duration) {
        // What was queued before has been taken on, as far as there is room.
        self.admit_submitted();
        self.scheduler.drain(self.now, self.now.saturating_add(within));
        self.jobs.stop();
        self.joining.stop();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.scheduler.is_draining()
    }
}
