use super::*;
use crate::Choice;

const MILLI: Duration = Duration::from_millis(1);

/// A pool that judges workers by their answers.
fn judging(change: impl FnOnce(&mut Config)) -> Pool {
    Pool::with(|config| {
        config.choice = Choice::FirstAnswer;
        config.trust_initial = 16;
        change(config);
    })
}

/// Has a worker do so many tasks that take so long, while all others are busy.
fn does(pool: &mut Pool, link: Link, count: u32, takes: Duration) {
    pool.scheduler.set_backlog(1 << 40);
    for _ in 0..count {
        let mut others = Vec::new();
        let sent = loop {
            pool.submit();
            let sent = pool.sent();
            if sent.link == link {
                break sent;
            }
            others.push(sent.task);
        };
        for task in others {
            pool.cancel(task).unwrap();
        }
        while let Some(Action::Withdraw { .. } | Action::Finish { .. }) = pool.poll() {}
        pool.now = pool.now.saturating_add(takes);
        pool.done(sent);
    }
    pool.scheduler.set_backlog(0);
}

/// A pool of a worker that takes a millisecond and of one that takes so much more, both idle.
fn fast_and_slow(times: u32, windows: u32) -> (Pool, Link, Link) {
    let mut pool = judging(|_| ());
    let (fast, slow) = (pool.offering(1, windows), pool.offering(1, windows));
    for _ in 0..4 {
        does(&mut pool, fast, 1, MILLI);
        does(&mut pool, slow, 1, MILLI * times);
    }
    (pool, fast, slow)
}

#[test]
fn of_two_idle_workers_the_one_that_answers_first_gets_the_task() {
    let (mut pool, fast, _) = fast_and_slow(5, 1);
    for _ in 0..5 {
        pool.submit();
        let sent = pool.sent();
        assert_eq!(sent.link, fast);
        pool.now = pool.now.saturating_add(MILLI);
        pool.done(sent);
    }
}

#[test]
fn a_task_that_is_the_only_one_waits_for_a_much_faster_worker() {
    let (mut pool, fast, slow) = fast_and_slow(20, 1);
    pool.submit();
    let first = pool.sent();
    pool.submit();
    pool.nothing();
    assert!(pool.scheduler.is_work_conserving(), "it may not go to the slow one now");
    pool.now = pool.now.saturating_add(MILLI);
    pool.done(first);
    assert_eq!(pool.sent().link, fast);
    assert_eq!(pool.in_flight(slow), 0);
}

#[test]
fn a_task_waits_for_a_faster_worker_no_longer_than_for_another_that_came_back() {
    let (mut pool, _, slow) = fast_and_slow(20, 1);
    pool.submit();
    let _stuck = pool.sent();
    pool.submit();
    pool.nothing();
    let due = pool.scheduler.poll_timeout().unwrap();
    assert_eq!(due, pool.seconds(1), "elsewhere_wait");
    pool.wait(SECOND);
    assert_eq!(pool.sent().link, slow);
}

#[test]
fn no_task_waits_for_a_better_worker_where_none_is_to_wait_for_another() {
    let (mut pool, _, slow) = fast_and_slow(20, 1);
    let mut config = pool.scheduler.config();
    config.elsewhere_wait = Duration::ZERO;
    pool.scheduler.state.policy = crate::config::Policy::new(&config);
    pool.submit();
    pool.submit();
    let _first = pool.sent();
    assert_eq!(pool.sent().link, slow);
}

#[test]
fn with_much_left_to_do_a_slow_worker_is_of_use() {
    let (mut pool, _, slow) = fast_and_slow(5, 1);
    pool.scheduler.set_backlog(1_000_000);
    pool.submit();
    pool.submit();
    let _first = pool.sent();
    assert_eq!(pool.sent().link, slow);
}

#[test]
fn a_worker_that_fails_at_once_draws_no_tasks() {
    let mut pool = judging(|config| {
        config.failures_max = u16::MAX;
        config.retries_max = 0;
    });
    let (good, bad) = (pool.offering(1, 1), pool.offering(1, 1));
    let mut failed = 0;
    for _ in 0..200 {
        pool.submit();
        let sent = pool.sent();
        if sent.link == good {
            pool.now = pool.now.saturating_add(10 * MILLI);
            pool.done(sent);
        } else {
            assert_eq!(sent.link, bad);
            failed += 1;
            pool.failed(sent);
        }
    }
    assert!(failed <= 3, "{failed} went to the one that fails, which always is idle");
}

#[test]
fn what_is_known_of_an_idle_worker_is_forgotten_after_a_while() {
    let (mut pool, fast, slow) = fast_and_slow(3, 1);
    pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.link, fast);
    pool.now = pool.now.saturating_add(MILLI);
    pool.done(sent);
    // Both are like any other now, and the slow one has waited longer.
    pool.wait(10 * SECOND);
    pool.submit();
    assert_eq!(pool.sent().link, slow);
}

#[test]
fn a_worker_of_twice_the_weight_gets_a_task_that_it_takes_somewhat_longer_for() {
    let mut pool = judging(|_| ());
    let (usual, heavy) = (pool.offering(1, 1), {
        let worker = pool.add(Route::Await);
        let offer = Offer::new(1).weight(4);
        pool.scheduler.accept(pool.now, worker, offer, Instant::EPOCH).unwrap().link
    });
    for _ in 0..4 {
        does(&mut pool, usual, 1, MILLI);
        does(&mut pool, heavy, 1, 2 * MILLI);
    }
    pool.submit();
    assert_eq!(pool.sent().link, heavy);
}

#[test]
fn what_has_not_begun_is_taken_back_for_a_worker_that_is_idle_where_nothing_waits() {
    let (mut pool, fast, slow) = fast_and_slow(3, 4);
    pool.scheduler.set_backlog(1_000_000);
    for _ in 0..8 {
        pool.submit();
    }
    let sends = pool.sends();
    assert_eq!((pool.in_flight(fast), pool.in_flight(slow)), (4, 4));
    pool.scheduler.set_backlog(0);
    let mine = |sent: &&Sent| sent.link == fast;
    for sent in sends.iter().filter(mine) {
        pool.now = pool.now.saturating_add(MILLI);
        pool.reply(*sent, Verdict::Done).unwrap();
    }
    let newest = *sends.iter().rfind(|sent| sent.link == slow).unwrap();
    let actions: Vec<_> = pool.polls();
    assert!(actions.contains(&withdraw(newest)), "{actions:?}");
    let again = actions.iter().any(|action| {
        matches!(action, Action::Send { link, task, attempt: 2 } if (*link, *task) == (fast, newest.task))
    });
    assert!(again, "{actions:?}");
    assert!(pool.in_flight(slow) >= 1, "what may have begun stays");
}

#[test]
fn no_number_of_answers_without_any_time_has_the_longest_one_be_less_than_none() {
    let mut pool = judging(|_| ());
    pool.up(1);
    for _ in 0..2_100 {
        pool.submit();
        let sent = pool.sent();
        pool.done(sent);
    }
    assert_eq!(pool.scheduler.state.choosing.longest, 0);
}

#[test]
fn a_pool_that_does_not_judge_never_holds_a_task_back() {
    let mut pool = Pool::new();
    let (one, other) = (pool.offering(1, 1), pool.offering(1, 1));
    pool.submit();
    pool.submit();
    let links = [pool.sent().link, pool.sent().link];
    assert_eq!(links, [one, other]);
}

#[cfg(feature = "queues")]
#[test]
fn a_task_that_is_held_back_for_a_faster_worker_says_so_and_until_when() {
    use crate::{Idles, Waits};
    let (mut pool, fast, slow) = fast_and_slow(20, 1);
    pool.submit();
    let first = pool.sent();
    assert_eq!(first.link, fast);
    let next = pool.submit();
    pool.nothing();
    let until = pool.seconds(1);
    assert_eq!(pool.scheduler.waits(next), Some(Waits::HeldBack { until }));
    assert_eq!(pool.scheduler.idles(slow.worker()), Some(Idles::Room));
    pool.wait(SECOND);
    assert_eq!(pool.scheduler.waits(next), Some(Waits::Turn));
}
