use super::*;

#[test]
fn a_clock_that_steps_back_is_clamped() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = 10 * SECOND;
        config.heartbeat_interval = 7 * SECOND;
    });
    pool.wait(100 * SECOND);
    let high = pool.now;
    pool.now = Instant::EPOCH;
    let link = pool.up(2);
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    assert_eq!(pool.scheduler.poll_timeout(), Some(high.saturating_add(7 * SECOND)));
    pool.wait(50 * SECOND);
    pool.nothing();
    pool.done(sends[0]);
    pool.now = high;
    pool.wait(7 * SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
    pool.event(Event::Heard { link }).unwrap();
    pool.wait(3 * SECOND);
    pool.expect(withdraw(sends[1]));
}

#[test]
fn a_clock_that_jumps_fires_everything_once_in_the_order_it_was_due() {
    let mut pool = Pool::with(|config| config.heartbeat_interval = SECOND);
    let link = pool.dialled(2);
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    pool.wait(1_000_000 * SECOND);
    pool.expect(Action::Ping { link });
    pool.expect(withdraw(sends[0]));
    pool.expect(withdraw(sends[1]));
    let again = pool.sent();
    assert_eq!(again.task, sends[0].task);
    pool.done(again);
    assert_eq!(pool.sent().task, sends[1].task);
}

#[test]
fn times_in_the_far_future_never_come() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = Duration::MAX;
        config.connect_timeout = Duration::MAX;
        config.retry_delay = Duration::MAX;
        config.absent_max = Duration::MAX;
        config.stable_after = Duration::MAX;
        config.retries_max = 1;
    });
    pool.up(2);
    pool.add(Route::Await);
    pool.add(Route::Dial);
    pool.connect();
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    pool.reply(sends[0], Verdict::Failed).unwrap();
    pool.drain(Instant::FAR_FUTURE);
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), None);
    pool.now = Instant::FAR_FUTURE;
    pool.wait(Duration::ZERO);
    pool.nothing();
    assert_eq!(pool.scheduler.stats().in_flight, 1);
    assert_eq!(pool.scheduler.stats().resting, 1);
}

#[test]
fn at_the_end_of_time_work_goes_on_without_deadlines() {
    let mut pool = Pool::with(|config| config.heartbeat_interval = SECOND);
    pool.now = Instant::FAR_FUTURE;
    let link = pool.dialled(1);
    pool.submit();
    let sent = pool.sent();
    pool.done(sent);
    pool.lose(link);
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), None);
}

#[test]
fn there_is_something_to_do_now_while_actions_are_left() {
    let mut pool = Pool::new();
    assert_eq!(pool.scheduler.poll_timeout(), None);
    let worker = pool.add(Route::Dial);
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.now));
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
    assert_eq!(pool.scheduler.poll_timeout(), None);
    pool.submit();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.now));
    assert!(!pool.scheduler.is_work_conserving());
    let sent = pool.sent();
    pool.reply(sent, Verdict::Done).unwrap();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.now));
    pool.finish();
    // The deadline of the attempt is left where it was until it comes.
    let deadline = pool.scheduler.poll_timeout().unwrap();
    assert!(deadline > pool.now);
    pool.now = deadline;
    pool.wait(Duration::ZERO);
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), None);
    pool.remove(worker).unwrap();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.now));
}
