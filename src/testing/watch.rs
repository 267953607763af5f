//! Who sees what goes over the wires of a world, frame by frame.

use std::boxed::Box;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chargehand_core::TaskId;

/// A message on a wire of a world, or the end of one: what
/// [`World::watch`](super::World::watch) tells.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Passing<'a> {
    /// The time since the world began.
    pub at: Duration,
    /// The worker at one end of the wire.
    pub worker: &'a str,
    /// Which of the worker's wires it is, counted from 1 on.
    pub link: u64,
    /// What happens.
    pub step: Step,
    /// The message, as it is on the wire: what was garbled is garbage. Empty at an end.
    pub frame: &'a [u8],
}

/// How far a message is on its way, or which end of a wire is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// The manager has put it on the wire.
    ManagerSent,
    /// The worker has read it.
    WorkerGot,
    /// The worker has put it on the wire.
    WorkerSent,
    /// The manager has read it.
    ManagerGot,
    /// The manager's end is dropped.
    ManagerLeft,
    /// The worker's end is dropped.
    WorkerLeft,
}

type Watching = Box<dyn FnMut(&Passing<'_>) + Send>;

/// Whom the wires of a world tell, if anybody. Clones tell the same.
#[derive(Clone, Default)]
pub(super) struct Watcher(Arc<Mutex<Watch>>);

#[derive(Default)]
struct Watch {
    watching: Option<Watching>,
    /// The two workers that were asked last, and what.
    asked: [Option<(Arc<str>, TaskId, u16)>; 2],
}

impl Watcher {
    pub(super) fn set(&self, watching: impl FnMut(&Passing<'_>) + Send + 'static) {
        self.lock().watching = Some(Box::new(watching));
    }

    /// Notes that a worker is asked a task.
    pub(super) fn note_asked(&self, worker: &Arc<str>, task: TaskId, attempt: u16) {
        let [latest, before] = &mut self.lock().asked;
        if latest.as_ref().is_some_and(|(asked, ..)| asked != worker) {
            *before = latest.take();
        }
        *latest = Some((Arc::clone(worker), task, attempt));
    }

    /// Returns the task and attempt that a worker was asked last which is not this one.
    pub(super) fn asked_elsewhere(&self, worker: &str) -> Option<(TaskId, u16)> {
        let watch = self.lock();
        let asked = watch.asked.iter().flatten().find(|(asked, ..)| **asked != *worker);
        asked.map(|&(_, task, attempt)| (task, attempt))
    }

    pub(super) fn tell(&self, passing: &Passing<'_>) {
        if let Some(watching) = &mut self.lock().watching {
            watching(passing);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        // A watcher that panicked has failed the test already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
