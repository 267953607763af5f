use super::*;

#[test]
fn a_waiting_task_is_cancelled_without_a_word_to_anybody() {
    let mut pool = Pool::new();
    let (first, second) = (pool.submit(), pool.submit());
    pool.cancel(first).unwrap();
    assert_eq!(pool.finish(), (first, Outcome::Cancelled, 0));
    pool.up(2);
    assert_eq!(tasks(&pool.sends()), [second]);
}

#[test]
fn a_cancelled_task_in_flight_is_withdrawn_and_makes_room_at_once() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit();
    let next = pool.submit();
    let sent = pool.sent();
    pool.cancel(sent.task).unwrap();
    assert_eq!(pool.in_flight(link), 0);
    assert_eq!(pool.scheduler.stats().finished, 1);
    assert_eq!(pool.scheduler.stats().cancelled, 1);
    pool.expect(withdraw(sent));
    assert_eq!(pool.finish(), (sent.task, Outcome::Cancelled, 1));
    assert_eq!(pool.sent().task, next);
}

#[test]
fn a_resting_task_is_cancelled() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    pool.cancel(sent.task).unwrap();
    assert_eq!(pool.finish(), (sent.task, Outcome::Cancelled, 1));
    pool.wait(10 * SECOND);
    pool.nothing();
}

#[test]
fn a_task_is_cancelled_once() {
    let mut pool = Pool::new();
    pool.up(1);
    let task = pool.submit();
    let sent = pool.sent();
    pool.cancel(task).unwrap();
    assert_eq!(pool.cancel(task), Err(Stale));
    pool.expect(withdraw(sent));
    assert_eq!(pool.cancel(task), Err(Stale));
    pool.finish();
    assert_eq!(pool.cancel(task), Err(Stale));
    assert_eq!(pool.cancel(TaskId::from_parts(99, 0)), Err(Stale));
    assert_eq!(pool.cancel(TaskId::from_parts(3, 0)), Err(Stale));
    pool.nothing();
}

#[test]
fn of_cancel_and_answer_the_first_wins() {
    let mut pool = Pool::new();
    pool.up(2);
    pool.submit();
    pool.submit();
    let (first, second) = (pool.sent(), pool.sent());
    pool.reply(first, Verdict::Done).unwrap();
    assert_eq!(pool.cancel(first.task), Err(Stale));
    pool.cancel(second.task).unwrap();
    assert_eq!(pool.reply(second, Verdict::Done), Err(EventError::Stale));
    assert_eq!(pool.finish(), (first.task, Outcome::Done, 1));
    pool.expect(withdraw(second));
    assert_eq!(pool.finish(), (second.task, Outcome::Cancelled, 1));
}

#[test]
fn nothing_is_withdrawn_from_a_link_that_is_gone() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.cancel(sent.task).unwrap();
    pool.lose(link);
    assert_eq!(pool.finish(), (sent.task, Outcome::Cancelled, 1));
    pool.nothing();
}

#[test]
fn nothing_is_withdrawn_from_the_next_worker_in_the_same_slot() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.cancel(sent.task).unwrap();
    pool.remove(link.worker()).unwrap();
    // Over with the link, and so before it.
    assert_eq!(pool.finish(), (sent.task, Outcome::Cancelled, 1));
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker: link.worker() });
    let next = pool.up(1);
    assert_eq!(next.worker().slot(), link.worker().slot());
    assert_eq!(next.epoch(), link.epoch());
    pool.nothing();
}
