use super::*;
use crate::SubmitError;

#[test]
fn tasks_are_sent_in_the_order_of_submission() {
    let mut pool = Pool::new();
    let submitted = [pool.submit(), pool.submit(), pool.submit()];
    let link = pool.up(3);
    let sends = pool.sends();
    assert_eq!(tasks(&sends), submitted);
    assert!(sends.iter().all(|sent| sent.link == link && sent.attempt == 1));
}

#[test]
fn a_done_task_finishes_once() {
    let mut pool = Pool::new();
    let task = pool.submit();
    pool.up(1);
    let sent = pool.sent();
    pool.reply(sent, Verdict::Done).unwrap();
    assert_eq!(pool.finish(), (task, Outcome::Done, 1));
    pool.nothing();
    assert!(pool.scheduler.is_idle());
    assert_eq!(pool.scheduler.stats().done, 1);
}

#[test]
fn without_a_worker_tasks_wait() {
    let mut pool = Pool::new();
    pool.submit();
    pool.nothing();
    pool.wait(1_000 * SECOND);
    pool.nothing();
    assert_eq!(pool.scheduler.stats().waiting, 1);
    assert_eq!(pool.scheduler.poll_timeout(), None);
}

#[test]
fn a_full_pool_takes_a_task_again_once_a_finish_was_polled() {
    let mut pool = Pool::new();
    for _ in 0..16 {
        pool.submit();
    }
    assert_eq!(pool.scheduler.submit(pool.now), Err(SubmitError::Full));
    pool.up(1);
    let sent = pool.sent();
    pool.reply(sent, Verdict::Done).unwrap();
    assert_eq!(pool.scheduler.submit(pool.now), Err(SubmitError::Full));
    pool.finish();
    let task = pool.submit();
    assert_eq!(task.slot(), sent.task.slot());
    assert_eq!(task.generation(), sent.task.generation() + 1);
}

#[test]
fn tasks_of_a_lost_link_are_sent_again_in_order_one_suspect_to_a_worker() {
    let mut pool = Pool::new();
    let submitted = [pool.submit(), pool.submit(), pool.submit(), pool.submit()];
    let link = pool.up(3);
    assert_eq!(tasks(&pool.sends()), submitted[..3]);
    pool.lose(link);
    assert_eq!(pool.scheduler.stats().waiting, 4);
    assert_eq!(pool.scheduler.stats().lost, 3);
    pool.up(4);
    let sends = pool.sends();
    assert_eq!(tasks(&sends), [submitted[0], submitted[3]]);
    pool.done(sends[0]);
    let second = pool.sent();
    pool.done(second);
    let third = pool.sent();
    assert_eq!([second.task, third.task], submitted[1..3]);
    assert_eq!([sends[0], second, third].map(|sent| sent.attempt), [2, 2, 2]);
    assert_eq!(pool.scheduler.stats().resent, 3);
}

#[test]
fn a_task_that_kills_every_worker_is_exhausted() {
    let mut pool = Pool::with(|config| config.attempts_max = 3);
    let task = pool.submit();
    for attempt in 1..=3 {
        let link = pool.up(1);
        assert_eq!(pool.sent(), Sent { link, task, attempt });
        pool.lose(link);
    }
    assert_eq!(pool.finish(), (task, Outcome::Exhausted, 3));
    pool.nothing();
}

#[test]
fn a_failure_is_a_result_unless_retries_are_asked_for() {
    let mut pool = Pool::new();
    pool.submit();
    pool.up(1);
    let sent = pool.sent();
    pool.failed(sent);
    pool.nothing();
}

#[test]
fn a_failed_task_is_tried_again_after_its_delay_before_all_others() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1;
        config.retry_delay = 5 * SECOND;
    });
    pool.submit();
    pool.up(1);
    let first = pool.sent();
    pool.reply(first, Verdict::Failed).unwrap();
    pool.nothing();
    assert_eq!(pool.scheduler.stats().resting, 1);
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(5)));

    pool.submit();
    let second = pool.sent();
    pool.submit();
    pool.wait(5 * SECOND);
    pool.done(second);
    let again = pool.sent();
    assert_eq!(again, Sent { attempt: 2, ..first });
    pool.failed(again);
}

#[test]
fn failures_and_lost_attempts_are_counted_apart() {
    let mut pool = Pool::with(|config| {
        config.attempts_max = 2;
        config.retries_max = 2;
        config.retry_delay = Duration::ZERO;
    });
    let task = pool.submit();
    let link = pool.up(1);
    for _ in 0..2 {
        let sent = pool.sent();
        pool.reply(sent, Verdict::Failed).unwrap();
    }
    assert_eq!(pool.sent().attempt, 3);
    pool.lose(link);
    let link = pool.up(1);
    assert_eq!(pool.sent(), Sent { link, task, attempt: 4 });
    pool.lose(link);
    assert_eq!(pool.finish(), (task, Outcome::Exhausted, 4));
}

#[test]
fn an_attempt_that_outlives_its_deadline_goes_elsewhere() {
    let mut pool = Pool::with(|config| config.attempt_timeout = 10 * SECOND);
    let hung = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    let other = pool.up(1);
    pool.nothing();
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(10)));
    pool.wait(10 * SECOND);
    pool.expect(withdraw(sent));
    let again = pool.sent();
    assert_eq!(again, Sent { link: other, task: sent.task, attempt: 2 });
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    pool.done(again);
    assert_eq!(pool.scheduler.stats().timed_out, 1);
    assert_eq!(pool.scheduler.worker_stats(hung.worker()).unwrap().lost, 1);
}

#[test]
fn attempts_that_time_out_are_exhausted_too() {
    let mut pool = Pool::with(|config| {
        config.attempts_max = 1;
        config.attempt_timeout = SECOND;
    });
    pool.submit();
    pool.up(1);
    let sent = pool.sent();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
    assert_eq!(pool.finish(), (sent.task, Outcome::Exhausted, 1));
}

#[test]
fn strikes_close_the_link_and_give_back_the_rest() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = 10 * SECOND;
        config.strikes_max = 2;
    });
    let link = pool.up(3);
    pool.submit();
    pool.submit();
    let (first, second) = (pool.sent(), pool.sent());
    pool.wait(SECOND);
    pool.submit();
    let third = pool.sent();
    pool.wait(9 * SECOND);
    pool.expect(withdraw(first));
    pool.expect(withdraw(second));
    pool.expect(disconnect(link, Reason::Strikes));
    pool.nothing();
    assert_eq!(pool.scheduler.stats().waiting, 3);
    assert_eq!(pool.scheduler.stats().lost, 1);
    assert_eq!(pool.scheduler.worker_stats(link.worker()).unwrap().lost, 3);
    assert_eq!(pool.event(Event::Lost { link, how: Loss::Broken }), Err(EventError::Stale));
    pool.up(3);
    assert_eq!(tasks(&pool.sends()), [first.task, third.task, second.task]);
}

#[test]
fn any_answer_clears_the_strikes() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = 10 * SECOND;
        config.attempts_max = 1;
        config.strikes_max = 2;
    });
    let link = pool.up(1);
    for _ in 0..3 {
        pool.submit();
        let sent = pool.sent();
        pool.wait(10 * SECOND);
        pool.expect(withdraw(sent));
        assert_eq!(pool.finish().1, Outcome::Exhausted);
        pool.submit();
        let sent = pool.sent();
        pool.failed(sent);
    }
    assert_eq!(pool.state(link.worker()), WorkerState::Up);
}

#[test]
fn a_task_says_who_holds_it_only_while_somebody_does() {
    let mut pool = Pool::new();
    let task = pool.submit();
    assert_eq!(pool.scheduler.holder(task), None);
    let link = pool.up(1);
    let sent = pool.sent();
    assert_eq!(pool.scheduler.holder(task), Some((link.worker(), 1)));
    pool.done(sent);
    assert_eq!(pool.scheduler.holder(task), None);
}
