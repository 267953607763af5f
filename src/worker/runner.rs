//! The handlers that run: at most as many as the worker's concurrency, over all of its links.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use chargehand_core::Verdict;
use chargehand_core::session::Slot;

use super::handler::{Handler, fail};
use crate::ready::{Entry, ReadySet};

/// Marks a token of the ready set as that of a run.
pub(super) const RUN: u32 = 1 << 31;

/// Whom a run's answer goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) place: u32,
    pub(super) slot: Slot,
}

pub(super) enum Started {
    /// It ended at once; the answer is in [`Runner::body`].
    Ended(Verdict),
    /// It goes on, under this index.
    Running(u32),
}

pub(super) struct Runner<H: Handler> {
    handler: H,
    /// The room of each run is used again, with its waker and its allocation.
    runs: Vec<Run<H::Future>>,
    free: Vec<u32>,
    concurrency: usize,
    /// The answer of the run that ended last.
    pub(super) body: Vec<u8>,
    /// The links with requests that wait for room, each once: they take turns.
    pub(super) waiting: VecDeque<u32>,
}

struct Run<F> {
    entry: Entry,
    future: Pin<Box<Option<F>>>,
    /// `None` while nobody wants the answer any more.
    owner: Option<Owner>,
}

impl<H: Handler> Runner<H> {
    pub(super) fn new(handler: H, concurrency: u16) -> Self {
        Self {
            handler,
            runs: Vec::new(),
            free: Vec::new(),
            concurrency: usize::from(concurrency),
            body: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.runs.len() - self.free.len() < self.concurrency
    }

    /// Starts a request and polls it once. Make sure that there is room.
    pub(super) fn start(&mut self, ready: &ReadySet, owner: Owner, body: &[u8]) -> Started {
        assert!(self.has_room());
        let started = catch_unwind(AssertUnwindSafe(|| self.handler.start(body)));
        let future = match started {
            Ok(Ok(future)) => future,
            Ok(Err(text)) => return Started::Ended(fail(&text, &mut self.body)),
            Err(panic) => return Started::Ended(fail_panicked(&*panic, &mut self.body)),
        };
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.runs.len()).expect("as many as a u16 can count");
            let entry = ready.entry(RUN | index);
            self.runs.push(Run { entry, future: Box::pin(None), owner: None });
            index
        });
        let run = &mut self.runs[index as usize];
        run.future.set(Some(future));
        run.owner = Some(owner);
        match self.poll(index) {
            Some((_, verdict)) => Started::Ended(verdict),
            None => Started::Running(index),
        }
    }

    /// Polls a run, and returns whose it was once it has ended; its answer is then in `body`.
    pub(super) fn poll(&mut self, index: u32) -> Option<(Owner, Verdict)> {
        let Self { handler, runs, body, .. } = self;
        let run = runs.get_mut(index as usize)?;
        run.entry.clear();
        let mut cx = Context::from_waker(run.entry.waker());
        let future = run.future.as_mut();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let Poll::Ready(output) = future.as_pin_mut()?.poll(&mut cx) else { return None };
            body.clear();
            Some(handler.finish(output, body))
        }));
        let verdict = match result {
            Ok(verdict) => verdict?,
            Err(panic) => fail_panicked(&*panic, body),
        };
        let owner = run.owner.take();
        self.release(index);
        Some((owner?, verdict))
    }

    /// Ends a run whose answer nobody wants.
    pub(super) fn cancel(&mut self, index: u32) {
        self.runs[index as usize].owner = None;
        if H::ENDS_WHEN_DROPPED {
            self.release(index);
        }
    }

    fn release(&mut self, index: u32) {
        let run = &mut self.runs[index as usize];
        // A destructor of the user's may panic as well, and nobody is left to be told.
        let _ = catch_unwind(AssertUnwindSafe(|| run.future.set(None)));
        self.free.push(index);
    }
}

fn fail_panicked(panic: &(dyn Any + Send), body: &mut Vec<u8>) -> Verdict {
    let text = panic_text(panic);
    fail(&format_args!("the handler panicked: {text}"), body)
}

/// Returns what a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no text"
    }
}
