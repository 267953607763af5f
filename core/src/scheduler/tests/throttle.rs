use super::*;

/// A pool whose first worker, which holds as many at once as told, says that it cannot now.
fn throttled(window: u32, pause: Duration) -> (Pool, Link, Link) {
    let mut pool = Pool::with(|_| ());
    let (full, other) = (pool.up(window), pool.up(1));
    pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.link, full);
    pool.useless(sent, Useless::Throttled(pause)).unwrap();
    (pool, full, other)
}

#[test]
fn a_task_that_cannot_be_done_now_goes_elsewhere_with_nothing_counted() {
    let (mut pool, full, other) = throttled(1, SECOND);
    let again = pool.sent();
    assert_eq!(again.link, other, "at once, and not to the one that said so");
    let stats = pool.scheduler.worker_stats(full.worker()).unwrap();
    assert_eq!((stats.failed, stats.lost), (0, 0));
    assert_eq!(pool.scheduler.stats().returned, 1);
    pool.done(again);
}

#[test]
fn a_worker_that_cannot_now_gets_nothing_for_as_long_as_it_says_even_the_last_one() {
    let (mut pool, full, other) = throttled(1, 3 * SECOND);
    let again = pool.sent();
    pool.useless(again, Useless::Throttled(SECOND)).unwrap();
    assert_eq!(pool.state(full.worker()), WorkerState::Delayed { until: pool.seconds(3) });
    assert_eq!(pool.state(other.worker()), WorkerState::Delayed { until: pool.seconds(1) });
    pool.nothing();
    pool.wait(SECOND);
    assert_eq!(pool.sent().link, other);
    pool.submit();
    pool.nothing();
    pool.wait(2 * SECOND);
    assert_eq!(pool.sent().link, full);
}

#[test]
fn what_a_worker_asks_for_is_cut_to_pause_max_and_the_longest_of_several_counts() {
    let mut pool = Pool::with(|config| {
        (config.pause_max, config.trust_initial) = (2 * SECOND, 3);
    });
    let full = pool.offering(3, 3);
    for _ in 0..3 {
        pool.submit();
    }
    let sends = pool.sends();
    for (sent, pause) in sends.into_iter().zip([SECOND, Duration::MAX, SECOND]) {
        pool.useless(sent, Useless::Throttled(pause)).unwrap();
    }
    assert_eq!(pool.state(full.worker()), WorkerState::Delayed { until: pool.seconds(2) });
}

#[test]
fn each_not_now_halves_what_a_worker_holds_at_once_and_success_lets_it_grow_again() {
    let mut pool = Pool::with(|config| config.trust_initial = 16);
    let full = pool.offering(16, 16);
    let allowance = |pool: &Pool| pool.scheduler.worker_stats(full.worker()).unwrap().allowance;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(allowance(&pool));
        pool.submit();
        let sent = pool.sent();
        pool.useless(sent, Useless::Throttled(Duration::ZERO)).unwrap();
        pool.cancel(sent.task).unwrap();
        pool.finish();
        pool.wait(SECOND);
    }
    assert_eq!(seen, [16, 8, 4, 2, 1, 1]);
    pool.submit();
    let sent = pool.sent();
    pool.done(sent);
    assert_eq!(allowance(&pool), 2);
}

#[test]
fn what_a_worker_that_cannot_now_has_not_begun_is_taken_back() {
    let mut pool = Pool::with(|config| config.trust_initial = 4);
    let full = pool.offering(1, 4);
    for _ in 0..3 {
        pool.submit();
    }
    // It runs one at a time, and did well until now.
    let first = pool.sent();
    pool.done(first);
    let rest = pool.sends();
    assert_eq!(rest.len(), 2, "{rest:?}");
    pool.useless(rest[0], Useless::Throttled(SECOND)).unwrap();
    let other = pool.up(1);
    let stats = pool.scheduler.worker_stats(full.worker()).unwrap();
    assert_eq!(stats.in_flight, 1, "what it may have begun stays");
    assert_eq!(pool.sent().link, other);
}

#[test]
fn a_task_that_nobody_can_do_now_ends_bounced() {
    let mut pool = Pool::with(|config| config.resends_max = 3);
    pool.up(1);
    pool.submit();
    for _ in 0..3 {
        let sent = pool.sent();
        pool.useless(sent, Useless::Throttled(SECOND)).unwrap();
        pool.wait(SECOND);
    }
    assert_eq!(pool.finish().1, Outcome::Bounced);
}

#[test]
fn a_worker_that_asks_for_no_pause_gets_one_of_the_first_step_of_the_backoff() {
    let (mut pool, full, other) = throttled(1, Duration::ZERO);
    assert_eq!(pool.state(full.worker()), WorkerState::Delayed { until: pool.seconds(1) });
    assert_eq!(pool.sent().link, other);
}

#[test]
fn a_task_whose_only_worker_asks_for_no_pause_does_not_use_up_its_sends_at_once() {
    let mut pool = Pool::with(|config| config.pause_max = Duration::ZERO);
    pool.up(1);
    pool.submit();
    for _ in 0..3 {
        let sent = pool.sent();
        pool.useless(sent, Useless::Throttled(Duration::ZERO)).unwrap();
        pool.nothing();
        pool.wait(SECOND);
    }
    let sent = pool.sent();
    pool.done(sent);
}
