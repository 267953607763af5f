//! A runtime of one's own, that of the example, is held to what ours are.

#[path = "../examples/custom_runtime/runtime.rs"]
mod runtime;

use std::future::Future;
use std::sync::LazyLock;

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::testing::conformance::Pair;
use runtime::{Threads, block_on};

struct TcpOnThreads;

impl Pair for TcpOnThreads {
    type Timer = Threads;
    type Listener = TcpListener<runtime::Listener>;
    type Connector = TcpConnector<Threads>;

    fn timer() -> Threads {
        // Each has a thread of its own.
        static CLOCK: LazyLock<Threads> = LazyLock::new(Threads::new);
        CLOCK.clone()
    }

    fn run<F: Future>(case: F) -> F::Output {
        block_on(case)
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        std::thread::spawn(move || block_on(future));
    }

    fn place() -> (Self::Listener, Self::Connector) {
        let listener = Threads::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().to_string();
        let connector = TcpConnector::new(Self::timer(), &address).expect("an address");
        (TcpListener::new(listener), connector)
    }
}

chargehand::conformance_tests!(TcpOnThreads);
