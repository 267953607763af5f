//! Stories about attempts that say how far they are.

use super::*;
use crate::TaskOptions;

impl Pool {
    fn progress(&mut self, sent: Sent, done: u64) -> Result<(), EventError> {
        let Sent { link, task, attempt } = sent;
        self.event(Event::Progress { link, task, attempt, done })
    }
}

/// A pool whose attempts have 10 s, with one under way of a task with these options.
fn under_way(options: TaskOptions) -> (Pool, Sent) {
    let mut pool = Pool::with(|config| {
        (config.attempt_timeout, config.strikes_max) = (10 * SECOND, 9);
    });
    pool.up(1);
    pool.scheduler.submit_with(pool.now, options).unwrap();
    let sent = pool.sent();
    (pool, sent)
}

#[test]
fn an_attempt_that_makes_progress_has_its_time_once_more_each_time() {
    let (mut pool, sent) = under_way(TaskOptions::new().attempt_max(Duration::MAX));
    for done in 1..=20 {
        pool.wait(9 * SECOND);
        pool.nothing();
        pool.progress(sent, done).unwrap();
    }
    pool.wait(9 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
}

#[test]
fn progress_gives_an_attempt_no_more_than_its_longest_time() {
    let (mut pool, sent) = under_way(TaskOptions::new().attempt_max(25 * SECOND));
    for done in 1..=2 {
        pool.wait(9 * SECOND);
        pool.nothing();
        pool.progress(sent, done).unwrap();
    }
    pool.wait(6 * SECOND);
    pool.nothing();
    pool.progress(sent, 3).unwrap();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
}

#[test]
fn an_attempt_has_no_more_time_than_it_may_take_in_all() {
    for (options, seconds, strikes) in [
        (TaskOptions::new().attempt_max(5 * SECOND), 5, 0),
        (TaskOptions::new().attempt_timeout(Duration::MAX).attempt_max(25 * SECOND), 25, 1),
    ] {
        let (mut pool, sent) = under_way(options);
        assert_eq!(pool.scheduler.attempt_timeout(sent.task), seconds * SECOND);
        pool.progress(sent, 1).unwrap();
        pool.wait((seconds - 1) * SECOND);
        pool.nothing();
        pool.progress(sent, 2).unwrap();
        pool.wait(SECOND);
        pool.expect(withdraw(sent));
        let stats = pool.scheduler.worker_stats(sent.link.worker()).unwrap();
        assert_eq!(stats.strikes, strikes, "one only for a time that is not short");
    }
}

#[test]
fn no_time_in_all_leaves_an_attempt_its_usual_time_and_no_more() {
    let (mut pool, sent) = under_way(TaskOptions::new().attempt_max(Duration::ZERO));
    pool.wait(9 * SECOND);
    pool.nothing();
    pool.progress(sent, 1).unwrap();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
}

#[test]
fn a_worker_that_says_the_same_again_and_again_gets_no_time_by_that() {
    let (mut pool, sent) = under_way(TaskOptions::new().attempt_max(Duration::MAX));
    pool.progress(sent, 7).unwrap();
    pool.wait(9 * SECOND);
    for done in [7, 0, 6] {
        pool.progress(sent, done).unwrap();
    }
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
}

#[test]
fn progress_of_a_task_that_does_not_ask_for_time_gives_none() {
    for options in [TaskOptions::new(), TaskOptions::new().attempt_timeout(10 * SECOND)] {
        let (mut pool, sent) = under_way(options);
        pool.wait(9 * SECOND);
        pool.progress(sent, 1).unwrap();
        pool.wait(SECOND);
        pool.expect(withdraw(sent));
    }
}

#[test]
fn no_progress_holds_a_task_beyond_its_own_deadline() {
    let options = TaskOptions::new().attempt_max(Duration::MAX);
    let (mut pool, sent) = under_way(options.deadline(Instant::from_millis(30_001)));
    for done in 1..=5 {
        pool.wait(5 * SECOND);
        pool.nothing();
        pool.progress(sent, done).unwrap();
    }
    pool.wait(5 * SECOND);
    pool.expect(withdraw(sent));
    assert_eq!(pool.finish(), (sent.task, Outcome::TimedOut, 1));
}

#[test]
fn progress_of_what_a_link_does_not_hold_is_refused_as_an_answer_would_be() {
    let (mut pool, sent) = under_way(TaskOptions::new().attempt_max(Duration::MAX));
    let other = pool.up(1);
    let never = Sent { attempt: 2, ..sent };
    assert_eq!(pool.progress(never, 1), Err(EventError::Foreign));
    assert_eq!(pool.progress(Sent { link: other, ..sent }, 1), Err(EventError::Foreign));
    pool.done(sent);
    assert_eq!(pool.progress(sent, 1), Err(EventError::Stale));
    pool.lose(other);
    assert_eq!(pool.progress(Sent { link: other, ..sent }, 1), Err(EventError::Stale));
}

#[test]
fn what_another_attempt_had_done_does_not_count_for_the_next_one() {
    let (mut pool, sent) = under_way(TaskOptions::new().attempt_max(Duration::MAX));
    pool.progress(sent, 100).unwrap();
    let other = pool.up(1);
    pool.lose(sent.link);
    let again = pool.sent();
    assert_eq!((again.link, again.attempt), (other, 2));
    pool.wait(9 * SECOND);
    pool.progress(again, 1).unwrap();
    pool.wait(9 * SECOND);
    pool.nothing();
    pool.done(again);
}

#[test]
fn a_worker_that_makes_progress_is_pinged_as_any_other_so_that_it_hears_something() {
    let mut pool = Pool::with(|config| config.heartbeat_interval = 10 * SECOND);
    pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.wait(9 * SECOND);
    pool.progress(sent, 1).unwrap();
    pool.wait(SECOND);
    pool.expect(Action::Ping { link: sent.link });
}
