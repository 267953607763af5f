//! How figures read, in a log or at a prompt.

use std::format;
use std::string::ToString;

use super::*;

#[test]
fn figures_of_a_pool_name_what_there_is_and_leave_out_what_there_is_not() {
    let mut pool = Pool::with(|config| config.attempts_max = 1);
    let worker = pool.add(Route::Await);
    assert_eq!(pool.scheduler.stats().to_string(), "0 of 0 tasks done; 0 of 1 workers up");
    let link = pool.accept(worker, 2).unwrap().link;
    let tasks = [pool.submit(), pool.submit(), pool.submit()];
    while pool.scheduler.poll_action().is_some() {}
    let reply = |task, verdict| Event::Replied { link, task, attempt: 1, verdict };
    pool.event(reply(tasks[0], Verdict::Done)).unwrap();
    assert!(pool.event(reply(tasks[0], Verdict::Done)).is_err(), "twice");
    pool.event(reply(tasks[1], Verdict::Failed)).unwrap();
    while pool.scheduler.poll_action().is_some() {}
    let text = "1 of 3 tasks done, 1 failed; 1 in flight; 1 of 1 workers up; 1 stale";
    assert_eq!(pool.scheduler.stats().to_string(), text);
    let stats = pool.scheduler.worker_stats(worker).unwrap();
    assert_eq!(stats.to_string(), "up, 1 of 2 in flight, 1 done, 1 failed, 1 link");
    pool.lose(link);
    pool.submit();
    while pool.scheduler.poll_action().is_some() {}
    let text = "1 of 4 tasks done, 1 failed, 1 exhausted; 1 waiting; 0 of 1 workers up; \
                1 attempts lost, 1 stale";
    assert_eq!(pool.scheduler.stats().to_string(), text);
    let stats = pool.scheduler.worker_stats(worker).unwrap();
    assert_eq!(stats.to_string(), "absent, 0 of 2 in flight, 1 done, 1 failed, 1 lost, 1 link");
}

#[test]
fn each_state_of_a_worker_has_a_name_of_its_own() {
    let until = Instant::EPOCH;
    let states = [
        (WorkerState::Absent { not_before: until }, "absent"),
        (WorkerState::BackingOff { until }, "backing off"),
        (WorkerState::Connecting, "connecting"),
        (WorkerState::Up, "up"),
        (WorkerState::Busy, "busy"),
        (WorkerState::Suspended { until }, "suspended"),
        (WorkerState::Delayed { until }, "delayed"),
        (WorkerState::Draining, "draining"),
    ];
    for (state, name) in states {
        assert_eq!((state.name(), format!("{state}")), (name, name.to_string()));
    }
}
