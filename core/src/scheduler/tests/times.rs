//! Stories about tasks with times of their own.

use super::*;
use crate::TaskOptions;

impl Pool {
    fn submit_with(&mut self, options: TaskOptions) -> TaskId {
        let task = self.scheduler.submit_with(self.now, options).unwrap();
        self.scheduler.check();
        task
    }

    fn by(&self, seconds: u64) -> TaskOptions {
        TaskOptions::new().deadline(self.seconds(seconds))
    }
}

fn attempts_of(seconds: u64) -> TaskOptions {
    TaskOptions::new().attempt_timeout(Duration::from_secs(seconds))
}

#[test]
fn a_task_tells_how_long_its_attempts_may_take_and_any_other_as_the_configuration_says() {
    let mut pool = Pool::with(|config| config.attempt_timeout = 10 * SECOND);
    let (usual, own) = (pool.submit(), pool.submit_with(attempts_of(3)));
    let unknown = TaskId::from_parts(u32::MAX, 0);
    let spans = [usual, own, unknown].map(|task| pool.scheduler.attempt_timeout(task));
    assert_eq!(spans, [10 * SECOND, 3 * SECOND, 10 * SECOND]);
}

#[test]
fn a_task_tells_its_deadline_and_any_other_that_it_has_none() {
    let mut pool = Pool::new();
    let (usual, own) = (pool.submit(), pool.submit_with(attempts_of(3)));
    let hasty = pool.submit_with(pool.by(3));
    let unknown = TaskId::from_parts(u32::MAX, 0);
    let deadlines = [usual, own, hasty, unknown].map(|task| pool.scheduler.deadline(task));
    let never = Instant::FAR_FUTURE;
    assert_eq!(deadlines, [never, never, pool.seconds(3), never]);
}

#[test]
fn a_task_that_waits_past_its_deadline_times_out_unsent() {
    let mut pool = Pool::new();
    let (other, task) = (pool.submit(), pool.submit_with(pool.by(3)));
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(3)));
    pool.wait(3 * SECOND);
    assert_eq!(pool.finish(), (task, Outcome::TimedOut, 0));
    assert_eq!((pool.scheduler.stats().expired, pool.scheduler.stats().waiting), (1, 1));
    pool.up(2);
    assert_eq!(tasks(&pool.sends()), [other]);
}

#[test]
fn a_deadline_that_has_passed_ends_a_task_by_the_next_poll() {
    let mut pool = Pool::new();
    pool.up(1);
    let task = pool.submit_with(pool.by(0));
    assert_eq!(pool.finish(), (task, Outcome::TimedOut, 0));
    pool.nothing();
}

#[test]
fn a_task_in_flight_at_its_deadline_is_withdrawn_after_a_look_and_nobody_is_blamed() {
    let mut pool = Pool::with(|config| config.strikes_max = 1);
    let link = pool.up(1);
    pool.submit_with(pool.by(3));
    let sent = pool.sent();
    pool.wait(3 * SECOND);
    assert_eq!(pool.poll_once(), Some(Action::Look { link, overdue: Some(sent.task) }));
    assert_eq!(pool.poll_once(), Some(withdraw(sent)));
    assert_eq!(pool.finish(), (sent.task, Outcome::TimedOut, 1));
    pool.nothing();
    assert_eq!(pool.state(link.worker()), WorkerState::Up);
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
}

#[test]
fn an_answer_found_by_the_look_is_in_time() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit_with(pool.by(3));
    let sent = pool.sent();
    pool.wait(9 * SECOND);
    assert_eq!(pool.poll_once(), Some(Action::Look { link, overdue: Some(sent.task) }));
    pool.done(sent);
    pool.nothing();
}

#[test]
fn a_deadline_holds_through_rests_and_returns() {
    let mut pool = Pool::with(|config| config.retries_max = 9);
    let link = pool.up(1);
    let task = pool.submit_with(pool.by(3));
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    assert_eq!(pool.scheduler.stats().resting, 1);
    pool.wait(SECOND);
    let sent = pool.sent();
    pool.lose(link);
    assert_eq!((sent.attempt, pool.scheduler.stats().waiting), (2, 1));
    pool.wait(2 * SECOND);
    assert_eq!(pool.finish(), (task, Outcome::TimedOut, 2));
}

#[test]
fn a_shorter_time_of_its_own_sends_a_task_again_and_is_no_strike() {
    let mut pool = Pool::with(|config| config.strikes_max = 1);
    let (slow, other) = (pool.up(1), pool.up(1));
    pool.submit_with(attempts_of(2));
    let sent = pool.sent();
    assert_eq!(sent.link, slow);
    pool.wait(2 * SECOND);
    pool.expect(withdraw(sent));
    let again = pool.sent();
    assert_eq!((again.link, again.task, again.attempt), (other, sent.task, 2));
    assert_eq!(pool.state(slow.worker()), WorkerState::Up);
    assert_eq!(pool.scheduler.stats().timed_out, 1);
}

#[test]
fn a_worker_that_keeps_no_shorter_time_rests_as_one_that_fails() {
    let mut pool = Pool::with(|config| config.failures_max = 2);
    let (slow, _good) = (pool.offering(2, 2), pool.up(1));
    for _ in 0..3 {
        pool.submit_with(attempts_of(1));
    }
    let sends = pool.sends();
    assert_eq!(sends.iter().filter(|sent| sent.link == slow).count(), 2);
    pool.done(sends[1]);
    pool.wait(SECOND);
    let actions = pool.polls();
    let rest = Action::Suspend { worker: slow.worker(), until: pool.seconds(1) };
    assert!(actions.contains(&rest), "{actions:?}");
}

#[test]
fn what_waited_behind_others_at_its_worker_loses_no_attempt_by_its_own_time() {
    let mut pool = Pool::with(|config| (config.attempts_max, config.trust_initial) = (1, 9));
    let link = pool.scheduler.add_worker(pool.now, Route::Await).unwrap();
    let offer = Offer::new(1).window(2).trusted();
    pool.scheduler.accept(pool.now, link, offer, Instant::EPOCH).unwrap();
    pool.submit();
    pool.submit_with(attempts_of(1));
    let sends = pool.sends();
    pool.wait(SECOND);
    pool.expect(withdraw(sends[1]));
    assert_eq!(pool.sent().task, sends[1].task, "it is sent again, and not exhausted");
}

#[test]
fn of_those_that_were_put_off_together_the_oldest_is_judged_first_whoever_has_times_of_its_own() {
    for is_timed in [[true, false], [false, true]] {
        let mut pool = Pool::with(|config| {
            (config.attempts_max, config.trust_initial) = (1, 9);
            config.attempt_timeout = 2 * SECOND;
            config.heartbeat_interval = 60 * SECOND;
        });
        let worker = pool.scheduler.add_worker(pool.now, Route::Await).unwrap();
        let offer = Offer::new(1).window(2).trusted();
        let link = pool.scheduler.accept(pool.now, worker, offer, Instant::EPOCH).unwrap().link;
        let until = pool.seconds(60);
        for is_timed in is_timed {
            if is_timed {
                pool.submit_with(TaskOptions::new().deadline(until));
            } else {
                pool.submit();
            }
        }
        let sends = pool.sends();
        pool.event(Event::Moving { link, until: pool.seconds(5) }).unwrap();
        pool.wait(5 * SECOND);
        pool.expect(withdraw(sends[0]));
        assert_eq!(pool.finish(), (sends[0].task, Outcome::Exhausted, 1), "{is_timed:?}");
        pool.expect(withdraw(sends[1]));
        assert_eq!(pool.sent().task, sends[1].task, "it had not begun");
    }
}

#[test]
fn a_longer_time_of_its_own_delays_no_verdict_on_the_others() {
    let mut pool = Pool::with(|config| config.attempt_timeout = 2 * SECOND);
    pool.offering(2, 2);
    pool.submit_with(attempts_of(5));
    let other = pool.submit();
    let sends = pool.sends();
    pool.wait(2 * SECOND);
    pool.expect(withdraw(sends[1]));
    assert_eq!(sends[1].task, other);
    pool.wait(2 * SECOND);
    assert!(pool.sends().is_empty(), "one strike took its room");
    pool.wait(SECOND);
    pool.expect(withdraw(sends[0]));
}

#[test]
fn bytes_on_their_way_put_off_an_attempt_but_not_the_whole_task() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit_with(attempts_of(1).deadline(pool.seconds(3)));
    let sent = pool.sent();
    pool.event(Event::Moving { link, until: pool.seconds(9) }).unwrap();
    pool.wait(2 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
    assert_eq!(pool.finish(), (sent.task, Outcome::TimedOut, 1));
}

#[test]
fn a_task_rests_after_failures_as_long_as_its_own_policy_says() {
    let mut pool = Pool::with(|config| config.retries_max = 3);
    pool.up(1);
    let policy = BackoffPolicy::new().base(2 * SECOND).jitter(Jitter::None);
    pool.submit_with(TaskOptions::new().retry_delay(policy));
    for delay in [2, 4, 8] {
        let sent = pool.sent();
        pool.reply(sent, Verdict::Failed).unwrap();
        pool.wait(Duration::from_secs(delay - 1));
        pool.nothing();
        pool.wait(SECOND);
    }
    pool.sent();
}

#[test]
fn a_resting_task_with_times_of_its_own_can_be_cancelled_and_aborted() {
    let mut pool = Pool::with(|config| config.retries_max = 3);
    pool.up(2);
    for _ in 0..2 {
        pool.submit_with(pool.by(50));
    }
    for sent in pool.sends() {
        pool.reply(sent, Verdict::Failed).unwrap();
    }
    let rests = pool.scheduler.stats().resting;
    pool.cancel(TaskId::from_parts(0, 0)).unwrap();
    assert_eq!((rests, pool.scheduler.stats().resting), (2, 1));
    assert_eq!(pool.finish().1, Outcome::Cancelled);
    pool.drain(pool.now);
    assert_eq!(pool.finish().1, Outcome::Aborted);
}

#[test]
fn a_task_rests_as_long_as_its_handler_says_and_the_others_as_long_as_ever() {
    let mut pool = Pool::with(|config| config.retries_max = 3);
    pool.up(4);
    let policy = BackoffPolicy::new().base(9 * SECOND).jitter(Jitter::None);
    let own = TaskOptions::new().retry_delay(policy);
    let tasks = [pool.submit(), pool.submit_with(own), pool.submit(), pool.submit()];
    let sends = pool.sends();
    assert_eq!(sends.iter().map(|sent| sent.task).collect::<Vec<_>>(), tasks);
    let delay = pool.scheduler.config().retry_delay;
    pool.useless(sends[0], Useless::RetryAfter(3 * delay)).unwrap();
    pool.useless(sends[1], Useless::RetryAfter(2 * delay)).unwrap();
    pool.useless(sends[2], Useless::RetryAfter(Duration::ZERO)).unwrap();
    pool.reply(sends[3], Verdict::Failed).unwrap();
    assert_eq!(pool.sent().task, tasks[2]);
    for task in [tasks[3], tasks[1], tasks[0]] {
        pool.nothing();
        pool.wait(delay);
        assert_eq!(pool.sent().task, task);
    }
}

#[test]
fn a_delay_does_not_add_a_retry_and_counts_against_the_worker_like_any_failure() {
    let mut pool = Pool::with(|config| (config.retries_max, config.failures_max) = (0, 1));
    let (busy, _) = (pool.up(1), pool.up(1));
    pool.submit();
    let sent = pool.sent();
    pool.useless(sent, Useless::RetryAfter(SECOND)).unwrap();
    assert_eq!(pool.finish(), (sent.task, Outcome::Failed, 1));
    assert!(matches!(pool.state(busy.worker()), WorkerState::Suspended { .. }));
}
