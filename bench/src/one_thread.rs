//! A pool and its workers in one thread, over TCP's wire on pipes in memory: what they do for a task can be
//! counted, because there is no system and no chance in it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, Pending, Ready, pending, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use chargehand::core::Instant;
use chargehand::core::io::{Connect, Exposure, Listen, Timer};
use chargehand::tcp::{Limits, TcpError, TcpWire};
use chargehand::tokio::TokioStream;
use chargehand::{Pool, Worker};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::LocalExecutor;
use tokio::io::{DuplexStream, duplex};

/// How much a pipe holds: more than is ever on its way.
const PIPE_BYTES: usize = 1 << 20;

/// A range over four workers, each with 64 heights at once. A cycle is a height.
pub(crate) fn range() -> impl FnMut(u32) {
    range_in(Bench::new(4, 64, |height: u64| height))
}

/// The same in a pool that measures.
pub(crate) fn measured_range() -> impl FnMut(u32) {
    let bench = Bench::new(4, 64, |height: u64| height);
    let pool = bench.pool.clone();
    bench.run(async move { drop(pool.measure().await.expect("the driver runs")) });
    range_in(bench)
}

fn range_in(bench: Bench) -> impl FnMut(u32) {
    move |cycles| {
        let mut outcomes = bench.pool.process::<u64>(1..=u64::from(cycles));
        bench.run(async move {
            let mut count = 0;
            while let Some((height, outcome)) = outcomes.next().await {
                assert_eq!(outcome.expect("nothing fails"), height);
                count += 1;
            }
            assert_eq!(count, cycles);
        });
    }
}

/// One call after the other, of a number by one worker.
pub(crate) fn call() -> impl FnMut(u32) {
    calls(|number| number)
}

/// The same of a list of a hundred numbers.
pub(crate) fn call_list() -> impl FnMut(u32) {
    calls(|number| vec![u64::from(number); 100])
}

fn calls<Q>(request: impl Fn(u32) -> Q + Copy + 'static) -> impl FnMut(u32)
where
    Q: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static,
{
    let bench = Bench::new(1, 1, |request: Q| request);
    move |cycles| {
        let pool = bench.pool.clone();
        bench.run(async move {
            for number in 0..cycles {
                let asked = request(number);
                let answer: Q = pool.call(&asked).await.expect("nothing fails");
                assert_eq!(answer, asked);
            }
        });
    }
}

struct Bench {
    pool: Pool,
    executor: Rc<LocalExecutor<'static>>,
}

impl Bench {
    fn new<Q, A>(workers: u32, window: u16, work: fn(Q) -> A) -> Self
    where
        Q: DeserializeOwned + 'static,
        A: Serialize + 'static,
    {
        let executor = Rc::new(LocalExecutor::new());
        let mut builder = Pool::builder(Stopped).in_flight(window);
        for _ in 0..workers {
            let (connector, listener) = pipe();
            let worker =
                Worker::new(Stopped, move |request| ready(Ok::<_, Infallible>(work(request))));
            executor.spawn(worker.concurrency(window).serve(listener)).detach();
            builder = builder.connect(connector);
        }
        let (pool, driver) = builder.build().expect("limits in range");
        executor.spawn(driver).detach();
        let bench = Self { pool, executor };
        let pool = bench.pool.clone();
        bench.run(async move {
            while pool.stats().await.expect("the driver runs").tasks.workers_up < workers {}
        });
        bench
    }

    /// Runs everything until this is done.
    fn run(&self, future: impl Future<Output = ()> + 'static) {
        let task = self.executor.spawn(future);
        while !task.is_finished() {
            assert!(self.executor.try_tick(), "nobody is to be polled, and it is not done");
        }
    }
}

/// A clock at which no time passes.
#[derive(Clone, Copy, Debug)]
struct Stopped;

impl Timer for Stopped {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::EPOCH
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

type PipeWire = TcpWire<TokioStream<DuplexStream>>;

/// Makes the two ends of a pipe, each of which is there once.
fn pipe() -> (PipeConnector, PipeListener) {
    let (near, far) = duplex(PIPE_BYTES);
    (PipeConnector(Some(near)), PipeListener(Some(far)))
}

fn wire(end: DuplexStream) -> PipeWire {
    TcpWire::new(TokioStream::new(end), "a pipe", Limits::new())
}

struct PipeConnector(Option<DuplexStream>);

impl Connect for PipeConnector {
    type Wire = PipeWire;
    type Error = TcpError;
    type Connecting = Ready<Result<PipeWire, TcpError>>;

    fn connect(&mut self) -> Self::Connecting {
        ready(Ok(wire(self.0.take().expect("a link is not lost"))))
    }

    #[expect(clippy::unnecessary_literal_bound, reason = "the trait says so")]
    fn peer(&self) -> &str {
        "a pipe"
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

struct PipeListener(Option<DuplexStream>);

impl Listen for PipeListener {
    type Wire = PipeWire;
    type Error = TcpError;
    type Accepting = Ready<Result<PipeWire, TcpError>>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Result<Self::Accepting, TcpError>> {
        self.0.take().map_or(Poll::Pending, |end| Poll::Ready(Ok(ready(Ok(wire(end))))))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}
