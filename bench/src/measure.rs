//! Clocks, counters and what a measuring process says.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// What one measurement found, by name: `rate` in tasks a second, `manager` and `worker` (and
/// `broker`) in nanoseconds of CPU a task, `p50`, `p99` and `p99.9` in nanoseconds.
pub type Figures = BTreeMap<String, f64>;

/// How long a load runs before it is measured.
pub const WARM_UP: Duration = Duration::from_millis(200);

/// How long a load may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// Latencies above this are counted as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Open files beside links.
const OTHER_FILES: u64 = 200;

/// Where a process may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On any CPU.
    #[default]
    Free,
    /// On the first CPU.
    First,
    /// On the last CPU.
    Last,
}

impl Place {
    /// Keeps this process there. Call it before there is another thread.
    pub fn take(self) {
        let allowed = sched_getaffinity(None).expect("the CPUs that we may run on");
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let cpu = match self {
            Self::Free => return,
            Self::First => cpus.next(),
            Self::Last => cpus.next_back(),
        };
        let mut only = CpuSet::new();
        only.set(cpu.expect("one at least"));
        sched_setaffinity(None, &only).expect("a CPU that we may run on");
    }
}

/// Counts what is done, and, if it is asked to, how long each took.
#[derive(Debug)]
pub struct Meter {
    count: AtomicU64,
    latencies: Option<Mutex<Histogram<u64>>>,
    is_open: AtomicBool,
}

impl Meter {
    /// Makes a meter; `timed` says whether it keeps latencies.
    pub fn new(timed: bool) -> Self {
        let latencies = timed.then(|| {
            let highest = u64::try_from(LATENCY_MAX.as_nanos()).expect("a minute fits");
            let histogram = Histogram::new_with_bounds(1, highest, 3);
            Mutex::new(histogram.expect("bounds in range"))
        });
        Self { count: AtomicU64::new(0), latencies, is_open: AtomicBool::new(true) }
    }

    /// Counts. All callers are on one thread, hence no read-modify-write.
    pub fn add(&self, count: usize) {
        self.count.store(self.count() + count as u64, Ordering::Relaxed);
    }

    /// Returns the count so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the time if this meter keeps latencies.
    pub fn start(&self) -> Option<Instant> {
        self.latencies.is_some().then(Instant::now)
    }

    /// Takes note of what began at `start`, if this meter keeps latencies.
    pub fn stop(&self, start: Option<Instant>) {
        if let Some(start) = start {
            self.record(start.elapsed());
        }
    }

    /// Takes note of a latency.
    pub fn record(&self, latency: Duration) {
        if self.is_open.load(Ordering::Relaxed)
            && let Some(mut histogram) = self.histogram()
        {
            histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Returns quantiles in nanoseconds, empty where no latencies are kept.
    pub fn quantiles(&self) -> Figures {
        let Some(histogram) = self.histogram() else { return Figures::new() };
        let at = |(name, quantile): (&str, f64)| {
            (name.to_owned(), as_f64(histogram.value_at_quantile(quantile)))
        };
        [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)].map(at).into()
    }

    fn clear(&self) {
        if let Some(mut histogram) = self.histogram() {
            histogram.reset();
        }
    }

    fn histogram(&self) -> Option<MutexGuard<'_, Histogram<u64>>> {
        let latencies = self.latencies.as_ref()?;
        Some(latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A measurement that is under way.
#[derive(Debug)]
pub struct Stopwatch {
    begun: Instant,
    from: u64,
    clocks: Vec<(String, CpuClock, Duration)>,
}

impl Stopwatch {
    /// Begins. `others` are processes whose CPU time counts beside the `manager`'s, which is this
    /// one, by name.
    pub fn begin(meter: &Meter, others: &[(String, u32)]) -> Self {
        let own = ("manager".to_owned(), CpuClock::of(std::process::id()));
        let others = others.iter().map(|(name, process)| (name.clone(), CpuClock::of(*process)));
        let clocks = std::iter::once(own).chain(others).map(|(name, clock)| {
            let used = clock.read();
            (name, clock, used)
        });
        let clocks = clocks.collect();
        meter.clear();
        Self { begun: Instant::now(), from: meter.count(), clocks }
    }

    /// Ends, and returns what came out.
    ///
    /// # Panics
    /// If nothing was done meanwhile.
    pub fn end(self, meter: &Meter) -> Figures {
        let (elapsed, count) = (self.begun.elapsed(), meter.count() - self.from);
        meter.is_open.store(false, Ordering::Relaxed);
        assert!(count > 0, "no task came back");
        let mut figures = meter.quantiles();
        figures.insert("rate".to_owned(), as_f64(count) / elapsed.as_secs_f64());
        for (name, clock, used) in self.clocks {
            let used = clock.read().saturating_sub(used);
            figures.insert(name, used.as_secs_f64() * 1e9 / as_f64(count));
        }
        figures
    }
}

/// Measures a load that runs on other threads, says what came out and ends the process.
pub fn measure_and_exit(meter: &Meter, others: &[(String, u32)], seconds: f64) -> ! {
    let begun = Instant::now();
    while meter.count() == 0 {
        assert!(begun.elapsed() < START_MAX, "nothing comes back");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(WARM_UP);
    let stopwatch = Stopwatch::begin(meter, others);
    thread::sleep(Duration::from_secs_f64(seconds));
    say(&stopwatch.end(meter));
    std::process::exit(0);
}

/// Says something to the process that started this one, in one line.
pub fn say<T: Serialize>(what: &T) {
    println!("{}", serde_json::to_string(what).expect("plain data"));
}

/// Returns the number, which is far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Ends this process when its standard input ends, so that it never outlives who started it.
pub fn end_with_standard_input() {
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

/// Lets this process open so many links.
///
/// # Panics
/// If the machine does not allow it. Says what it allows.
pub fn allow_links(count: u32) {
    let files = u64::from(count) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return;
    }
    let maximum = limit.maximum.map_or(files, |maximum| maximum.max(files));
    let wanted = Rlimit { current: Some(files), maximum: Some(maximum) };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let allowed = limit.maximum.unwrap_or(u64::MAX);
        panic!(
            "{count} links need {files} open files, and this machine allows {allowed}: see `ulimit -Hn`"
        );
    }
}

/// Returns how many bytes of memory this process has resident.
pub fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * rustix::param::page_size() as u64
}

/// How much CPU a process has used.
#[derive(Debug)]
struct CpuClock {
    threads: PathBuf,
}

impl CpuClock {
    fn of(process: u32) -> Self {
        Self { threads: format!("/proc/{process}/task").into() }
    }

    /// Returns the time that all its threads were on a CPU.
    fn read(&self) -> Duration {
        let threads = fs::read_dir(&self.threads).expect("a process that runs");
        let nanos = threads.flatten().map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next();
            first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }
}

/// Another system that does the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// NATS: request and reply, a queue group of workers.
    Nats,
    /// gearmand: foreground jobs.
    Gearman,
    /// beanstalkd: a tube of jobs and a tube of results.
    Beanstalk,
    /// Redis: a list of jobs and a list of results, batches of both.
    Redis,
    /// tarpc over TCP: no broker.
    Tarpc,
    /// `ZeroMQ` ROUTER and DEALER: no broker, and no scheduling but windows.
    Zmq,
}

/// What a peer's manager and worker must agree on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Which one.
    pub peer: Peer,
    /// Where the broker listens, or whoever does where there is none.
    pub address: String,
    /// Connections of the worker process, each a worker to a broker.
    pub links: usize,
    /// Jobs in flight on each.
    pub window: usize,
    /// The length of a job's and of its result's body.
    pub bytes: usize,
    /// Whether latencies are kept.
    pub timed: bool,
    /// Where this process may run.
    pub place: Place,
    /// Processes whose CPU time counts, by name. Only the manager needs to know.
    pub processes: Vec<(String, u32)>,
    /// How long to measure.
    pub seconds: f64,
}
