//! Tasks of one thread, polled only when woken and in the order in which they were: nothing about a
//! run depends on the machine.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::vec::Vec;

use crate::link::ready::{Entry, ReadySet};

/// The token of the future that a run is about, which is not one of the tasks.
pub(super) const MAIN: u32 = u32::MAX;

pub(super) struct Executor {
    ready: RefCell<ReadySet>,
    /// What was taken from the ready set and is not polled yet.
    queue: RefCell<VecDeque<u32>>,
    tasks: RefCell<Vec<Task>>,
    polls: Cell<u64>,
}

struct Task {
    entry: Rc<Entry>,
    /// `None` while it is polled, and once it is over.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Executor {
    pub(super) fn new() -> Self {
        let (queue, tasks) = (RefCell::default(), RefCell::default());
        Self { ready: RefCell::new(ReadySet::new()), queue, tasks, polls: Cell::new(0) }
    }

    /// Starts a future whose output somebody may wait for.
    pub(super) fn spawn_joined<F: Future + 'static>(&self, future: F) -> Spawned<F::Output> {
        let spawned = Spawned(Rc::default());
        let fate = Rc::clone(&spawned.0);
        self.spawn(async move {
            let output = future.await;
            let mut fate = fate.borrow_mut();
            (fate.output, fate.done) = (Some(output), true);
            fate.waker.take().into_iter().for_each(Waker::wake);
        });
        spawned
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        let token = u32::try_from(tasks.len()).expect("fewer than 2^32 tasks");
        let entry = Rc::new(self.ready.borrow().entry(token));
        entry.wake();
        tasks.push(Task { entry, future: Some(Box::pin(future)) });
    }

    /// Makes the entry of a run's own future, which is ready.
    pub(super) fn main(&self) -> Entry {
        let entry = self.ready.borrow().entry(MAIN);
        entry.wake();
        entry
    }

    /// Returns who is next of those that were woken.
    pub(super) fn next(&self) -> Option<u32> {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            let mut batch = Vec::new();
            // Nobody is to be woken: a run asks again and again.
            self.ready.borrow_mut().take(Waker::noop(), usize::MAX, &mut batch);
            queue.extend(batch);
        }
        queue.pop_front()
    }

    /// Polls a task. It may spawn others.
    pub(super) fn poll(&self, token: u32) {
        let taken = self.tasks.borrow_mut().get_mut(token as usize).and_then(|task| {
            task.entry.clear();
            Some((Rc::clone(&task.entry), task.future.take()?))
        });
        // Over already, or the main future of a run that is.
        let Some((entry, mut future)) = taken else { return };
        self.count();
        if future.as_mut().poll(&mut Context::from_waker(entry.waker())).is_pending() {
            self.tasks.borrow_mut()[token as usize].future = Some(future);
        }
    }

    /// Counts a poll.
    pub(super) fn count(&self) {
        self.polls.set(self.polls.get() + 1);
    }

    /// Returns how many polls there were.
    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }
}

/// A future that runs in a world, made by [`World::spawn`](super::World::spawn): await it for its
/// output. It runs on if this is dropped.
#[derive(Debug)]
pub struct Spawned<T>(Rc<RefCell<Fate<T>>>);

#[derive(Debug)]
struct Fate<T> {
    output: Option<T>,
    done: bool,
    waker: Option<Waker>,
}

impl<T> Default for Fate<T> {
    fn default() -> Self {
        Self { output: None, done: false, waker: None }
    }
}

impl<T> Spawned<T> {
    /// Returns whether it has completed.
    pub fn is_done(&self) -> bool {
        self.0.borrow().done
    }
}

impl<T> Future for Spawned<T> {
    type Output = T;

    /// # Panics
    /// Panics where it is polled after it has returned the output.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut fate = self.0.borrow_mut();
        if !fate.done {
            fate.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(fate.output.take().expect("polled after completion"))
    }
}
