//! Each reason why a task waits, and why a worker gets none, one story each.

use super::*;
use crate::queue::{Key, QueueId, QueueOptions, Rate};
use crate::{Idles, TaskOptions, Waits};

impl Pool {
    fn waits(&self, task: TaskId) -> Option<Waits> {
        self.scheduler.waits(task)
    }

    fn idles(&self, link: Link) -> Option<Idles> {
        self.scheduler.idles(link.worker())
    }

    /// Has two workers with room for one task each hold a suspect each, and returns a third suspect.
    fn with_two_suspects(&mut self) -> TaskId {
        let broken = self.offering(3, 3);
        for _ in 0..3 {
            self.submit();
        }
        let sends = self.sends();
        self.lose(broken);
        let links = [(); 2].map(|()| self.offering(2, 2));
        let begun = tasks(&self.sends());
        assert!(links.iter().all(|&link| self.in_flight(link) == 1), "one suspect each");
        *tasks(&sends).iter().find(|task| !begun.contains(task)).unwrap()
    }
}

#[test]
fn a_task_waits_for_a_worker_where_there_is_none_or_they_all_leave() {
    let mut pool = Pool::new();
    let task = pool.submit();
    assert_eq!(pool.waits(task), Some(Waits::NoWorker));
    let link = pool.up(1);
    assert_eq!(pool.waits(task), Some(Waits::Turn), "before the action that sends it");
    pool.sent();
    assert_eq!(pool.waits(task), None);
    pool.remove(link.worker()).unwrap();
    let next = pool.submit();
    assert_eq!(pool.waits(next), Some(Waits::NoWorker));
    assert_eq!(pool.idles(link), Some(Idles::Leaving));
}

#[test]
fn a_task_waits_until_the_first_worker_is_dialled_again() {
    let mut pool = Pool::new();
    let task = pool.submit();
    let dialled = pool.add(Route::Dial);
    let link = pool.connect();
    let unknown = Waits::Away { until: Instant::FAR_FUTURE };
    assert_eq!(pool.waits(task), Some(unknown), "it is being connected to");
    pool.event(Event::Refused { link }).unwrap();
    let until = pool.seconds(1);
    assert_eq!(pool.waits(task), Some(Waits::Away { until }));
    assert_eq!(pool.scheduler.idles(dialled), Some(Idles::Away { until }));
    let absent = pool.add(Route::Await);
    assert_eq!(pool.waits(task), Some(Waits::Away { until }), "another may dial in any time");
    let never = Idles::Away { until: Instant::FAR_FUTURE };
    assert_eq!(pool.scheduler.idles(absent), Some(never));
    pool.remove(dialled).unwrap();
    assert_eq!(pool.waits(task), Some(unknown), "nobody is dialled any more");
}

#[test]
fn a_task_waits_where_all_workers_rest_and_until_the_first_does_no_more() {
    let mut pool = Pool::new();
    let (one, other) = (pool.up(1), pool.up(1));
    let task = pool.submit();
    pool.event(Event::Busy { link: one }).unwrap();
    pool.event(Event::Busy { link: other }).unwrap();
    assert_eq!(pool.waits(task), Some(Waits::NoneServes { until: Instant::FAR_FUTURE }));
    assert_eq!(pool.idles(one), Some(Idles::Busy));
    pool.event(Event::Ready { link: one }).unwrap();
    let sent = pool.sent();
    pool.useless(sent, Useless::Throttled(5 * SECOND)).unwrap();
    let until = pool.seconds(5);
    assert_eq!(pool.waits(task), Some(Waits::NoneServes { until }));
    assert_eq!(pool.idles(one), Some(Idles::Throttled { until }));
    pool.wait(5 * SECOND);
    assert_eq!(pool.sent().task, task);
}

#[test]
fn a_worker_that_only_fails_or_came_back_too_soon_says_so_and_until_when() {
    let mut pool = Pool::with(|config| config.failures_max = 1);
    let (bad, _) = (pool.up(1), pool.up(1));
    pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.link, bad);
    pool.failed_as(sent);
    let until = pool.seconds(1);
    assert_eq!(pool.idles(bad), Some(Idles::Failing { until }));
    let late = pool.add(Route::Await);
    let until = pool.seconds(3);
    let link = pool.scheduler.accept(pool.now, late, Offer::new(1), until).unwrap().link;
    assert_eq!(pool.idles(link), Some(Idles::Early { until }));
    pool.wait(3 * SECOND);
    pool.nothing();
    assert_eq!(pool.idles(link), Some(Idles::Room));
    assert_eq!(pool.scheduler.idles(WorkerId::from_parts(3, 9)), None, "it never was");
}

#[test]
fn a_task_waits_for_room_and_the_worker_says_that_it_has_none() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    assert_eq!(pool.idles(link), Some(Idles::Room));
    pool.submit();
    pool.sent();
    let next = pool.submit();
    assert_eq!(pool.waits(next), Some(Waits::NoRoom));
    assert_eq!(pool.idles(link), Some(Idles::Full));
}

#[test]
fn a_suspect_waits_where_each_worker_with_room_has_one_and_nothing_else_does() {
    let mut pool = Pool::new();
    let suspect = pool.with_two_suspects();
    assert_eq!(pool.waits(suspect), Some(Waits::Suspect));
    let stats = pool.scheduler.task_stats(suspect).unwrap();
    assert!(stats.is_suspect);
    assert_eq!((stats.attempts, stats.failures, stats.losses), (1, 0, 1));
    let plain = pool.submit();
    assert_eq!(pool.sent().task, plain, "there is room for what is no suspect");
}

#[test]
fn a_task_that_came_back_waits_for_another_worker_and_until_when() {
    let mut pool = Pool::new();
    let (full, mine) = (pool.up(1), pool.up(1));
    pool.submit();
    pool.submit();
    let sends = pool.sends();
    let sent = *sends.iter().find(|sent| sent.link == mine).unwrap();
    pool.reply(sent, Verdict::Returned).unwrap();
    pool.nothing();
    let until = pool.seconds(1);
    assert_eq!(pool.waits(sent.task), Some(Waits::Elsewhere { until }));
    assert_eq!((pool.idles(full), pool.idles(mine)), (Some(Idles::Full), Some(Idles::Room)));
}

#[test]
fn a_task_rests_after_a_failure_and_says_until_when() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    pool.up(1);
    let task = pool.submit();
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    let until = pool.seconds(1);
    assert_eq!(pool.waits(task), Some(Waits::Rests { until }));
    assert_eq!(pool.waits(task).and_then(Waits::until), Some(until));
    assert_eq!(pool.scheduler.task_stats(task).map(|stats| stats.failures), Some(1));
}

#[test]
fn a_task_of_a_queue_waits_for_what_its_queue_may_not_do() {
    let queues = [
        QueueOptions::new().in_flight_max(1),
        QueueOptions::new().rate(Rate::per_second(1)),
        QueueOptions::new().paused(),
    ];
    let mut pool = Pool::new();
    let config = pool.scheduler.config();
    pool.scheduler = Scheduler::with_queues(Inline::new(), config, &queues).unwrap();
    pool.up(16);
    let mut submit = |queue| {
        let options = TaskOptions::new().queue(QueueId::new(queue));
        pool.scheduler.submit_with(pool.now, options).unwrap()
    };
    let [_, second] = [submit(0), submit(0)];
    let [_, later] = [submit(1), submit(1)];
    let paused = submit(2);
    assert_eq!(pool.sends().len(), 2);
    assert_eq!(pool.waits(second), Some(Waits::QueueInFlight));
    let until = pool.seconds(1);
    assert_eq!(pool.waits(later), Some(Waits::QueueRate { until }));
    assert_eq!(pool.waits(paused), Some(Waits::Paused));
    let nearest = [second, later, paused].map(|task| pool.waits(task)).into_iter().max();
    assert_eq!(nearest, Some(Some(Waits::QueueRate { until })), "it is what ends by itself");
}

#[test]
fn a_task_waits_for_the_one_that_has_its_key() {
    let mut pool = Pool::new();
    pool.up(4);
    let mut submit = |key| {
        let options = TaskOptions::new().key(Key::new(key));
        pool.scheduler.submit_with(pool.now, options).unwrap()
    };
    let [_, first, second] = [submit(1), submit(7), submit(7)];
    pool.sends();
    assert_eq!(pool.waits(second), Some(Waits::Key));
    assert_eq!(pool.scheduler.keeps_key(second), Some(first));
    assert_eq!(pool.scheduler.keeps_key(first), None, "it waits for none");
}

#[test]
fn a_task_past_the_drains_deadline_is_about_to_be_given_up() {
    let mut pool = Pool::new();
    let task = pool.submit();
    pool.drain(pool.seconds(1));
    assert_eq!(pool.waits(task), Some(Waits::NoWorker), "a drain waits for workers");
    pool.wait(SECOND);
    assert_eq!(pool.waits(task), Some(Waits::Stopping));
    assert_eq!(pool.finish(), (task, Outcome::Aborted, 0));
    assert_eq!(pool.waits(task), None);
    assert_eq!(pool.scheduler.task_stats(task), None, "it is over");
}

impl Pool {
    fn failed_as(&mut self, sent: Sent) {
        self.reply(sent, Verdict::Failed).unwrap();
        while self.poll().is_some() {}
    }
}
