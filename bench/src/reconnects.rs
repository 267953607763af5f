//! How fast many links come back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chargehand::core::BackoffPolicy;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::worker::Stopper;
use chargehand::{Pool, Worker};
use tokio::task::JoinHandle;

use crate::measure::{Figures, allow_links, say};
use crate::members;
use crate::runtime::Runtime;
use crate::spec::Transport;

const LOOK: Duration = Duration::from_millis(2);

/// Has a pool dial one worker so many times, which then stops, and listens again: so each link has a session
/// to resume. All is on one thread.
pub(crate) fn run(transport: Transport, links: u32) {
    allow_links(2 * links);
    Tokio::block_on(async {
        let is_tls = transport == Transport::Tls;
        let (listener, address) = <Tokio as Runtime>::bind().await;
        let (stopper, served) = serve(listener, is_tls, links);
        let begun = Instant::now();
        let pool = start(is_tls, address, links);
        until(&pool, links).await;
        let first = begun.elapsed();
        // The tickets come after the handshakes.
        tokio::time::sleep(Duration::from_millis(300)).await;
        stopper.stop();
        served.await.expect("no panic");
        until(&pool, 0).await;
        let listener = Tokio::bind(&address.to_string()).await.expect("it was ours just now");
        let begun = Instant::now();
        let (_stopper, _served) = serve(listener, is_tls, links);
        until(&pool, links).await;
        let rate = |span: Duration| f64::from(links) / span.as_secs_f64();
        say(&Figures::from([
            ("rate".to_owned(), rate(begun.elapsed())),
            ("first".to_owned(), rate(first)),
        ]));
        std::process::exit(0);
    });
}

fn serve(listener: TokioListener, is_tls: bool, links: u32) -> (Stopper, JoinHandle<()>) {
    let links = links as usize;
    let worker =
        Worker::new(Tokio::start(), |height: u64| async move { Ok::<_, Infallible>(height) })
            .name(members::WORKER)
            .links_max(links)
            // All of them are of one member.
            .links_per_identity(links)
            .pending_handshakes_max(links);
    let stopper = worker.stopper();
    let served = tokio::spawn(async move {
        if is_tls {
            let accept = members::worker().accept(listener);
            let _ = worker.serve(TcpListener::new(accept)).await;
        } else {
            let _ = worker.serve(TcpListener::new(listener)).await;
        }
    });
    (stopper, served)
}

fn start(is_tls: bool, address: SocketAddr, links: u32) -> Pool {
    let (runtime, address) = (Tokio::start(), address.to_string());
    let mut builder = Pool::builder(runtime).workers_max(links).configure(|config| {
        let (base, cap) = (Duration::from_millis(1), Duration::from_millis(5));
        config.backoff = BackoffPolicy::new().base(base).cap(cap);
    });
    let members = is_tls.then(members::pool);
    for _ in 0..links {
        builder = match &members {
            Some(members) => {
                let dial = members.dial(runtime);
                builder.connect(TcpConnector::new(dial, &address).expect("an address"))
            }
            None => builder.connect(TcpConnector::new(runtime, &address).expect("an address")),
        };
    }
    let (pool, driver) = builder.build().expect("limits in range");
    Tokio::spawn(driver);
    pool
}

async fn until(pool: &Pool, count: u32) {
    while pool.stats().await.expect("the pool runs").tasks.workers_up != count {
        tokio::time::sleep(LOOK).await;
    }
}
