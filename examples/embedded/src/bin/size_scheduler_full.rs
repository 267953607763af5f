//! What a scheduler of 16 tasks, 4 workers and 4 queues costs with all there is: queues, keys, served queues and rates,
//! choice by answers, windows that size themselves, ejection, times of tasks, grace, progress and second attempts.
//!
//! All of that needs a heap.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use chargehand_core::{Inline, QueueOptions, Scheduler};
use cortex_m_rt::entry;
use embedded_alloc::LlffHeap;
use firmware::probe::{config, schedule_all};
use static_cell::{ConstStaticCell, StaticCell};

const HEAP_BYTES: usize = 8192;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();
static SLOTS: ConstStaticCell<Inline<16, 4>> = ConstStaticCell::new(Inline::new());
// Not on the stack, so that it is counted.
static SCHEDULER: StaticCell<Scheduler<&'static mut Inline<16, 4>>> = StaticCell::new();

#[entry]
fn main() -> ! {
    // SAFETY: this is called once, before anything is allocated.
    #[expect(unsafe_code, reason = "a heap is given its memory so")]
    unsafe {
        embedded_alloc::init!(HEAP, HEAP_BYTES);
    }
    let queues = black_box([QueueOptions::new(); 4]);
    if let Ok(scheduler) = Scheduler::with_queues(SLOTS.take(), config(), &queues) {
        schedule_all(SCHEDULER.init(scheduler));
    }
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::nop();
    }
}
