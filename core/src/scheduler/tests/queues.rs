use super::*;
use crate::Waits;
use crate::queue::{Class, QueueId, QueueOptions, QueueStats, Rate};
use crate::{NoQueue, SubmitError, TaskOptions};

const NORMAL: QueueOptions = QueueOptions::new();

/// A pool with these queues, and a worker that takes so many at once.
fn queued(window: u32, queues: &[QueueOptions]) -> (Pool, Link) {
    queued_with(window, queues, |_| ())
}

fn queued_with(
    window: u32,
    queues: &[QueueOptions],
    change: impl FnOnce(&mut Config),
) -> (Pool, Link) {
    let mut pool = Pool::with(change);
    let config = pool.scheduler.config();
    pool.scheduler = Scheduler::with_queues(Inline::new(), config, queues).unwrap();
    pool.scheduler.check();
    let link = pool.up(window);
    (pool, link)
}

impl Pool {
    fn submit_to(&mut self, queue: u8) -> TaskId {
        self.try_submit_to(queue).unwrap()
    }

    fn try_submit_to(&mut self, queue: u8) -> Result<TaskId, SubmitError> {
        let options = TaskOptions::new().queue(QueueId::new(queue));
        let submitted = self.scheduler.submit_with(self.now, options);
        self.scheduler.check();
        submitted
    }

    fn queue(&self, queue: u8) -> QueueStats {
        self.scheduler.queue_stats(QueueId::new(queue)).unwrap()
    }

    fn set_paused(&mut self, queue: u8, is_paused: bool) {
        let queue = QueueId::new(queue);
        let set = if is_paused {
            self.scheduler.pause(self.now, queue)
        } else {
            self.scheduler.resume(self.now, queue)
        };
        set.unwrap();
        self.scheduler.check();
    }

    /// Has the only worker, which takes one at a time, do so many tasks while all these queues have
    /// something to send, and returns how many were of each.
    fn sends_of(&mut self, count: usize, queues: &[u8]) -> Vec<usize> {
        for &queue in queues {
            self.submit_to(queue);
        }
        let counted = |pool: &Self| -> Vec<u64> {
            queues.iter().map(|&queue| pool.queue(queue).sent).collect()
        };
        let mut counts = std::vec![0; queues.len()];
        for _ in 0..count {
            let before = counted(self);
            let sent = self.sent();
            self.done(sent);
            let grew = |(after, before): (u64, &u64)| after > *before;
            let at = counted(self).into_iter().zip(&before).position(grew).unwrap();
            counts[at] += 1;
            self.submit_to(queues[at]);
        }
        counts
    }
}

#[test]
fn queues_of_a_class_share_its_sends_by_their_weights_within_a_percent() {
    let weights = [1, 2, 7, 90];
    let options = weights.map(|weight| NORMAL.weight(weight));
    let (mut pool, _) = queued(1, &options);
    let counts = pool.sends_of(10_000, &[0, 1, 2, 3]);
    for (count, weight) in counts.iter().zip(weights) {
        let share = 10_000 * usize::from(weight) / 100;
        assert!(count.abs_diff(share) * 100 <= share, "{counts:?} for {weights:?}");
    }
    let sent: u64 = (0..4).map(|queue| pool.queue(queue).sent).sum();
    assert_eq!(sent, 10_000);
}

#[test]
fn what_is_more_urgent_goes_first_but_for_the_least_share_of_the_others() {
    let options = [Class::Low, Class::Urgent, Class::Normal].map(|class| NORMAL.class(class));
    let (mut pool, _) = queued(1, &options);
    let counts = pool.sends_of(10_000, &[0, 1, 2]);
    assert!(counts[0].abs_diff(500) <= 2, "{counts:?}");
    assert!(counts[2].abs_diff(500) <= 2, "{counts:?}");

    let (mut pool, _) = queued_with(1, &options, |config| config.class_share_min = 0);
    assert_eq!(pool.sends_of(1_000, &[0, 1, 2]), [0, 1_000, 0]);
}

#[test]
fn a_class_that_has_nothing_more_urgent_beside_it_has_all() {
    let options = [Class::Low, Class::Urgent].map(|class| NORMAL.class(class));
    let (mut pool, _) = queued(1, &options);
    assert_eq!(pool.sends_of(100, &[0]), [100]);
    // What was sent alone is not held against it, nor is it owed for it.
    let urgent = pool.submit_to(1);
    assert_eq!(pool.sent().task, urgent);
}

#[test]
fn a_queue_that_had_nothing_to_send_saves_nothing_up() {
    let (mut pool, _) = queued(1, &[NORMAL, NORMAL]);
    assert_eq!(pool.sends_of(500, &[0]), [500]);
    let counts = pool.sends_of(100, &[0, 1]);
    assert!(counts[0].abs_diff(50) <= 3, "{counts:?}");
}

#[test]
fn a_queue_has_no_more_in_flight_than_it_may_and_others_pass_it() {
    let (mut pool, _) = queued(8, &[NORMAL, NORMAL.in_flight_max(2)]);
    let limited: Vec<_> = (0..4).map(|_| pool.submit_to(1)).collect();
    let free = pool.submit_to(0);
    let sends = pool.sends();
    assert_eq!(sends.len(), 3);
    assert!(tasks(&sends).contains(&free));
    assert_eq!(pool.scheduler.waits(limited[2]), Some(Waits::QueueInFlight));
    assert_eq!(pool.scheduler.waits(limited[0]), None);
    let first = sends.iter().find(|sent| sent.task == limited[0]).unwrap();
    pool.done(*first);
    assert_eq!(tasks(&pool.sends()), [limited[2]]);
    assert_eq!((pool.queue(1).in_flight, pool.queue(1).waiting), (2, 1));
}

#[test]
fn a_task_that_comes_back_is_under_the_limits_of_its_queue_as_well() {
    let (mut pool, first) = queued(2, &[NORMAL, NORMAL.in_flight_max(1)]);
    pool.submit_to(1);
    let sent = pool.sent();
    let waits = pool.submit_to(1);
    pool.lose(first);
    let _other = pool.up(2);
    // Both wait: one that came back, and one that is new.
    let sends: Vec<_> = core::iter::from_fn(|| pool.poll()).collect();
    let sent_again = sends.iter().filter(|action| matches!(action, Action::Send { .. })).count();
    assert_eq!(sent_again, 1, "{sends:?}");
    pool.set_paused(1, true);
    let task = if pool.scheduler.holder(sent.task).is_some() { sent.task } else { waits };
    assert!(pool.scheduler.holder(task).is_some());
    pool.cancel(task).unwrap();
    assert!(!pool.polls().iter().any(|action| matches!(action, Action::Send { .. })));
    pool.set_paused(1, false);
    assert_eq!(pool.sends().len(), 1);
}

#[test]
fn a_queue_sends_a_burst_and_then_as_fast_as_its_rate() {
    let rate = Rate::per_second(10).burst(3);
    let (mut pool, _) = queued(16, &[NORMAL.rate(rate)]);
    let tasks: Vec<_> = (0..7).map(|_| pool.submit()).collect();
    assert_eq!(pool.sends().len(), 3, "the burst");
    let until = pool.now.saturating_add(Duration::from_millis(100));
    assert_eq!(pool.scheduler.poll_timeout(), Some(until));
    assert_eq!(pool.scheduler.waits(tasks[3]), Some(Waits::QueueRate { until }));
    pool.wait(Duration::from_millis(99));
    pool.nothing();
    pool.wait(Duration::from_millis(1));
    assert_eq!(pool.sends().len(), 1);
    pool.wait(SECOND);
    assert_eq!(pool.sends().len(), 3, "no more is saved up than the burst");
}

#[test]
fn a_queue_with_a_rate_of_centuries_sends_no_more_than_one() {
    let (mut pool, _) = queued(16, &[NORMAL.rate(Rate::per(1, Duration::MAX).burst(10))]);
    for _ in 0..5 {
        pool.submit();
    }
    assert_eq!(pool.sends().len(), 1);
    pool.wait(50 * SECOND);
    pool.nothing();
}

#[test]
fn a_rate_is_not_exceeded_however_it_divides() {
    let rate = Rate::per_second(3);
    let (mut pool, _) = queued(1, &[NORMAL.rate(rate)]);
    let (begin, mut sent) = (pool.now, 0);
    pool.submit();
    while sent < 3_000 {
        match pool.poll() {
            Some(Action::Send { link, task, attempt }) => {
                sent += 1;
                pool.done(Sent { link, task, attempt });
                pool.submit();
            }
            None => {
                let at = pool.scheduler.poll_timeout().unwrap();
                pool.wait(at.saturating_since(pool.now));
            }
            other => panic!("{other:?}"),
        }
    }
    let took = pool.now.saturating_since(begin);
    let exact = Duration::from_secs(2_999) / 3;
    assert!(took >= exact && took < exact + Duration::from_millis(1), "{took:?}");
}

#[test]
fn a_paused_queue_sends_nothing_and_others_go_on() {
    let (mut pool, _) = queued(4, &[NORMAL, NORMAL.paused()]);
    let (paused, free) = (pool.submit_to(1), pool.submit_to(0));
    assert_eq!(tasks(&pool.sends()), [free]);
    assert_eq!(pool.scheduler.waits(paused), Some(Waits::Paused));
    assert!(pool.queue(1).is_paused);
    pool.set_paused(1, false);
    assert_eq!(tasks(&pool.sends()), [paused]);
    assert_eq!(pool.scheduler.pause(pool.now, QueueId::new(2)), Err(NoQueue));
}

#[test]
fn a_pool_without_queues_can_be_paused_in_the_midst_of_everything() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    let link = pool.up(2);
    let rests = pool.submit();
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    pool.submit();
    let in_flight = pool.sent();
    let waits: Vec<_> = (0..3).map(|_| pool.submit()).collect();
    let also = pool.sent();
    pool.set_paused(0, true);
    let stats = pool.queue(0);
    assert_eq!((stats.waiting, stats.resting, stats.in_flight), (2, 1, 2));
    pool.done(in_flight);
    pool.done(also);
    pool.nothing();
    pool.wait(SECOND);
    pool.nothing();
    pool.set_paused(0, false);
    let sends = tasks(&pool.sends());
    assert!(sends.contains(&waits[1]) && sends.contains(&rests), "{sends:?}");
    assert_eq!(pool.in_flight(link), 2);
}

#[test]
fn a_queue_that_is_full_leaves_room_for_the_others() {
    let (mut pool, _) = queued(1, &[NORMAL.paused(), NORMAL, NORMAL]);
    let mut filled = 0;
    while pool.try_submit_to(0).is_ok() {
        filled += 1;
    }
    // Of 16 slots two are kept for each of three queues, and ten are for whoever comes.
    assert_eq!(filled, 12);
    assert_eq!(pool.scheduler.room_of(QueueId::new(0)), 0);
    assert_eq!(pool.scheduler.room_of(QueueId::new(1)), 2);
    assert_eq!(pool.try_submit_to(0), Err(SubmitError::Full));
    for _ in 0..2 {
        pool.submit_to(1);
        pool.submit_to(2);
    }
    assert_eq!(pool.try_submit_to(1), Err(SubmitError::Full));
    let sent = pool.sent();
    pool.done(sent);
    assert!(pool.try_submit_to(1).is_ok());
}

#[test]
fn a_task_for_a_queue_that_is_none_is_refused() {
    let (mut pool, _) = queued(1, &[NORMAL, NORMAL]);
    assert_eq!(pool.try_submit_to(2), Err(SubmitError::NoQueue));
    assert_eq!(Pool::new().try_submit_to(1), Err(SubmitError::NoQueue));
    assert!(Pool::new().try_submit_to(0).is_ok());
}

#[test]
fn queues_that_make_no_sense_are_refused_by_name() {
    let make = |queues: &[QueueOptions]| {
        let made = Scheduler::with_queues(Inline::<16, 4>::new(), Config::new(1), queues);
        made.map(|_| ()).map_err(|error| std::string::ToString::to_string(&error))
    };
    let wrong = |queues: &[QueueOptions], text: &str| {
        let error = make(queues).unwrap_err();
        assert!(error.contains(text), "{error}");
    };
    wrong(&[], "1 to 64");
    wrong(&[NORMAL; 65], "1 to 64");
    wrong(&[NORMAL; 9], "two task slots for each");
    wrong(&[NORMAL.weight(0)], "weight");
    wrong(&[NORMAL.weight(1001)], "weight");
    wrong(&[NORMAL.in_flight_max(0)], "in_flight_max");
    assert_eq!(make(&[NORMAL; 8]), Ok(()));
    let mut config = Config::new(1);
    config.class_share_min = 26;
    assert!(config.checked().is_err());
}

#[test]
fn a_drain_ends_what_a_paused_queue_holds_at_its_deadline() {
    let (mut pool, _) = queued(1, &[NORMAL, NORMAL.paused()]);
    let task = pool.submit_to(1);
    pool.drain(pool.seconds(3));
    pool.nothing();
    pool.wait(3 * SECOND);
    assert_eq!(pool.finish(), (task, Outcome::Aborted, 0));
}

#[test]
fn what_is_told_of_a_waiting_task_is_what_keeps_it() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    let task = pool.submit();
    assert_eq!(pool.scheduler.waits(task), Some(Waits::NoWorker));
    let link = pool.up(1);
    assert_eq!(pool.scheduler.waits(task), Some(Waits::Turn));
    let sent = pool.sent();
    assert_eq!(pool.scheduler.waits(task), None, "a worker holds it");
    let next = pool.submit();
    assert_eq!(pool.scheduler.waits(next), Some(Waits::NoRoom));
    pool.reply(sent, Verdict::Failed).unwrap();
    let until = pool.seconds(1);
    assert_eq!(pool.scheduler.waits(task), Some(Waits::Rests { until }));
    let sent = pool.sent();
    pool.done(sent);
    let full = pool.up(1);
    pool.submit();
    pool.submit();
    let held = pool.sends();
    let mine = held.iter().find(|sent| sent.link == link).unwrap();
    pool.reply(*mine, Verdict::Returned).unwrap();
    let until = pool.seconds(1);
    assert_eq!(pool.scheduler.waits(mine.task), Some(Waits::Elsewhere { until }));
    assert_eq!(pool.in_flight(full), 1);
    pool.cancel(mine.task).unwrap();
    assert_eq!(pool.scheduler.waits(mine.task), None);
}
