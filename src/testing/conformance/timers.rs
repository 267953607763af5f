//! What a runtime's clock promises.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::future::join_all;

use super::Pair;
use super::rig::{SOON, millis, pause, until, within};
use crate::core::Instant;
use crate::core::io::Timer;

pub(super) async fn a_sleep_ends_at_its_time_and_not_before<P: Pair>() {
    let timer = P::timer();
    for span in [0, 1, 7, 30, 150] {
        let at = timer.now().saturating_add(millis(span));
        timer.sleep_until(at).await;
        assert!(timer.now() >= at, "a sleep of {span} ms ended too early");
    }
}

pub(super) async fn of_many_sleeps_each_ends_at_its_time<P: Pair>() {
    let timer = P::timer();
    let start = timer.now();
    // In no order.
    let sleeps = (0..200).map(|number| {
        let at = start.saturating_add(millis(number * 37 % 130));
        let (sleep, clock) = (timer.sleep_until(at), timer.clone());
        async move {
            sleep.await;
            let late = clock.now().saturating_since(at);
            (clock.now() >= at, late)
        }
    });
    let ended = within::<P, _>(SOON, join_all(sleeps)).await.expect("each of them ends");
    assert!(ended.iter().all(|(is_over, _)| *is_over), "a sleep ended too early");
    let late = ended.into_iter().map(|(_, late)| late).min();
    assert!(late < Some(millis(100)), "even the most punctual of 200 was {late:?} late");
}

pub(super) async fn clones_of_a_clock_agree_and_never_go_back<P: Pair>() {
    let timer = P::timer();
    let clone = timer.clone();
    let mut last = timer.now();
    for _ in 0..20 {
        for clock in [&timer, &clone] {
            let now = clock.now();
            assert!(now >= last, "a clock went back from {last:?} to {now:?}");
            last = now;
        }
        pause::<P>(millis(1)).await;
    }
    let at = clone.now().saturating_add(millis(20));
    timer.sleep_until(at).await;
    assert!(clone.now() >= at, "clones have one epoch");
}

pub(super) async fn a_sleep_to_the_far_future_waits_and_one_to_the_past_does_not<P: Pair>() {
    let timer = P::timer();
    timer.sleep_until(Instant::EPOCH).await;
    let never = timer.sleep_until(Instant::FAR_FUTURE);
    assert!(within::<P, _>(millis(50), never).await.is_none(), "the far future came");
}

pub(super) async fn a_sleep_wakes_who_polled_it_last<P: Pair>() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let timer = P::timer();
    let mut sleep = pin!(timer.sleep_until(timer.now().saturating_add(millis(40))));
    let counts = [0, 1].map(|_| Arc::new(Count(AtomicUsize::new(0))));
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    until::<P>("the latest waker is woken", || counts[1].0.load(Ordering::SeqCst) > 0).await;
    sleep.await;
}
