//! The limit to compare with: the same transport on the same runtime, without any scheduling.
//!
//! Messages go to a peer that answers each one. A side reads all that is there, and writes as many
//! messages in one go. Neither end waits with reading until it has written, so windows may be larger
//! than what the sockets hold.

mod tcp;
mod ws;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use chargehand::core::io::Accept;
use chargehand::tls::rustls::pki_types::ServerName;
use futures_rustls::{TlsAcceptor, TlsConnector};

use crate::measure::Meter;
use crate::members;
use crate::runtime::Runtime;
use crate::spec::{Spec, Transport};

/// One end's messages.
struct Traffic {
    /// How many are to be sent.
    owed: usize,
    in_bytes: usize,
    out_bytes: usize,
    meter: Option<Arc<Meter>>,
    /// When those under way left; kept only where the meter wants latencies.
    starts: VecDeque<Instant>,
}

/// Answers what comes, on every connection.
pub(crate) async fn echo<R: Runtime>(mut listener: R::Listener, spec: Spec) {
    loop {
        let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
        let (opening, _) = accepted.map_err(Into::into).expect("a connection");
        let stream = R::bare(opening.await.map_err(Into::into).expect("a stream"));
        let traffic = Traffic {
            owed: 0,
            in_bytes: spec.request_bytes,
            out_bytes: spec.answer_bytes,
            meter: None,
            starts: VecDeque::new(),
        };
        R::spawn(async move {
            match spec.transport {
                Transport::Tcp => tcp::run(stream, traffic, buffer_bytes(spec)).await,
                Transport::Tls => {
                    let acceptor = TlsAcceptor::from(members::worker().server_config());
                    let stream = acceptor.accept(stream).await.expect("a handshake");
                    tcp::run(stream, traffic, buffer_bytes(spec)).await;
                }
                Transport::Ws | Transport::Json => {
                    let ws = async_tungstenite::accept_async(stream).await.expect("a handshake");
                    ws::run(ws, traffic).await;
                }
            }
        });
    }
}

/// Keeps connections with a window of messages on each under way, and counts what comes back.
pub(crate) async fn load<R: Runtime>(runtime: R, spec: Spec, address: &str, meter: &Arc<Meter>) {
    for _ in 0..spec.links {
        let dialled = runtime.dial(address).await;
        let stream = R::bare(dialled.map_err(Into::into).expect("the other process listens"));
        let mut traffic = Traffic {
            owed: 0,
            in_bytes: spec.answer_bytes,
            out_bytes: spec.request_bytes,
            meter: Some(Arc::clone(meter)),
            starts: VecDeque::new(),
        };
        match spec.transport {
            Transport::Tcp => R::spawn(async move {
                traffic.owe(spec.window.into());
                tcp::run(stream, traffic, buffer_bytes(spec)).await;
            }),
            Transport::Tls => {
                let connector = TlsConnector::from(members::pool().client_config());
                let name = ServerName::try_from("w").expect("a name");
                let stream = connector.connect(name, stream).await.expect("a handshake");
                R::spawn(async move {
                    traffic.owe(spec.window.into());
                    tcp::run(stream, traffic, buffer_bytes(spec)).await;
                });
            }
            Transport::Ws | Transport::Json => {
                let url = format!("ws://{address}/");
                let opened = async_tungstenite::client_async(url, stream).await;
                let (ws, _) = opened.expect("a handshake");
                R::spawn(async move {
                    traffic.owe(spec.window.into());
                    ws::run(ws, traffic).await;
                });
            }
        }
    }
}

/// A window at least, and not so much that thousands of links fill the memory.
fn buffer_bytes(spec: Spec) -> usize {
    let window = usize::from(spec.window) * spec.request_bytes.max(spec.answer_bytes);
    window.clamp(4 << 10, 64 << 10)
}

impl Traffic {
    /// Takes note of messages that are to be sent.
    fn owe(&mut self, count: usize) {
        self.owed += count;
        if let Some(now) = self.meter.as_ref().and_then(|meter| meter.start()) {
            self.starts.extend((0..count).map(|_| now));
        }
    }

    /// Takes note of messages that came, and owes as many.
    fn came(&mut self, count: usize) {
        if let Some(meter) = &self.meter {
            meter.add(count);
            if let Some(now) = meter.start() {
                for start in self.starts.drain(..count) {
                    meter.record(now.duration_since(start));
                }
            }
        }
        self.owe(count);
    }
}
