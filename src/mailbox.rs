//! What handles leave for the driver, and how it hears of that.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

use async_channel::{Receiver, Sender};
use chargehand_core::{Stats, WorkerId};
use event_listener::{Event, EventListener};

use crate::body::Body;
use crate::error::WorkerError;
use crate::event::PoolEvent;
use crate::lock::Lock;
use crate::outcomes::{Exchange, Ledger, Options};
use crate::pool::PoolStats;
use crate::reply::{Cell, Promise};
use crate::wire::{Kind, Reach};

/// A task on its way to the driver.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) body: Body,
    pub(crate) promise: Promise,
}

/// A range on its way to the driver.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) heights: Ledger,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) options: Options,
}

/// Anything else on its way to the driver.
pub(crate) enum Control<K: Kind> {
    Add { reach: Reach<K>, reply: Sender<Result<WorkerId, WorkerError>> },
    Remove { worker: WorkerId, reply: Sender<Result<(), WorkerError>> },
    Idle { reply: Sender<()> },
    Stop { within: Option<Duration>, reply: Sender<Stats> },
    Stats { reply: Sender<PoolStats> },
}

/// A handle's way to the driver. Dropping it tells the driver that nobody is left.
#[derive(Debug)]
pub(crate) struct Mailbox {
    post: Arc<Post>,
}

/// The driver's view of the [`Mailbox`].
#[derive(Debug)]
pub(crate) struct Post {
    doorbell: Waker,
    inbox: Lock<Inbox>,
    queue_max: usize,
    /// Tells callers that wait of room in the queue.
    room: Event,
    /// Every handle is dropped.
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct Inbox {
    /// Rings when it is no longer empty. At most `queue_max`.
    submits: VecDeque<Submit>,
    mail: Mail,
    closed: bool,
}

/// What handles leave without waiting. Each entry belongs to an object of the caller's (a task, a
/// stream), so the caller's own objects bound it.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) cancels: Vec<Arc<Cell>>,
    pub(crate) jobs: Vec<NewJob>,
    pub(crate) listeners: Vec<Sender<PoolEvent>>,
}

/// Why a task was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotQueued {
    /// There is no room now.
    Full,
    /// The driver is gone.
    Closed,
}

impl Mailbox {
    pub(crate) fn ring(&self) {
        self.post.doorbell.wake_by_ref();
    }

    /// Queues a task if there is room; otherwise it stays where it is.
    pub(crate) fn submit(&self, task: &mut Option<Submit>) -> Result<(), NotQueued> {
        let is_first = self.post.inbox.with(|inbox| {
            if inbox.closed {
                return Err(NotQueued::Closed);
            }
            if inbox.submits.len() >= self.post.queue_max {
                return Err(NotQueued::Full);
            }
            if let Some(task) = task.take() {
                inbox.submits.push_back(task);
            }
            Ok(inbox.submits.len() == 1)
        })?;
        if is_first {
            self.ring();
        }
        Ok(())
    }

    /// Listens for room in the queue, or for its end. Try again before waiting: there may be room
    /// already.
    pub(crate) fn listen_for_room(&self) -> EventListener {
        self.post.room.listen()
    }

    /// Returns how many tasks are queued.
    pub(crate) fn queued(&self) -> usize {
        self.post.queued()
    }

    pub(crate) fn cancel(&self, cell: Arc<Cell>) {
        self.leave(|mail| mail.cancels.push(cell));
    }

    /// Hands a range over, or ends its stream at once if the driver is gone.
    pub(crate) fn start(&self, job: NewJob) {
        let mut job = Some(job);
        self.leave(|mail| mail.jobs.extend(job.take()));
        if let Some(job) = job {
            job.exchange.end();
        }
    }

    pub(crate) fn listen(&self, listener: Sender<PoolEvent>) {
        self.leave(|mail| mail.listeners.push(listener));
    }

    fn leave(&self, put: impl FnOnce(&mut Mail)) {
        let left = self.post.inbox.with(|inbox| {
            if !inbox.closed {
                put(&mut inbox.mail);
            }
            !inbox.closed
        });
        if left {
            self.ring();
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.post.abandoned.store(true, Ordering::Release);
        self.ring();
    }
}

impl Post {
    /// Takes all that was left, but for tasks.
    pub(crate) fn take(&self) -> Mail {
        self.inbox.with(|inbox| mem::take(&mut inbox.mail))
    }

    /// Moves up to `count` tasks from the queue into `batch`, which must be empty, and tells those
    /// who wait of the room. Returns whether more are queued: otherwise the next one rings.
    pub(crate) fn take_submits(&self, count: usize, batch: &mut VecDeque<Submit>) -> bool {
        debug_assert!(batch.is_empty());
        let left = self.inbox.with(|inbox| {
            if inbox.submits.len() <= count {
                mem::swap(&mut inbox.submits, batch);
            } else {
                batch.extend(inbox.submits.drain(..count));
            }
            inbox.submits.len()
        });
        if !batch.is_empty() {
            self.room.notify(self.queue_max - left);
        }
        left > 0
    }

    /// Takes all that was left, for the last time.
    pub(crate) fn close(&self) -> (Mail, VecDeque<Submit>) {
        let left = self.inbox.with(|inbox| {
            inbox.closed = true;
            (mem::take(&mut inbox.mail), mem::take(&mut inbox.submits))
        });
        self.room.notify(usize::MAX);
        left
    }

    pub(crate) fn queued(&self) -> usize {
        self.inbox.with(|inbox| inbox.submits.len())
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

/// The driver's ends of all that handles hold.
pub(crate) struct Ends<K: Kind> {
    pub(crate) control: Receiver<Control<K>>,
    pub(crate) post: Arc<Post>,
}

/// Makes a handle's ends and the driver's.
pub(crate) fn mailbox<K: Kind>(
    doorbell: Waker,
    queue_max: usize,
) -> (Sender<Control<K>>, Arc<Mailbox>, Ends<K>) {
    // Control calls wait for their answers; a handful in the channel is plenty.
    let (control_in, control) = async_channel::bounded(16);
    let post = Arc::new(Post {
        doorbell,
        inbox: Lock::new(Inbox::default()),
        queue_max,
        room: Event::new(),
        abandoned: AtomicBool::new(false),
    });
    let mailbox = Arc::new(Mailbox { post: Arc::clone(&post) });
    (control_in, mailbox, Ends { control, post })
}
