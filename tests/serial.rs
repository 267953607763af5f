//! A pool and a worker at the two ends of a serial line that loses, adds and changes bytes, on a
//! clock that jumps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use chargehand::core::{BackoffPolicy, Stats};
use chargehand::keyed::{KeyedConnector, KeyedListener, Keys, SharedKey};
use chargehand::serial::{Limits, SerialLine};
use chargehand::tokio::Tokio;
use chargehand::{Builder, Local, Pool, Worker};
use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// A stream whose reads are spoiled, by a generator with a seed.
struct Noisy {
    inner: Compat<DuplexStream>,
    state: u64,
    /// One byte in so many is damaged.
    one_in: u64,
    damaged: Rc<Cell<u64>>,
}

impl Noisy {
    /// `SplitMix64`, of which a test needs no more than that it is spread.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl AsyncRead for Noisy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            // Half of the room, for what the noise adds.
            let room = buffer.len().div_ceil(2);
            let read = Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..room]);
            let Poll::Ready(Ok(count)) = read else { return read };
            if count == 0 {
                return read;
            }
            let mut spoiled = Vec::with_capacity(2 * count);
            for &byte in &buffer[..count] {
                if !self.random().is_multiple_of(self.one_in) {
                    spoiled.push(byte);
                    continue;
                }
                self.damaged.set(self.damaged.get() + 1);
                let noise = self.random().to_le_bytes();
                match noise[7] % 4 {
                    0 => {}
                    1 => spoiled.extend([noise[0], byte]),
                    2 => spoiled.push(noise[0]),
                    _ => spoiled.push(byte ^ (1 << (noise[0] % 8))),
                }
            }
            spoiled.truncate(buffer.len());
            if !spoiled.is_empty() {
                buffer[..spoiled.len()].copy_from_slice(&spoiled);
                return Poll::Ready(Ok(spoiled.len()));
            }
        }
    }
}

impl AsyncWrite for Noisy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Two ends of a line, and how many bytes were damaged on it.
fn line(seed: u64, one_in: u64) -> (SerialLine<Noisy>, SerialLine<Noisy>, Rc<Cell<u64>>) {
    let (ours, theirs) = tokio::io::duplex(256);
    let damaged = Rc::new(Cell::new(0));
    let end = |inner: DuplexStream, state, name| {
        let noisy = Noisy { inner: inner.compat(), state, one_in, damaged: Rc::clone(&damaged) };
        SerialLine::new(noisy, name, Limits::new())
    };
    (end(ours, seed, "ours"), end(theirs, !seed, "theirs"), Rc::clone(&damaged))
}

/// Deadlines for a line that answers within milliseconds.
fn setup(timer: Tokio) -> Builder<Tokio, Local> {
    Pool::local_builder(timer).configure(|config| {
        config.seed = 7;
        config.attempts_max = 100;
        config.attempt_timeout = Duration::from_millis(200);
        config.connect_timeout = Duration::from_millis(500);
        config.heartbeat_interval = Duration::from_millis(500);
        config.heartbeat_timeout = Duration::from_millis(200);
        config.backoff =
            BackoffPolicy::new().base(Duration::from_millis(10)).cap(Duration::from_millis(100));
    })
}

async fn work(height: u64) -> Result<Vec<u8>, String> {
    tokio::time::sleep(Duration::from_millis(height % 5)).await;
    // Long and short ones, with many zeros.
    Ok(height.to_le_bytes().repeat(1 + usize::try_from(height % 40).unwrap()))
}

/// What became of 1000 heights over a line.
struct Run {
    stats: Stats,
    handled: u64,
    damaged: u64,
}

async fn run(seed: u64, one_in: u64, keyed: bool) -> Run {
    let timer = Tokio::new();
    let (ours, theirs, damaged) = line(seed, one_in);
    let handled = Rc::new(Cell::new(0));
    let count = Rc::clone(&handled);
    let handler = move |height| {
        count.set(count.get() + 1);
        work(height)
    };
    let worker = Worker::new(timer, handler).concurrency(4);
    let key = SharedKey::new([7; 32]);
    let worker = if keyed {
        let keys = Keys::shared(key.clone());
        let listener = KeyedListener::worker(theirs, "w1", keys).expect("a good name");
        tokio::task::spawn_local(worker.name("w1").serve(listener))
    } else {
        tokio::task::spawn_local(worker.serve(theirs))
    };
    let setup = setup(timer);
    let setup = if keyed {
        setup.connect(KeyedConnector::manager(ours, "pool", key).expect("a good name"))
    } else {
        setup.connect(ours)
    };
    let (pool, driver) = setup.build().expect("the limits are in range");
    let driver = tokio::task::spawn_local(driver);

    let mut seen = BTreeSet::new();
    let mut outcomes = pool.process::<Vec<u8>>(1..=1000);
    while let Some((height, outcome)) = outcomes.next().await {
        let answer = outcome.unwrap_or_else(|error| panic!("height {height}: {error}"));
        assert_eq!(Ok(answer), work(height).await, "height {height}");
        assert!(seen.insert(height), "height {height} came twice");
    }
    assert_eq!(seen.len(), 1000, "none is lost");
    let stats = pool.stop().await.expect("the pool stops").tasks;
    driver.await.expect("the driver ends");
    worker.abort();
    Run { stats, handled: handled.get(), damaged: damaged.get() }
}

/// In at most two hours of the line's own time, which is no time at all.
async fn bounded(seed: u64, one_in: u64, keyed: bool) -> Run {
    let local = tokio::task::LocalSet::new();
    let hours = Duration::from_secs(2 * 3600);
    let run = local.run_until(tokio::time::timeout(hours, run(seed, one_in, keyed)));
    run.await.unwrap_or_else(|_| panic!("seed {seed}: it takes too long"))
}

#[tokio::test(start_paused = true)]
async fn a_clean_line_carries_a_range_and_sends_nothing_twice() {
    let run = bounded(1, u64::MAX, false).await;
    assert_eq!(run.damaged, 0);
    assert_eq!((run.stats.done, run.handled), (1000, 1000));
}

#[tokio::test(start_paused = true)]
async fn on_a_noisy_line_every_height_has_its_one_right_answer() {
    for seed in 0..5 {
        let Run { stats, handled, damaged } = bounded(seed, 2_000, false).await;
        println!(
            "seed {seed}: {damaged} bytes damaged, {handled} requests handled, {} lost",
            stats.lost
        );
        assert!(damaged > 50, "seed {seed}: there was noise: {damaged}");
        assert_eq!(stats.done, 1000, "seed {seed}");
        assert!(handled > 1000, "seed {seed}: answers were lost, and given again: {handled}");
    }
}

#[tokio::test(start_paused = true)]
async fn encrypted_every_height_has_its_one_right_answer_and_a_lost_frame_ends_no_link() {
    let run = bounded(1, u64::MAX, true).await;
    assert_eq!((run.stats.done, run.handled), (1000, 1000));
    for seed in 0..3 {
        let Run { stats, handled, damaged } = bounded(seed, 2_000, true).await;
        println!("seed {seed}: {damaged} bytes damaged, {handled} handled, {} lost", stats.lost);
        assert!(damaged > 50, "seed {seed}: there was noise: {damaged}");
        assert_eq!(stats.done, 1000, "seed {seed}");
        // Where each lost frame ended its link, there would be about as many of these.
        assert!(stats.lost < damaged / 2, "seed {seed}: {} links lost", stats.lost);
    }
}

/// One end of a line, which outlives whoever uses it.
#[derive(Clone)]
struct Lasting(Rc<RefCell<Compat<DuplexStream>>>);

impl Lasting {
    fn ends() -> (Self, Self) {
        let (ours, theirs) = tokio::io::duplex(256);
        let end = |inner: DuplexStream| Self(Rc::new(RefCell::new(inner.compat())));
        (end(ours), end(theirs))
    }

    /// What a process that has just started makes of it.
    fn line(&self, name: &str) -> SerialLine<Self> {
        SerialLine::new(self.clone(), name, Limits::new())
    }
}

impl AsyncRead for Lasting {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lasting {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_close(cx)
    }
}

/// Ends a future as a crash of its process does: without a word on the line.
async fn crash<T>(task: tokio::task::JoinHandle<T>) {
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()), "it ran until then");
}

/// Has a task done sooner than a link is given up that nobody answers, and then some of a range, which is left
/// where it is.
async fn use_at_once(pool: &Pool<Local>, round: u64) {
    let call = pool.call::<Vec<u8>, _>(&round);
    let answer = tokio::time::timeout(Duration::from_millis(400), call).await;
    let answer = answer.unwrap_or_else(|_| panic!("round {round}: it takes too long"));
    assert_eq!(
        answer.expect("the worker is there"),
        work(round).await.expect("it has no failures")
    );
    let mut outcomes = pool.process::<Vec<u8>>(1..=1000);
    for _ in 0..3 * round {
        outcomes.next().await.expect("there are more").1.expect("the worker is there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_crashes_and_comes_back_has_its_worker_at_once() {
    let local = tokio::task::LocalSet::new();
    let lives = async {
        let timer = Tokio::new();
        let (ours, theirs) = Lasting::ends();
        let worker = Worker::new(timer, work).concurrency(4);
        let worker = tokio::task::spawn_local(worker.serve(theirs.line("theirs")));
        for round in 0..10 {
            let start = || {
                let built = setup(timer).connect(ours.line("ours")).build();
                let (pool, driver) = built.expect("the limits are in range");
                (pool, tokio::task::spawn_local(driver))
            };
            // One that gets no further than some step of its greeting, and one that works.
            let (_pool, driver) = start();
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            crash(driver).await;
            let (pool, driver) = start();
            use_at_once(&pool, round).await;
            crash(driver).await;
        }
        crash(worker).await;
    };
    local.run_until(lives).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_crashes_and_dials_again_has_its_manager_at_once() {
    let local = tokio::task::LocalSet::new();
    let lives = async {
        let timer = Tokio::new();
        let (ours, theirs) = Lasting::ends();
        let built = setup(timer).accept(theirs.line("theirs")).build();
        let (pool, driver) = built.expect("the limits are in range");
        let driver = tokio::task::spawn_local(driver);
        for round in 0..10 {
            let start = || {
                let worker = Worker::new(timer, work).name("w1").concurrency(4);
                tokio::task::spawn_local(worker.dial(ours.line("ours")))
            };
            let worker = start();
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            crash(worker).await;
            let worker = start();
            use_at_once(&pool, round).await;
            crash(worker).await;
        }
        crash(driver).await;
    };
    local.run_until(lives).await;
}

/// A stream that carries so many bytes in each tenth of a second, as a line of ten times as many does.
struct Slow {
    inner: Compat<DuplexStream>,
    step: usize,
    left: usize,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(100))));
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            (self.pause, self.left) = (None, self.step);
        }
        let count = bytes.len().min(self.left);
        let written = Pin::new(&mut self.inner).poll_write(cx, &bytes[..count]);
        if let Poll::Ready(Ok(count)) = written {
            self.left -= count;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Sends a request and takes an answer of such lengths, all else as it is by default, over a line of so
/// many baud with such limits. Returns how often a link was lost within an hour until it was there.
async fn echo(baud: usize, limits: Limits, asked: usize, answered: usize) -> Option<u64> {
    let (ours, theirs) = tokio::io::duplex(64);
    let end = |inner: DuplexStream, name| {
        let step = baud / 100;
        SerialLine::new(Slow { inner: inner.compat(), step, left: 0, pause: None }, name, limits)
    };
    let timer = Tokio::new();
    let worker = Worker::raw(timer, move |_| async move { Ok::<_, String>(vec![1; answered]) });
    let worker = tokio::task::spawn_local(worker.serve(end(theirs, "theirs")));
    let built = Pool::local_builder(timer).connect(end(ours, "ours")).build();
    let (pool, driver) = built.expect("the limits are in range");
    let driver = tokio::task::spawn_local(driver);
    let call = pool.call_raw(vec![1; asked]);
    let answer = tokio::time::timeout(Duration::from_secs(3600), call).await;
    let lost = pool.stats().await.expect("the driver lives").tasks.lost;
    driver.abort();
    worker.abort();
    answer.ok()?.ok().map(|answer| {
        assert_eq!(answer, vec![1; answered]);
        lost
    })
}

#[tokio::test(start_paused = true)]
async fn long_messages_on_a_slow_line_are_no_silence_by_default() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut limits = Limits::new();
            limits.frame_bytes_max = 64 << 10;
            // More than a minute each, and none of it is lost.
            for (asked, answered) in [(1, 40_000), (40_000, 1), (40_000, 40_000)] {
                assert_eq!(
                    echo(9600, limits, asked, answered).await,
                    Some(0),
                    "{asked} {answered}"
                );
            }
            assert_eq!(echo(1200, limits.baud(1200), 1, 5_000).await, Some(0));
            // A line that carries a quarter of what was said, and less, is as good as dead.
            assert_eq!(echo(1200, limits, 1, 40_000).await, None);
        })
        .await;
}
