use super::*;
use crate::queue::Key;
use crate::{SubmitError, TaskOptions, Waits};

impl Pool {
    fn submit_keyed(&mut self, key: Key) -> TaskId {
        let options = TaskOptions::new().key(key);
        let task = self.scheduler.submit_with(self.now, options).unwrap();
        self.scheduler.check();
        task
    }
}

#[test]
fn tasks_of_a_key_go_one_at_a_time_in_their_order_and_keep_nobody_else() {
    let mut pool = Pool::new();
    pool.up(8);
    let keyed: Vec<_> = (0..3).map(|_| pool.submit_keyed(Key::new(7))).collect();
    let other = pool.submit_keyed(Key::new(8));
    let free = pool.submit();
    let mut sends = pool.sends();
    assert_eq!(tasks(&sends), [keyed[0], other, free]);
    assert_eq!(pool.scheduler.waits(keyed[1]), Some(Waits::Key));
    for &next in &keyed[1..] {
        let held = sends.iter().position(|sent| keyed.contains(&sent.task)).unwrap();
        let held = sends.remove(held);
        pool.done(held);
        let more = pool.sends();
        assert_eq!(tasks(&more), [next]);
        sends.extend(more);
    }
}

#[test]
fn so_many_of_a_key_go_at_once_as_it_says() {
    let mut pool = Pool::new();
    pool.up(8);
    let key = Key::new(0).at_once(2);
    let keyed: Vec<_> = (0..4).map(|_| pool.submit_keyed(key)).collect();
    let sends = pool.sends();
    assert_eq!(tasks(&sends), keyed[..2]);
    pool.done(sends[1]);
    assert_eq!(tasks(&pool.sends()), [keyed[2]]);
    // What the latest says holds for all.
    let last = pool.submit_keyed(Key::new(0).at_once(4));
    assert_eq!(tasks(&pool.sends()), [keyed[3], last]);
}

#[test]
fn a_task_keeps_its_key_until_its_outcome_while_it_rests_too() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    let link = pool.up(8);
    let first = pool.submit_keyed(Key::new(1));
    let second = pool.submit_keyed(Key::new(1));
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    pool.nothing();
    pool.wait(SECOND);
    let again = pool.sent();
    assert_eq!((again.task, again.attempt), (first, 2));
    pool.lose(link);
    let other = pool.up(8);
    let again = pool.sent();
    assert_eq!((again.task, again.link), (first, other), "it is not overtaken when it is lost");
    pool.nothing();
    pool.done(again);
    assert_eq!(pool.sent().task, second);
}

#[test]
fn a_task_that_is_cancelled_lets_the_next_of_its_key_go() {
    let mut pool = Pool::new();
    pool.up(8);
    let keyed: Vec<_> = (0..4).map(|_| pool.submit_keyed(Key::new(1))).collect();
    let sent = pool.sent();
    pool.cancel(keyed[1]).unwrap();
    assert_eq!(pool.finish().0, keyed[1]);
    pool.cancel(keyed[0]).unwrap();
    pool.expect(withdraw(sent));
    assert_eq!(pool.finish().0, keyed[0]);
    assert_eq!(pool.sent().task, keyed[2]);
    pool.nothing();
}

#[cfg(feature = "task-times")]
#[test]
fn a_task_whose_time_is_up_behind_its_key_ends_there() {
    let mut pool = Pool::new();
    pool.up(8);
    let key = Key::new(1);
    let first = pool.submit_keyed(key);
    let options = TaskOptions::new().key(key).deadline(pool.seconds(2));
    let hasty = pool.scheduler.submit_with(pool.now, options).unwrap();
    let third = pool.submit_keyed(key);
    let sent = pool.sent();
    pool.wait(2 * SECOND);
    assert_eq!(pool.finish(), (hasty, Outcome::TimedOut, 0));
    pool.nothing();
    assert_eq!(sent.task, first);
    pool.done(sent);
    assert_eq!(pool.sent().task, third);
}

#[test]
fn a_long_line_behind_a_key_takes_turns_with_other_tasks_of_its_queue() {
    let mut pool = Pool::new();
    pool.up(1);
    let keyed: Vec<_> = (0..4).map(|_| pool.submit_keyed(Key::new(1))).collect();
    let free: Vec<_> = (0..8).map(|_| pool.submit()).collect();
    let mut order = Vec::new();
    for _ in 0..12 {
        let sent = pool.sent();
        order.push(sent.task);
        pool.done(sent);
    }
    let last_keyed = order.iter().position(|task| *task == keyed[3]).unwrap();
    assert!(last_keyed < 8, "{order:?}: not behind all the others, once for each before it");
    let first_free = order.iter().position(|task| *task == free[0]).unwrap();
    assert!(first_free <= 2, "{order:?}: nor before all of them");
}

#[test]
fn a_key_beyond_the_greatest_is_refused() {
    let mut pool = Pool::with(|config| config.keys_max = 2);
    let keyed = |pool: &mut Pool, number| {
        let options = TaskOptions::new().key(Key::new(number));
        pool.scheduler.submit_with(pool.now, options)
    };
    assert_eq!(keyed(&mut pool, 2), Err(SubmitError::NoKey));
    assert!(keyed(&mut pool, 1).is_ok());
}

#[test]
fn a_drain_ends_what_waits_behind_a_key() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    let keyed: Vec<_> = (0..3).map(|_| pool.submit_keyed(Key::new(1))).collect();
    let sent = pool.sent();
    pool.drain(pool.seconds(1));
    pool.wait(SECOND);
    let mut ended = Vec::new();
    while let Some(action) = pool.poll() {
        match action {
            Action::Finish { task, outcome, .. } => ended.push((task, outcome)),
            Action::Withdraw { .. } | Action::Disconnect { .. } | Action::Gone { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    ended.sort_unstable_by_key(|(task, _)| *task);
    assert_eq!(ended, keyed.iter().map(|&task| (task, Outcome::Aborted)).collect::<Vec<_>>());
    assert_eq!((sent.link, pool.scheduler.is_drained()), (link, true));
}
