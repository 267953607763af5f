//! Users' tests pause tokio's time: every deadline of a pool and a worker follows it over real sockets, whether
//! time is paused from the start or while they are working.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use chargehand::core::{BackoffPolicy, Jitter};
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::Tokio;
use chargehand::{Events, Pool, PoolEvent, TaskError, Worker};
use tokio::task::yield_now;
use tokio::time::{advance, pause, resume};

const STEP: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = STEP.saturating_mul(10);
const ATTEMPT: Duration = STEP.saturating_mul(25);
const BACKOFF: Duration = STEP.saturating_mul(300);

/// The request whose handler never returns.
const ENDLESS: u64 = 0;

/// A pool, and a worker whose machine can be frozen.
struct Site {
    pool: Pool,
    events: Events,
    is_stopped: Arc<AtomicBool>,
}

impl Site {
    async fn new() -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("it listens").to_string();
        let worker = Worker::new(Tokio::new(), |number: u64| async move {
            if number == ENDLESS {
                pending::<()>().await;
            }
            Ok::<_, String>(number)
        });
        let serving = worker.concurrency(4).serve(TcpListener::new(listener));
        tokio::spawn(stoppable(serving, Arc::clone(&is_stopped)));
        let (pool, driver) = Pool::builder(Tokio::new())
            .connect(TcpConnector::new(Tokio::new(), &at).expect("an address"))
            .configure(|config| {
                config.heartbeat_interval = HEARTBEAT;
                config.heartbeat_timeout = HEARTBEAT;
                config.attempt_timeout = ATTEMPT;
                config.attempts_max = 1;
                config.backoff = BackoffPolicy::new().base(BACKOFF).jitter(Jitter::None);
                config.backoff = config.backoff.cap(BACKOFF);
            })
            .build()
            .expect("the settings are in range");
        let events = pool.events();
        tokio::spawn(driver);
        Self { pool, events, is_stopped }
    }

    async fn works(&self) {
        assert_eq!(soon(self.pool.call::<u64, u64>(&7)).await, Ok(7));
    }

    async fn has_connected(&mut self) {
        let events = self.events().await;
        assert!(matches!(events[..], [PoolEvent::Connected { .. }]), "{events:?}");
    }

    /// Returns the events since the last call.
    async fn events(&mut self) -> Vec<PoolEvent> {
        settle().await;
        let mut seen = Vec::new();
        while let Poll::Ready(Some(event)) = look(&mut self.events.next()).await {
            seen.push(event);
        }
        seen
    }
}

/// Runs a future except while it is frozen. Its sockets stay open in the meantime.
async fn stoppable(running: impl Future, is_stopped: Arc<AtomicBool>) {
    let mut running = pin!(running);
    poll_fn(|cx| {
        if is_stopped.load(Ordering::Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        running.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// Polls a future once.
async fn look<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Waits without letting the runtime become idle, since paused time would then advance by itself.
async fn soon<F: Future>(future: F) -> F::Output {
    let begun = Instant::now();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = look(&mut future).await {
            return output;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not end");
        yield_now().await;
    }
}

/// Lets all tasks read what has been written so far.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Advances time in steps, so that heartbeats are answered.
async fn pass(span: Duration) {
    let end = tokio::time::Instant::now() + span;
    while tokio::time::Instant::now() < end {
        advance(STEP.min(end - tokio::time::Instant::now())).await;
        settle().await;
    }
}

async fn attempts_end(site: &Site, pause_now: fn()) {
    let mut endless = pin!(site.pool.call::<u64, u64>(&ENDLESS));
    assert!(look(&mut endless).await.is_pending());
    settle().await;
    pause_now();
    pass(24 * STEP).await;
    assert!(look(&mut endless).await.is_pending(), "it has a second left");
    pass(2 * STEP).await;
    assert_eq!(soon(endless).await, Err(TaskError::Exhausted { attempts: 1 }));
}

async fn heartbeats_tell_silence(site: &mut Site) {
    // Links whose peers answer stay up.
    pass(6 * HEARTBEAT).await;
    assert_eq!(site.events().await, []);
    site.is_stopped.store(true, Ordering::Relaxed);
    pass(9 * STEP).await;
    assert_eq!(site.events().await, []);
    pass(HEARTBEAT + 2 * STEP).await;
    let events = site.events().await;
    assert!(matches!(events[..], [PoolEvent::Lost { .. }]), "{events:?}");
}

async fn backoffs_end(site: &mut Site) {
    site.is_stopped.store(false, Ordering::Relaxed);
    pass(280 * STEP).await;
    assert_eq!(site.events().await, []);
    pass(20 * STEP).await;
    site.has_connected().await;
    site.works().await;
}

#[tokio::test(start_paused = true)]
async fn with_time_paused_from_the_start_every_deadline_comes_by_advancing() {
    let mut site = Site::new().await;
    site.works().await;
    site.has_connected().await;
    attempts_end(&site, || ()).await;
    heartbeats_tell_silence(&mut site).await;
    backoffs_end(&mut site).await;
}

#[tokio::test]
async fn with_time_paused_while_an_attempt_is_under_way_it_ends_by_advancing() {
    let site = Site::new().await;
    site.works().await;
    attempts_end(&site, pause).await;
}

#[tokio::test]
async fn with_time_paused_while_links_are_up_every_deadline_comes_by_advancing() {
    let mut site = Site::new().await;
    site.works().await;
    site.has_connected().await;
    pause();
    heartbeats_tell_silence(&mut site).await;
    backoffs_end(&mut site).await;
    resume();
    site.works().await;
    // Pausing a second time works too.
    pause();
    heartbeats_tell_silence(&mut site).await;
    backoffs_end(&mut site).await;
}
