//! Stories about second attempts for tasks that take long.

use super::*;
use crate::{Hedge, HedgeBudget, TaskOptions};
use std::string::ToString;

const MS: Duration = Duration::from_millis(1);
const AFTER: Hedge = Hedge::after(SECOND);

/// A pool that has room for four second attempts.
fn hedging() -> Pool {
    hedging_with(|_| ())
}

fn hedging_with(change: impl FnOnce(&mut Config)) -> Pool {
    Pool::with(|config| {
        config.hedges_max = 4;
        change(config);
    })
}

impl Pool {
    fn submit_hedged(&mut self, hedge: Hedge) -> TaskId {
        let options = TaskOptions::new().hedge(hedge);
        let task = self.scheduler.submit_with(self.now, options).unwrap();
        self.scheduler.check();
        task
    }

    /// Has a worker do so many tasks that are hedged, each of which takes so long.
    fn takes(&mut self, count: u32, span: Duration) {
        for _ in 0..count {
            self.submit_hedged(Hedge::after_p95());
            let sent = self.sent();
            self.wait(span);
            self.done(sent);
        }
    }

    fn hedged(&self) -> (u64, u64) {
        (self.scheduler.stats().hedged, self.scheduler.stats().hedge_wins)
    }
}

/// A pool with two workers, both of which have an attempt of the same task.
fn twice_with(change: impl FnOnce(&mut Config)) -> (Pool, Sent, Sent) {
    let mut pool = hedging_with(change);
    pool.up(2);
    pool.up(2);
    pool.submit_hedged(AFTER);
    let first = pool.sent();
    pool.nothing();
    pool.wait(SECOND);
    let second = pool.sent();
    pool.nothing();
    assert_eq!((second.task, second.attempt), (first.task, 2));
    assert_ne!(first.link, second.link);
    assert_eq!(pool.scheduler.stats().in_flight, 1, "it is one task");
    (pool, first, second)
}

fn twice() -> (Pool, Sent, Sent) {
    twice_with(|_| ())
}

#[test]
fn a_task_that_takes_long_is_sent_to_another_worker_and_the_first_answer_counts() {
    let (mut pool, first, second) = twice();
    pool.done(second);
    pool.expect(withdraw(first));
    pool.nothing();
    assert_eq!(pool.reply(first, Verdict::Done), Err(EventError::Stale), "it came later");
    assert_eq!((pool.hedged(), pool.in_flight(first.link)), ((1, 1), 0));
}

#[test]
fn the_first_attempt_may_still_win() {
    let (mut pool, first, second) = twice();
    pool.reply(first, Verdict::Done).unwrap();
    assert_eq!(pool.finish(), (first.task, Outcome::Done, 2));
    pool.expect(withdraw(second));
    pool.nothing();
    assert_eq!(pool.reply(second, Verdict::Done), Err(EventError::Stale));
    assert_eq!(pool.hedged(), (1, 0));
}

#[test]
fn nobody_else_is_hedged() {
    let mut pool = hedging();
    pool.up(1);
    pool.up(1);
    pool.submit();
    pool.submit_hedged(Hedge::never());
    assert_eq!(pool.sends().len(), 2);
    pool.up(2);
    pool.wait(59 * SECOND);
    pool.nothing();
    let mut pool = Pool::new();
    pool.up(1);
    pool.up(1);
    pool.submit_hedged(AFTER);
    pool.sent();
    pool.wait(59 * SECOND);
    pool.nothing();
}

#[test]
fn a_task_with_a_key_is_not_hedged() {
    let mut pool = hedging();
    pool.up(1);
    pool.up(1);
    let options = TaskOptions::new().hedge(AFTER).key(crate::Key::new(1));
    pool.scheduler.submit_with(pool.now, options).unwrap();
    pool.sent();
    pool.wait(59 * SECOND);
    pool.nothing();
}

#[test]
fn a_second_attempt_waits_for_room_elsewhere_and_for_whatever_else_waits() {
    let mut pool = hedging();
    let first = pool.up(2);
    let slow = pool.submit_hedged(AFTER);
    pool.sent();
    pool.wait(SECOND);
    pool.nothing();
    let other = pool.up(1);
    pool.nothing();
    let task = pool.submit();
    let sent = pool.sent();
    assert_eq!((sent.task, sent.link), (task, other), "what waits goes first");
    pool.wait(SECOND);
    pool.nothing();
    pool.done(sent);
    pool.wait(SECOND);
    let second = pool.sent();
    assert_eq!((second.task, second.link, pool.in_flight(first)), (slow, other, 1));
}

#[test]
fn a_worker_that_is_throttled_suspended_busy_or_leaving_gets_no_second_attempt() {
    let steps: [fn(&mut Pool, Link); 4] = [
        |pool, link| {
            let sent = pool.sends_to(link);
            pool.useless(sent, Useless::Throttled(60 * SECOND)).unwrap();
        },
        |pool, link| {
            let sent = pool.sends_to(link);
            pool.reply(sent, Verdict::Failed).unwrap();
            assert_eq!(pool.finish().1, Outcome::Failed);
            assert!(matches!(pool.poll(), Some(Action::Suspend { .. })));
        },
        |pool, link| pool.event(Event::Busy { link }).unwrap(),
        |pool, link| {
            pool.sends_to(link);
            pool.event(Event::Draining { link }).unwrap();
        },
    ];
    for step in steps {
        let mut pool = hedging_with(|config| config.failures_max = 1);
        let first = pool.up(2);
        pool.submit_hedged(Hedge::after(SECOND / 2));
        assert_eq!(pool.sent().link, first);
        let other = pool.up(9);
        step(&mut pool, other);
        while pool.poll().is_some() {}
        for _ in 0..9 {
            pool.wait(SECOND / 10);
            while pool.poll().is_some() {}
        }
        assert_eq!(pool.hedged(), (0, 0));
    }
}

impl Pool {
    /// Submits a task, which goes to the worker that holds less.
    fn sends_to(&mut self, link: Link) -> Sent {
        self.submit();
        let sent = self.sent();
        assert_eq!(sent.link, link);
        sent
    }
}

#[test]
fn the_budget_bounds_second_attempts() {
    let mut pool = hedging_with(|config| {
        let mut budget = HedgeBudget::new();
        (budget.per_thousand, budget.saved_max) = (100, 2);
        config.hedge_budget = budget;
    });
    let link = pool.up(9);
    pool.up(9);
    for _ in 0..4 {
        pool.submit_hedged(AFTER);
    }
    assert_eq!(pool.sends().len(), 4);
    pool.wait(SECOND);
    assert_eq!(pool.sends().len(), 1, "half of what is saved up is for those that are stuck");
    pool.wait(SECOND);
    assert_eq!(pool.sends().len(), 1, "as many as were saved up");
    pool.wait(10 * SECOND);
    pool.nothing();
    // Six more sends are a tenth of the ten that give one.
    pool.earn(link, 6);
    pool.wait(10 * SECOND);
    assert_eq!(pool.sends().len(), 1);
    pool.wait(10 * SECOND);
    pool.nothing();
}

#[test]
fn there_are_no_more_second_attempts_at_once_than_have_slots() {
    let mut pool = hedging_with(|config| config.hedges_max = 1);
    pool.up(9);
    pool.up(9);
    for _ in 0..15 {
        pool.submit_hedged(AFTER);
    }
    assert_eq!(pool.scheduler.room(), 0, "one slot is no task's");
    assert!(pool.scheduler.is_full() && pool.scheduler.submit(pool.now).is_err());
    assert_eq!(pool.sends().len(), 15);
    pool.wait(SECOND);
    let second = pool.sent();
    pool.nothing();
    pool.reply(second, Verdict::Done).unwrap();
    assert_eq!(pool.polls().len(), 2, "its outcome, and the other is withdrawn");
    pool.wait(SECOND);
    pool.sent();
    pool.nothing();
}

#[test]
fn without_a_time_of_its_own_the_95th_percentile_of_its_kind_says_when() {
    let mut pool = hedging();
    pool.up(1);
    pool.takes(19, 10 * MS);
    pool.up(1);
    pool.submit_hedged(Hedge::after_p95());
    let slow = pool.sent();
    pool.wait(SECOND);
    pool.nothing();
    pool.done(slow);
    // That one was the longest of twenty. All others take a hundredth of it.
    pool.takes(600, 10 * MS);
    pool.submit_hedged(Hedge::after_p95());
    let slow = pool.sent();
    pool.wait(9 * MS);
    pool.nothing();
    pool.wait(3 * MS);
    let second = pool.sent();
    assert_eq!((second.task, second.attempt), (slow.task, 2));
}

#[test]
fn a_queue_says_for_its_tasks_when_they_are_hedged() {
    let queues = [crate::QueueOptions::new(), crate::QueueOptions::new().hedge(AFTER)];
    let mut config = Config::new(1);
    (config.hedges_max, config.heartbeat_interval) = (4, Duration::MAX);
    let scheduler = Scheduler::with_queues(Inline::new(), config, &queues).unwrap();
    let mut pool = Pool { scheduler, now: Instant::from_millis(1) };
    pool.up(9);
    pool.up(9);
    let other = TaskOptions::new().queue(crate::QueueId::new(1));
    for options in [TaskOptions::new(), other.hedge(Hedge::never()), other] {
        pool.scheduler.submit_with(pool.now, options).unwrap();
    }
    let last = pool.sends()[2];
    pool.wait(SECOND);
    let second = pool.sent();
    assert_eq!((second.task, second.attempt), (last.task, 2));
    pool.nothing();
    let stats = pool.scheduler.queue_stats(crate::QueueId::new(1)).unwrap();
    assert_eq!((stats.in_flight, stats.sent), (2, 3), "two tasks");
}

#[test]
fn a_queue_at_its_limit_or_paused_sends_no_second_attempt() {
    let limited = crate::QueueOptions::new().hedge(AFTER).in_flight_max(2);
    let mut config = Config::new(1);
    (config.hedges_max, config.heartbeat_interval) = (4, Duration::MAX);
    let scheduler = Scheduler::with_queues(Inline::new(), config, &[limited]).unwrap();
    let mut pool = Pool { scheduler, now: Instant::from_millis(1) };
    pool.up(9);
    pool.up(9);
    let (one, _) = (pool.submit(), pool.submit());
    let sends = pool.sends();
    pool.wait(SECOND);
    pool.nothing();
    pool.done(sends[1]);
    pool.scheduler.pause(pool.now, crate::QueueId::DEFAULT).unwrap();
    pool.wait(SECOND);
    pool.nothing();
    pool.scheduler.resume(pool.now, crate::QueueId::DEFAULT).unwrap();
    pool.wait(SECOND);
    assert_eq!(pool.sent().task, one);
}

#[test]
fn a_failure_of_one_leaves_the_other_which_decides() {
    for first_fails in [true, false] {
        let (mut pool, first, second) = twice();
        let (fails, other) = if first_fails { (first, second) } else { (second, first) };
        pool.reply(fails, Verdict::Failed).unwrap();
        pool.nothing();
        assert_eq!(pool.reply(fails, Verdict::Failed), Err(EventError::Stale));
        assert_eq!(pool.scheduler.holder(first.task), Some((other.link.worker(), other.attempt)));
        pool.reply(other, Verdict::Failed).unwrap();
        assert_eq!(pool.finish(), (first.task, Outcome::Failed, 2));
        pool.nothing();
    }
}

#[test]
fn a_permanent_failure_of_either_ends_the_task() {
    let (mut pool, first, second) = twice();
    pool.useless(second, Useless::Permanent).unwrap();
    assert_eq!(pool.finish(), (first.task, Outcome::Failed, 2));
    pool.expect(withdraw(first));
    pool.nothing();
}

#[test]
fn a_task_that_failed_twice_at_once_has_used_one_retry() {
    let (mut pool, first, second) = twice_with(|config| config.retries_max = 1);
    pool.reply(second, Verdict::Failed).unwrap();
    pool.reply(first, Verdict::Failed).unwrap();
    pool.nothing();
    pool.wait(SECOND);
    let third = pool.sent();
    assert_eq!((third.task, third.attempt), (first.task, 3));
    pool.reply(third, Verdict::Failed).unwrap();
    assert_eq!(pool.finish(), (first.task, Outcome::Failed, 3));
}

#[test]
fn what_is_given_back_or_throttled_leaves_the_other() {
    for why in [None, Some(Useless::Throttled(SECOND)), Some(Useless::Unusable)] {
        let (mut pool, first, second) = twice();
        match why {
            None => pool.reply(first, Verdict::Returned).unwrap(),
            Some(why) => pool.useless(first, why).unwrap(),
        }
        pool.nothing();
        pool.reply(second, Verdict::Done).unwrap();
        assert_eq!(pool.finish(), (first.task, Outcome::Done, 2));
        pool.nothing();
    }
}

#[test]
fn a_link_that_breaks_under_one_leaves_the_other() {
    for first_breaks in [true, false] {
        let (mut pool, first, second) = twice();
        let (breaks, other) = if first_breaks { (first, second) } else { (second, first) };
        pool.lose(breaks.link);
        pool.nothing();
        pool.wait(20 * SECOND);
        pool.nothing();
        let stats = pool.scheduler.stats();
        assert_eq!((stats.lost, stats.in_flight, pool.hedged()), (1, 1, (1, 0)), "no third");
        pool.reply(other, Verdict::Done).unwrap();
        assert_eq!(pool.finish(), (first.task, Outcome::Done, 2));
    }
}

#[test]
fn both_losses_count_and_the_task_is_a_suspect_then() {
    let (mut pool, first, second) = twice_with(|config| config.attempts_max = 2);
    pool.lose(first.link);
    pool.lose(second.link);
    assert_eq!(pool.finish(), (first.task, Outcome::Exhausted, 2));
    let (mut pool, first, second) = twice_with(|config| config.attempts_max = 3);
    pool.lose(first.link);
    pool.reply(second, Verdict::Returned).unwrap();
    let link = pool.up(9);
    pool.wait(SECOND);
    let third = pool.sent();
    assert_eq!((third.attempt, third.task), (3, first.task));
    pool.wait(10 * SECOND);
    pool.nothing();
    assert!(pool.hedged() == (1, 0) && (third.link == link || third.link == second.link));
}

#[test]
fn a_task_that_could_be_exhausted_by_one_loss_is_not_hedged() {
    let mut pool = hedging_with(|config| config.attempts_max = 1);
    pool.up(1);
    pool.up(1);
    pool.submit_hedged(AFTER);
    pool.sent();
    pool.wait(59 * SECOND);
    pool.nothing();
}

#[test]
fn one_that_is_late_is_struck_and_leaves_the_other() {
    let (mut pool, first, second) = twice();
    pool.wait(59 * SECOND);
    pool.expect(withdraw(first));
    pool.nothing();
    assert_eq!(pool.scheduler.worker_stats(first.link.worker()).unwrap().strikes, 1);
    assert_eq!(pool.scheduler.stats().timed_out, 1);
    pool.wait(SECOND);
    pool.expect(withdraw(second));
    let third = pool.sent();
    assert_eq!((third.task, third.attempt), (first.task, 3));
}

#[test]
fn a_task_is_hedged_again_once_one_of_two_has_ended() {
    let (mut pool, first, second) = twice();
    pool.reply(second, Verdict::Returned).unwrap();
    pool.nothing();
    pool.wait(SECOND);
    let third = pool.sent();
    assert_eq!((third.task, third.attempt, third.link), (first.task, 3, second.link));
    assert_eq!(pool.reply(Sent { attempt: 2, ..third }, Verdict::Done), Err(EventError::Stale));
    let stranger = Sent { attempt: 3, ..first };
    assert_eq!(pool.reply(stranger, Verdict::Done), Err(EventError::Foreign));
    assert_eq!(pool.reply(Sent { attempt: 4, ..first }, Verdict::Done), Err(EventError::Foreign));
    pool.reply(first, Verdict::Done).unwrap();
    assert_eq!(pool.finish(), (first.task, Outcome::Done, 3));
    pool.expect(withdraw(third));
}

#[test]
fn a_cancelled_task_is_withdrawn_from_both() {
    let (mut pool, first, second) = twice();
    pool.cancel(first.task).unwrap();
    let told: Vec<_> = core::iter::from_fn(|| pool.poll()).collect();
    assert!(told.contains(&withdraw(first)) && told.contains(&withdraw(second)), "{told:?}");
    let finish = Action::Finish { task: first.task, outcome: Outcome::Cancelled, attempts: 2 };
    assert!(told.contains(&finish) && told.len() == 3, "{told:?}");
}

#[test]
fn a_deadline_of_its_own_ends_both() {
    let mut pool = hedging();
    pool.up(1);
    pool.up(1);
    let options = TaskOptions::new().hedge(AFTER).deadline(pool.seconds(5));
    pool.scheduler.submit_with(pool.now, options).unwrap();
    let first = pool.sent();
    pool.wait(SECOND);
    let second = pool.sent();
    pool.wait(4 * SECOND);
    let told: Vec<_> = core::iter::from_fn(|| pool.poll()).collect();
    assert!(told.contains(&withdraw(first)) && told.contains(&withdraw(second)), "{told:?}");
    let finish = Action::Finish { task: first.task, outcome: Outcome::TimedOut, attempts: 2 };
    assert!(told.contains(&finish) && told.len() == 3, "{told:?}");
}

#[test]
fn a_second_attempt_has_the_tasks_own_time_and_progress_of_either_is_its_own() {
    let mut pool = hedging_with(|config| config.hedge_budget.saved_max = 1);
    pool.up(1);
    pool.up(1);
    let options = TaskOptions::new().hedge(AFTER).attempt_timeout(4 * SECOND);
    let options = options.attempt_max(60 * SECOND);
    pool.scheduler.submit_with(pool.now, options).unwrap();
    let first = pool.sent();
    pool.wait(SECOND);
    let second = pool.sent();
    pool.wait(2 * SECOND);
    let Sent { link, task, attempt } = second;
    pool.event(Event::Progress { link, task, attempt, done: 1 }).unwrap();
    pool.wait(SECOND);
    pool.expect(withdraw(first));
    pool.wait(2 * SECOND);
    pool.nothing();
    pool.wait(SECOND);
    pool.expect(withdraw(second));
}

#[test]
fn the_drains_deadline_aborts_both() {
    let (mut pool, first, second) = twice();
    pool.drain(pool.seconds(1));
    pool.nothing();
    pool.wait(SECOND);
    let told: Vec<_> = core::iter::from_fn(|| pool.poll()).collect();
    assert!(told.contains(&withdraw(first)) && told.contains(&withdraw(second)), "{told:?}");
    let finish = Action::Finish { task: first.task, outcome: Outcome::Aborted, attempts: 2 };
    assert!(told.contains(&finish), "{told:?}");
}

#[test]
fn a_worker_that_drains_is_closed_once_its_second_attempt_is_withdrawn() {
    let (mut pool, first, second) = twice();
    pool.event(Event::Draining { link: second.link }).unwrap();
    pool.nothing();
    pool.done_by(first, 2);
    let told = pool.polls();
    assert!(told.contains(&disconnect(second.link, Reason::Drained)), "{told:?}");
}

impl Pool {
    /// Answers that it is done, which was sent so many times.
    fn done_by(&mut self, sent: Sent, attempts: u16) {
        self.reply(sent, Verdict::Done).unwrap();
        assert_eq!(self.finish(), (sent.task, Outcome::Done, attempts));
    }
}

#[test]
fn an_attempt_at_a_worker_that_is_away_is_one_of_the_two() {
    for first_is_away in [true, false] {
        let mut pool = hedging_with(|config| config.grace = 600 * SECOND);
        let keeping = Offer::new(1).keeps(600 * SECOND);
        let workers = [pool.add(Route::Await), pool.add(Route::Await)];
        for worker in workers {
            pool.scheduler.accept(pool.now, worker, keeping, Instant::EPOCH).unwrap();
        }
        pool.submit_hedged(AFTER);
        let first = pool.sent();
        pool.wait(SECOND);
        let second = pool.sent();
        let (away, other) = if first_is_away { (first, second) } else { (second, first) };
        pool.event(Event::Lost { link: away.link, how: Loss::Away }).unwrap();
        pool.nothing();
        let back = away.link.worker();
        let offer = keeping.resumes();
        let link = pool.scheduler.accept(pool.now, back, offer, Instant::EPOCH).unwrap().link;
        let Sent { task, attempt, .. } = away;
        pool.event(Event::Kept { link, task, attempt }).unwrap();
        pool.event(Event::Listed { link }).unwrap();
        pool.nothing();
        pool.done_by(Sent { link, ..away }, 2);
        pool.expect(withdraw(other));
        pool.nothing();
    }
}

#[test]
fn the_second_attempt_of_a_task_that_is_over_needs_no_withdrawal_from_a_worker_that_is_away() {
    let mut pool = hedging_with(|config| config.grace = 600 * SECOND);
    let keeping = Offer::new(1).keeps(600 * SECOND);
    let workers = [pool.add(Route::Await), pool.add(Route::Await)];
    for worker in workers {
        pool.scheduler.accept(pool.now, worker, keeping, Instant::EPOCH).unwrap();
    }
    pool.submit_hedged(AFTER);
    let first = pool.sent();
    pool.event(Event::Lost { link: first.link, how: Loss::Away }).unwrap();
    pool.wait(SECOND);
    let second = pool.sent();
    pool.done_by(second, 2);
    pool.nothing();
}

#[test]
fn whoever_names_the_slot_of_a_second_attempt_is_refused() {
    let (mut pool, first, second) = twice();
    for slot in 12..16 {
        let task = TaskId::from_parts(slot, first.task.generation());
        assert_eq!(pool.reply(Sent { task, ..second }, Verdict::Done), Err(EventError::Foreign));
        assert_eq!(pool.cancel(task), Err(Stale));
    }
}

#[test]
fn a_pool_needs_more_task_slots_than_it_keeps_for_second_attempts() {
    let mut config = Config::new(1);
    config.hedges_max = 16;
    let error = Scheduler::new(Inline::<16, 4>::new(), config).unwrap_err();
    assert!(error.to_string().contains("hedges_max"), "{error}");
    config.hedges_max = 15;
    assert_eq!(Scheduler::new(Inline::<16, 4>::new(), config).unwrap().room(), 1);
}
