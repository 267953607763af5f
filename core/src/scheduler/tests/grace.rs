//! Stories about workers whose link breaks and that come back with what they held.

use super::*;
use crate::TaskOptions;

const MINUTE: Duration = Duration::from_secs(60);

/// A pool that waits a minute for a worker whose link broke, if that goes on for as long.
fn patient() -> Pool {
    Pool::with(|config| {
        (config.grace, config.attempt_timeout, config.strikes_max) = (MINUTE, 10 * MINUTE, 9);
    })
}

fn keeping(window: u32) -> Offer {
    Offer::new(window).keeps(10 * MINUTE)
}

impl Pool {
    fn comes(&mut self, worker: WorkerId, offer: Offer) -> Accepted {
        let accepted = self.scheduler.accept(self.now, worker, offer, Instant::EPOCH).unwrap();
        self.scheduler.check();
        accepted
    }

    /// Adds a worker that dialled in, and keeps what it holds.
    fn keeps(&mut self, window: u32) -> Link {
        let worker = self.add(Route::Await);
        self.comes(worker, keeping(window)).link
    }

    /// The link of a worker breaks, and nobody is to blame.
    fn breaks(&mut self, link: Link) {
        self.event(Event::Lost { link, how: Loss::Away }).unwrap();
    }

    /// A worker is back that dials in.
    fn back(&mut self, link: Link, window: u32) -> Link {
        self.comes(link.worker(), keeping(window).resumes()).link
    }

    /// A worker names an attempt, on the link that it has by now.
    fn names(&mut self, sent: Sent, link: Link) -> Result<Sent, EventError> {
        let Sent { task, attempt, .. } = sent;
        self.event(Event::Kept { link, task, attempt })?;
        Ok(Sent { link, ..sent })
    }

    fn lists(&mut self, link: Link) {
        self.event(Event::Listed { link }).unwrap();
    }
}

/// A pool with two workers, the first of which holds so many tasks. Returns its link.
fn holding(count: u32) -> (Pool, Vec<Sent>, Link) {
    let mut pool = patient();
    let first = pool.keeps(count);
    (0..count).for_each(|_| _ = pool.submit());
    let sends = pool.sends();
    // There to take what is sent again.
    pool.keeps(9);
    (pool, sends, first)
}

#[test]
fn an_attempt_goes_on_over_the_next_link_of_its_worker() {
    let (mut pool, sends, link) = holding(1);
    pool.breaks(link);
    assert_eq!(pool.scheduler.stats().in_flight, 1, "it is still that worker's");
    pool.nothing();
    pool.wait(30 * SECOND);
    pool.nothing();
    let link = pool.back(link, 1);
    let sent = pool.names(sends[0], link).unwrap();
    pool.lists(link);
    pool.nothing();
    pool.wait(5 * MINUTE);
    pool.nothing();
    pool.done(sent);
    assert_eq!((pool.scheduler.stats().sent, pool.scheduler.stats().lost), (1, 0));
}

#[test]
fn a_worker_that_is_dialled_keeps_its_attempts_as_well() {
    let mut pool = patient();
    pool.add(Route::Dial);
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: keeping(1) }).unwrap();
    pool.submit();
    let sent = pool.sent();
    pool.breaks(link);
    pool.wait(SECOND);
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: keeping(1).resumes() }).unwrap();
    let sent = pool.names(sent, link).unwrap();
    pool.lists(link);
    pool.done(sent);
}

#[test]
fn what_a_worker_does_not_name_is_sent_again_with_nothing_counted() {
    let (mut pool, sends, link) = holding(3);
    pool.breaks(link);
    let link = pool.back(link, 3);
    let kept = pool.names(sends[1], link).unwrap();
    pool.nothing();
    pool.lists(link);
    let again = pool.sends();
    assert_eq!(tasks(&again), [sends[0].task, sends[2].task]);
    assert!(again.iter().all(|sent| sent.link.worker() != link.worker() && sent.attempt == 2));
    pool.done(kept);
    for sent in again {
        pool.done(sent);
    }
    assert_eq!(pool.scheduler.stats().exhausted, 0);
}

#[test]
fn a_worker_that_is_not_back_in_time_loses_all_and_is_to_blame() {
    let (mut pool, sends, link) = holding(2);
    pool.breaks(link);
    pool.wait(59 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    // Suspects, so that no worker gets both at once.
    let again = pool.sent();
    assert_eq!(again.task, sends[0].task);
    pool.nothing();
    pool.done(again);
    assert_eq!(pool.sent().task, sends[1].task);
    let back = pool.back(link, 2);
    assert_eq!(pool.names(sends[0], back), Err(EventError::Stale));
}

#[test]
fn a_worker_that_was_started_anew_ends_the_grace_at_once() {
    let (mut pool, sends, link) = holding(1);
    pool.breaks(link);
    pool.wait(SECOND);
    pool.comes(link.worker(), keeping(1));
    let again = pool.sent();
    assert_eq!((again.task, again.attempt), (sends[0].task, 2));
    assert_ne!(again.link.worker(), link.worker());
}

#[test]
fn a_refused_connect_ends_the_grace_at_once_and_one_that_takes_too_long_does_not() {
    let mut pool = patient();
    pool.add(Route::Dial);
    let link = pool.connect();
    pool.event(Event::Connected { link, offer: keeping(1) }).unwrap();
    pool.submit();
    let sent = pool.sent();
    let other = pool.up(1);
    pool.breaks(link);
    pool.wait(SECOND);
    let link = pool.connect();
    pool.wait(10 * SECOND);
    pool.expect(disconnect(link, Reason::ConnectTimeout));
    pool.nothing();
    pool.wait(2 * SECOND);
    let link = pool.connect();
    pool.event(Event::Refused { link }).unwrap();
    assert_eq!(pool.sent(), Sent { link: other, attempt: 2, ..sent });
}

#[test]
fn a_worker_that_takes_its_leave_is_not_waited_for() {
    let (mut pool, sends, link) = holding(1);
    pool.event(Event::Lost { link, how: Loss::Stopped }).unwrap();
    assert_eq!(pool.poll(), Some(Action::Gone { worker: link.worker() }));
    assert_eq!(pool.sent().task, sends[0].task);
}

#[test]
fn a_link_that_ends_by_the_workers_fault_or_while_it_drains_has_no_grace() {
    let (mut pool, sends, link) = holding(1);
    pool.lose(link);
    assert_eq!(pool.sent().task, sends[0].task);
    let (mut pool, sends, link) = holding(1);
    pool.event(Event::Draining { link }).unwrap();
    pool.breaks(link);
    assert_eq!(pool.sent().task, sends[0].task);
}

#[test]
fn a_worker_without_a_grace_of_its_own_or_of_the_pools_is_not_waited_for() {
    for (grace, keeps) in [(MINUTE, Duration::ZERO), (Duration::ZERO, MINUTE)] {
        let mut pool = Pool::with(|config| config.grace = grace);
        let worker = pool.add(Route::Await);
        let link = pool.comes(worker, Offer::new(1).keeps(keeps)).link;
        let task = pool.submit();
        pool.sent();
        let other = pool.up(1);
        pool.breaks(link);
        assert_eq!(pool.sent(), Sent { link: other, task, attempt: 2 });
    }
}

#[test]
fn the_shorter_grace_counts() {
    let mut pool = patient();
    let worker = pool.add(Route::Await);
    let link = pool.comes(worker, Offer::new(1).keeps(5 * SECOND)).link;
    pool.submit();
    pool.sent();
    pool.up(1);
    pool.breaks(link);
    assert_eq!(pool.scheduler.poll_timeout(), Some(pool.seconds(5)));
    pool.wait(5 * SECOND);
    pool.sent();
}

#[test]
fn a_worker_that_displaces_its_own_link_keeps_what_that_held() {
    let (mut pool, sends, link) = holding(2);
    let accepted = pool.comes(link.worker(), keeping(2).resumes());
    assert_eq!(accepted.displaced, Some(link));
    pool.nothing();
    for sent in sends {
        let sent = pool.names(sent, accepted.link).unwrap();
        pool.done(sent);
    }
    pool.lists(accepted.link);
    pool.nothing();
}

#[test]
fn a_task_that_is_cancelled_meanwhile_is_told_to_nobody_and_its_worker_is_refused_it() {
    let (mut pool, sends, link) = holding(2);
    pool.breaks(link);
    pool.cancel(sends[0].task).unwrap();
    assert_eq!(pool.finish(), (sends[0].task, Outcome::Cancelled, 1));
    pool.nothing();
    let link = pool.back(link, 2);
    assert_eq!(pool.names(sends[0], link), Err(EventError::Stale));
    let kept = pool.names(sends[1], link).unwrap();
    pool.lists(link);
    pool.cancel(kept.task).unwrap();
    pool.expect(withdraw(kept));
}

#[test]
fn an_attempt_is_late_while_its_worker_is_away_as_ever() {
    let mut pool = Pool::with(|config| {
        (config.grace, config.attempt_timeout, config.strikes_max) = (MINUTE, 10 * SECOND, 1);
    });
    let link = pool.keeps(1);
    pool.submit();
    let sent = pool.sent();
    pool.wait(5 * SECOND);
    pool.breaks(link);
    let other = pool.up(1);
    pool.wait(5 * SECOND);
    assert_eq!(pool.sent(), Sent { link: other, attempt: 2, ..sent });
    assert_eq!(pool.scheduler.stats().timed_out, 1);
}

#[test]
fn a_worker_that_breaks_its_link_again_and_again_holds_a_task_no_longer_than_its_attempt_may_take()
{
    let mut pool = Pool::with(|config| {
        (config.grace, config.attempt_timeout, config.strikes_max) = (MINUTE, 90 * SECOND, 1);
    });
    let mut link = pool.keeps(1);
    let task = pool.submit();
    let mut sent = pool.sent();
    for _ in 0..8 {
        pool.wait(10 * SECOND);
        pool.breaks(link);
        pool.nothing();
        link = pool.back(link, 1);
        sent = pool.names(sent, link).unwrap();
        pool.lists(link);
        pool.nothing();
    }
    pool.breaks(link);
    let other = pool.up(1);
    pool.wait(10 * SECOND);
    assert_eq!(pool.sent(), Sent { link: other, task, attempt: 2 });
}

#[test]
fn a_tasks_own_deadline_ends_it_while_its_worker_is_away() {
    let mut pool = patient();
    let link = pool.keeps(1);
    let options = TaskOptions::new().deadline(pool.seconds(5));
    let task = pool.scheduler.submit_with(pool.now, options).unwrap();
    pool.sent();
    pool.breaks(link);
    pool.wait(5 * SECOND);
    assert_eq!(pool.finish(), (task, Outcome::TimedOut, 1));
    pool.nothing();
}

#[test]
fn an_attempt_with_a_time_of_its_own_is_late_while_its_worker_is_away() {
    let mut pool = patient();
    let link = pool.keeps(1);
    let options = TaskOptions::new().attempt_timeout(5 * SECOND);
    pool.scheduler.submit_with(pool.now, options).unwrap();
    let sent = pool.sent();
    pool.breaks(link);
    let other = pool.up(1);
    pool.wait(5 * SECOND);
    assert_eq!(pool.sent(), Sent { link: other, attempt: 2, ..sent });
}

#[test]
fn a_worker_that_is_back_and_says_nothing_loses_what_it_held_after_its_grace() {
    let (mut pool, sends, link) = holding(1);
    pool.breaks(link);
    pool.wait(50 * SECOND);
    let link = pool.back(link, 1);
    pool.wait(59 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    let again = pool.sent();
    assert_eq!((again.task, again.attempt), (sends[0].task, 2));
    assert_ne!(again.link.worker(), link.worker());
}

#[test]
fn new_tasks_go_to_a_worker_that_is_back_as_far_as_it_has_room_beside_what_it_kept() {
    let mut pool = patient();
    let link = pool.keeps(2);
    pool.submit();
    let sent = pool.sent();
    pool.breaks(link);
    (0..3).for_each(|_| _ = pool.submit());
    pool.nothing();
    let link = pool.back(link, 2);
    // A link on which nothing was done is one that gets its first task later.
    pool.nothing();
    pool.wait(2 * SECOND);
    let new = pool.sends();
    assert_eq!((new.len(), pool.in_flight(link)), (1, 2));
    let sent = pool.names(sent, link).unwrap();
    pool.lists(link);
    pool.done(new[0]);
    pool.sent();
    pool.done(sent);
}

#[test]
fn one_that_comes_back_with_a_smaller_window_keeps_the_oldest() {
    let (mut pool, sends, link) = holding(3);
    pool.breaks(link);
    let link = pool.back(link, 1);
    assert_eq!(pool.in_flight(link), 1);
    assert_eq!(tasks(&pool.sends()), [sends[2].task, sends[1].task]);
    let kept = pool.names(sends[0], link).unwrap();
    assert_eq!(pool.names(sends[1], link), Err(EventError::Stale));
    pool.done(kept);
}

#[test]
fn a_worker_that_is_removed_or_forgotten_while_it_is_away_loses_what_it_held() {
    let (mut pool, sends, link) = holding(1);
    pool.breaks(link);
    pool.remove(link.worker()).unwrap();
    assert_eq!(pool.poll(), Some(Action::Gone { worker: link.worker() }));
    assert_eq!(pool.sent().task, sends[0].task);

    let (mut pool, sends, link) = holding(1);
    pool.breaks(link);
    assert_eq!(pool.scheduler.evict_absent(pool.now), Some(link.worker()));
    pool.scheduler.check();
    assert_eq!(pool.sent().task, sends[0].task);
}

#[test]
fn a_drain_waits_for_a_worker_that_is_away_and_aborts_what_it_has_at_its_deadline() {
    let (mut pool, sends, link) = holding(2);
    pool.breaks(link);
    pool.drain(pool.seconds(30));
    pool.nothing();
    pool.wait(30 * SECOND);
    assert_eq!(pool.finish(), (sends[0].task, Outcome::Aborted, 1));
    assert_eq!(pool.finish(), (sends[1].task, Outcome::Aborted, 1));
    let closed = pool.polls();
    assert!(closed.contains(&Action::Gone { worker: link.worker() }), "{closed:?}");
    assert!(pool.scheduler.is_drained());
}

#[test]
fn a_link_that_goes_silent_is_one_that_broke() {
    let mut pool = Pool::with(|config| {
        (config.grace, config.attempt_timeout) = (MINUTE, 10 * MINUTE);
        (config.heartbeat_interval, config.heartbeat_timeout) = (10 * SECOND, 10 * SECOND);
    });
    let link = pool.keeps(1);
    pool.submit();
    let sent = pool.sent();
    pool.wait(10 * SECOND);
    pool.expect(Action::Ping { link });
    pool.wait(10 * SECOND);
    pool.expect(disconnect(link, Reason::Silent));
    pool.nothing();
    let link = pool.back(link, 1);
    let sent = pool.names(sent, link).unwrap();
    pool.done(sent);
}

#[test]
fn what_waited_when_the_link_broke_is_not_blamed_for_room_that_came_about_meanwhile() {
    for late in [true, false] {
        let mut pool = Pool::with(|config| {
            (config.grace, config.attempts_max, config.strikes_max) = (MINUTE, 1, 9);
            config.attempt_timeout = 10 * SECOND;
        });
        let worker = pool.add(Route::Await);
        let link = pool.comes(worker, Offer { window: 4, ..keeping(1) }).link;
        pool.earn(link, 9);
        let [first, second] = [pool.submit(), pool.submit()];
        assert_eq!(pool.sends().len(), 2);
        pool.breaks(link);
        pool.up(4);
        if late {
            // Both are: of the second, nobody can say that it has begun.
            pool.wait(10 * SECOND);
            assert_eq!(pool.finish(), (first, Outcome::Exhausted, 1));
        } else {
            pool.cancel(first).unwrap();
            assert_eq!(pool.finish(), (first, Outcome::Cancelled, 1));
            // As if it were started anew.
            pool.comes(worker, keeping(4));
        }
        let again = pool.sent();
        assert_eq!((again.task, again.attempt), (second, 2));
        pool.done(again);
    }
}

#[test]
fn a_worker_cannot_still_have_what_it_was_sent_on_this_very_link() {
    let (mut pool, sends, link) = holding(1);
    assert_eq!(pool.names(sends[0], link).err(), Some(EventError::Foreign));
}
