//! A worker in this process: a handler, and its runs, each polled only when it was woken.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;
use core::pin::Pin;
use core::task::Waker;
use core::time::Duration;

use chargehand_core::message::clip;
use chargehand_core::{Instant, TaskId, Verdict};
use serde::Serialize;

use super::{Guard, HandlerFn, Origin, fail_by};
use crate::failure::{FAILURE_BYTES_MAX, within};
use crate::handler::reports::Reports;
use crate::handler::running::Runs;
use crate::link::ready::ReadySet;
use crate::link::token::Token;
use crate::payload::{Answer, Asked, DecodeLimits};
use crate::trace::in_span;
use crate::unwind::caught;

/// One sending of a task.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) attempt: u16,
}

/// What a handler may know of its surroundings.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// How long an attempt may take that was not told otherwise.
    pub(crate) timeout: Option<Duration>,
    pub(crate) manager: &'a Arc<str>,
    pub(crate) worker: &'a Arc<str>,
    pub(crate) now: Instant,
}

/// How an attempt ended.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ended {
    pub(crate) attempt: Attempt,
    pub(crate) verdict: Verdict,
    pub(crate) answer: Answer,
}

/// A worker in this process whose types are hidden.
#[doc(hidden)]
pub trait AnyHands {
    /// Takes an attempt on, with how long it may take where not as long as any other, and returns a number
    /// for it. Let it [`work`](Self::work) then.
    fn take(
        &mut self,
        attempt: Attempt,
        timeout: Option<Duration>,
        asked: Asked<'_>,
        limits: &DecodeLimits,
    ) -> u32;
    /// Has the attempt of this number run within a trace.
    #[cfg(feature = "tracing")]
    fn trace(&mut self, number: u32, traced: alloc::boxed::Box<crate::traces::Traced>);
    /// Ends an attempt at once, if it is still the one of this number.
    fn withdraw(&mut self, number: u32, attempt: Attempt);
    /// Ends all attempts at once.
    fn withdraw_all(&mut self);
    /// Starts and goes on with attempts that were woken, but polls no more than `polls`. Puts those
    /// that end into `ended`. Returns whether others are left; `waker` tells of later ones.
    fn work(
        &mut self,
        waker: &Waker,
        about: About<'_>,
        polls: usize,
        ended: &mut Vec<Ended>,
    ) -> bool;
    /// Returns an attempt that has said how far it is and may say so by now, and how far.
    fn take_said(&mut self, now: Instant) -> Option<(Attempt, (u64, u64))>;
    /// Returns when the next one may say so.
    fn said_at(&self) -> Option<Instant>;
}

/// How long it takes until what a handler here says is told, as long as elsewhere by default.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The handler `F`, whose shape `Args` tells.
#[allow(missing_debug_implementations)] // Futures of the user's are in it.
pub(crate) struct Hands<F: HandlerFn<Args>, Args> {
    handler: F,
    ready: ReadySet,
    runs: Runs<F::Future, Call<F::Request>>,
    /// The runs to poll next. No longer than there are runs.
    woken: VecDeque<u32>,
    batch: Vec<u32>,
    reports: Reports,
}

struct Call<Q> {
    attempt: Attempt,
    timeout: Option<Duration>,
    /// Until the handler is called with it. The error is the text of a failure.
    request: Option<Result<Q, String>>,
    /// Tells the handler's context when this is dropped.
    guard: Guard,
    /// What it has of a trace.
    #[cfg(feature = "tracing")]
    traced: Option<alloc::boxed::Box<crate::traces::Traced>>,
}

impl<F: HandlerFn<Args>, Args> Hands<F, Args> {
    pub(crate) fn new(handler: F) -> Self {
        Self {
            handler,
            ready: ReadySet::new(),
            runs: Runs::new(),
            woken: VecDeque::new(),
            batch: Vec::new(),
            reports: Reports::new(PROGRESS_INTERVAL),
        }
    }
}

impl<F, Args> AnyHands for Hands<F, Args>
where
    F: HandlerFn<Args, Answer: Send + 'static>,
{
    fn take(
        &mut self,
        attempt: Attempt,
        timeout: Option<Duration>,
        asked: Asked<'_>,
        limits: &DecodeLimits,
    ) -> u32 {
        // The handler is called later, in its turn among the others: it may take its time.
        let request = caught(|| asked.read(limits)).and_then(|request| request);
        let call = Call {
            attempt,
            timeout,
            request: Some(request),
            guard: Guard::NONE,
            #[cfg(feature = "tracing")]
            traced: None,
        };
        let run = self.runs.take_room(&self.ready);
        self.runs.own(run, call);
        // Without a wake: it is worked at in this poll, or the driver comes back to it.
        if self.runs.mark(run) {
            self.woken.push_back(run);
        }
        run
    }

    #[cfg(feature = "tracing")]
    fn trace(&mut self, number: u32, traced: alloc::boxed::Box<crate::traces::Traced>) {
        if let Some(call) = self.runs.owner_mut(number) {
            call.traced = Some(traced);
        }
    }

    fn withdraw(&mut self, number: u32, attempt: Attempt) {
        if self.runs.owner(number).is_some_and(|call| call.attempt == attempt) {
            self.runs.release(number);
        }
    }

    fn withdraw_all(&mut self) {
        self.runs.release_owned();
    }

    fn work(
        &mut self,
        waker: &Waker,
        about: About<'_>,
        polls: usize,
        ended: &mut Vec<Ended>,
    ) -> bool {
        self.ready.take(waker, usize::MAX, &mut self.batch);
        let runs = self.batch.drain(..).map(|token| match token.into() {
            Token::Run(index) => index,
            other => unreachable!("nothing but handlers is listed here: {other:?}"),
        });
        self.woken.extend(runs);
        let Self { handler, runs, woken, reports, .. } = self;
        for run in woken.drain(..polls.min(woken.len())) {
            let begin = |call: Option<&mut Call<F::Request>>,
                         mut place: Pin<&mut Option<F::Future>>| {
                let Some(call) = call else { return Ok(()) };
                let Some(request) = call.request.take() else { return Ok(()) };
                let About { manager, worker, .. } = about;
                let timeout = call.timeout.or(about.timeout);
                let origin = Origin::new(call.attempt.attempt, timeout, manager, worker);
                #[cfg(feature = "tracing")]
                let origin = origin.traced(call.traced.take());
                let mut origin = origin;
                place.set(Some(handler.call(request?, &mut origin)));
                #[cfg(feature = "tracing")]
                {
                    call.traced = origin.take_traced();
                }
                call.guard = origin.into_guard();
                Ok(())
            };
            runs.clear(run);
            #[cfg(feature = "tracing")]
            let span = runs.owner(run).and_then(|call| Some(call.traced.as_ref()?.span.clone()));
            let end = in_span!(
                span,
                runs.poll(run, begin, |output, call| {
                    let call = call.expect("a run that is withdrawn is released");
                    call.guard.defuse();
                    let (verdict, answer) = match output {
                        Ok(output) => finish(output),
                        Err(text) => failed(&text),
                    };
                    #[cfg(feature = "tracing")]
                    if let Some(traced) = call.traced.take() {
                        traced.end(verdict);
                    }
                    Ended { attempt: call.attempt, verdict, answer }
                })
            );
            ended.extend(end);
            listen(runs, reports, run, about.now);
        }
        !woken.is_empty()
    }

    fn take_said(&mut self, now: Instant) -> Option<(Attempt, (u64, u64))> {
        while let Some(run) = self.reports.take_due(now) {
            let Some(call) = self.runs.owner(run) else { continue };
            let (attempt, said) = (call.attempt, call.guard.take_said());
            listen(&self.runs, &mut self.reports, run, now);
            if let Some(said) = said {
                return Some((attempt, said));
            }
        }
        None
    }

    fn said_at(&self) -> Option<Instant> {
        self.reports.next_due()
    }
}

/// Notes what a run has said of how far it is, or has it woken once it does.
fn listen<F, Q>(runs: &Runs<F, Call<Q>>, reports: &mut Reports, run: u32, now: Instant) {
    // Not while it is listed: one that says so in each of its polls would be polled again and again.
    if reports.is_listed(run) {
        return;
    }
    if let Some((waker, call)) = runs.waker_of(run) {
        if call.guard.listen(waker) {
            reports.list(run, now);
        }
    }
}

fn finish<R, E>(output: Result<R, E>) -> (Verdict, Answer)
where
    R: Serialize + Send + 'static,
    E: Display + 'static,
{
    match output {
        Ok(value) => (Verdict::Done, Answer::value(value)),
        Err(error) => {
            let mut body = Vec::new();
            let verdict = fail_by(&error, &mut body);
            (verdict, Answer::Bytes(within(&body, usize::MAX).as_ref().into()))
        }
    }
}

fn failed(text: &str) -> (Verdict, Answer) {
    (Verdict::Failed, Answer::Bytes(clip(text, FAILURE_BYTES_MAX).as_bytes().into()))
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::future::poll_fn;
    use core::task::Poll;

    use super::*;
    use crate::payload::RangeHeight;

    const LIMITS: DecodeLimits = DecodeLimits::new();

    fn attempt(slot: u32, attempt: u16) -> Attempt {
        Attempt { task: TaskId::from_parts(slot, 0), attempt }
    }

    fn work(hands: &mut impl AnyHands, polls: usize) -> (Vec<Ended>, bool) {
        let mut ended = Vec::new();
        let name = Arc::from("name");
        let now = Instant::EPOCH;
        let about = About { timeout: None, manager: &name, worker: &name, now };
        let more = hands.work(Waker::noop(), about, polls, &mut ended);
        (ended, more)
    }

    #[test]
    fn as_many_are_polled_as_may_be_and_the_others_in_turn_later() {
        let mut hands = Hands::new(|number: u64| async move { Ok::<_, String>(number) });
        for slot in 0..5 {
            hands.take(
                attempt(slot, 1),
                None,
                Asked::Height(RangeHeight::Unsigned(slot.into())),
                &LIMITS,
            );
        }
        let mut seen = Vec::new();
        for (count, left) in [(2, true), (2, true), (1, false), (0, false)] {
            let (ended, more) = work(&mut hands, 2);
            assert_eq!((ended.len(), more), (count, left));
            seen.extend(ended.iter().map(|end| end.attempt.task.slot()));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn only_the_attempt_itself_is_withdrawn_and_a_late_wake_harms_nobody() {
        let hold = Arc::new(());
        let held = Arc::clone(&hold);
        let (waker, kept) = async_channel::unbounded();
        let mut hands = Hands::new(move |number: u64| {
            let (held, waker) = (Arc::clone(&held), waker.clone());
            poll_fn(move |cx| {
                let _ = waker.try_send(cx.waker().clone());
                let _ = &held;
                if number == 0 { Poll::Pending } else { Poll::Ready(Ok::<_, String>(number)) }
            })
        });
        let run = hands.take(attempt(3, 1), None, Asked::Height(RangeHeight::Unsigned(0)), &LIMITS);
        assert!(work(&mut hands, 9).0.is_empty());
        assert_eq!(Arc::strong_count(&hold), 3);
        hands.withdraw(run, attempt(3, 2));
        hands.withdraw(run + 1, attempt(3, 1));
        assert_eq!(Arc::strong_count(&hold), 3, "another attempt, another run");
        kept.try_recv().expect("it was polled").wake();
        hands.withdraw(run, attempt(3, 1));
        assert_eq!(Arc::strong_count(&hold), 2);
        hands.withdraw(run, attempt(3, 1)); // It has no effect any more.
        assert!(work(&mut hands, 9).0.is_empty(), "woken, and nobody is there");
        for number in 1..100 {
            let run = hands.take(
                attempt(3, number),
                None,
                Asked::Height(RangeHeight::Unsigned(7)),
                &LIMITS,
            );
            hands.withdraw(run, attempt(3, number));
        }
        assert_eq!(hands.woken.len(), 1, "however many are withdrawn before they are begun");
        assert_eq!(
            hands.take(attempt(4, 1), None, Asked::Height(RangeHeight::Unsigned(7)), &LIMITS),
            run,
            "the room is used again"
        );
        let (ended, _) = work(&mut hands, 9);
        assert_eq!(ended[0].attempt, attempt(4, 1));
        assert_eq!(ended[0].verdict, Verdict::Done);
    }

    #[test]
    fn one_that_wakes_itself_for_ever_is_polled_once_each_time() {
        let mut hands = Hands::new(|_: u64| {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<Result<(), String>>::Pending
            })
        });
        hands.take(attempt(1, 1), None, Asked::Height(RangeHeight::Unsigned(0)), &LIMITS);
        for _ in 0..3 {
            let (ended, more) = work(&mut hands, 9);
            assert!(ended.is_empty());
            assert!(!more, "the waker tells of it");
            assert_eq!(hands.woken.len(), 0);
        }
    }

    #[test]
    fn a_long_failure_is_cut() {
        let text = "x".repeat(100_000);
        let mut hands = Hands::new(move |_: u64| core::future::ready(Err::<(), _>(text.clone())));
        hands.take(attempt(1, 1), None, Asked::Height(RangeHeight::Unsigned(0)), &LIMITS);
        let (mut ended, _) = work(&mut hands, 9);
        let end = ended.pop().expect("it ends at once");
        assert_eq!(end.verdict, Verdict::Failed);
        assert_eq!(end.answer.into_failure().text().len(), FAILURE_BYTES_MAX);
    }
}
