use super::*;
use crate::{Storage, SubmitError};
use std::sync::Mutex;

/// Sends one task to one worker and back.
fn one_task<S: Storage>(pool: &mut Scheduler<S>) {
    let now = Instant::from_millis(5);
    let worker = pool.add_worker(now, Route::Await).unwrap();
    let link = pool.accept(now, worker, Offer::new(1), now).unwrap().link;
    let task = pool.submit(now).unwrap();
    assert_eq!(pool.poll_action(), Some(Action::Send { link, task, attempt: 1 }));
    pool.check();
    let event = Event::Replied { link, task, attempt: 1, verdict: Verdict::Done };
    pool.handle_event(now, event).unwrap();
    let outcome = Outcome::Done;
    assert_eq!(pool.poll_action(), Some(Action::Finish { task, outcome, attempts: 1 }));
    assert_eq!(pool.poll_action(), None);
    pool.check();
}

#[test]
fn a_pool_lives_in_a_static() {
    static POOL: Mutex<Scheduler<Inline<4, 2>>> = Mutex::new(Scheduler::inline(Config::new(1)));
    one_task(&mut POOL.lock().unwrap());
    assert_eq!(POOL.lock().unwrap().stats().done, 1);
}

#[test]
fn a_storage_lives_in_a_static_and_can_be_used_again() {
    static STORAGE: Mutex<Inline<4, 2>> = Mutex::new(Inline::new());
    let mut storage = STORAGE.lock().unwrap();
    for _ in 0..2 {
        one_task(&mut Scheduler::new(&mut *storage, Config::new(1)).unwrap());
    }
}

#[test]
fn one_slot_of_each_kind_is_enough() {
    let mut pool = Scheduler::<Inline<1, 1>>::inline(Config::new(1));
    one_task(&mut pool);
    let task = pool.submit(Instant::EPOCH).unwrap();
    assert_eq!(pool.submit(Instant::EPOCH), Err(SubmitError::Full));
    assert_eq!(pool.add_worker(Instant::EPOCH, Route::Dial), Err(crate::WorkersFull));
    assert_eq!(task.slot(), 0);
    pool.check();
}

#[test]
fn a_pool_without_slots_takes_nothing() {
    let mut pool = Scheduler::<Inline<0, 0>>::inline(Config::new(1));
    assert_eq!(pool.submit(Instant::EPOCH), Err(SubmitError::Full));
    assert_eq!(pool.add_worker(Instant::EPOCH, Route::Await), Err(crate::WorkersFull));
    assert_eq!(pool.poll_action(), None);
    pool.check();
    pool.drain(Instant::EPOCH, Instant::EPOCH);
    assert!(pool.is_drained());
}

#[cfg(feature = "alloc")]
#[test]
fn a_heap_pool_behaves_the_same() {
    one_task(&mut Scheduler::new(crate::Heap::with_capacity(3, 2), Config::new(1)).unwrap());
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let mut config = Config::new(1);
    config.attempts_max = 0;
    let error = Scheduler::new(Inline::<1, 1>::new(), config).unwrap_err();
    assert!(std::format!("{error}").contains("attempts_max"));
}

#[test]
fn a_heartbeat_or_backoff_of_less_than_a_millisecond_is_refused_by_name() {
    let short = Duration::from_micros(999);
    let changes: [(&str, fn(&mut Config, Duration)); 4] = [
        ("heartbeat_interval", |config, span| config.heartbeat_interval = span),
        ("heartbeat_timeout", |config, span| config.heartbeat_timeout = span),
        ("backoff", |config, span| config.backoff = config.backoff.base(span)),
        ("backoff", |config, span| config.backoff = config.backoff.cap(span)),
    ];
    for (name, change) in changes {
        for (span, is_refused) in
            [(Duration::ZERO, true), (short, true), (Duration::from_millis(1), false)]
        {
            let mut config = Config::new(1);
            change(&mut config, span);
            let error = Scheduler::new(Inline::<1, 1>::new(), config).err();
            let names = error.map(|error| std::format!("{error}").contains(name));
            assert_eq!(names, is_refused.then_some(true), "{name}: {span:?}");
        }
    }
}

#[test]
#[should_panic(expected = "attempts_max must be at least 1")]
fn a_wrong_configuration_of_a_static_pool_is_named_by_the_panic() {
    let mut config = Config::new(1);
    config.attempts_max = 0;
    let _ = Scheduler::<Inline<1, 1>>::inline(config);
}

#[test]
fn the_parts_name_themselves_in_debug_output() {
    let pool = Scheduler::<Inline<4, 2>>::inline(Config::new(1));
    assert!(std::format!("{pool:?}").starts_with("Scheduler { stats: Stats {"));
    assert_eq!(std::format!("{:?}", Inline::<4, 2>::new()), "Inline<4, 2>");
}

#[test]
fn the_configuration_comes_out_as_it_went_in() {
    let span = |millis| Duration::from_millis(millis);
    let mut config = Config::new(11);
    config.attempts_max = 2;
    config.attempt_timeout = span(3);
    config.retries_max = 4;
    config.retry_delay = span(5);
    config.connect_timeout = span(6);
    config.heartbeat_interval = span(7);
    config.heartbeat_timeout = span(8);
    config.strikes_max = 9;
    config.failures_max = 10;
    config.absent_max = Duration::MAX;
    config.backoff = BackoffPolicy::powers_of_two(span(12));
    config.stable_after = span(13);
    let scheduler = Scheduler::new(Inline::<1, 1>::new(), config).unwrap();
    assert_eq!(scheduler.config(), config);
}
