//! What threads do, and what must come of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use chargehand_core::Instant;
use chargehand_core::io::Timer;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::link::alarm::Alarm;
use crate::link::lock::Lock;
use crate::link::ready::ReadySet;

/// The task that works a set off: it sleeps until it is woken.
pub(crate) struct Task(Notify);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

impl Task {
    pub(crate) fn wait(&self) {
        self.0.wait();
    }
}

pub(crate) fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task(Notify::new()));
    (Arc::clone(&task), Waker::from(task))
}

/// So many threads each put something where it is not ordered by itself, and wake its source, so many times. Whoever
/// works the set off sees all of it, however the threads run; if a wake were lost it would sleep for ever,
/// and loom says so. `at_once` is how many it serves in one poll. Threads
/// are interrupted at most so often as `preemptions` says, where they could go on.
pub fn sources(threads: usize, wakes: usize, at_once: usize, preemptions: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let mut set = ReadySet::new();
        let (task, waker) = task();
        let mut sources = Vec::new();
        let mut running = Vec::new();
        for token in 0..threads {
            let entry = Arc::new(set.entry(u32::try_from(token).expect("a few")));
            let value = Arc::new(AtomicUsize::new(0));
            sources.push((Arc::clone(&entry), Arc::clone(&value)));
            running.push(thread::spawn(move || {
                for number in 1..=wakes {
                    value.store(number, Ordering::Relaxed);
                    entry.wake();
                }
            }));
        }
        let mut seen = vec![0; threads];
        while seen.iter().any(|&number| number < wakes) {
            let mut batch = Vec::new();
            let is_more = set.take(&waker, at_once, &mut batch);
            for token in batch {
                let (entry, value) = &sources[token as usize];
                entry.clear();
                seen[token as usize] = value.load(Ordering::Relaxed);
            }
            if !is_more && seen.iter().any(|&number| number < wakes) {
                task.wait();
            }
        }
        for thread in running {
            thread.join().expect("it does not panic");
        }
    });
}

/// A clock that another thread moves, and the one sleep of it that is waited for.
#[derive(Clone, Default)]
struct Clock(Arc<Lock<(u64, Option<Waker>)>>);

struct Sleep(Clock, Instant);

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.with(|(now, _)| *now))
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(self.clone(), at)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.0.with(|(now, waker)| {
            if Instant::from_nanos(*now) >= self.1 {
                return Poll::Ready(());
            }
            *waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

impl Clock {
    fn move_to(&self, nanos: u64) {
        let waker = self.0.with(|(now, waker)| {
            *now = nanos;
            waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A driver's alarm is set to 2, then to 1, while another thread moves the clock to 1 and to 2. It wakes
/// its task for both, however the threads run.
pub fn alarms() {
    loom::model(|| {
        let mut set = ReadySet::new();
        let (task, waker) = task();
        let clock = Clock::default();
        let mut alarm = Alarm::new(set.entry(0));
        let other = clock.clone();
        let moving = thread::spawn(move || {
            other.move_to(1);
            other.move_to(2);
        });
        alarm.set(&clock, Instant::from_nanos(2));
        let mut due = 1;
        while due <= 2 {
            alarm.set(&clock, Instant::from_nanos(due));
            let mut batch = Vec::new();
            let is_more = set.take(&waker, 1, &mut batch);
            if !batch.is_empty() {
                alarm.on_wake();
            }
            while due <= 2 && clock.now() >= Instant::from_nanos(due) {
                due += 1;
            }
            if due <= 2 && batch.is_empty() && !is_more {
                task.wait();
            }
        }
        moving.join().expect("it does not panic");
    });
}
