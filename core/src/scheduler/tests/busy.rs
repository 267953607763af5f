use super::*;

#[test]
fn a_busy_worker_gets_nothing_until_it_is_ready() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    let first = pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.task, first);
    let second = pool.submit();
    pool.cancel(first).unwrap();
    pool.expect(withdraw(sent));
    pool.event(Event::Busy { link }).unwrap();
    assert_eq!(pool.state(link.worker()), WorkerState::Busy);
    assert!(!pool.polls().iter().any(|action| matches!(action, Action::Send { .. })));
    pool.event(Event::Ready { link }).unwrap();
    assert_eq!(pool.sent().task, second);
    assert_eq!(pool.state(link.worker()), WorkerState::Up);
}

#[test]
fn what_a_busy_worker_cannot_take_goes_to_another_one() {
    let mut pool = Pool::new();
    let (busy, other) = (pool.up(1), pool.up(1));
    pool.event(Event::Busy { link: busy }).unwrap();
    let task = pool.submit();
    let sent = pool.sent();
    assert_eq!((sent.link, sent.task), (other, task));
    pool.done(sent);
}

#[test]
fn the_last_worker_that_rests_comes_back_when_the_other_one_is_busy() {
    let mut pool = Pool::with(|config| config.failures_max = 1);
    let (suspended, busy) = (pool.up(1), pool.up(1));
    pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.link, suspended);
    pool.failed(sent);
    assert!(matches!(pool.state(suspended.worker()), WorkerState::Suspended { .. }));
    pool.event(Event::Busy { link: busy }).unwrap();
    assert_eq!(pool.state(suspended.worker()), WorkerState::Up);
}

#[test]
fn a_worker_is_not_busy_any_more_on_its_next_link() {
    let mut pool = Pool::new();
    let link = pool.dialled(1);
    pool.event(Event::Busy { link }).unwrap();
    pool.lose(link);
    pool.wait(SECOND);
    let next = pool.connect();
    pool.event(Event::Connected { link: next, offer: Offer::new(1) }).unwrap();
    assert_eq!(pool.state(link.worker()), WorkerState::Up);
    assert_eq!(pool.event(Event::Ready { link }), Err(EventError::Stale));
}

#[test]
fn a_busy_worker_that_is_removed_is_closed_at_once() {
    let mut pool = Pool::new();
    let link = pool.up(1);
    pool.event(Event::Busy { link }).unwrap();
    pool.remove(link.worker()).unwrap();
    pool.expect(disconnect(link, Reason::Drained));
    pool.expect(Action::Gone { worker: link.worker() });
}
