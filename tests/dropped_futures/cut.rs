//! Futures that are dropped at a poll, and every poll in turn.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use chargehand::testing::{ManualSleep, ManualTimer, World};

use crate::stage::LATENCY;

/// More polls than any of these futures needs.
const POLLS_MAX: usize = 2000;

/// How a future is polled, and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Polled when it is woken, and dropped right after a poll.
    AtOnce,
    /// Polled when it is woken, and dropped when it is woken again.
    WhenWoken,
    /// Polled between any two steps of the world, and dropped a step later.
    Eager,
}

/// Which poll of a future is its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) polls: usize,
    manner: Manner,
}

/// A future that is dropped after so many polls. Completes with its output, or with `None`.
pub(crate) struct Dropped<F> {
    /// `None` once it is over.
    future: Option<Pin<Box<F>>>,
    cut: Cut,
    timer: ManualTimer,
    /// When it was polled last, and how often at that time.
    last: (Duration, u32),
    pause: Option<Pin<Box<ManualSleep>>>,
}

impl<F> Dropped<F> {
    pub(crate) fn new(future: F, cut: Cut, world: &World) -> Self {
        let (future, timer) = (Some(Box::pin(future)), world.timer());
        Self { future, cut, timer, last: (Duration::ZERO, 0), pause: None }
    }

    /// Sees to it that it is polled again when others were, and once time has passed.
    fn again(&mut self, cx: &mut Context<'_>) {
        let now = self.timer.elapsed();
        let count = if self.last.0 == now { self.last.1 + 1 } else { 0 };
        self.last = (now, count);
        // A message is a step of its receiver, and no more than this follow in no time.
        if count < 5 {
            cx.waker().wake_by_ref();
        } else {
            let mut pause = Box::pin(self.timer.sleep(LATENCY / 2));
            assert!(pause.as_mut().poll(cx).is_pending());
            self.pause = Some(pause);
        }
    }
}

impl<F: Future> Future for Dropped<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(left) = this.cut.polls.checked_sub(1) else {
            this.future = None;
            return Poll::Ready(None);
        };
        this.cut.polls = left;
        let future = this.future.as_mut().expect("it is polled after its end");
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match this.cut.manner {
            Manner::AtOnce if left == 0 => {
                this.future = None;
                return Poll::Ready(None);
            }
            Manner::Eager => this.again(cx),
            _ => {}
        }
        Poll::Pending
    }
}

/// Plays a scenario with a future that is dropped one poll later each time, until it completes, which
/// the scenario returns. It must do so at some poll, and not before `least` of them.
pub(crate) fn at_every_poll(name: &str, least: usize, mut scenario: impl FnMut(Cut) -> bool) {
    for manner in [Manner::AtOnce, Manner::WhenWoken, Manner::Eager] {
        let completes = (0..POLLS_MAX).find(|&polls| scenario(Cut { polls, manner }));
        let polls = completes.unwrap_or_else(|| panic!("{name} does not complete"));
        println!("{name}: dropped after each of 0..{polls} polls, {manner:?}");
        assert!(polls > 0, "{name} completes without a poll");
        let is_long = manner != Manner::Eager || polls >= least;
        assert!(is_long, "{name} completes at poll {polls}, where little happened");
    }
}
