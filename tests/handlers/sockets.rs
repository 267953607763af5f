//! Over TCP on tokio, and on threads that block.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use chargehand::core::Config;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::worker::Handler;
use chargehand::{Context, Pool, TaskError, TaskOptions, Worker, WorkerOptions, with_state};
use tokio::task::JoinHandle;

use super::{Given, millis, names, secs};

/// Returns a listener of a port of its own.
pub(super) async fn any_listener() -> (TokioListener, SocketAddr) {
    let listener = Tokio::bind("127.0.0.1:0").await.expect("a port of loopback");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

pub(super) fn dialled(address: SocketAddr) -> TcpConnector<Tokio> {
    TcpConnector::new(Tokio::new(), &address.to_string()).expect("an address")
}

/// Bounds what a test waits for.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(secs(30), future).await.expect("it takes no half minute")
}

async fn until(what: impl Fn() -> bool) {
    within(async {
        while !what() {
            tokio::time::sleep(millis(1)).await;
        }
    })
    .await;
}

/// A worker that serves over TCP. Dropping the task's future is the end of its links.
async fn serve<H>(worker: Worker<Tokio, H>) -> (JoinHandle<()>, SocketAddr)
where
    H: Handler<Future: Send> + Send + 'static,
{
    let (listener, address) = any_listener().await;
    let serving = async { worker.serve(TcpListener::new(listener)).await.expect("in range") };
    (tokio::spawn(serving), address)
}

fn dial(addresses: &[SocketAddr]) -> (Pool, JoinHandle<()>) {
    let patient = |config: &mut Config| config.attempt_timeout = secs(20);
    let mut builder = Pool::builder(Tokio::new()).name("mary").configure(patient);
    for address in addresses {
        builder = builder.connect(dialled(*address));
    }
    let (pool, driver) = builder.build().expect("limits in range");
    (pool, tokio::spawn(driver))
}

async fn stop(pool: Pool, driver: JoinHandle<()>) {
    within(pool.stop()).await.expect("the driver lives");
    within(driver).await.expect("no panic");
}

/// Answers at once from its second attempt on; the first one never ends.
fn second_time(given: &Given) -> impl Fn(Context, u64) -> SecondTime + Send + use<> {
    let given = given.clone();
    move |cx, height| {
        given.note(&cx);
        let attempt = cx.attempt();
        Box::pin(
            async move { if attempt == 1 { std::future::pending().await } else { Ok(height) } },
        )
    }
}

type SecondTime = std::pin::Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

#[tokio::test]
async fn a_handler_over_tcp_is_told_all_there_is() {
    let given = Given::default();
    let worker = || Worker::new(Tokio::new(), second_time(&given)).name("wanda").concurrency(2);
    let (first, at) = serve(worker()).await;
    let (pool, driver) = dial(&[at]);
    let task = within(pool.submit::<u64, u64>(&5)).await.expect("there is room");
    until(|| !given.all().is_empty()).await;
    let cx = given.last();
    assert_eq!((cx.attempt(), cx.timeout(), cx.is_cancelled()), (1, Some(secs(20)), false));
    assert_eq!(names(&cx), ("mary", "wanda"));
    let hasty = pool.with(TaskOptions::new().attempt_timeout(secs(15)));
    let own = within(hasty.submit::<u64, u64>(&6)).await.expect("there is room");
    until(|| given.all().len() == 2).await;
    assert_eq!(given.last().timeout(), Some(secs(15)));
    own.cancel();
    assert_eq!(within(own).await, Err(TaskError::Cancelled));

    // Its process ends, and with it the link. Another one takes its place.
    let told = tokio::spawn({
        let cx = cx.clone();
        async move { cx.cancelled().await }
    });
    first.abort();
    within(told).await.expect("no panic");
    assert!(cx.is_cancelled());
    let (second, at) = serve(worker()).await;
    within(pool.add(dialled(at), WorkerOptions::new())).await.expect("there is room");
    assert_eq!(within(task).await, Ok(5));
    assert_eq!(given.attempts(), [1, 1, 2]);
    assert!(!given.last().is_cancelled());
    stop(pool, driver).await;
    second.abort();
}

/// Blocks until nobody waits any more; how often that came is in the state. Height 0 is answered
/// at once.
#[allow(clippy::needless_pass_by_value, reason = "it is called with one of its own")]
fn block(cx: Context<Blocked>, height: u64) -> Result<u64, String> {
    let Blocked { given, ended } = cx.state();
    given.0.lock().expect("nobody panics with it").push(cx.clone());
    let since = Instant::now();
    while height != 0 && !cx.is_cancelled() {
        if since.elapsed() > secs(30) {
            return Err("nobody tells the thread".to_owned());
        }
        std::thread::sleep(millis(1));
    }
    ended.fetch_add(1, Ordering::SeqCst);
    Ok(height)
}

/// What threads share.
#[derive(Clone, Default)]
struct Blocked {
    given: Arc<GivenToThreads>,
    ended: Arc<AtomicUsize>,
}

#[derive(Default)]
struct GivenToThreads(std::sync::Mutex<Vec<Context<Blocked>>>);

impl Blocked {
    async fn has_begun(&self, count: usize) {
        until(|| self.given.0.lock().expect("nobody panics with it").len() == count).await;
    }

    async fn has_ended(&self, count: usize) {
        until(|| self.ended.load(Ordering::SeqCst) == count).await;
    }

    fn last(&self) -> Context<Blocked> {
        self.given.0.lock().expect("nobody panics with it").last().expect("one began").clone()
    }
}

#[tokio::test]
async fn a_thread_ends_by_its_flag_when_its_task_is_cancelled_or_its_link_lost() {
    let state = Blocked::default();
    let handler = with_state(state.clone(), block);
    let worker = Worker::blocking(Tokio::new(), 1, handler).expect("a thread").name("wanda");
    let stopper = worker.stopper();
    let worker = worker.drain_timeout(millis(50));
    let (served, at) = serve(worker).await;
    let (pool, driver) = dial(&[at]);

    assert_eq!(within(pool.call::<u64, u64>(&0)).await, Ok(0));
    let done = state.last();
    assert_eq!((done.manager(), done.worker(), done.attempt()), ("mary", "wanda", 1));
    let timeout = done.timeout().expect("the manager says it");
    assert_eq!(timeout, secs(20));

    let task = within(pool.submit::<u64, u64>(&1)).await.expect("there is room");
    state.has_begun(2).await;
    assert!(!state.last().is_cancelled());
    task.cancel();
    assert_eq!(within(task).await, Err(TaskError::Cancelled));
    state.has_ended(2).await;

    // The only thread is free again; now the manager vanishes with its links.
    let task = within(pool.submit::<u64, u64>(&2)).await.expect("there is room");
    state.has_begun(3).await;
    driver.abort();
    state.has_ended(3).await;
    drop((task, pool));

    // And now the worker stops, and does not wait for longer than it was told to.
    let (pool, driver) = dial(&[at]);
    let task = within(pool.submit::<u64, u64>(&3)).await.expect("there is room");
    state.has_begun(4).await;
    stopper.stop();
    state.has_ended(4).await;
    within(served).await.expect("no panic");
    task.detach();
    driver.abort();
    assert!(!done.is_cancelled(), "it had answered before");
}

#[tokio::test]
async fn threads_share_their_state() {
    let sum = Arc::new(AtomicU64::new(0));
    let add = |cx: Context<Arc<AtomicU64>>, height: u64| {
        Ok::<_, String>(height + cx.state().fetch_add(height, Ordering::SeqCst))
    };
    let handler = with_state(Arc::clone(&sum), add);
    let (served, at) = serve(Worker::blocking(Tokio::new(), 2, handler).expect("threads")).await;
    let (pool, driver) = dial(&[at]);
    for (height, total) in [(2, 2), (3, 5)] {
        assert_eq!(within(pool.call::<u64, u64>(&height)).await, Ok(total));
    }
    assert_eq!(sum.load(Ordering::SeqCst), 5);
    stop(pool, driver).await;
    served.abort();
}
