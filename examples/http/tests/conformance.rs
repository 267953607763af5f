//! Connections through a route of hyper's are held to what all others are.

use std::future::Future;

use chargehand::testing::conformance::Pair;
use chargehand::tokio::Tokio;
use chargehand::ws::{UpgradeListener, Upgrades, WsConnector};
use chargehand_http_examples::{Stream, hyper_route};
use tokio::net::TcpListener;

struct RouteOnTokio;

impl Pair for RouteOnTokio {
    type Timer = Tokio;
    type Listener = UpgradeListener<Stream>;
    type Connector = WsConnector<Tokio>;

    fn timer() -> Tokio {
        Tokio::new()
    }

    fn run<F: Future>(case: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
        let output = runtime.block_on(case);
        runtime.shutdown_background();
        output
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(future);
    }

    fn place() -> (Self::Listener, Self::Connector) {
        let (upgrader, upgraded) = Upgrades::new().pair();
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = port.local_addr().expect("it listens");
        port.set_nonblocking(true).expect("a socket");
        let port = TcpListener::from_std(port).expect("a socket that listens");
        // It serves on when the listener is gone: then whoever comes is told so.
        tokio::spawn(hyper_route::serve(port, upgrader));
        let url = format!("ws://{address}/join");
        (upgraded, WsConnector::new(Tokio::new(), &url).expect("a URL"))
    }
}

chargehand::conformance_tests!(RouteOnTokio);
