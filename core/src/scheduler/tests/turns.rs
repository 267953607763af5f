//! Lanes take turns where tasks are sent.

use super::*;
use crate::{Lane, TaskOptions};

fn submit(pool: &mut Pool, options: TaskOptions) -> TaskId {
    pool.scheduler.submit_with(pool.now, options).unwrap()
}

#[test]
fn a_single_request_does_not_wait_behind_bulk_that_was_there_before() {
    let mut pool = Pool::new();
    let bulk = TaskOptions::new().lane(Lane::Bulk);
    let bulk: Vec<_> = (0..5).map(|_| submit(&mut pool, bulk)).collect();
    pool.up(1);
    let first = pool.sent();
    assert_eq!(first.task, bulk[0]);
    let single = pool.submit();
    pool.done(first);
    let next = pool.sent();
    assert_eq!(next.task, single);
    pool.done(next);
    assert_eq!(pool.sent().task, bulk[1]);
}

#[test]
fn lanes_take_turns_while_both_have_tasks() {
    let mut pool = Pool::new();
    let bulk = TaskOptions::new().lane(Lane::Bulk);
    let bulk = [(); 3].map(|()| submit(&mut pool, bulk));
    let single = [(); 3].map(|()| pool.submit());
    pool.up(6);
    let expected = [single[0], bulk[0], single[1], bulk[1], single[2], bulk[2]];
    assert_eq!(tasks(&pool.sends()), expected);
}

#[test]
fn tasks_that_are_tried_again_take_turns_with_new_ones_in_the_order_they_were_due() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1000;
        config.retry_delay = Duration::ZERO;
        config.failures_max = u16::MAX;
    });
    let bad: Vec<_> = (0..3).map(|_| pool.submit()).collect();
    pool.up(1);
    let mut order = Vec::new();
    let mut new = Vec::new();
    for turn in 0..9 {
        if turn >= 3 {
            new.push(pool.submit());
        }
        let sent = pool.sent();
        order.push(sent.task);
        if bad.contains(&sent.task) {
            pool.reply(sent, Verdict::Failed).unwrap();
        } else {
            pool.done(sent);
        }
    }
    // Each lane has every other turn: the new ones in order, and those that failed in order.
    let [a, b, c] = bad[..] else { unreachable!() };
    assert_eq!(order, [a, a, b, a, c, b, new[0], a, new[1]]);
}

#[test]
fn one_bad_task_that_is_tried_for_ever_delays_another_by_one_turn() {
    let mut pool = Pool::with(|config| {
        config.retry_delay = Duration::ZERO;
        config.failures_max = u16::MAX;
    });
    submit(&mut pool, TaskOptions::new().retries_max(1000));
    pool.up(1);
    for _ in 0..50 {
        let bad = pool.sent();
        let good = pool.submit();
        pool.reply(bad, Verdict::Failed).unwrap();
        let mut next = pool.sent();
        if next.task == bad.task {
            pool.reply(next, Verdict::Failed).unwrap();
            next = pool.sent();
        }
        assert_eq!(next.task, good);
        pool.done(next);
    }
}
