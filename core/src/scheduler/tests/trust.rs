//! How much a link may hold, and when its first task comes.

use super::*;

#[test]
fn no_offered_window_is_granted_above_the_cap() {
    let mut pool = Pool::with(|config| config.window_max = 3);
    let link = pool.offering(u32::MAX, u32::MAX);
    let stats = pool.scheduler.worker_stats(link.worker()).unwrap();
    assert_eq!((stats.window, stats.allowance), (3, 3));
    assert_eq!(Config::new(1).window_max, 1024);
}

#[test]
fn a_link_begins_with_what_it_runs_and_earns_the_rest_by_success() {
    let mut pool = Pool::new();
    let link = pool.offering(2, 5);
    let allowance = |pool: &Pool| pool.scheduler.worker_stats(link.worker()).unwrap().allowance;
    for expected in [2, 3, 4, 5, 5] {
        assert_eq!(allowance(&pool), expected);
        pool.submit();
        let sent = pool.sent();
        pool.done(sent);
    }
    pool.submit();
    let sent = pool.sent();
    pool.failed(sent);
    assert_eq!(allowance(&pool), 5);
}

#[test]
fn a_link_begins_with_what_any_is_trusted_with_at_most() {
    let mut pool = Pool::with(|config| config.trust_initial = 3);
    let link = pool.offering(1000, 1000);
    assert_eq!(pool.scheduler.worker_stats(link.worker()).unwrap().allowance, 3);
    assert_eq!(Config::new(1).trust_initial, 16);
}

#[test]
fn a_trusted_worker_begins_with_its_whole_window() {
    let mut pool = Pool::with(|config| config.trust_initial = 1);
    let worker = pool.add(Route::Await);
    let offer = Offer::new(2).window(7).trusted();
    pool.scheduler.accept(pool.now, worker, offer, Instant::EPOCH).unwrap();
    assert_eq!(pool.scheduler.worker_stats(worker).unwrap().allowance, 7);
}

#[test]
fn an_attempt_that_times_out_takes_a_worker_back_to_one() {
    let mut pool = Pool::with(|config| config.attempt_timeout = 10 * SECOND);
    let link = pool.up(4);
    pool.submit();
    let late = pool.sent();
    pool.wait(10 * SECOND);
    pool.expect(withdraw(late));
    for _ in 0..5 {
        pool.submit();
    }
    let one = pool.sent();
    pool.nothing();
    pool.done(one);
    assert_eq!(pool.sends().len(), 2);
    assert_eq!(pool.in_flight(link), 2);
}

#[test]
fn a_worker_that_joins_takes_and_drops_is_delayed_longer_each_time() {
    let mut pool = Pool::with(|config| config.attempts_max = 100);
    pool.submit();
    let worker = pool.add(Route::Await);
    for delay in [0, 1, 2, 4, 8] {
        let link = pool.accept(worker, 1).unwrap().link;
        let until = pool.seconds(delay);
        if delay > 0 {
            assert_eq!(pool.state(worker), WorkerState::Delayed { until });
            pool.nothing();
            assert_eq!(pool.scheduler.poll_timeout(), Some(until));
            pool.wait(Duration::from_secs(delay));
        }
        assert_eq!(pool.sent().link, link);
        pool.lose(link);
        let not_before = pool.seconds(if delay == 0 { 1 } else { 2 * delay });
        assert_eq!(pool.state(worker), WorkerState::Absent { not_before });
    }
}

#[test]
fn a_worker_that_dials_in_again_after_a_task_done_gets_the_next_at_once() {
    let mut pool = Pool::new();
    let worker = pool.add(Route::Await);
    // Two links that did nothing, so that there is a delay to be forgiven.
    for delay in [0, 1] {
        pool.wait(Duration::from_secs(delay));
        let link = pool.accept(worker, 1).unwrap().link;
        pool.lose(link);
    }
    pool.wait(2 * SECOND);
    for _ in 0..3 {
        let link = pool.accept(worker, 1).unwrap().link;
        pool.earn(link, 1);
        pool.lose(link);
        assert_eq!(pool.state(worker), WorkerState::Absent { not_before: pool.now });
    }
    pool.accept(worker, 1).unwrap();
    assert_eq!(pool.state(worker), WorkerState::Up, "at the very moment that it was lost");
}

#[test]
fn a_worker_that_dials_in_again_after_a_stable_link_gets_tasks_at_once() {
    let mut pool = Pool::with(|config| config.stable_after = SECOND);
    let worker = pool.add(Route::Await);
    let link = pool.accept(worker, 1).unwrap().link;
    pool.wait(SECOND);
    pool.lose(link);
    pool.accept(worker, 1).unwrap();
    assert_eq!(pool.state(worker), WorkerState::Up);
    // Links that were displaced count as one.
    for _ in 0..5 {
        pool.accept(worker, 1).unwrap();
    }
    pool.lose(pool.first());
    assert_eq!(pool.state(worker), WorkerState::Absent { not_before: pool.seconds(1) });
}

#[test]
fn a_worker_that_is_dialled_again_after_a_task_done_waits_for_the_first_step_only() {
    let mut pool = Pool::new();
    pool.add(Route::Dial);
    for _ in 0..3 {
        let link = pool.connect();
        pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
        pool.earn(link, 1);
        pool.lose(link);
        let until = pool.seconds(1);
        assert_eq!(pool.state(link.worker()), WorkerState::BackingOff { until });
        pool.nothing();
        pool.wait(SECOND);
    }
}

#[test]
fn the_caller_may_delay_a_newcomer() {
    let mut pool = Pool::new();
    pool.submit();
    let worker = pool.add(Route::Await);
    let until = pool.seconds(3);
    pool.scheduler.accept(pool.now, worker, Offer::new(1), until).unwrap();
    pool.nothing();
    assert_eq!(pool.state(worker), WorkerState::Delayed { until });
    pool.wait(3 * SECOND);
    pool.sent();
}

#[test]
fn a_delayed_worker_does_not_count_as_one_that_serves() {
    let mut pool = Pool::with(|config| config.failures_max = 1);
    let (bad, good) = (pool.up(1), pool.up(1));
    pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.link, bad);
    pool.failed(sent);
    pool.expect(Action::Suspend { worker: bad.worker(), until: pool.seconds(1) });
    // The only one that serves comes again, and is delayed: better one that only failed than none.
    let until = pool.seconds(9);
    pool.scheduler.accept(pool.now, good.worker(), Offer::new(1), until).unwrap();
    pool.scheduler.check();
    assert_eq!(pool.state(bad.worker()), WorkerState::Up);
}

#[test]
fn a_worker_that_takes_its_leave_is_not_kept() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.event(Event::Lost { link, how: Loss::Stopped }).unwrap();
    pool.expect(Action::Gone { worker: link.worker() });
    assert_eq!(pool.scheduler.stats().workers, 0);
}

#[test]
fn a_worker_that_drains_and_is_closed_is_not_kept() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.event(Event::Draining { link }).unwrap();
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker: link.worker() });
    assert_eq!(pool.scheduler.stats().workers, 0);
    // One that is dialled is dialled again.
    let link = pool.dialled(1);
    pool.event(Event::Draining { link }).unwrap();
    pool.expect(disconnect(link, Reason::Drained));
    pool.nothing();
    pool.wait(SECOND);
    pool.connect();
}

#[test]
fn the_worker_that_has_been_absent_for_longest_makes_room() {
    let mut pool = Pool::new();
    let links = [pool.up(1), pool.up(1), pool.up(1)];
    assert_eq!(pool.scheduler.evict_absent(pool.now), None);
    for at in [1, 0] {
        pool.lose(links[at]);
        pool.wait(SECOND);
    }
    pool.add(Route::Await);
    assert!(pool.scheduler.add_worker(pool.now, Route::Await).is_err());
    assert_eq!(pool.scheduler.evict_absent(pool.now), Some(links[1].worker()));
    pool.nothing();
    let new = pool.add(Route::Await);
    assert_eq!(new.slot(), links[1].worker().slot());
    assert_eq!(pool.scheduler.evict_absent(pool.now), Some(links[0].worker()));
}
