use super::*;
use crate::SubmitError;

#[test]
fn a_drain_lets_the_work_go_on_then_closes_every_worker() {
    let mut pool = Pool::new();
    let up = pool.up(1);
    let (first, second) = (pool.submit(), pool.submit());
    let sent = pool.sent();
    pool.drain(pool.seconds(100));
    assert_eq!(pool.scheduler.submit(pool.now), Err(SubmitError::Draining));
    assert_eq!(sent.task, first);
    pool.done(sent);
    let sent = pool.sent();
    assert_eq!(sent.task, second);
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(60)));
    pool.done(sent);
    assert!(!pool.scheduler.is_drained());
    pool.expect(disconnect(up, Reason::Stopped));
    pool.expect(Action::Gone { worker: up.worker() });
    pool.nothing();
    assert!(pool.scheduler.is_drained());
    assert_eq!(pool.scheduler.poll_timeout(), None);
}

#[test]
fn a_drain_closes_workers_in_every_state() {
    let mut pool = Pool::new();
    let up = pool.up(1);
    let absent = pool.add(Route::Await);
    pool.add(Route::Dial);
    let connecting = pool.connect();
    pool.add(Route::Dial);
    let resting = pool.connect();
    pool.event(Event::Refused { link: resting }).unwrap();
    pool.drain(Instant::FAR_FUTURE);
    let reason = Reason::Stopped;
    let expected = [
        Action::Disconnect { link: up, reason },
        Action::Gone { worker: up.worker() },
        Action::Gone { worker: absent },
        Action::Disconnect { link: connecting, reason },
        Action::Gone { worker: connecting.worker() },
        Action::Gone { worker: resting.worker() },
    ];
    assert_eq!(pool.polls(), expected);
    assert!(pool.scheduler.is_drained());
}

#[test]
fn the_deadline_of_a_drain_aborts_what_is_left() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    let link = pool.up(2);
    for _ in 0..3 {
        pool.submit();
    }
    let sends = pool.sends();
    pool.wait(SECOND / 2);
    pool.drain(pool.now.saturating_add(SECOND / 2));
    pool.reply(sends[0], Verdict::Failed).unwrap();
    let third = pool.sent().task;
    let waiting = sends[1];
    pool.lose(link);
    pool.nothing();
    let link = pool.accept(link.worker(), 1);
    assert_eq!(link, Err(Stale));

    pool.wait(SECOND / 2);
    let finish = |task, attempts| Action::Finish { task, outcome: Outcome::Aborted, attempts };
    let expected = [
        finish(waiting.task, 1),
        finish(third, 1),
        finish(sends[0].task, 1),
        Action::Gone { worker: waiting.link.worker() },
    ];
    assert_eq!(pool.polls(), expected);
    assert_eq!(pool.scheduler.stats().aborted, 3);
    assert!(pool.scheduler.is_drained());
}

#[test]
fn a_task_in_flight_at_the_deadline_is_withdrawn() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.drain(pool.seconds(1));
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    assert_eq!(pool.finish(), (sent.task, Outcome::Aborted, 1));
    pool.expect(disconnect(link, Reason::Stopped));
    pool.expect(Action::Gone { worker: link.worker() });
    pool.nothing();
}

#[test]
fn nothing_is_sent_after_the_deadline() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit();
    let second = pool.submit();
    let sent = pool.sent();
    pool.drain(pool.now);
    pool.lose(link);
    assert_eq!(pool.finish(), (sent.task, Outcome::Aborted, 1));
    assert_eq!(pool.finish(), (second, Outcome::Aborted, 0));
    assert_eq!(pool.polls(), [Action::Gone { worker: link.worker() }]);
}

#[test]
fn the_deadline_of_a_drain_comes_nearer_only() {
    let mut pool = Pool::new();
    pool.submit();
    let near = pool.seconds(5);
    for deadline in [Instant::FAR_FUTURE, pool.seconds(10), near, pool.seconds(20)] {
        pool.drain(deadline);
    }
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), Some(near));
    pool.wait(5 * SECOND);
    assert_eq!(pool.finish().1, Outcome::Aborted);
}

#[test]
fn a_worker_added_to_a_pool_that_drains_is_gone() {
    let mut pool = Pool::new();
    pool.submit();
    pool.drain(Instant::FAR_FUTURE);
    for route in [Route::Await, Route::Dial] {
        let worker = pool.add(route);
        assert_eq!(pool.remove(worker), Err(Stale));
        assert_eq!(pool.accept(worker, 1), Err(Stale));
        assert_eq!(pool.polls(), [Action::Gone { worker }]);
    }
}

#[test]
fn an_empty_pool_is_drained_at_once() {
    let mut pool = Pool::new();
    assert!(!pool.scheduler.is_drained());
    pool.drain(Instant::FAR_FUTURE);
    assert!(pool.scheduler.is_drained());
    pool.nothing();
}

#[test]
fn a_dialled_worker_still_reconnects_while_tasks_are_left() {
    let mut pool = Pool::new();
    let link = pool.dialled(1);
    pool.submit();
    pool.sent();
    pool.drain(pool.seconds(100));
    pool.lose(link);
    pool.nothing();
    pool.wait(SECOND);
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
    let sent = pool.sent();
    assert_eq!(sent.attempt, 2);
    pool.done(sent);
    pool.expect(disconnect(link, Reason::Stopped));
}
