//! Where a task goes that came back.

use super::*;

#[test]
fn a_task_that_one_worker_lost_goes_to_another_though_the_first_is_idle() {
    let mut pool = Pool::with(|config| config.attempt_timeout = SECOND);
    let (hung, good) = (pool.up(2), pool.up(2));
    for _ in 0..2 {
        pool.submit();
    }
    let sends = pool.sends();
    let (lost, kept) = (sends[0], sends[1]);
    assert_eq!((lost.link, kept.link), (hung, good));
    pool.done(kept);
    pool.wait(SECOND);
    pool.expect(withdraw(lost));
    let again = pool.sent();
    assert_eq!((again.task, again.link), (lost.task, good));
}

#[test]
fn it_waits_for_another_worker_so_long_and_others_pass_it() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1;
        config.retry_delay = Duration::ZERO;
    });
    let (bad, good) = (pool.up(1), pool.up(1));
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    assert_eq!([sends[0].link, sends[1].link], [bad, good]);
    pool.reply(sends[0], Verdict::Failed).unwrap();
    pool.nothing();
    let passing = pool.submit();
    let passes = pool.sent();
    assert_eq!((passes.task, passes.link), (passing, bad), "a new task passes it");
    pool.done(passes);
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(1)));
    pool.wait(SECOND);
    let again = pool.sent();
    assert_eq!((again.task, again.link, again.attempt), (sends[0].task, bad, 2));
}

#[test]
fn it_goes_to_whoever_else_gets_room_first() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1;
        config.retry_delay = Duration::ZERO;
    });
    let (_, good) = (pool.up(1), pool.up(1));
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    pool.reply(sends[0], Verdict::Failed).unwrap();
    pool.nothing();
    pool.done(sends[1]);
    assert_eq!(pool.sent().link, good);
}

#[test]
fn the_only_worker_that_serves_gets_it_back_at_once() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1;
        config.retry_delay = Duration::ZERO;
    });
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    assert_eq!(pool.sent().link, link);
}

#[test]
fn tasks_of_two_workers_change_places_without_a_wait() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1;
        config.retry_delay = Duration::ZERO;
    });
    let (a, b) = (pool.up(1), pool.up(1));
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    pool.reply(sends[0], Verdict::Failed).unwrap();
    pool.nothing();
    pool.reply(sends[1], Verdict::Failed).unwrap();
    let again = pool.sends();
    assert_eq!(again.len(), 2);
    for sent in again {
        let other = if sent.task == sends[0].task { b } else { a };
        assert_eq!(sent.link, other);
    }
}

#[test]
fn a_worker_in_the_same_slot_is_only_avoided_for_as_long() {
    let mut pool = Pool::new();
    let (first, other) = (pool.up(1), pool.up(1));
    pool.submit();
    pool.submit();
    pool.sends();
    pool.event(Event::Lost { link: first, how: Loss::Stopped }).unwrap();
    pool.expect(Action::Gone { worker: first.worker() });
    let next = pool.up(1);
    assert_eq!(next.worker().slot(), first.worker().slot());
    pool.nothing();
    pool.wait(SECOND);
    assert_eq!(pool.sent().link, next);
    assert_eq!(pool.in_flight(other), 1);
}

#[test]
fn two_suspects_never_share_a_worker() {
    let mut pool = Pool::new();
    for _ in 0..4 {
        pool.submit();
    }
    let link = pool.up(4);
    assert_eq!(pool.sends().len(), 4);
    pool.lose(link);
    let (a, b) = (pool.up(4), pool.up(4));
    let sends = pool.sends();
    assert_eq!(sends.iter().map(|sent| sent.link).collect::<Vec<_>>(), [a, b]);
    pool.submit();
    pool.submit();
    assert_eq!(pool.sends().len(), 2, "others may be beside one");
    pool.cancel(sends[0].task).unwrap();
    let actions = pool.polls();
    assert!(matches!(actions.last(), Some(Action::Send { link, .. }) if *link == a), "{actions:?}");
}

#[test]
fn an_answered_task_is_no_suspect_any_more() {
    let mut pool = Pool::with(|config| {
        config.retries_max = 5;
        config.retry_delay = Duration::ZERO;
    });
    for _ in 0..2 {
        pool.submit();
    }
    let link = pool.up(2);
    pool.sends();
    pool.lose(link);
    pool.up(2);
    let first = pool.sent();
    pool.reply(first, Verdict::Failed).unwrap();
    assert_eq!(pool.sends().len(), 2);
}

#[test]
fn suspects_of_a_worker_that_is_removed_go_on_elsewhere() {
    let mut pool = Pool::new();
    let task = pool.submit();
    let link = pool.up(1);
    pool.sent();
    pool.lose(link);
    pool.remove(link.worker()).unwrap();
    pool.expect(Action::Gone { worker: link.worker() });
    let other = pool.up(1);
    let again = pool.sent();
    assert_eq!((again.task, again.link), (task, other));
    pool.done(again);
}
