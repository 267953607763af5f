//! The process at the other end: a worker that does nothing, or a bare echo.

use std::future::pending;
use std::io::Read;
use std::thread;

use chargehand::Worker;
use chargehand::smol::Smol;
use chargehand::tcp::TcpListener;
use chargehand::tokio::Tokio;
use chargehand::ws::WsListener;
use futures_util::FutureExt;

use crate::bare;
use crate::cli::{Load, Runtimes, Side, Transport};
use crate::cpu;
use crate::runtime::Runtime;

/// Prints its address and serves until standard input ends.
pub(crate) fn run(side: Side) {
    if side.one_cpu {
        cpu::pin();
    }
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match side.runtime {
        Runtimes::Tokio => Tokio::block_on(serve::<Tokio>(side)),
        Runtimes::Smol => Smol::block_on(serve::<Smol>(side)),
    }
}

async fn serve<R: Runtime>(side: Side) {
    let runtime = R::start();
    let (listener, address) = R::bind().await;
    println!("{address}");
    // In a task of its own: smol polls the main future whenever anything happens.
    if side.load == Load::Bare {
        R::spawn(bare::echo::<R>(listener, side.transport));
        return pending().await;
    }
    let worker = Worker::new(runtime, |height: u64| async move { Ok::<u64, String>(height) });
    let worker = worker.concurrency(64);
    match side.transport {
        Transport::Tcp => R::spawn(worker.serve(TcpListener::new(listener)).map(drop)),
        Transport::Ws => R::spawn(worker.serve(WsListener::new(listener)).map(drop)),
    }
    pending::<()>().await;
}
