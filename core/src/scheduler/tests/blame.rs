//! What counts as an attempt, and what does not.

use super::*;

#[test]
fn workers_that_stop_politely_cost_a_task_no_attempt() {
    let mut pool = Pool::with(|config| config.attempts_max = 2);
    let task = pool.submit();
    for attempt in 1..=20 {
        let link = pool.up(1);
        let sent = pool.sent();
        assert_eq!((sent.task, sent.attempt), (task, attempt));
        pool.event(Event::Draining { link }).unwrap();
        pool.event(Event::Lost { link, how: Loss::Stopped }).unwrap();
        pool.expect(Action::Gone { worker: link.worker() });
        pool.nothing();
    }
    pool.up(1);
    let sent = pool.sent();
    pool.done(sent);
    assert_eq!(pool.scheduler.stats().lost, 20);
}

#[test]
fn a_link_that_breaks_after_its_worker_said_that_it_drains_counts_nothing() {
    let mut pool = Pool::with(|config| config.attempts_max = 1);
    pool.submit();
    let link = pool.up(1);
    pool.sent();
    pool.event(Event::Draining { link }).unwrap();
    pool.lose(link);
    pool.up(1);
    let sent = pool.sent();
    pool.done(sent);
}

#[test]
fn a_link_that_is_given_up_for_strikes_while_it_drains_counts_only_what_outlived_its_time() {
    let mut pool = Pool::with(|config| {
        config.attempts_max = 1;
        config.strikes_max = 1;
        config.attempt_timeout = 10 * SECOND;
        config.heartbeat_interval = 60 * SECOND;
    });
    pool.submit();
    let link = pool.offering(2, 2);
    let late = pool.sent();
    pool.wait(SECOND);
    let other = pool.submit();
    pool.sent();
    pool.event(Event::Draining { link }).unwrap();
    pool.wait(9 * SECOND);
    pool.expect(withdraw(late));
    assert_eq!(pool.finish(), (late.task, Outcome::Exhausted, 1));
    pool.expect(Action::Disconnect { link, reason: Reason::Strikes });
    pool.up(1);
    let sent = pool.sent();
    assert_eq!(sent.task, other);
    pool.done(sent);
}

#[test]
fn a_link_that_falls_silent_while_it_drains_counts_nothing() {
    let mut pool = Pool::with(|config| {
        config.attempts_max = 1;
        config.heartbeat_interval = 2 * SECOND;
        config.heartbeat_timeout = 3 * SECOND;
    });
    pool.submit();
    let link = pool.up(1);
    pool.sent();
    pool.event(Event::Draining { link }).unwrap();
    pool.wait(2 * SECOND);
    pool.expect(Action::Ping { link });
    pool.wait(3 * SECOND);
    pool.expect(Action::Disconnect { link, reason: Reason::Silent });
    pool.up(1);
    let sent = pool.sent();
    pool.done(sent);
}

#[test]
fn a_task_that_makes_workers_stop_bounces_in_the_end() {
    let mut pool = Pool::with(|config| config.resends_max = 3);
    let task = pool.submit();
    for attempt in 1..=3 {
        let link = pool.up(1);
        assert_eq!(pool.sent().attempt, attempt);
        pool.event(Event::Lost { link, how: Loss::Stopped }).unwrap();
        if attempt == 3 {
            assert_eq!(pool.finish(), (task, Outcome::Bounced, 3));
        }
        pool.expect(Action::Gone { worker: link.worker() });
    }
    assert_eq!(pool.scheduler.stats().bounced, 1);
}

#[test]
fn a_displaced_link_costs_its_tasks_no_attempt() {
    let mut pool = Pool::with(|config| config.attempts_max = 1);
    let worker = pool.add(Route::Await);
    pool.submit();
    for attempt in 1..=10 {
        pool.accept(worker, 1).unwrap();
        assert_eq!(pool.sent().attempt, attempt);
    }
}

#[test]
fn what_a_worker_had_not_begun_counts_nothing_when_its_link_breaks() {
    let mut pool = Pool::with(|config| config.attempts_max = 1);
    for _ in 0..6 {
        pool.submit();
    }
    let link = pool.offering(2, 16);
    let first = pool.sends();
    assert_eq!(first.len(), 2, "it begins with what it runs");
    pool.done(first[0]);
    pool.done(first[1]);
    let held = pool.sends();
    assert_eq!(held.len(), 4);
    pool.lose(link);
    let mut ended = [pool.finish(), pool.finish()];
    ended.sort_unstable_by_key(|(task, ..)| *task);
    assert_eq!(ended, [0, 1].map(|at| (held[at].task, Outcome::Exhausted, 1)));
    assert_eq!(pool.scheduler.stats().waiting, 2);
}

#[test]
fn one_task_that_kills_workers_takes_no_neighbour_with_it() {
    let mut pool = Pool::new();
    let all: Vec<_> = (0..16).map(|_| pool.submit()).collect();
    let poison = all[5];
    let mut ended = Vec::new();
    let mut held: Vec<Sent> = Vec::new();
    let mut link = pool.offering(2, 16);
    while ended.len() < all.len() {
        match pool.poll() {
            Some(Action::Send { link, task, attempt }) => held.push(Sent { link, task, attempt }),
            Some(Action::Finish { task, outcome, .. }) => ended.push((task, outcome)),
            Some(Action::Connect { .. } | Action::Gone { .. }) => {}
            None if held.iter().take(2).any(|sent| sent.task == poison) => {
                // It runs two at once, and dies of one of them.
                held.clear();
                pool.lose(link);
                pool.remove(link.worker()).unwrap();
                link = pool.offering(2, 16);
            }
            None => {
                let sent = held.remove(0);
                pool.reply(sent, Verdict::Done).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    for (task, outcome) in ended {
        let expected = if task == poison { Outcome::Exhausted } else { Outcome::Done };
        assert_eq!(outcome, expected, "{task:?}");
    }
}

#[test]
fn a_task_that_waited_behind_those_that_hang_is_not_late() {
    let mut pool = Pool::with(|config| {
        config.attempts_max = 1;
        config.attempt_timeout = 10 * SECOND;
        config.strikes_max = 2;
        config.resends_max = 9;
    });
    let link = pool.offering(1, 3);
    pool.earn(link, 2);
    for _ in 0..3 {
        pool.submit();
    }
    let sends = pool.sends();
    assert_eq!(sends.len(), 3);
    pool.wait(10 * SECOND);
    pool.expect(withdraw(sends[0]));
    assert_eq!(pool.finish(), (sends[0].task, Outcome::Exhausted, 1));
    // The others cannot have begun: they are taken back, or time out and count nothing.
    let rest = pool.polls();
    assert!(!rest.iter().any(|action| matches!(action, Action::Finish { .. })), "{rest:?}");
    assert_eq!(pool.scheduler.stats().exhausted, 1);
}

#[test]
fn one_sent_after_another_has_hung_is_late_by_its_own_fault() {
    let mut pool = Pool::with(|config| {
        config.attempts_max = 1;
        config.attempt_timeout = 10 * SECOND;
        config.strikes_max = 9;
    });
    pool.up(1);
    for _ in 0..3 {
        pool.submit();
        let sent = pool.sent();
        pool.wait(10 * SECOND);
        pool.expect(withdraw(sent));
        assert_eq!(pool.finish(), (sent.task, Outcome::Exhausted, 1));
    }
}

#[test]
fn what_is_given_back_unbegun_costs_no_attempt() {
    let mut pool = Pool::with(|config| config.attempts_max = 1);
    pool.submit();
    let (first, _) = (pool.up(1), pool.up(1));
    let sent = pool.sent();
    assert_eq!(sent.link, first);
    pool.reply(sent, Verdict::Returned).unwrap();
    let again = pool.sent();
    assert_ne!(again.link, first);
    assert_eq!(again.attempt, 2);
    pool.done(again);
    assert_eq!(pool.scheduler.stats().returned, 1);
}

#[test]
fn a_worker_that_rests_keeps_only_what_it_runs() {
    let mut pool = Pool::with(|config| config.failures_max = 1);
    let (bad, good) = (pool.offering(1, 4), pool.up(1));
    pool.earn(bad, 3);
    for _ in 0..6 {
        pool.submit();
    }
    let sends = pool.sends();
    let held: Vec<_> = sends.iter().copied().filter(|sent| sent.link == bad).collect();
    assert_eq!(held.len(), 4);
    pool.failed(held[0]);
    let actions = pool.polls();
    assert!(actions.contains(&withdraw(held[2])) && actions.contains(&withdraw(held[3])));
    assert!(!actions.contains(&withdraw(held[1])), "it may have begun");
    assert_eq!(pool.in_flight(bad), 1);
    assert_eq!(pool.reply(held[3], Verdict::Done), Err(EventError::Stale), "an answer crosses it");
    assert_eq!(pool.in_flight(good), 1);
    assert_eq!(pool.scheduler.stats().waiting, 3);
}

#[test]
fn attempt_numbers_fit_however_often_a_task_comes_back() {
    let mut config = Config::new(1);
    (config.attempts_max, config.resends_max, config.retries_max) = (1, u16::MAX - 1, 0);
    assert!(config.checked().is_ok());
    config.retries_max = 1;
    assert!(config.checked().is_err());
    let mut pool = Pool::with(|config| config.resends_max = u16::MAX - 5);
    let options = crate::TaskOptions::new().retries_max(u16::MAX);
    let task = pool.scheduler.submit_with(pool.now, options).unwrap();
    pool.up(1);
    for attempt in 1..=u16::MAX - 5 {
        assert_eq!(
            pool.scheduler.poll_action(),
            Some(Action::Send { link: pool.first(), task, attempt })
        );
        let event =
            Event::Replied { link: pool.first(), task, attempt, verdict: Verdict::Returned };
        pool.scheduler.handle_event(pool.now, event).unwrap();
    }
    assert_eq!(pool.finish(), (task, Outcome::Bounced, u16::MAX - 5));
}
