//! A pool with three workers in one program without operating system: one that answers at once, one
//! that waits for the clock, and one at the other end of a wire. It does 1000 heights, and checks
//! every outcome.
#![no_std]
#![no_main]

extern crate alloc;

mod clock;
mod executor;

use alloc::boxed::Box;
use alloc::string::ToString;
use core::panic::PanicInfo;
use core::time::Duration;

use chargehand::core::io::Timer;
use chargehand::memory::pair;
use chargehand::{BoxError, Pool, TaskError, Worker};
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use embedded_alloc::LlffHeap;
use futures_util::future::join3;

use crate::clock::Ticks;

const HEAP_BYTES: usize = 40 * 1024;
const HEIGHTS: u64 = HEIGHTS_LENGTH as u64;
const HEIGHTS_LENGTH: usize = 1000;
/// The heights whose tasks fail: the multiples of this.
const BAD: u64 = 100;
/// A board draws it, or counts its starts.
const SEED: u64 = 7;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

#[entry]
fn main() -> ! {
    // SAFETY: this is called once, before anything is allocated.
    #[expect(unsafe_code, reason = "a heap is given its memory so")]
    unsafe {
        embedded_alloc::init!(HEAP, HEAP_BYTES);
    }
    let clock = Ticks::start(cortex_m::Peripherals::take().expect("nobody took them before").SYST);
    if let Err(error) = executor::block_on(run(clock)) {
        hprintln!("{}", error);
        leave(debug::EXIT_FAILURE);
    }
    leave(debug::EXIT_SUCCESS)
}

/// Without a seed neither a pool nor a worker begins, and both say what to call.
async fn check_seedless(clock: Ticks) {
    let refused = Pool::builder(clock).build().expect_err("there is no seed to draw").to_string();
    assert!(refused.contains(".seed(..)"), "{refused}");
    let refused = Worker::new(clock, handle)
        .serve(pair(1).1)
        .await
        .expect_err("there is no seed to draw")
        .to_string();
    assert!(refused.contains(".seed(..)"), "{refused}");
}

async fn run(clock: Ticks) -> Result<(), BoxError> {
    check_seedless(clock).await;
    let (connector, listener) = pair(4);
    let (pool, driver) = Pool::builder(clock)
        .seed(SEED)
        .in_process(2, |height: u64| async move { answer(height) })
        .in_process(2, move |height: u64| async move {
            clock.sleep_until(clock.now().saturating_add(Duration::from_millis(1))).await;
            answer(height)
        })
        .connect(connector)
        .tasks_max(32)
        .workers_max(3)
        .queue_max(8)
        .ahead_max(16)
        .build()?;
    let worker =
        Worker::new(clock, handle).seed(SEED).concurrency(2).links_max(1).pending_handshakes_max(1);
    let stopper = worker.stopper();
    let check = async {
        let checked = check(&pool).await;
        stopper.stop();
        checked
    };
    // Boxed: together they are larger than a stack should hold.
    let (served, (), checked) =
        join3(Box::pin(worker.serve(listener)), Box::pin(driver), Box::pin(check)).await;
    served?;
    checked
}

/// The handler of a worker.
async fn handle(height: u64) -> Result<u64, &'static str> {
    answer(height)
}

/// What every worker answers.
fn answer(height: u64) -> Result<u64, &'static str> {
    if height.is_multiple_of(BAD) { Err("as it was told to") } else { Ok(height * 3) }
}

/// Does the heights, holds each outcome against what it must be, and stops the pool.
async fn check(pool: &Pool) -> Result<(), BoxError> {
    let called: u64 = pool.call(&5_u64).await?;
    let mut seen = [false; HEIGHTS_LENGTH];
    let mut wrong = u64::from(called != 15);
    let report = pool
        .for_each::<u64>(1..=HEIGHTS, |height, outcome| {
            let place = usize::try_from(height - 1).ok().and_then(|index| seen.get_mut(index));
            let first = place.is_some_and(|place| !core::mem::replace(place, true));
            let right = match outcome {
                Ok(number) => Ok(number) == answer(height),
                Err(TaskError::Failed(text)) => Err(text.text()) == answer(height),
                Err(_) => false,
            };
            wrong += u64::from(!first || !right);
        })
        .await;
    let workers = pool.stats().await?.workers;
    let idle = workers.iter().filter(|worker| worker.stats.done == 0).count();
    let stats = pool.stop().await?.tasks;
    hprintln!("{} done, {} failed, {} workers", report.done, report.failed, workers.len());
    hprintln!("{} of {} bytes of the heap in use", HEAP.used(), HEAP_BYTES);
    let expected = (HEIGHTS - HEIGHTS / BAD, HEIGHTS / BAD);
    if wrong > 0 || idle > 0 || workers.len() != 3 || (report.done, report.failed) != expected {
        return Err(alloc::format!("{wrong} wrong, {idle} idle workers, {stats:?}").into());
    }
    Ok(())
}

fn leave(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    leave(debug::EXIT_FAILURE)
}
