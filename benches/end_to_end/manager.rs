//! The process that is measured: a manager under load, or the load on a bare echo.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chargehand::smol::Smol;
use chargehand::tcp::TcpConnector;
use chargehand::tokio::Tokio;
use chargehand::ws::WsConnector;
use chargehand::{Builder, Pool, Threaded};

use crate::bare;
use crate::cli::{Load, Measured, Runtimes, Side, Transport};
use crate::cpu::{self, CpuClock};
use crate::runtime::Runtime;

const WARM_UP: Duration = Duration::from_millis(200);
/// Where heights start, so that all of them are equally long on the wire.
const FIRST_HEIGHT: u64 = 1 << 40;

/// How many messages came back.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds. All tasks are on one thread, hence no read-modify-write.
    pub(crate) fn add(&self, count: usize) {
        self.0.store(self.get() + count as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Puts the load on, measures, and prints tasks a second and nanoseconds of CPU a task, this
/// process's and the worker's.
pub(crate) fn run(measured: &Measured) {
    if measured.side.one_cpu {
        cpu::pin();
    }
    match measured.side.runtime {
        Runtimes::Tokio => Tokio::block_on(measure::<Tokio>(measured)),
        Runtimes::Smol => Smol::block_on(measure::<Smol>(measured)),
    }
}

async fn measure<R: Runtime>(measured: &Measured) {
    let runtime = R::start();
    let counter = Arc::default();
    put_load(runtime, measured, &counter).await;
    sleep(runtime, WARM_UP).await;

    let clocks = [CpuClock::of_this_process(), CpuClock::of(measured.worker)];
    let (begun, from, cpu) = (Instant::now(), counter.get(), clocks.each_ref().map(CpuClock::read));
    sleep(runtime, Duration::from_secs_f64(measured.seconds)).await;
    let (elapsed, count) = (begun.elapsed(), counter.get() - from);
    assert!(count > 0, "no task came back");

    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
    let count = count as f64;
    let each =
        |index: usize| clocks[index].read().saturating_sub(cpu[index]).as_secs_f64() * 1e9 / count;
    println!("{:.0} {:.0} {:.0}", count / elapsed.as_secs_f64(), each(0), each(1));
    std::process::exit(0);
}

async fn put_load<R: Runtime>(runtime: R, measured: &Measured, counter: &Arc<Counter>) {
    let Measured { side: Side { transport, load, .. }, address, links, window, .. } = measured;
    let (links, window) = (usize::from(*links), *window);
    if *load == Load::Bare {
        let shape = (links, usize::from(window));
        return bare::load(runtime, *transport, *address, shape, counter).await;
    }
    let mut builder = Pool::builder(runtime).in_flight(window);
    for _ in 0..links {
        builder = connect(builder, runtime, *transport, *address);
    }
    let (pool, driver) = builder.build().expect("limits in range");
    R::spawn(driver);
    match load {
        Load::Calls(callers) => {
            for caller in 0..u64::from(*callers) {
                R::spawn(call(pool.clone(), FIRST_HEIGHT + caller, Arc::clone(counter)));
            }
        }
        Load::Range | Load::Bare => R::spawn(process(pool, Arc::clone(counter))),
    }
}

fn connect<R: Runtime>(
    builder: Builder<R, Threaded>,
    runtime: R,
    transport: Transport,
    address: SocketAddr,
) -> Builder<R, Threaded> {
    match transport {
        Transport::Tcp => {
            let address = address.to_string();
            builder.connect(TcpConnector::new(runtime, &address).expect("an address"))
        }
        Transport::Ws => {
            let url = format!("ws://{address}");
            builder.connect(WsConnector::new(runtime, &url).expect("a URL"))
        }
    }
}

async fn process(pool: Pool, counter: Arc<Counter>) {
    let mut outcomes = pool.process::<u64>(FIRST_HEIGHT..=u64::MAX / 2);
    while let Some((height, outcome)) = outcomes.next().await {
        assert_eq!(outcome.expect("nothing fails"), height);
        counter.add(1);
    }
}

async fn call(pool: Pool, height: u64, counter: Arc<Counter>) {
    loop {
        let answer: u64 = pool.call(&height).await.expect("nothing fails");
        assert_eq!(answer, height);
        counter.add(1);
    }
}

fn sleep<R: Runtime>(runtime: R, span: Duration) -> impl Future<Output = ()> {
    runtime.sleep_until(runtime.now().saturating_add(span))
}
