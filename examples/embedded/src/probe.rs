//! What programs do whose size or stack is measured: every call of a scheduler, and the least of a handler.

use core::hint::black_box;
use core::time::Duration;

use chargehand_core::{
    Config, Event, Instant, Offer, Route, Scheduler, Storage, TaskId, TaskOptions, WorkerId,
};

/// What a caller may have at hand. The compiler must take all of it for possible.
struct Inputs {
    now: Instant,
    task: Option<TaskId>,
    worker: Option<WorkerId>,
    event: Option<Event>,
}

/// A configuration that the compiler does not know.
pub fn config() -> Config {
    black_box(Config::new(7))
}

/// Makes every call there is, in any order.
pub fn schedule<S: Storage>(scheduler: &mut Scheduler<S>) -> ! {
    let mut inputs = Inputs { now: Instant::EPOCH, task: None, worker: None, event: None };
    loop {
        turn(scheduler, &mut inputs);
    }
}

/// Makes the calls besides that there are with queues, choice by answers and second attempts.
#[cfg(feature = "full")]
pub fn schedule_all<S: Storage>(scheduler: &mut Scheduler<S>) -> ! {
    let mut inputs = Inputs { now: Instant::EPOCH, task: None, worker: None, event: None };
    loop {
        turn(scheduler, &mut inputs);
        let Inputs { now, task, worker, .. } = *black_box(&mut inputs);
        let queue = black_box(chargehand_core::QueueId::new(1));
        match black_box(0_u8) {
            0 => drop(black_box(scheduler.pause(now, queue))),
            1 => drop(black_box(scheduler.resume(now, queue))),
            2 => drop(black_box(scheduler.queue_stats(queue))),
            3 => scheduler.set_backlog(black_box(1)),
            4 => drop(black_box(task.map(|task| scheduler.waits(task)))),
            5 => drop(black_box(worker.map(|worker| scheduler.idles(worker)))),
            6 => drop(black_box(task.map(|task| scheduler.second_holder(task)))),
            _ => drop(black_box(scheduler.room_of(queue))),
        }
    }
}

fn turn<S: Storage>(scheduler: &mut Scheduler<S>, inputs: &mut Inputs) {
    let Inputs { now, task, worker, event } = *black_box(&mut *inputs);
    match black_box(0_u8) {
        // Any task: `submit` is this with nothing special.
        0 => inputs.task = scheduler.submit_with(now, black_box(TaskOptions::new())).ok(),
        1 => inputs.worker = scheduler.add_worker(now, black_box(Route::Dial)).ok(),
        2 => {
            if let Some(task) = task {
                let _ = black_box(scheduler.cancel(now, task));
            }
        }
        3 => {
            if let Some(worker) = worker {
                let _ = black_box(scheduler.remove_worker(now, worker));
            }
        }
        4 => {
            if let Some(event) = event {
                let _ = black_box(scheduler.handle_event(now, event));
            }
        }
        5 => {
            if let Some(worker) = worker {
                let offer = black_box(Offer::new(1));
                let _ = black_box(scheduler.accept(now, worker, offer, now));
            }
        }
        6 => scheduler.drain(now, now.saturating_add(black_box(Duration::from_secs(1)))),
        7 => {
            black_box(scheduler.stats());
        }
        8 => inputs.worker = scheduler.evict_absent(now),
        _ => scheduler.handle_timeout(now),
    }
    while let Some(action) = scheduler.poll_action() {
        black_box(action);
    }
    black_box(scheduler.poll_timeout());
}

/// Answers with the request itself.
///
/// # Errors
/// The answer has no room for it.
pub fn echo(request: &[u8], answer: &mut [u8]) -> Result<usize, &'static str> {
    let place = answer.get_mut(..request.len()).ok_or("long")?;
    place.copy_from_slice(request);
    Ok(request.len())
}
