//! The handlers that run: at most as many as the worker's concurrency, over all of its links.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;

use chargehand_core::session::RunId;
use chargehand_core::{Instant, Verdict};

use super::clock::Now;
use super::memory::Memory;
use super::settings::Settings;
use crate::handler::reports::Reports;
use crate::handler::running::Runs;
use crate::handler::{Guard, Handler, Origin, fail};
use crate::link::ready::ReadySet;
use crate::payload::DecodeLimits;
use crate::trace::in_span;

/// Whom a run's answer goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) place: u32,
    pub(super) slot: RunId,
}

/// A run, as long as somebody wants its answer.
struct Run {
    owner: Owner,
    /// When it began, where somebody wants to know how long it takes.
    began: Option<Instant>,
    /// Tells the handler's context when this is dropped.
    guard: Guard,
    /// What it has of a trace.
    #[cfg(feature = "tracing")]
    traced: Option<alloc::boxed::Box<crate::traces::Traced>>,
}

pub(super) enum Begun {
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
    /// Which runs say how far they are, and when.
    pub(super) reports: Reports,
    /// The answer of the run that ended last.
    pub(super) body: Vec<u8>,
    /// The links with requests that wait for room, each once: they take turns.
    pub(super) waiting: VecDeque<u32>,
    /// What requests and answers may take.
    pub(super) memory: Memory,
}

impl<H: Handler> Runner<H> {
    pub(super) fn new(handler: H, settings: &Settings, memory: Memory) -> Self {
        Self {
            handler,
            reports: Reports::new(settings.progress_interval),
            decode_limits: settings.decode_limits,
            runs: Runs::new(),
            concurrency: usize::from(settings.concurrency),
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
    ) -> Begun {
        assert!(self.has_room());
        let Self { handler, runs, decode_limits, body: answer, .. } = self;
        let index = runs.take_room(ready);
        #[cfg(feature = "tracing")]
        let traced_span = origin.span();
        let begin = |_: Option<&mut Run>, mut place: Pin<&mut Option<H::Future>>| {
            place.set(Some(handler.start(body, decode_limits, &mut origin)?));
            Ok(())
        };
        #[cfg(feature = "tracing")]
        let span = traced_span;
        let verdict =
            in_span!(span, runs.poll(index, begin, |output, _| finish(handler, output, answer)));
        #[cfg(feature = "tracing")]
        let traced = origin.take_traced();
        let mut guard = origin.into_guard();
        // Most have ended now, and were nobody's to find again.
        let Some(verdict) = verdict else {
            let run = Run {
                owner,
                began: None,
                guard,
                #[cfg(feature = "tracing")]
                traced,
            };
            runs.own(index, run);
            self.listen(index);
            return Begun::Running(index);
        };
        guard.defuse();
        #[cfg(feature = "tracing")]
        if let Some(traced) = traced {
            traced.end(verdict);
        }
        Begun::Ended(verdict)
    }

    /// Notes when a run began that goes on.
    pub(super) fn note_begin(&mut self, index: u32, now: Instant) {
        if let Some(run) = self.runs.owner_mut(index) {
            run.began = Some(now);
        }
    }

    /// Returns when a run began, where that was noted.
    pub(super) fn began(&self, index: u32) -> Option<Instant> {
        self.runs.owner(index)?.began
    }

    /// Polls a run that was woken, and returns whose it was once it has ended; its answer is then in
    /// `body`.
    pub(super) fn go_on(&mut self, index: u32) -> Option<(Owner, Verdict)> {
        let Self { handler, runs, body, .. } = self;
        runs.clear(index);
        let owner = runs.owner(index).map(|run| run.owner);
        let finish = |output, run: Option<&mut Run>| {
            let verdict = finish(handler, output, body);
            if let Some(run) = run {
                run.guard.defuse();
                #[cfg(feature = "tracing")]
                if let Some(traced) = run.traced.take() {
                    traced.end(verdict);
                }
            }
            verdict
        };
        #[cfg(feature = "tracing")]
        let span = runs.owner(index).and_then(|run| Some(run.traced.as_ref()?.span.clone()));
        let verdict = in_span!(span, runs.poll(index, |_, _| Ok(()), finish))?;
        Some((owner?, verdict))
    }

    /// Notes that a run that was woken has said how far it is. Returns whether it has.
    #[inline]
    pub(super) fn note_said(&mut self, index: u32, clock: &mut dyn Now) -> bool {
        let has_news = self.runs.owner(index).is_some_and(|run| run.guard.has_news());
        if has_news {
            self.reports.list(index, clock.now());
        }
        has_news
    }

    /// Returns how far a run is that was to say so, and whose it is, unless that is no news. It is listened to
    /// again.
    pub(super) fn take_said(&mut self, index: u32) -> Option<(Owner, (u64, u64))> {
        let (_, run) = self.runs.waker_of(index)?;
        let (owner, said) = (run.owner, run.guard.take_said());
        self.listen(index);
        Some((owner, said?))
    }

    /// Has a run woken where it says how far it is, as if it had something to do.
    fn listen(&self, index: u32) {
        if let Some((waker, run)) = self.runs.waker_of(index) {
            if run.guard.listen(waker) {
                waker.wake_by_ref();
            }
        }
    }

    /// Gives a run to another place, and returns which it was in the place that it had.
    pub(super) fn give_away(&mut self, index: u32, place: u32) -> Option<RunId> {
        let owner = &mut self.runs.owner_mut(index)?.owner;
        owner.place = place;
        Some(owner.slot)
    }

    /// Gives a run to another owner, who is to hear how far it is: what was said meanwhile, or last on a link that
    /// was about to break, has not come to the manager, and may be what gives the attempt its time.
    pub(super) fn take_over(&mut self, index: u32, owner: Owner, now: Instant) {
        let Some(run) = self.runs.owner_mut(index) else { return };
        run.owner = owner;
        run.guard.renew_said();
        if run.guard.has_news() {
            self.reports.list(index, now);
        }
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

/// Puts the answer of a run that has ended into `body`.
#[inline]
fn finish<H: Handler>(
    handler: &H,
    output: Result<<H::Future as Future>::Output, String>,
    body: &mut Vec<u8>,
) -> Verdict {
    match output {
        Ok(output) => {
            body.clear();
            handler.finish(output, body)
        }
        Err(text) => fail(&text, body),
    }
}
