//! The worker as two embassy tasks: one keeps the link, one does the blocks.
//!
//! The second is an ordinary asynchronous function. As long as it awaits now and then, the first
//! answers pings, drops what was cancelled, and leaves a manager that is gone.
#![no_std]
#![no_main]

mod time;

use core::future::pending;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m_rt::{entry, exception};
use embassy_executor::raw::Executor;
use embassy_executor::task;
use embassy_futures::select::{Either, Either3, select, select3};
use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant, Timer};
use firmware::block::Block;
use firmware::clock;
use firmware::line::{self, Line, Queues};
use firmware::uart::{INTERRUPT, Uart0};
use firmware::waiting::{Request, Waiting};
use firmware::worker::{Buffers, Job, Worker};
use static_cell::{ConstStaticCell, StaticCell};

type Shared<T> = Channel<CriticalSectionRawMutex, T, 1>;
type Flag = Signal<CriticalSectionRawMutex, ()>;
type Sum = Result<[u8; 32], &'static str>;

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static QUEUES: ConstStaticCell<Queues> = ConstStaticCell::new(Queues::new());
static KEEPER: StaticCell<Keeper> = StaticCell::new();
static EXECUTOR: StaticCell<Executor> = StaticCell::new();

/// Bytes came, or there is room for more to leave.
static LINE_MOVED: Flag = Signal::new();
/// The present request, and whether it is wanted no longer. Each has its end in `ENDED`.
static REQUEST: Shared<Request> = Channel::new();
static STOP: Flag = Signal::new();
static ENDED: Shared<Sum> = Channel::new();

#[entry]
fn main() -> ! {
    let (uart, core) = Uart0::take_with_peripherals().expect("nobody took it before");
    clock::start(core.SYST);
    let line = Line::start(uart, QUEUES.take());
    let keeper = KEEPER.init_with(|| Keeper {
        worker: Worker::new(line, "embassy", Waiting::new(), BUFFERS.take()),
        present: None,
        active: Instant::now(),
    });
    let executor = EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    let spawner = executor.spawner();
    spawner.spawn(keep_link(keeper).expect("it is spawned once"));
    spawner.spawn(do_blocks().expect("it is spawned once"));
    loop {
        poll(executor);
        sleep_until_woken();
    }
}

/// The link, and whose block is being done.
struct Keeper {
    worker: Worker<'static, Line, Waiting>,
    present: Option<Job>,
    /// When something was last heard or answered.
    active: Instant,
}

#[task]
async fn keep_link(keeper: &'static mut Keeper) {
    loop {
        match select3(LINE_MOVED.wait(), keeper.end(), keeper.silence()).await {
            Either3::First(()) => {}
            Either3::Second((job, sum)) => {
                keeper.present = None;
                keeper.answer(job, sum).await;
            }
            Either3::Third(()) => keeper.worker.leave(),
        }
        keeper.turn();
    }
}

impl Keeper {
    /// Takes in what came, and sees that the right request is being done.
    fn turn(&mut self) {
        if self.worker.poll() {
            self.active = Instant::now();
        }
        match self.present {
            Some(job) if !self.worker.wants(job) => STOP.signal(()),
            Some(_) => {}
            None => {
                if let Some(request) = self.worker.next_request() {
                    self.present = Some(request.job);
                    STOP.reset();
                    assert!(REQUEST.try_send(request).is_ok(), "the last one was taken");
                }
            }
        }
    }

    /// The end of the present request. To be dropped and called again as one likes.
    async fn end(&self) -> (Job, Sum) {
        match self.present {
            Some(job) => (job, ENDED.receive().await),
            None => pending().await,
        }
    }

    /// Until the manager must be gone.
    async fn silence(&self) {
        match self.worker.silence_max() {
            Some(span) => {
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                Timer::at(self.active.saturating_add(Duration::from_millis(millis))).await;
            }
            None => pending().await,
        }
    }

    async fn answer(&mut self, job: Job, sum: Sum) {
        while !self.worker.uart().has_room() {
            LINE_MOVED.wait().await;
        }
        self.worker.finish(job, sum.as_ref().map(<[u8; 32]>::as_slice).map_err(|text| *text));
        self.active = Instant::now();
    }
}

#[task]
async fn do_blocks() {
    loop {
        let request = REQUEST.receive().await;
        let sum = match select(hash(&request.body), STOP.wait()).await {
            Either::First(sum) => sum,
            Either::Second(()) => Err("nobody waits for it"),
        };
        ENDED.send(sum).await;
    }
}

/// Computes for the first half of the time, in pieces; and waits for the other, as for a sensor.
async fn hash(request: &[u8]) -> Sum {
    let block = Block::from_request(request)?;
    let half = Duration::from_millis(block.millis.into()) / 2;
    let middle = Instant::now() + half;
    let mut sum = block.sum();
    while Instant::now() < middle {
        yield_now().await;
        sum = block.sum();
    }
    Timer::at(middle + half).await;
    Ok(sum)
}

/// Whether a task was woken since the executor polled last.
static WOKEN: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "embassy leaves the order of calls to us")]
fn poll(executor: &'static Executor) {
    WOKEN.store(false, Ordering::Relaxed);
    // SAFETY: it was initialized before; only `main` calls this, and so never from inside itself.
    unsafe { executor.poll() }
}

/// What a task that wakes calls.
#[expect(unsafe_code, reason = "embassy finds it by its name")]
// SAFETY: embassy asks for a function of this name and type, and there is no other.
#[unsafe(export_name = "__pender")]
fn on_wake(_: *mut ()) {
    WOKEN.store(true, Ordering::Relaxed);
}

fn sleep_until_woken() {
    // An interrupt between the question and the sleep would be slept through. Masked as it is here,
    // it ends the sleep and is served afterwards.
    critical_section::with(|_| {
        if !WOKEN.load(Ordering::Relaxed) {
            cortex_m::asm::wfi();
        }
    });
}

#[exception]
fn SysTick() {
    time::on_tick();
}

/// All interrupts of the chip come here, where there is no crate for the chip that tells them apart.
#[exception]
#[allow(unsafe_code, reason = "cortex-m-rt has it so, and doubles this line")]
unsafe fn DefaultHandler(number: i16) {
    assert!(u16::try_from(number) == Ok(INTERRUPT), "no other is on");
    line::on_interrupt();
    LINE_MOVED.signal(());
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    // The manager takes the restart for what it is.
    cortex_m::peripheral::SCB::sys_reset();
}
