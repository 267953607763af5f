//! Traces over real sockets: of each transport, and through a proxy that knows nothing of them.

use std::net::SocketAddr;
use std::time::Duration;

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::Tokio;
use chargehand::traces::{Propagate, TraceContext};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Context, Pool, Worker};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener as Socket, TcpStream};
use tokio::time::timeout;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Span, Subscriber};

const IN_TIME: Duration = Duration::from_secs(30);

/// Takes every span, so that each has an id, and keeps nothing.
struct Numbers(std::sync::atomic::AtomicU64);

impl Subscriber for Numbers {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A trace whose parent is the number of the span.
struct Ids;

impl Propagate for Ids {
    fn context_of(&self, span: &Span) -> Option<TraceContext> {
        TraceContext::new([7; 16], span.id()?.into_u64().to_be_bytes(), 1).ok()
    }

    fn adopt(&self, _: &Span, _: &TraceContext) {}
}

async fn told(cx: Context, _: u64) -> Result<String, String> {
    Ok(cx.trace().map_or_else(String::new, |trace| trace.to_string()))
}

/// Hands bytes on to `to`, both ways, and returns where.
async fn proxy(to: SocketAddr) -> SocketAddr {
    let socket = Socket::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = socket.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    at
}

#[tokio::test]
async fn a_trace_goes_along_over_tcp_and_websocket_and_through_a_proxy() {
    tracing::subscriber::set_global_default(Numbers(0.into())).expect("the only test here");
    for (is_ws, is_proxied) in [(false, false), (true, false), (false, true), (true, true)] {
        let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        let worker = Worker::new(Tokio::new(), told).propagate(Ids);
        if is_ws {
            tokio::spawn(worker.serve(WsListener::new(listener)));
        } else {
            tokio::spawn(worker.serve(TcpListener::new(listener)));
        }
        let at = if is_proxied { proxy(at).await } else { at };
        let builder = Pool::builder(Tokio::new()).propagate(Ids);
        let builder = if is_ws {
            let url = format!("ws://{at}");
            builder.connect(WsConnector::new(Tokio::new(), &url).expect("a URL"))
        } else {
            builder.connect(TcpConnector::new(Tokio::new(), &at.to_string()).expect("an address"))
        };
        let (pool, driver) = builder.build().expect("by default");
        tokio::spawn(driver);
        let traced = timeout(IN_TIME, pool.traced().call::<String, _>(&1_u64)).await;
        let trace: TraceContext =
            traced.expect("in time").expect("it answers").parse().expect("one");
        assert_eq!(trace.trace_id(), [7; 16], "{is_ws}, {is_proxied}");
        let other = timeout(IN_TIME, pool.call::<String, _>(&1_u64)).await.expect("in time");
        assert_eq!(other.as_deref(), Ok(""), "what is not traced has none");
    }
}
