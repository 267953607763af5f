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
        let call = Box::pin(async move { pool.call::<u64, u64>(&number).await });
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
