use super::*;

/// Two workers, of which the first is suspended after `failures_max` = 2 failures in a row.
fn pool() -> (Pool, Link, Link) {
    let mut pool = Pool::with(|config| config.failures_max = 2);
    let (bad, good) = (pool.up(1), pool.up(1));
    (pool, bad, good)
}

/// Lets both workers answer, the first with a failure, the second without.
fn round(pool: &mut Pool, bad: Link) {
    pool.submit();
    pool.submit();
    let sends = [pool.sent(), pool.sent()];
    for sent in sends {
        let verdict = if sent.link == bad { Verdict::Failed } else { Verdict::Done };
        pool.reply(sent, verdict).unwrap();
    }
    pool.finish();
    pool.finish();
}

fn is_suspended(pool: &Pool, link: Link) -> bool {
    matches!(pool.state(link.worker()), WorkerState::Suspended { .. })
}

#[test]
fn a_worker_that_only_fails_is_suspended_for_growing_times() {
    let (mut pool, bad, good) = pool();
    round(&mut pool, bad);
    round(&mut pool, bad);
    let until = pool.seconds(1);
    assert_eq!(pool.polls(), [Action::Suspend { worker: bad.worker(), until }]);
    assert_eq!(pool.state(bad.worker()), WorkerState::Suspended { until });
    assert_eq!(pool.scheduler.stats().workers_suspended, 1);
    assert_eq!(pool.scheduler.poll_timeout(), Some(until));
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0].link, good);

    pool.wait(SECOND);
    let again = pool.sent();
    assert_eq!(again.link, bad);
    // One failure more is enough, and the rest is twice as long.
    pool.failed(again);
    let until = pool.seconds(2);
    assert_eq!(pool.polls(), [Action::Suspend { worker: bad.worker(), until }]);
}

#[test]
fn a_done_task_between_failures_prevents_a_rest() {
    let (mut pool, bad, _) = pool();
    for _ in 0..4 {
        round(&mut pool, bad);
        pool.submit();
        let sent = pool.sent();
        assert_eq!(sent.link, bad);
        pool.done(sent);
        // Keeps the turns in order: the good worker's comes next.
        pool.submit();
        let sent = pool.sent();
        pool.done(sent);
    }
    assert_eq!(pool.state(bad.worker()), WorkerState::Up);
}

#[test]
fn the_last_worker_is_never_suspended() {
    let mut pool = Pool::with(|config| config.failures_max = 2);
    let link = pool.up(1);
    for _ in 0..10 {
        pool.submit();
        let sent = pool.sent();
        pool.failed(sent);
    }
    pool.nothing();
    assert_eq!(pool.state(link.worker()), WorkerState::Up);
}

#[test]
fn of_two_workers_that_only_fail_one_goes_on() {
    let mut pool = Pool::with(|config| config.failures_max = 1);
    let links = [pool.up(1), pool.up(1)];
    pool.submit();
    pool.submit();
    for sent in pool.sends() {
        pool.reply(sent, Verdict::Failed).unwrap();
    }
    assert!(is_suspended(&pool, links[0]));
    assert!(!is_suspended(&pool, links[1]));
}

#[test]
fn a_suspended_worker_is_released_when_the_last_other_is_lost() {
    let (mut pool, bad, good) = pool();
    round(&mut pool, bad);
    round(&mut pool, bad);
    assert!(is_suspended(&pool, bad));
    pool.submit();
    assert!(matches!(pool.poll(), Some(Action::Suspend { .. })));
    let sent = pool.sent();
    pool.lose(good);
    assert!(!is_suspended(&pool, bad));
    assert_eq!(pool.sent(), Sent { link: bad, task: sent.task, attempt: 2 });
}

#[test]
fn a_rest_that_ended_is_not_announced() {
    let (mut pool, bad, good) = pool();
    round(&mut pool, bad);
    round(&mut pool, bad);
    pool.lose(good);
    pool.nothing();
    assert_eq!(pool.state(bad.worker()), WorkerState::Up);
}

#[test]
fn a_suspended_worker_is_released_when_the_last_other_drains_or_is_removed() {
    for by_caller in [true, false] {
        let (mut pool, bad, good) = pool();
        round(&mut pool, bad);
        round(&mut pool, bad);
        assert!(is_suspended(&pool, bad));
        if by_caller {
            pool.remove(good.worker()).unwrap();
        } else {
            pool.event(Event::Draining { link: good }).unwrap();
        }
        assert!(!is_suspended(&pool, bad));
    }
}

#[test]
fn a_suspended_worker_that_is_lost_comes_back_as_any_other() {
    let (mut pool, bad, _) = pool();
    round(&mut pool, bad);
    round(&mut pool, bad);
    pool.lose(bad);
    assert_eq!(pool.scheduler.stats().workers_suspended, 0);
    pool.nothing();
    pool.wait(SECOND);
    pool.accept(bad.worker(), 1).unwrap();
    assert_eq!(pool.state(bad.worker()), WorkerState::Up);
    pool.submit();
    pool.submit();
    assert_eq!(pool.sends().len(), 2);
}

#[test]
fn a_suspended_worker_still_answers_and_is_pinged() {
    let mut pool = Pool::with(|config| {
        config.failures_max = 1;
        config.heartbeat_interval = 10 * SECOND;
        config.backoff = config.backoff.base(60 * SECOND);
    });
    let (bad, good) = (pool.up(2), pool.up(2));
    for _ in 0..4 {
        pool.submit();
    }
    let sends: Vec<_> = pool.sends().into_iter().filter(|sent| sent.link == bad).collect();
    pool.failed(sends[0]);
    assert!(is_suspended(&pool, bad));
    pool.reply(sends[1], Verdict::Done).unwrap();
    assert_eq!(pool.finish().1, Outcome::Done);
    assert!(is_suspended(&pool, bad));
    pool.wait(10 * SECOND);
    let until = pool.seconds(50);
    let expected = [
        Action::Suspend { worker: bad.worker(), until },
        Action::Ping { link: bad },
        Action::Ping { link: good },
    ];
    assert_eq!(pool.polls()[..], expected[..]);
}

#[test]
fn a_permanent_failure_ends_its_task_at_once_and_rests_nobody() {
    let mut pool = Pool::with(|config| (config.retries_max, config.failures_max) = (3, 2));
    let (link, _) = (pool.up(1), pool.up(1));
    for _ in 0..4 {
        pool.submit();
        pool.submit();
        for sent in pool.sends() {
            pool.useless(sent, Useless::Permanent).unwrap();
            assert_eq!(pool.finish(), (sent.task, Outcome::Failed, 1));
            assert_eq!(pool.useless(sent, Useless::Permanent), Err(EventError::Stale));
        }
    }
    assert!(!is_suspended(&pool, link));
    assert_eq!(pool.scheduler.worker_stats(link.worker()).unwrap().failed, 4);
    assert_eq!(pool.scheduler.stats().failed, 8);
}
