//! The worker with interrupts: one fills a queue with what comes, one empties a queue of what goes.
//! The main loop takes turns between the link and one piece of the present block, so pings are
//! answered however long a block takes; and it sleeps when there is neither.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m_rt::{entry, exception};
use firmware::block::Block;
use firmware::clock;
use firmware::line::{self, Line, Queues};
use firmware::uart::{INTERRUPT, Uart0};
use firmware::waiting::{Request, Waiting};
use firmware::worker::{Buffers, Worker};
use static_cell::{ConstStaticCell, StaticCell};

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static QUEUES: ConstStaticCell<Queues> = ConstStaticCell::new(Queues::new());
static WORKER: StaticCell<Worker<'static, Line, Waiting>> = StaticCell::new();

/// A block that is being hashed.
struct Work {
    request: Request,
    end_millis: u64,
}

#[entry]
fn main() -> ! {
    let (uart, core) = Uart0::take_with_peripherals().expect("nobody took it before");
    clock::start(core.SYST);
    let line = Line::start(uart, QUEUES.take());
    let worker =
        WORKER.init_with(|| Worker::new(line, "interrupts", Waiting::new(), BUFFERS.take()));
    let mut present = None;
    loop {
        worker.poll();
        present = match present.take() {
            Some(work) => go_on(work, worker),
            None => worker.next_request().map(Work::start),
        };
        if present.is_none() {
            sleep_until_bytes_come(worker.uart());
        }
    }
}

impl Work {
    fn start(request: Request) -> Self {
        let millis = Block::from_request(&request.body).map_or(0, |block| block.millis);
        Self { request, end_millis: clock::millis() + u64::from(millis) }
    }
}

/// Does one piece of the work, short enough for pings to wait for. Returns what is left to do.
fn go_on(work: Work, worker: &mut Worker<'_, Line, Waiting>) -> Option<Work> {
    let job = work.request.job;
    if !worker.wants(job) {
        return None; // It was cancelled, or its link is over.
    }
    let sum = Block::from_request(&work.request.body).map(|block| block.sum());
    if sum.is_ok() && clock::millis() < work.end_millis {
        return Some(work);
    }
    worker.finish(job, sum.as_ref().map(<[u8; 32]>::as_slice).map_err(|text| *text));
    None
}

fn sleep_until_bytes_come(line: &Line) {
    // An interrupt between the question and the sleep would be slept through. Masked as it is here,
    // it ends the sleep and is served afterwards.
    critical_section::with(|_| {
        if line.is_quiet() {
            cortex_m::asm::wfi();
        }
    });
}

#[exception]
fn SysTick() {
    clock::tick();
}

/// All interrupts of the chip come here, where there is no crate for the chip that tells them apart.
#[exception]
#[allow(unsafe_code, reason = "cortex-m-rt has it so, and doubles this line")]
unsafe fn DefaultHandler(number: i16) {
    assert!(u16::try_from(number) == Ok(INTERRUPT), "no other is on");
    line::on_interrupt();
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    // The manager takes the restart for what it is.
    cortex_m::peripheral::SCB::sys_reset();
}
