//! A program part for a machine without operating system, but with a heap: it builds only if the
//! pool and the worker of chargehand need no std.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::String;
use core::future::{Future, Ready, ready};
use core::panic::PanicInfo;
use core::pin::Pin;

use chargehand::core::Instant;
use chargehand::core::io::Timer;
use chargehand::memory::{MemoryListener, pair};
use chargehand::{BoxError, Pool, TaskError, Worker};
use embedded_alloc::LlffHeap;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// With std linked there would be two of these, which is an error.
#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
pub struct Stopped;

impl Timer for Stopped {
    type Sleep = Ready<()>;

    fn now(&self) -> Instant {
        Instant::EPOCH
    }

    fn sleep_until(&self, _: Instant) -> Ready<()> {
        ready(())
    }
}

/// A future of a program that owns all of it.
pub type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a pool with a worker in its own future and one over a wire, that wire's other end, and the
/// future of the pool.
pub fn pool() -> Result<(Pool, MemoryListener, Part), BoxError> {
    let (connector, listener) = pair(8);
    let (pool, driver) = Pool::builder(Stopped)
        .seed(7)
        .in_process(2, |height: u64| ready(Ok::<_, String>(height)))
        .connect(connector)
        .tasks_max(16)
        .workers_max(2)
        .build()?;
    Ok((pool, listener, Box::pin(driver)))
}

/// Makes the future of a worker.
pub fn worker(listener: MemoryListener) -> Part {
    let worker = Worker::new(Stopped, |height: u64| ready(Ok::<_, String>(height))).seed(8);
    Box::pin(async {
        let _ = worker.serve(listener).await;
    })
}

/// Calls once, and takes the first outcome of a range.
pub async fn ask(pool: &Pool) -> Result<u64, TaskError> {
    let called: u64 = pool.call(&1_u64).await?;
    let mut outcomes = pool.process::<u64>(1..=9);
    match outcomes.next().await {
        Some((height, outcome)) => Ok(called + height + outcome?),
        None => Err(TaskError::Closed),
    }
}
