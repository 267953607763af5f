//! Callers that wait for room in a pool's queue: those that give up, and those whose driver goes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use chargehand::testing::ManualTimer;
use chargehand::{Driver, Pool, TaskError};

/// A caller that is polled only where it was woken.
struct Caller {
    call: Pin<Box<dyn Future<Output = Result<u64, TaskError>>>>,
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Caller {
    fn new(pool: &Pool, number: u64) -> Self {
        let pool = pool.clone();
        Self::of(async move { pool.call::<u64, u64>(&number).await })
    }

    /// Asks with a request that is held against the budget.
    fn long(pool: &Pool) -> Self {
        let pool = pool.clone();
        Self::of(async move { pool.call::<u64, String>(&"x".repeat(LONG)).await })
    }

    fn of(call: impl Future<Output = Result<u64, TaskError>> + 'static) -> Self {
        let call = Box::pin(call);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { call, waker: Waker::from(Arc::clone(&woken)), woken }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }

    fn poll(&mut self) -> Poll<Result<u64, TaskError>> {
        if !self.woken.0.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.call.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

fn pool(tasks_max: u32) -> (Pool, Driver<ManualTimer>) {
    let builder = Pool::builder(ManualTimer::new()).tasks_max(tasks_max).queue_max(1);
    let answer = |number: u64| async move { Ok::<_, String>(number) };
    builder.in_process(1, answer).build().expect("limits in range")
}

#[test]
fn room_that_a_caller_was_told_of_and_left_is_anothers() {
    let (pool, driver) = pool(1);
    let mut driver = pin!(driver);
    let mut callers: Vec<_> = (0..100).map(|number| Caller::new(&pool, number)).collect();
    for caller in &mut callers {
        assert!(caller.poll().is_pending());
    }
    let mut done = 0;
    for _ in 0..10_000 {
        assert!(driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // Every third of those who are told of something gives up before it looks.
        let mut told = 0;
        callers.retain(|caller| {
            told += usize::from(caller.is_woken());
            !caller.is_woken() || told % 3 != 0
        });
        callers.retain_mut(|caller| match caller.poll() {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                assert!(answer.is_ok(), "{answer:?}");
                done += 1;
                false
            }
        });
        if callers.is_empty() {
            break;
        }
    }
    assert!(callers.is_empty(), "{} callers wait for ever", callers.len());
    assert!(done > 10, "only {done} calls were done");
}

/// The longest frame, and a request that takes most of one.
const FRAME: u32 = 8192;
const LONG: usize = 8000;

/// Has memory for one long request, and nobody who does anything.
fn small_pool() -> (Pool, Driver<ManualTimer>) {
    let builder = Pool::builder(ManualTimer::new()).tasks_max(8).queue_max(1);
    let builder = builder.frame_bytes_max(FRAME).memory_max(5 * FRAME as usize);
    builder.build().expect("limits in range")
}

#[test]
fn who_waits_for_memory_is_not_told_of_a_place_in_the_queue() {
    let (pool, driver) = small_pool();
    let (mut driver, cx) = (pin!(driver), &mut Context::from_waker(Waker::noop()));
    let requests = (0..4).map(|_| "x".repeat(LONG));
    let mut stream = pin!(pool.map::<u64, _>(requests).ahead(4));
    // It waits for memory, and nobody polls it any more.
    assert!(pin!(stream.next()).poll(cx).is_pending());
    let mut callers: Vec<_> = (0..3).map(|number| Caller::new(&pool, number)).collect();
    for caller in &mut callers {
        assert!(caller.poll().is_pending());
    }
    for (told, caller) in callers.iter_mut().enumerate().skip(1) {
        assert!(driver.as_mut().poll(cx).is_pending());
        assert!(caller.is_woken(), "caller {told} waits for a place that there is");
        assert!(caller.poll().is_pending());
    }
}

#[test]
fn a_place_in_the_queue_that_is_of_no_use_for_lack_of_memory_is_anothers() {
    let (pool, driver) = small_pool();
    let (mut driver, cx) = (pin!(driver), &mut Context::from_waker(Waker::noop()));
    let mut first = Caller::long(&pool);
    let mut long: Vec<_> = (0..2).map(|_| Caller::long(&pool)).collect();
    let mut short = Caller::new(&pool, 1);
    assert!(first.poll().is_pending());
    for caller in long.iter_mut().chain([&mut short]) {
        assert!(caller.poll().is_pending());
    }
    assert!(driver.as_mut().poll(cx).is_pending());
    for caller in &mut long {
        assert!(caller.is_woken(), "it is its turn");
        assert!(caller.poll().is_pending());
    }
    assert!(short.is_woken(), "it waits for a place that there is");
    assert!(short.poll().is_pending());
    // Once there is memory again, those that wait for it are told.
    drop(first);
    assert!(driver.as_mut().poll(cx).is_pending());
    assert!(long.iter().any(Caller::is_woken));
}

#[test]
fn callers_that_wait_hear_of_a_driver_that_is_dropped() {
    let (pool, driver) = pool(1);
    let mut callers: Vec<_> = (0..20).map(|number| Caller::new(&pool, number)).collect();
    for caller in &mut callers {
        assert!(caller.poll().is_pending());
    }
    drop(driver);
    for caller in &mut callers {
        assert!(caller.is_woken(), "it sleeps for ever");
        assert_eq!(caller.poll(), Poll::Ready(Err(TaskError::Closed)));
    }
}
