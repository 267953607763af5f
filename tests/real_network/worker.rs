//! The workers. They say what they begin with.

use std::path::Path;
use std::time::Duration;

use chargehand::core::BackoffPolicy;
use chargehand::smol::Smol;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::Members;
use chargehand::tokio::Tokio;
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{TaskError, Worker};

/// A request that no handler ever answers.
pub(crate) const HANGS: u64 = u64::MAX;

/// The answer to a request.
pub(crate) const fn answer_to(number: u64) -> u64 {
    number.wrapping_mul(3).wrapping_add(1)
}

/// Whether it is that.
pub(crate) fn is_right(number: u64, outcome: &Result<u64, TaskError>) -> bool {
    outcome.as_ref().is_ok_and(|answer| *answer == answer_to(number))
}

/// Says what it begins with. Whatever hangs is never done.
async fn begin(number: u64) {
    println!("began {number}");
    if number == HANGS {
        std::future::pending::<()>().await;
    }
}

/// Serves managers that dial, on smol, by TCP or WebSocket.
pub(crate) fn serve(name: &str, at: &str) {
    let (scheme, at) = at.split_once("://").expect("a scheme");
    smol::block_on(async {
        let listener = Smol::bind(at).await.expect("the port is free");
        let worker = Worker::new(Smol::new(), |number: u64| async move {
            begin(number).await;
            smol::Timer::after(Duration::from_millis(3)).await;
            Ok::<_, String>(answer_to(number))
        });
        let worker = worker.name(name).concurrency(4).insecure();
        match scheme {
            "tcp" => worker.serve(TcpListener::new(listener)).await,
            _ => worker.serve(WsListener::new(listener)).await,
        }
        .expect("in range");
    });
}

/// Dials a manager, on tokio, by TCP, or over TLS with its join file.
pub(crate) fn dial(name: &str, at: &str, file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let worker = Worker::new(Tokio::new(), |number: u64| async move {
            begin(number).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            Ok::<_, String>(answer_to(number))
        });
        let dial = || Members::worker(file).expect("its file").dial(Tokio::new());
        let backoff = BackoffPolicy::new().cap(Duration::from_millis(500));
        let worker = worker.name(name).concurrency(4).backoff(backoff);
        match at.split_once("://").expect("a scheme").0 {
            "tls" => worker.dial(TcpConnector::new(dial(), at).expect("an address")).await,
            "wss" => worker.dial(WsConnector::new(dial(), at).expect("a URL")).await,
            _ => {
                let connector = TcpConnector::new(Tokio::new(), at).expect("an address");
                worker.insecure().dial(connector).await
            }
        }
        .expect("in range");
    });
}
