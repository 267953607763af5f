use super::*;
use crate::TaskOptions;
use crate::Waits;
use crate::queue::Key;

const ACCOUNT: Key = Key::new(3);

fn keyed(pool: &mut Pool, key: Key) -> TaskId {
    let task = pool.scheduler.submit_with(pool.now, TaskOptions::new().key(key)).unwrap();
    pool.scheduler.check();
    task
}

#[test]
fn a_paused_key_gets_nothing_for_so_long_and_its_worker_goes_on_with_others() {
    let mut pool = Pool::new();
    let link = pool.up(4);
    let first = keyed(&mut pool, ACCOUNT);
    let second = keyed(&mut pool, ACCOUNT);
    let sent = pool.sent();
    pool.useless(sent, Useless::KeyThrottled(3 * SECOND)).unwrap();
    let (other, plain) = (keyed(&mut pool, Key::new(4)), pool.submit());
    let until = pool.seconds(3);
    assert_eq!(pool.scheduler.waits(first), Some(Waits::KeyPaused { until }));
    assert_eq!(pool.scheduler.waits(second), Some(Waits::Key));
    assert_eq!(tasks(&pool.sends()), [other, plain]);
    assert_eq!(pool.state(link.worker()), WorkerState::Up);
    let stats = pool.scheduler.worker_stats(link.worker()).unwrap();
    assert_eq!((stats.failed, stats.lost, stats.allowance), (0, 0, 4));
    assert_eq!(pool.scheduler.poll_timeout(), Some(until));
    pool.wait(2 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    let again = pool.sent();
    assert_eq!((again.task, again.attempt), (first, 2));
    pool.done(again);
    assert_eq!(pool.sent().task, second);
}

#[test]
fn all_tasks_with_a_place_of_a_paused_key_rest_whether_they_were_sent_or_not() {
    let mut pool = Pool::with(|config| config.elsewhere_wait = Duration::MAX);
    let (link, busy) = (pool.offering(1, 1), pool.offering(1, 1));
    let key = ACCOUNT.at_once(3);
    let keyed: Vec<_> = (0..4).map(|_| keyed(&mut pool, key)).collect();
    let sends = pool.sends();
    assert_eq!((sends[0].link, sends[1].link), (link, busy));
    pool.useless(sends[0], Useless::KeyThrottled(SECOND)).unwrap();
    assert!(pool.sends().is_empty(), "the third has a place, and was not sent");
    let until = pool.seconds(1);
    for task in [keyed[0], keyed[2]] {
        assert_eq!(pool.scheduler.waits(task), Some(Waits::KeyPaused { until }));
    }
    // One that was under way goes on; where it comes back it rests, too, and where it ends the next one does.
    pool.done(sends[1]);
    assert_eq!(pool.scheduler.waits(keyed[3]), Some(Waits::KeyPaused { until }));
    assert!(pool.sends().is_empty());
    pool.wait(SECOND);
    assert_eq!(pool.sends().len(), 2);
}

#[test]
fn a_pause_ends_with_the_last_task_of_its_key() {
    let mut pool = Pool::new();
    pool.up(4);
    let first = keyed(&mut pool, ACCOUNT);
    let sent = pool.sent();
    pool.useless(sent, Useless::KeyThrottled(60 * SECOND)).unwrap();
    pool.cancel(first).unwrap();
    pool.finish();
    let next = keyed(&mut pool, ACCOUNT);
    assert_eq!(pool.sent().task, next, "its number may be another's");
}

#[test]
fn a_task_without_a_key_rests_alone() {
    let mut pool = Pool::new();
    let link = pool.up(2);
    let task = pool.submit();
    let sent = pool.sent();
    pool.useless(sent, Useless::KeyThrottled(SECOND)).unwrap();
    let other = pool.submit();
    assert_eq!(tasks(&pool.sends()), [other]);
    assert_eq!(pool.scheduler.stats().resting, 1);
    pool.wait(SECOND);
    let again = pool.sent();
    assert_eq!((again.task, again.link), (task, link));
}

#[test]
fn a_key_that_never_can_ends_its_task_after_so_many_sends() {
    let mut pool = Pool::with(|config| config.resends_max = 3);
    pool.up(1);
    let task = keyed(&mut pool, ACCOUNT);
    for _ in 0..3 {
        let sent = pool.sent();
        pool.useless(sent, Useless::KeyThrottled(Duration::ZERO)).unwrap();
        pool.wait(SECOND);
    }
    assert_eq!(pool.finish(), (task, Outcome::Bounced, 3));
}
