use super::*;

#[test]
fn a_worker_is_dialled_at_once_and_sent_tasks_when_connected() {
    let mut pool = Pool::new();
    pool.submit();
    let worker = pool.add(Route::Dial);
    let link = pool.connect();
    assert_eq!((link.worker(), link.epoch()), (worker, 1));
    pool.nothing();
    assert_eq!(pool.state(worker), WorkerState::Connecting);
    pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
    assert_eq!(pool.sent().link, link);
    assert_eq!(pool.scheduler.stats().workers_up, 1);
}

#[test]
fn refused_connects_are_spaced_by_growing_delays() {
    let mut pool = Pool::new();
    let worker = pool.add(Route::Dial);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let link = pool.connect();
        pool.event(Event::Refused { link }).unwrap();
        pool.nothing();
        let until = pool.seconds(seconds);
        assert_eq!(pool.state(worker), WorkerState::BackingOff { until });
        assert_eq!(pool.scheduler.poll_timeout(), Some(until));
        pool.wait(Duration::from_nanos(seconds * 1_000_000_000 - 1));
        pool.nothing();
        pool.wait(Duration::from_nanos(1));
    }
    assert_eq!(pool.scheduler.worker_stats(worker).unwrap().backoff_attempts, 8);
}

#[test]
fn a_connect_has_a_deadline_of_its_own() {
    let mut pool = Pool::with(|config| config.connect_timeout = 3 * SECOND);
    let worker = pool.add(Route::Dial);
    let link = pool.connect();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(3)));
    pool.wait(3 * SECOND);
    pool.expect(disconnect(link, Reason::ConnectTimeout));
    pool.nothing();
    assert_eq!(pool.state(worker), WorkerState::BackingOff { until: pool.seconds(1) });
    assert_eq!(pool.event(Event::Connected { link, offer: Offer::new(1) }), Err(EventError::Stale));
    pool.wait(SECOND);
    assert_eq!(pool.connect().epoch(), 2);
}

#[test]
fn a_link_that_only_flaps_keeps_its_backoff() {
    let mut pool = Pool::new();
    let mut link = pool.dialled(1);
    for seconds in [1, 2, 4] {
        pool.lose(link);
        pool.nothing();
        pool.wait(Duration::from_secs(seconds));
        link = pool.connect();
        pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
    }
    assert_eq!(pool.scheduler.worker_stats(link.worker()).unwrap().links, 4);
}

#[test]
fn a_useful_answer_resets_the_backoff() {
    let mut pool = Pool::new();
    let mut link = pool.dialled(1);
    let worker = link.worker();
    for _ in 0..3 {
        pool.lose(link);
        pool.nothing();
        pool.wait(60 * SECOND);
        link = pool.connect();
        pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
    }
    pool.submit();
    let sent = pool.sent();
    pool.done(sent);
    assert_eq!(pool.scheduler.worker_stats(worker).unwrap().backoff_attempts, 0);
    pool.lose(link);
    assert_eq!(pool.state(worker), WorkerState::BackingOff { until: pool.seconds(1) });
}

#[test]
fn a_failed_task_is_not_a_useful_answer() {
    let mut pool = Pool::new();
    let link = pool.dialled(1);
    pool.lose(link);
    pool.wait(SECOND);
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
    pool.submit();
    let sent = pool.sent();
    pool.failed(sent);
    pool.lose(link);
    assert_eq!(pool.state(link.worker()), WorkerState::BackingOff { until: pool.seconds(2) });
}

#[test]
fn a_stable_link_resets_the_backoff() {
    let mut pool = Pool::with(|config| config.stable_after = 30 * SECOND);
    for (seconds, delay) in [(29, 2), (30, 1)] {
        let link = pool.dialled(1);
        pool.lose(link);
        pool.wait(SECOND);
        let link = pool.connect();
        pool.event(Event::Connected { link, offer: Offer::new(1) }).unwrap();
        pool.wait(Duration::from_secs(seconds));
        pool.lose(link);
        assert_eq!(
            pool.state(link.worker()),
            WorkerState::BackingOff { until: pool.seconds(delay) }
        );
        pool.remove(link.worker()).unwrap();
        assert_eq!(pool.polls(), [Action::Gone { worker: link.worker() }]);
    }
}

#[test]
fn a_silent_link_is_pinged_then_lost() {
    let mut pool = Pool::with(|config| {
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 5 * SECOND;
    });
    let link = pool.dialled(1);
    pool.submit();
    pool.sent();
    pool.wait(10 * SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(5)));
    pool.wait(5 * SECOND);
    pool.expect(disconnect(link, Reason::Silent));
    pool.nothing();
    assert_eq!(pool.scheduler.stats().waiting, 1);
    assert_eq!(pool.state(link.worker()), WorkerState::BackingOff { until: pool.seconds(1) });
}

#[test]
fn a_link_that_is_heard_of_stays() {
    let mut pool = Pool::with(|config| {
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 20 * SECOND;
    });
    let link = pool.dialled(1);
    pool.wait(9 * SECOND);
    pool.event(Event::Heard { link }).unwrap();
    // Early by design: the timer is moved when it fires.
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(1)));
    pool.wait(9 * SECOND);
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(1)));
    pool.wait(SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
    // Even one in the same instant as the ping; and it brings the next ping nearer.
    pool.event(Event::Heard { link }).unwrap();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(10)));
    pool.wait(10 * SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
}

#[test]
fn an_answer_is_a_sign_of_life_even_when_it_is_stale() {
    let mut pool = Pool::with(|config| {
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 5 * SECOND;
    });
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.done(sent);
    for _ in 0..3 {
        pool.wait(10 * SECOND);
        assert_eq!(pool.polls(), [Action::Ping { link }]);
        pool.wait(4 * SECOND);
        assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
        pool.nothing();
    }
}

#[test]
fn a_ping_of_an_older_link_does_not_end_the_next() {
    let mut pool = Pool::with(|config| {
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 5 * SECOND;
    });
    let link = pool.up(1);
    pool.wait(10 * SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
    pool.lose(link);
    let link = pool.accept(link.worker(), 1).unwrap().link;
    pool.wait(9 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
}

#[test]
fn a_second_link_of_the_same_worker_displaces_the_first() {
    let mut pool = Pool::new();
    let worker = pool.add(Route::Await);
    let first = pool.accept(worker, 2).unwrap();
    assert_eq!(first.displaced, None);
    let submitted = [pool.submit(), pool.submit()];
    let old = pool.sends();
    let second = pool.accept(worker, 2).unwrap();
    assert_eq!(second.displaced, Some(first.link));
    assert!(second.link.epoch() > first.link.epoch());
    assert_eq!(pool.scheduler.stats().lost, 2);
    assert_eq!(pool.reply(old[0], Verdict::Done), Err(EventError::Stale));
    assert_eq!(
        pool.event(Event::Lost { link: first.link, how: Loss::Broken }),
        Err(EventError::Stale)
    );
    let sends = pool.sends();
    assert_eq!(tasks(&sends), submitted);
    assert!(sends.iter().all(|sent| sent.link == second.link && sent.attempt == 2));
}

#[test]
fn a_link_that_is_being_closed_can_be_displaced() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = SECOND;
        config.strikes_max = 1;
    });
    let worker = pool.add(Route::Await);
    let first = pool.accept(worker, 1).unwrap();
    pool.submit();
    let sent = pool.sent();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
    let second = pool.accept(worker, 1).unwrap();
    assert_eq!(second.displaced, Some(first.link));
    assert_eq!(pool.sent().link, second.link);
    pool.nothing();
}

#[test]
fn a_worker_that_stays_away_is_forgotten() {
    let mut pool = Pool::with(|config| config.absent_max = 100 * SECOND);
    let link = pool.up(1);
    let worker = link.worker();
    pool.lose(link);
    assert!(matches!(pool.state(worker), WorkerState::Absent { .. }));
    pool.wait(99 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    assert_eq!(pool.polls(), [Action::Gone { worker }]);
    assert_eq!(pool.scheduler.worker_stats(worker), None);
    assert_eq!(pool.accept(worker, 1), Err(Stale));
}

#[test]
fn only_a_worker_that_dials_in_is_accepted() {
    let mut pool = Pool::new();
    let worker = pool.add(Route::Dial);
    assert_eq!(pool.accept(worker, 1), Err(Stale));
    assert_eq!(pool.accept(WorkerId::from_parts(9, 0), 1), Err(Stale));
    assert_eq!(pool.accept(WorkerId::from_parts(3, 0), 1), Err(Stale));
}

#[test]
fn a_window_of_zero_counts_as_one() {
    let mut pool = Pool::new();
    pool.submit();
    pool.submit();
    pool.up(0);
    assert_eq!(pool.sends().len(), 1);
}

#[test]
fn a_worker_that_drains_finishes_what_it_holds_then_comes_back() {
    let mut pool = Pool::new();
    let link = pool.dialled(2);
    pool.submit();
    let sent = pool.sent();
    pool.event(Event::Draining { link }).unwrap();
    pool.submit();
    pool.nothing();
    assert_eq!(pool.state(link.worker()), WorkerState::Draining);
    pool.done(sent);
    pool.expect(disconnect(link, Reason::Drained));
    pool.nothing();
    assert_eq!(pool.state(link.worker()), WorkerState::BackingOff { until: pool.seconds(1) });
    pool.wait(SECOND);
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: Offer::new(2) }).unwrap();
    assert_eq!(pool.sent().link, link);
}

#[test]
fn an_idle_worker_that_drains_is_closed_at_once() {
    let mut pool = Pool::new();
    let link = pool.up(2);
    pool.event(Event::Draining { link }).unwrap();
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker: link.worker() });
    assert_eq!(pool.event(Event::Draining { link }), Err(EventError::Stale));
}

#[test]
fn workers_of_one_seed_do_not_reconnect_at_the_same_moment() {
    let mut pool = Pool::with(|config| config.backoff = config.backoff.jitter(Jitter::Full));
    let links = [pool.dialled(1), pool.dialled(1), pool.dialled(1)];
    for link in links {
        pool.lose(link);
    }
    let states = links.map(|link| pool.state(link.worker()));
    assert_ne!(states[0], states[1]);
    assert_ne!(states[1], states[2]);
    assert_ne!(states[0], states[2]);
}
