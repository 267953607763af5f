//! The handlers that run: at most as many as the worker's concurrency, over all of its links.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use chargehand_core::Verdict;
use chargehand_core::session::RunId;

use super::memory::Memory;
use crate::handler::running::Runs;
use crate::handler::{Guard, Handler, Origin, fail};
use crate::link::ready::ReadySet;
use crate::payload::DecodeLimits;

/// Whom a run's answer goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) place: u32,
    pub(super) slot: RunId,
}

/// A run, as long as somebody wants its answer.
struct Run {
    owner: Owner,
    /// Tells the handler's context when this is dropped.
    guard: Option<Guard>,
}

pub(super) enum Started {
    /// It ended at once; the answer is in [`Runner::body`].
    Ended(Verdict),
    /// It goes on, under this index.
    Running(u32),
}

pub(super) struct Runner<H: Handler> {
    handler: H,
    runs: Runs<H::Future, Run>,
    concurrency: usize,
    decode_limits: DecodeLimits,
    /// The answer of the run that ended last.
    pub(super) body: Vec<u8>,
    /// The links with requests that wait for room, each once: they take turns.
    pub(super) waiting: VecDeque<u32>,
    /// What requests and answers may take.
    pub(super) memory: Memory,
}

impl<H: Handler> Runner<H> {
    pub(super) fn new(
        handler: H,
        concurrency: u16,
        decode_limits: DecodeLimits,
        memory: Memory,
    ) -> Self {
        Self {
            handler,
            decode_limits,
            runs: Runs::new(),
            concurrency: usize::from(concurrency),
            body: Vec::new(),
            waiting: VecDeque::new(),
            memory,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.runs.len() < self.concurrency
    }

    /// Starts a request and polls it once. Make sure that there is room.
    #[inline]
    pub(super) fn start(
        &mut self,
        ready: &ReadySet,
        owner: Owner,
        mut origin: Origin<'_>,
        body: &[u8],
    ) -> Started {
        assert!(self.has_room());
        let index = self.runs.insert(ready, Run { owner, guard: None }, None);
        let Self { handler, runs, decode_limits, body: answer, .. } = self;
        let begin = |handler: &H, run: &mut Run| {
            let future = handler.start(body, decode_limits, &mut origin)?;
            run.guard = origin.into_guard();
            Ok(Some(future))
        };
        match poll(handler, runs, answer, index, begin) {
            Some((_, verdict)) => Started::Ended(verdict),
            None => Started::Running(index),
        }
    }

    /// Polls a run that was woken, and returns whose it was once it has ended; its answer is then in
    /// `body`.
    pub(super) fn go_on(&mut self, index: u32) -> Option<(Owner, Verdict)> {
        let Self { handler, runs, body, .. } = self;
        runs.clear(index);
        poll(handler, runs, body, index, |_, _| Ok(None))
    }

    /// Ends a run whose answer nobody wants.
    pub(super) fn cancel(&mut self, index: u32) {
        if H::ENDS_WHEN_DROPPED {
            self.runs.release(index);
        } else {
            self.runs.disown(index);
        }
    }
}

/// Polls a run, after `begin` has made its future where there is none yet. Its answer goes into `body`.
#[inline]
fn poll<H: Handler>(
    handler: &H,
    runs: &mut Runs<H::Future, Run>,
    body: &mut Vec<u8>,
    index: u32,
    begin: impl FnOnce(&H, &mut Run) -> Result<Option<H::Future>, String>,
) -> Option<(Owner, Verdict)> {
    let finish = |output| {
        body.clear();
        handler.finish(output, body)
    };
    let (run, result) = runs.poll(index, |run| begin(handler, run), finish)?;
    let verdict = result.unwrap_or_else(|text| fail(&text, body));
    let Run { owner, guard } = run?;
    if let Some(guard) = guard {
        guard.defuse();
    }
    Some((owner, verdict))
}
