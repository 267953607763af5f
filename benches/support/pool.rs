//! A scheduler in the middle of its work: every worker is connected, most windows are full, and
//! some tasks wait.

use std::collections::VecDeque;

use chargehand::core::{
    Action, Config, Event, Heap, Instant, Link, Outcome, Route, Scheduler, TaskId, Verdict,
};

/// How many attempts are under way at most, however many workers there are.
const IN_FLIGHT_MAX: u32 = 4096;

#[derive(Debug)]
pub(crate) struct BusyPool {
    scheduler: Scheduler<Heap>,
    now: Instant,
    in_flight: VecDeque<(Link, TaskId, u16)>,
}

impl BusyPool {
    /// Makes a pool of `workers`, with `queued` tasks on top of those under way.
    pub(crate) fn new(workers: u32, queued: u32, window: u32) -> Self {
        let under_way = workers.saturating_mul(window).min(IN_FLIGHT_MAX);
        let storage = Heap::with_capacity(under_way + queued + 1, workers);
        let scheduler = Scheduler::new(storage, Config::new(1)).expect("the default is valid");
        let mut pool = Self { scheduler, now: Instant::EPOCH, in_flight: VecDeque::new() };
        for _ in 0..workers {
            pool.scheduler.add_worker(pool.now, Route::Dial).expect("there is room");
        }
        // Few of many workers are busy where not all windows can be full: then nothing waits.
        let window = if workers.saturating_mul(window) > under_way {
            under_way.div_ceil(workers)
        } else {
            window
        };
        while let Some(action) = pool.scheduler.poll_action() {
            let Action::Connect { link } = action else { panic!("only connects are due") };
            let event = Event::Connected { link, window };
            pool.scheduler.handle_event(pool.now, event).expect("it asked for it");
        }
        for _ in 0..under_way + queued {
            pool.scheduler.submit(pool.now).expect("there is room");
        }
        pool.act();
        pool
    }

    /// Takes `count` tasks through: the oldest attempt is answered, finished, and makes room for a
    /// task that waits; a new task takes that one's place in the queue.
    pub(crate) fn cycle(&mut self, count: u32) {
        for _ in 0..count {
            self.now = self.now.saturating_add(std::time::Duration::from_nanos(100));
            let (link, task, attempt) = self.in_flight.pop_front().expect("some are under way");
            let event = Event::Replied { link, task, attempt, verdict: Verdict::Done };
            self.scheduler.handle_event(self.now, event).expect("it is under way");
            self.act();
            self.scheduler.submit(self.now).expect("one has just finished");
        }
    }

    /// Panics if an invariant of the scheduler does not hold.
    pub(crate) fn check(&self) {
        self.scheduler.check();
    }

    fn act(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Send { link, task, attempt } => {
                    self.in_flight.push_back((link, task, attempt));
                }
                Action::Finish { outcome: Outcome::Done, .. } => {}
                other => panic!("not expected here: {other:?}"),
            }
        }
    }
}
