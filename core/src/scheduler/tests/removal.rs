use super::*;

#[test]
fn a_removed_worker_finishes_what_it_holds_first() {
    let mut pool = Pool::new();
    let link = pool.up(2);
    let worker = link.worker();
    pool.submit();
    let sent = pool.sent();
    pool.remove(worker).unwrap();
    pool.submit();
    pool.nothing();
    assert_eq!(pool.state(worker), WorkerState::Draining);
    assert_eq!(pool.remove(worker), Err(Stale));
    assert_eq!(pool.accept(worker, 1), Err(Stale));
    pool.done(sent);
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker });
    pool.nothing();
    assert_eq!(pool.remove(worker), Err(Stale));
    assert_eq!(pool.scheduler.stats().workers, 0);
}

#[test]
fn a_worker_without_a_link_is_removed_at_once() {
    let mut pool = Pool::new();
    let absent = pool.add(Route::Await);
    let resting = pool.add(Route::Dial);
    let link = pool.connect();
    pool.event(Event::Refused { link }).unwrap();
    pool.nothing();
    for worker in [absent, resting] {
        pool.remove(worker).unwrap();
        assert_eq!(pool.remove(worker), Err(Stale));
        assert_eq!(pool.polls(), [Action::Gone { worker }]);
    }
    // Not even a connect that was not asked for yet is left.
    for worker in [pool.add(Route::Dial), pool.add(Route::Await)] {
        pool.remove(worker).unwrap();
        assert_eq!(pool.remove(worker), Err(Stale));
        assert_eq!(pool.polls(), [Action::Gone { worker }]);
    }
    assert_eq!(pool.scheduler.poll_timeout(), None);
}

#[test]
fn a_worker_that_is_being_connected_to_is_given_up() {
    let mut pool = Pool::new();
    let worker = pool.add(Route::Dial);
    let link = pool.connect();
    pool.remove(worker).unwrap();
    assert_eq!(pool.event(Event::Connected { link, offer: Offer::new(1) }), Err(EventError::Stale));
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker });
    pool.nothing();
}

#[test]
fn a_removed_worker_that_is_lost_gives_its_tasks_back_and_is_gone() {
    let mut pool = Pool::new();
    let link = pool.dialled(1);
    pool.submit();
    pool.sent();
    pool.remove(link.worker()).unwrap();
    pool.lose(link);
    pool.expect(Action::Gone { worker: link.worker() });
    pool.nothing();
    assert_eq!(pool.scheduler.stats().waiting, 1);
}

#[test]
fn cancelling_the_last_task_of_a_removed_worker_closes_it() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    let task = pool.submit();
    pool.sent();
    pool.remove(link.worker()).unwrap();
    pool.cancel(task).unwrap();
    assert_eq!(pool.finish(), (task, Outcome::Cancelled, 1));
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker: link.worker() });
}

#[test]
fn a_removed_worker_whose_last_task_times_out_is_closed() {
    let mut pool = Pool::with(|config| config.attempt_timeout = SECOND);
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.remove(link.worker()).unwrap();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker: link.worker() });
    pool.nothing();
}

#[test]
fn every_worker_slot_can_be_used_again() {
    let mut pool = Pool::new();
    let workers = [(); 4].map(|()| pool.add(Route::Await));
    assert_eq!(pool.scheduler.add_worker(pool.now, Route::Dial), Err(crate::WorkersFull));
    pool.remove(workers[2]).unwrap();
    assert_eq!(pool.scheduler.add_worker(pool.now, Route::Dial), Err(crate::WorkersFull));
    assert_eq!(pool.polls(), [Action::Gone { worker: workers[2] }]);
    let next = pool.add(Route::Await);
    assert_eq!(next.slot(), workers[2].slot());
    assert_ne!(next, workers[2]);
    assert_eq!(pool.scheduler.worker_stats(workers[2]), None);
    assert_eq!(pool.remove(workers[2]), Err(Stale));
}

#[test]
fn a_worker_added_while_tasks_wait_gets_them_at_once() {
    let mut pool = Pool::new();
    pool.up(1);
    for _ in 0..4 {
        pool.submit();
    }
    assert_eq!(pool.sends().len(), 1);
    let link = pool.up(2);
    assert!(pool.sends().iter().all(|sent| sent.link == link));
    assert_eq!(pool.in_flight(link), 2);
}
