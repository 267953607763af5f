//! A worker whose answers the test gives by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::Answer;

/// A worker whose answers are given by hand. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Rc<RefCell<Held>>);

#[derive(Default)]
struct Held {
    /// The requests that were begun, each time.
    begun: Vec<u64>,
    waiting: BTreeMap<u64, Option<Waker>>,
    answers: BTreeMap<u64, Result<u64, String>>,
}

impl Gate {
    pub(crate) fn work(&self) -> impl Fn(u64) -> Answer + 'static {
        let gate = self.clone();
        move |height| {
            let mut held = gate.0.borrow_mut();
            held.begun.push(height);
            held.waiting.insert(height, None);
            Box::pin(Request { gate: gate.clone(), height })
        }
    }

    pub(crate) fn answer(&self, height: u64, answer: Result<u64, String>) {
        let mut held = self.0.borrow_mut();
        assert!(held.waiting.contains_key(&height), "{height} is not asked for");
        held.answers.insert(height, answer);
        if let Some(Some(waker)) = held.waiting.get(&height) {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn waiting(&self) -> Vec<u64> {
        self.0.borrow().waiting.keys().copied().collect()
    }

    pub(crate) fn begun(&self) -> Vec<u64> {
        self.0.borrow().begun.clone()
    }
}

struct Request {
    gate: Gate,
    height: u64,
}

impl Future for Request {
    type Output = Result<u64, String>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut held = self.gate.0.borrow_mut();
        if let Some(answer) = held.answers.remove(&self.height) {
            return Poll::Ready(answer);
        }
        held.waiting.insert(self.height, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.gate.0.borrow_mut().waiting.remove(&self.height);
    }
}
