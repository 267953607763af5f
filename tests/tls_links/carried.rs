//! What tasks have over any link they have over TLS: grace, second attempts and traces.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::TlsDial;
use chargehand::tls::members::Members;
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::traces::{Propagate, TraceContext};
use chargehand::{Context, Hedge, Pool, TaskOptions, Worker};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Span, Subscriber};

use crate::members;

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn door() -> (TokioListener, String) {
    let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("it is bound").to_string();
    (listener, at)
}

fn caller(members: &Members, at: &str) -> TcpConnector<TlsDial<Tokio>> {
    let dial = members.dial(Tokio::new());
    TcpConnector::new(dial, &format!("tls://{at}")).expect("an address")
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(MINUTE / 2, future).await.expect("in time")
}

/// Hands connections on until it is told to cut one. Returns where, and how many there were.
async fn relay(to: SocketAddr, cut: Arc<Notify>) -> (String, Arc<AtomicUsize>, JoinHandle<()>) {
    let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = front.local_addr().expect("it is bound").to_string();
    let links = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&links);
    let job = tokio::spawn(async move {
        while let Ok((mut near, _)) = front.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let Ok(mut far) = TcpStream::connect(to).await else { continue };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                () = cut.notified() => {}
            }
        }
    });
    (at, links, job)
}

/// Without a last word of TLS either: to both ends it is a connection that was cut off.
#[tokio::test]
async fn a_link_over_tls_that_is_cut_and_comes_back_keeps_its_work() {
    let (pool, worker) = members();
    let (listener, at) = door().await;
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let hand = Worker::new(Tokio::new(), move |millis: u64| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_millis(millis)).await;
            Ok::<_, String>(millis)
        }
    });
    let hand = hand.name("w1").grace(MINUTE);
    let listener = TcpListener::new(worker.accept(listener));
    let serving = tokio::spawn(async { hand.serve(listener).await });

    let cut = Arc::new(Notify::new());
    let (front, links, relay) = relay(at.parse().expect("an address"), Arc::clone(&cut)).await;
    let (pool, driver) = Pool::builder(Tokio::new())
        .connect(caller(&pool, &front))
        .configure(|config| config.grace = MINUTE)
        .build()
        .expect("limits in range");
    let driver = tokio::spawn(driver);
    let mut task = pool.submit::<u64, u64>(&2500).await.expect("it is taken");
    soon(task.started()).await.expect("a worker takes it");
    for _ in 0..2 {
        sleep(700 * MS).await;
        cut.notify_one();
    }
    assert_eq!(soon(task).await, Ok(2500));
    assert_eq!(begun.load(Ordering::Relaxed), 1, "once");
    assert!(links.load(Ordering::Relaxed) >= 2, "though its link broke");
    let stats = soon(pool.stop()).await.expect("the driver lives");
    assert_eq!((stats.tasks.sent, stats.tasks.lost), (1, 0), "{stats:?}");
    soon(driver).await.expect("no panic");
    serving.abort();
    relay.abort();
}

/// Counts those that were dropped before their end.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_second_attempt_over_tls_answers_and_the_first_is_withdrawn() {
    let (pool, worker) = members();
    let mut builder = Pool::builder(Tokio::new());
    let (begun, dropped) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let mut serving = Vec::new();
    for number in 0..2 {
        let (listener, at) = door().await;
        let (begun, dropped) = (Arc::clone(&begun), Arc::clone(&dropped));
        let hand = Worker::new(Tokio::new(), move |height: u64| {
            let is_first = begun.fetch_add(1, Ordering::Relaxed) == 0;
            let dropped = Dropped(Arc::clone(&dropped));
            async move {
                if is_first {
                    pending::<()>().await;
                }
                std::mem::forget(dropped);
                Ok::<_, String>(height)
            }
        });
        let hand = hand.name(format!("w1/{number}"));
        let listener = TcpListener::new(worker.accept(listener));
        serving.push(tokio::spawn(async { hand.serve(listener).await }));
        builder = builder.connect(caller(&pool, &at));
    }
    let (pool, driver) = builder.build().expect("limits in range");
    let driver = tokio::spawn(driver);
    let hedged = pool.with(TaskOptions::new().hedge(Hedge::after(50 * MS)));
    assert_eq!(soon(hedged.call::<u64, u64>(&7)).await, Ok(7));
    soon(async {
        while dropped.load(Ordering::Relaxed) == 0 {
            sleep(MS).await;
        }
    })
    .await;
    let tasks = soon(pool.stop()).await.expect("the driver lives").tasks;
    assert_eq!((tasks.hedged, tasks.hedge_wins, tasks.done), (1, 1, 1), "{tasks}");
    soon(driver).await.expect("no panic");
    serving.iter().for_each(JoinHandle::abort);
}

/// A subscriber that counts spans, which have traces by their ids.
#[derive(Default)]
struct Counted(AtomicU64);

impl Subscriber for Counted {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Makes contexts of spans, and keeps of which one a handler's was made a child.
#[derive(Clone, Default)]
struct Ids(Arc<Mutex<Vec<TraceContext>>>);

impl Propagate for Ids {
    fn context_of(&self, span: &Span) -> Option<TraceContext> {
        TraceContext::new([7; 16], span.id()?.into_u64().to_be_bytes(), 1).ok()
    }

    fn adopt(&self, _: &Span, parent: &TraceContext) {
        self.0.lock().expect("no panic with it").push(*parent);
    }
}

#[tokio::test]
async fn a_trace_goes_along_over_tls() {
    let _all = tracing::subscriber::set_default(Counted::default());
    let (pool, worker) = members();
    let (listener, at) = door().await;
    let taken = Ids::default();
    let hand = Worker::new(Tokio::new(), |cx: Context, _: u64| async move {
        Ok::<_, String>(cx.trace().map(|trace| trace.to_string()))
    });
    let hand = hand.name("w1").propagate(taken.clone());
    let listener = TcpListener::new(worker.accept(listener));
    let serving = tokio::spawn(async { hand.serve(listener).await });
    let builder = Pool::builder(Tokio::new()).connect(caller(&pool, &at));
    let (pool, driver) = builder.propagate(Ids::default()).build().expect("limits in range");
    let driver = tokio::spawn(driver);
    let told = soon(pool.traced().call::<Option<String>, u64>(&1)).await.expect("it is done");
    let adopted = taken.0.lock().expect("no panic with it").clone();
    assert_eq!(adopted.len(), 1, "the handler's span is the attempt's");
    assert_eq!(told, Some(adopted[0].to_string()), "and the handler knows it");
    soon(pool.stop()).await.expect("the driver lives");
    soon(driver).await.expect("no panic");
    serving.abort();
}
