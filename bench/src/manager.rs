//! The process that is measured: a manager under load, or the load on a bare echo.

use std::sync::Arc;
use std::time::Duration;

use chargehand::core::io::Dialect;
use chargehand::smol::Smol;
use chargehand::tcp::TcpConnector;
use chargehand::tokio::Tokio;
use chargehand::ws::WsConnector;
use chargehand::{Builder, Pool, Threaded};
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::bare;
use crate::measure::{Meter, Stopwatch, WARM_UP, allow_links, say};
use crate::members;
use crate::runtime::Runtime;
use crate::spec::{Load, Runtimes, Spec, Transport, Watch};

/// Where heights start, so that all of them are equally long on the wire.
pub(crate) const FIRST_HEIGHT: u64 = 1 << 40;
/// How many there are: more than any measurement gets through.
const HEIGHTS: u64 = 1_000_000_000;
/// The answer to a height is a height, where no more is asked for than this.
pub(crate) const HEIGHT_ANSWER_BYTES: usize = 16;

/// Puts the load on, measures and says what came out.
pub(crate) fn run(spec: Spec, address: &str, worker: u32, seconds: f64) {
    spec.placement.manager().take();
    allow_links(spec.links);
    match spec.runtime {
        Runtimes::Tokio => Tokio::block_on(measure::<Tokio>(spec, address, worker, seconds)),
        Runtimes::Smol => Smol::block_on(measure::<Smol>(spec, address, worker, seconds)),
    }
}

async fn measure<R: Runtime>(spec: Spec, address: &str, worker: u32, seconds: f64) {
    let runtime = R::start();
    let meter = Arc::new(Meter::new(spec.timed));
    put_load(runtime, spec, address, &meter).await;
    sleep(runtime, WARM_UP).await;

    let stopwatch = Stopwatch::begin(&meter, &[("worker".to_owned(), worker)]);
    sleep(runtime, Duration::from_secs_f64(seconds)).await;
    say(&stopwatch.end(&meter));
    std::process::exit(0);
}

async fn put_load<R: Runtime>(runtime: R, spec: Spec, address: &str, meter: &Arc<Meter>) {
    if spec.load == Load::Bare {
        return bare::load(runtime, spec, address, meter).await;
    }
    let pool = start(runtime, spec, address).await;
    match spec.load {
        Load::Calls(callers) => {
            for _ in 0..callers {
                let pool = handle(pool.clone(), spec.watch);
                R::spawn(call(pool, spec.request_bytes, Arc::clone(meter)));
            }
        }
        Load::Paced(rate) => {
            R::spawn(paced(runtime, handle(pool, spec.watch), rate, Arc::clone(meter)));
        }
        Load::Range | Load::Bare if spec.transport == Transport::Json => {
            R::spawn(process::<()>(pool, Arc::clone(meter), |(), _| true));
        }
        Load::Range | Load::Bare if spec.answer_bytes == HEIGHT_ANSWER_BYTES => {
            R::spawn(process(pool, Arc::clone(meter), |answer: u64, height| answer == height));
        }
        Load::Range | Load::Bare => {
            let bytes = spec.answer_bytes;
            R::spawn(process(pool, Arc::clone(meter), move |answer: ByteBuf, _| {
                answer.len() == bytes
            }));
        }
    }
}

/// Starts a pool and returns it when all its links are up.
pub(crate) async fn start<R: Runtime>(runtime: R, spec: Spec, address: &str) -> Pool {
    let in_flight = spec.in_flight();
    let mut builder = Pool::builder(runtime)
        .workers_max(spec.links.max(1024))
        .tasks_max((2 * in_flight).max(16_384))
        .ahead_max((in_flight as usize).max(1024));
    if spec.transport != Transport::Json {
        builder = builder.in_flight(spec.window);
    }
    for _ in 0..spec.links {
        builder = connect(builder, runtime, spec.transport, address);
    }
    let (pool, driver) = watched(builder, spec.watch).build().expect("limits in range");
    R::spawn(driver);
    until_up(runtime, &pool, spec.links).await;
    if spec.watch == Watch::Figures {
        let asked = pool.clone();
        R::spawn(async move {
            while asked.measure().await.is_ok() {
                sleep(runtime, Duration::from_secs(1)).await;
            }
        });
    }
    pool
}

/// Has a pool watched, as far as its builder has to know.
#[cfg(feature = "watched")]
fn watched<R: Runtime>(builder: Builder<R, Threaded>, watch: Watch) -> Builder<R, Threaded> {
    match watch {
        Watch::Nobody | Watch::Figures => builder,
        Watch::Record => {
            let name = format!("chargehand-bench-{}.flight", std::process::id());
            let path = std::env::temp_dir().join(name);
            let recorder = chargehand::record::FlightRecorder::create(&path).expect("a new file");
            // It stays open, and is gone with this process.
            std::fs::remove_file(path).expect("it was just made");
            builder.flight_recorder(recorder)
        }
        Watch::Traces => {
            use tracing_subscriber::util::SubscriberInitExt;
            tracing_subscriber::registry().init();
            builder
        }
    }
}

#[cfg(not(feature = "watched"))]
fn watched<R: Runtime>(builder: Builder<R, Threaded>, watch: Watch) -> Builder<R, Threaded> {
    assert!(matches!(watch, Watch::Nobody | Watch::Figures), "build with `--features watched`");
    builder
}

/// Returns the handle that calls are made by.
fn handle(pool: Pool, watch: Watch) -> Pool {
    #[cfg(feature = "watched")]
    if watch == Watch::Traces {
        return pool.traced();
    }
    let _ = watch;
    pool
}

/// Waits until so many workers of a pool are up.
pub(crate) async fn until_up<R: Runtime>(runtime: R, pool: &Pool, count: u32) {
    while pool.stats().await.expect("the pool runs").tasks.workers_up < count {
        sleep(runtime, Duration::from_millis(10)).await;
    }
}

fn connect<R: Runtime>(
    builder: Builder<R, Threaded>,
    runtime: R,
    transport: Transport,
    address: &str,
) -> Builder<R, Threaded> {
    match transport {
        Transport::Tcp => builder.connect(TcpConnector::new(runtime, address).expect("an address")),
        Transport::Tls => {
            let dial = members::pool().dial(runtime);
            builder.connect(TcpConnector::new(dial, address).expect("an address"))
        }
        Transport::Ws => builder.connect(ws(runtime, address)),
        Transport::Json => builder.connect(ws(runtime, address).dialect(Dialect::Json)),
    }
}

pub(crate) fn ws<R: Runtime>(runtime: R, address: &str) -> WsConnector<R> {
    WsConnector::new(runtime, &format!("ws://{address}")).expect("a URL")
}

pub(crate) async fn process<A: DeserializeOwned + Send + 'static>(
    pool: Pool,
    meter: Arc<Meter>,
    is_right: impl Fn(A, u64) -> bool,
) {
    let mut outcomes = pool.process::<A>(FIRST_HEIGHT..=FIRST_HEIGHT + HEIGHTS);
    let mut start = meter.start();
    while let Some((height, outcome)) = outcomes.next().await {
        assert!(is_right(outcome.expect("nothing fails"), height), "a wrong answer");
        meter.add(1);
        // With one task in flight this is how long it took.
        meter.stop(start);
        start = meter.start();
    }
}

async fn call(pool: Pool, bytes: usize, meter: Arc<Meter>) {
    // What came back is sent again: the caller copies nothing.
    let mut body = vec![b'!'; bytes];
    loop {
        let start = meter.start();
        body = pool.call_raw(body).await.expect("nothing fails");
        assert_eq!(body.len(), bytes, "a wrong answer");
        meter.add(1);
        meter.stop(start);
    }
}

/// Submits tasks as time passes, however many of those before are done.
async fn paced<R: Runtime>(runtime: R, pool: Pool, rate: u32, meter: Arc<Meter>) {
    let (begun, mut sent) = (std::time::Instant::now(), 0_u64);
    loop {
        let due = begun.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while u128::from(sent) < due {
            let (height, meter) = (FIRST_HEIGHT + sent, Arc::clone(&meter));
            let done = move |answer: Result<u64, _>| {
                assert_eq!(answer, Ok(height), "a wrong answer");
                meter.add(1);
            };
            pool.submit_then(&height, done).await.expect("it runs");
            sent += 1;
        }
        sleep(runtime, Duration::from_millis(1)).await;
    }
}

pub(crate) fn sleep<R: Runtime>(runtime: R, span: Duration) -> impl Future<Output = ()> {
    runtime.sleep_until(runtime.now().saturating_add(span))
}
