//! The process at the other end: a worker that does nothing, or a bare echo.

use std::convert::Infallible;
use std::future::pending;

use chargehand::Worker;
use chargehand::smol::Smol;
use chargehand::tcp::TcpListener;
use chargehand::tokio::Tokio;
use chargehand::worker::Handler;
use chargehand::ws::WsListener;
use serde_bytes::Bytes;

use crate::bare;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::measure::{allow_links, end_with_standard_input, say};
use crate::members;
use crate::runtime::Runtime;
use crate::spec::{Load, Runtimes, Spec, Transport};

/// Says its address and serves until standard input ends.
pub(crate) fn run(spec: Spec) {
    spec.placement.worker().take();
    allow_links(spec.links);
    end_with_standard_input();
    match spec.runtime {
        Runtimes::Tokio => Tokio::block_on(serve::<Tokio>(spec)),
        Runtimes::Smol => Smol::block_on(serve::<Smol>(spec)),
    }
}

async fn serve<R: Runtime>(spec: Spec) {
    let runtime = R::start();
    let (listener, address) = R::bind().await;
    say(&address);
    // In a task of its own: smol polls the main future whenever anything happens.
    match spec.load {
        Load::Bare => R::spawn(bare::echo::<R>(listener, spec)),
        Load::Calls(_) => {
            start(spec, listener, Worker::raw(runtime, |body| async { Ok::<_, String>(body) }));
        }
        Load::Range if spec.transport == Transport::Json => {
            let nothing = |_: u64| async { Ok::<_, Infallible>(()) };
            start(spec, listener, Worker::new(runtime, nothing));
        }
        Load::Range | Load::Paced(_) if spec.answer_bytes == HEIGHT_ANSWER_BYTES => {
            let same = |height: u64| async move { Ok::<_, Infallible>(height) };
            start(spec, listener, Worker::new(runtime, same));
        }
        Load::Range | Load::Paced(_) => {
            // The handler does nothing, so it copies nothing.
            let answer: &Bytes = Bytes::new(vec![b'!'; spec.answer_bytes].leak());
            let much = move |_: u64| async move { Ok::<_, Infallible>(answer) };
            start(spec, listener, Worker::new(runtime, much));
        }
    }
    pending::<()>().await;
}

fn start<R: Runtime, H>(spec: Spec, listener: R::Listener, worker: Worker<R, H>)
where
    H: Handler<Future: Send> + Send + 'static,
{
    let links = spec.links as usize;
    let worker = worker
        .concurrency(spec.window.max(64))
        .links_max(links.max(64))
        .pending_handshakes_max(links.max(128));
    // It runs for as long as this process.
    match spec.transport {
        Transport::Tcp => R::spawn(async move {
            let _ = worker.serve(TcpListener::new(listener)).await;
        }),
        Transport::Tls => R::spawn(async move {
            let accept = members::worker().accept(listener);
            let _ = worker.name(members::WORKER).serve(TcpListener::new(accept)).await;
        }),
        Transport::Ws => R::spawn(async move {
            let _ = worker.serve(WsListener::new(listener)).await;
        }),
        Transport::Json => R::spawn(async move {
            let _ = worker.serve(WsListener::new(listener).json(true)).await;
        }),
    }
}
