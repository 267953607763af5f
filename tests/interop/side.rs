//! Our side of each case, on either runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chargehand::core::io::{Dialect, Timer};
use chargehand::core::{BackoffPolicy, Stats};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::worker::Typed;
use chargehand::{Builder, Pool, TaskError, Threaded, Worker, ws};

/// How long a case may take. Far more than it needs, for machines with other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) type Setup<R> = Builder<<R as Runtime>::Timer, Threaded>;
pub(crate) type Hand<R> = Worker<<R as Runtime>::Timer, Typed<Work, (i64,)>>;
type Work = Box<dyn Fn(i64) -> Answer + Send>;
type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What a case needs of a runtime.
pub(crate) trait Runtime: Sized + 'static {
    type Timer: Timer<Sleep: Send> + Copy + Send + Sync + 'static;

    fn timer() -> Self::Timer;
    fn run<F: Future>(future: F) -> F::Output;
    fn spawn(future: impl Future<Output = ()> + Send + 'static);
    /// Adds a worker that is dialled.
    fn connect(setup: Setup<Self>, at: &str, dialect: Dialect) -> Setup<Self>;
    /// Serves native managers, and those of the Go package where `json` says so.
    fn serve(
        hand: Hand<Self>,
        door: TcpListener,
        json: bool,
    ) -> impl Future<Output = ()> + Send + 'static;
}

macro_rules! runtime {
    ($name:ident, $clock:ty, $listener:ty, |$future:ident| $run:expr, $spawn:path) => {
        pub(crate) struct $name;

        impl Runtime for $name {
            type Timer = $clock;

            fn timer() -> $clock {
                <$clock>::new()
            }

            fn run<F: Future>($future: F) -> F::Output {
                $run
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) {
                $spawn(future)
            }

            fn connect(setup: Setup<Self>, at: &str, dialect: Dialect) -> Setup<Self> {
                let url = format!("ws://{at}/");
                let connector = ws::WsConnector::new(<$clock>::new(), &url).expect("a URL");
                setup.connect(connector.dialect(dialect))
            }

            fn serve(
                hand: Hand<Self>,
                door: TcpListener,
                json: bool,
            ) -> impl Future<Output = ()> + Send + 'static {
                async move {
                    let listener = <$listener>::from_std(door).expect("a socket that listens");
                    let listener = ws::WsListener::new(listener).json(json);
                    hand.serve(listener).await.expect("the settings are in range");
                }
            }
        }
    };
}

runtime!(OnTokio, Tokio, TokioListener, |future| run_tokio(future), spawn_tokio);
runtime!(OnSmol, Smol, SmolListener, |future| smol::block_on(future), spawn_smol);

fn run_tokio<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    output
}

fn spawn_tokio(future: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(future));
}

fn spawn_smol(future: impl Future<Output = ()> + Send + 'static) {
    smol::spawn(future).detach();
}

/// Runs a case, and fails it where it does not end, whatever it hangs on.
pub(crate) fn bounded(case: impl FnOnce() + Send + 'static) {
    let (sender, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _sender = sender; // Dropped at the end, by a panic too.
        case();
    });
    match ended.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not over after {PATIENCE:?}"),
        _ => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A pool that reconnects on a test's time scale.
pub(crate) fn setup<R: Runtime>() -> Setup<R> {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(200));
    Pool::builder(R::timer())
        .configure(|config| config.backoff = BackoffPolicy::new().base(base).cap(cap))
}

/// Ends a pool. Every task must have had exactly one outcome then.
pub(crate) async fn stop(pool: &Pool) -> Stats {
    let stats = pool.stop().await.expect("the driver lives").tasks;
    assert_eq!((stats.waiting, stats.resting), (0, 0), "{stats:?}");
    assert_eq!((stats.in_flight, stats.finished), (0, 0), "{stats:?}");
    let ended = stats.done + stats.failed + stats.exhausted + stats.cancelled + stats.aborted;
    assert_eq!(stats.submitted, ended, "{stats:?}");
    stats
}

/// How often each height was done somewhere.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<BTreeMap<i64, u64>>>);

impl Counts {
    pub(crate) fn add(&self, height: i64) {
        *self.0.lock().expect("no panic with it").entry(height).or_default() += 1;
    }

    /// Adds what a Go worker says it did.
    pub(crate) fn add_lines(&self, lines: &[String]) {
        for line in lines.iter().filter_map(|line| line.strip_prefix("did ")) {
            self.add(line.parse().expect("a height"));
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.lock().expect("no panic with it").values().sum()
    }

    /// Returns these together with others.
    pub(crate) fn join(&self, others: &Self) -> Self {
        let sum = Self::default();
        for counts in [self, others] {
            let counts = counts.0.lock().expect("no panic with it");
            let repeated =
                counts.iter().flat_map(|(&height, &count)| (0..count).map(move |_| height));
            repeated.for_each(|height| sum.add(height));
        }
        sum
    }

    /// Checks that each of these heights was done, and nothing else.
    pub(crate) fn assert_cover(&self, heights: &[i64]) {
        let mut heights = heights.to_vec();
        heights.sort_unstable();
        let counts = self.0.lock().expect("no panic with it");
        assert!(counts.keys().eq(&heights), "not the heights that were asked for");
    }
}

/// Makes a worker that counts what it does.
pub(crate) fn hand<R: Runtime>(name: &str, counts: &Counts) -> Hand<R> {
    let counts = counts.clone();
    let work: Work = Box::new(move |height| {
        counts.add(height);
        Box::pin(async move { judge(height) })
    });
    Worker::new(R::timer(), work).name(name).concurrency(4)
}

/// What becomes of a height, at a worker of either language.
pub(crate) fn judge(height: i64) -> Result<(), String> {
    if height % 7 != 3 {
        return Ok(());
    }
    Err(format!("height {height}: \"no\" 'block' <b>&amp;</b> é 世界 🦀 \\ /\t\n\u{2028} end"))
}

/// The same as a pool's outcome.
pub(crate) fn outcome(height: i64) -> Result<(), TaskError> {
    judge(height).map_err(|text| TaskError::Failed(text.into()))
}
