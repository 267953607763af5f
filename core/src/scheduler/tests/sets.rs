use super::*;
use crate::Waits;
use crate::queue::{QueueId, QueueOptions, QueueSet, SETS_MAX};
use crate::{Storage, TaskOptions};

const NORMAL: QueueOptions = QueueOptions::new();

fn only(queue: u8) -> QueueSet {
    QueueSet::NONE.with(QueueId::new(queue))
}

fn queued(queues: usize) -> Pool {
    let mut pool = Pool::new();
    let config = pool.scheduler.config();
    let options = std::vec![NORMAL; queues];
    pool.scheduler = Scheduler::with_queues(Inline::new(), config, &options).unwrap();
    pool
}

impl Pool {
    fn serving(&mut self, window: u32, queues: QueueSet) -> Link {
        let worker = self.add(Route::Await);
        self.accept_serving(worker, window, queues)
    }

    fn accept_serving(&mut self, worker: WorkerId, window: u32, queues: QueueSet) -> Link {
        let offer = Offer::new(window).serves(queues);
        let accepted = self.scheduler.accept(self.now, worker, offer, Instant::EPOCH).unwrap();
        self.scheduler.check();
        accepted.link
    }

    fn put(&mut self, queue: u8) -> TaskId {
        let options = TaskOptions::new().queue(QueueId::new(queue));
        let task = self.scheduler.submit_with(self.now, options).unwrap();
        self.scheduler.check();
        task
    }

    fn served(&self, link: Link) -> QueueSet {
        self.scheduler.worker_stats(link.worker()).unwrap().serves
    }
}

#[test]
fn a_task_goes_only_to_workers_that_serve_its_queue() {
    let mut pool = queued(2);
    let pruned = pool.serving(8, only(0));
    let tasks: Vec<_> = (0..3).map(|_| pool.put(1)).collect();
    assert!(pool.sends().is_empty(), "nobody serves it");
    assert_eq!(pool.scheduler.waits(tasks[0]), Some(Waits::NotServed));
    let tip = pool.put(0);
    assert_eq!(pool.sent().task, tip, "what is behind it in another queue goes on");
    let archive = pool.serving(2, only(1));
    let sends = pool.sends();
    assert_eq!(super::tasks(&sends), tasks[..2]);
    assert!(sends.iter().all(|sent| sent.link == archive));
    assert_eq!(pool.scheduler.waits(tasks[2]), Some(Waits::NoRoom), "beside an idle one");
    assert_eq!(pool.in_flight(pruned), 1);
}

#[test]
fn of_workers_that_are_loaded_alike_the_one_that_serves_the_fewest_queues_is_first() {
    let mut pool = queued(3);
    let all = pool.serving(2, QueueSet::ALL);
    let two = pool.serving(2, only(1).with(QueueId::new(2)));
    let one = pool.serving(2, only(1));
    for _ in 0..6 {
        pool.put(1);
    }
    let links: Vec<_> = pool.sends().iter().map(|sent| sent.link).collect();
    assert_eq!(links, [one, two, all, one, two, all]);
}

#[test]
fn what_a_pool_does_not_know_counts_for_nothing_and_all_that_it_knows_is_all() {
    let mut pool = queued(2);
    let unknown = pool.serving(1, only(7));
    assert_eq!(pool.served(unknown), QueueSet::NONE);
    let both = pool.serving(1, only(0).with(QueueId::new(1)).with(QueueId::new(9)));
    assert_eq!(pool.served(both), QueueSet::ALL);
    pool.put(0);
    pool.put(1);
    assert_eq!(pool.sends().len(), 1);
}

#[test]
fn a_worker_of_other_queues_gets_nothing_of_a_pool_that_has_none() {
    let mut pool = Pool::new();
    let other = pool.serving(4, only(3));
    let task = pool.submit();
    pool.nothing();
    assert_eq!(pool.scheduler.waits(task), Some(Waits::NotServed));
    let all = pool.up(1);
    assert_eq!(pool.sent().link, all);
    assert_eq!(pool.in_flight(other), 0);
}

#[test]
fn a_task_that_comes_back_goes_to_another_that_serves_it_or_back_at_once_where_none_does() {
    let mut pool = queued(2);
    pool.serving(8, only(0));
    let archive = pool.serving(1, only(1));
    let task = pool.put(1);
    let sent = pool.sent();
    pool.reply(sent, Verdict::Returned).unwrap();
    let again = pool.sent();
    assert_eq!((again.task, again.link), (task, archive), "no other one serves it");
    let second = pool.serving(1, only(1));
    pool.reply(again, Verdict::Returned).unwrap();
    assert_eq!(pool.sent().link, second);
}

#[test]
fn the_last_worker_of_a_queue_is_not_suspended_and_one_comes_back_for_it() {
    let mut pool = queued(2);
    pool.scheduler.state.policy.failures_max = 1;
    let archive = pool.serving(1, only(1));
    let (first, second) = (pool.serving(1, only(0)), pool.serving(1, only(0)));
    for queue in [1, 0] {
        pool.put(queue);
        let sent = pool.sent();
        pool.failed(sent);
        let is_archive = sent.link == archive;
        assert!(is_archive || sent.link == first);
    }
    assert!(
        matches!(pool.poll(), Some(Action::Suspend { worker, .. }) if worker == first.worker())
    );
    assert_eq!(pool.state(archive.worker()), WorkerState::Up);
    pool.lose(second);
    assert_eq!(pool.state(first.worker()), WorkerState::Up, "nobody else serves that queue");
}

#[test]
fn a_worker_serves_what_its_newest_link_says() {
    let mut pool = queued(2);
    let old = pool.serving(1, only(0));
    let task = pool.put(1);
    pool.nothing();
    let new = pool.accept_serving(old.worker(), 1, only(1));
    assert_eq!(pool.sent(), Sent { link: new, task, attempt: 1 });
    pool.lose(new);
    assert_eq!(pool.served(new), QueueSet::ALL, "whatever it says next");
}

#[test]
fn a_set_beyond_the_most_is_cut_to_one_in_use_until_the_next_link() {
    let config = Config::new(1);
    let mut pool =
        Wide { scheduler: Scheduler::with_queues(Inline::new(), config, &[NORMAL; 8]).unwrap() };
    let links: Vec<_> = (0..8).map(|queue| pool.serving(only(queue))).collect();
    assert_eq!(SETS_MAX, 8);
    let pair = only(2).with(QueueId::new(5));
    let ninth = pool.serving(pair);
    assert_eq!(pool.served(ninth), only(5), "the last of those that are part of it");
    pool.scheduler.remove_worker(Instant::EPOCH, links[0].worker()).unwrap();
    while pool.scheduler.poll_action().is_some() {}
    let again = Offer::new(1).serves(pair);
    let link = pool.scheduler.accept(Instant::EPOCH, ninth.worker(), again, Instant::EPOCH);
    assert_eq!(pool.served(link.unwrap().link), pair);
    pool.scheduler.check();
}

/// A pool with room for more workers.
struct Wide {
    scheduler: Scheduler<Inline<16, 10>>,
}

impl Wide {
    fn serving(&mut self, queues: QueueSet) -> Link {
        let now = Instant::EPOCH;
        let worker = self.scheduler.add_worker(now, Route::Await).unwrap();
        let offer = Offer::new(1).serves(queues);
        let link = self.scheduler.accept(now, worker, offer, now).unwrap().link;
        self.scheduler.check();
        link
    }

    fn served(&self, link: Link) -> QueueSet {
        self.scheduler.worker_stats(link.worker()).unwrap().serves
    }
}

#[test]
fn a_pool_whose_workers_serve_all_goes_on_as_it_was() {
    let mut pool = Pool::new();
    pool.serving(4, QueueSet::ALL);
    pool.submit();
    pool.sent();
    let (_, workers) = pool.scheduler.storage.slots();
    assert!(workers[0].is_plain, "nothing is looked at that nobody asked for");
}
