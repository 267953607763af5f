//! The limit to compare with: the same transport on the same runtime, without any scheduling.
//!
//! Messages of 16 bytes go to a peer that sends each one back. A side reads all that is there, and
//! writes as many messages in one go.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use chargehand::core::io::Accept;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{SinkExt, StreamExt};
use smol::io::{AsyncReadExt, AsyncWriteExt};

use crate::cli::Transport;
use crate::manager::Counter;
use crate::runtime::Runtime;

const MESSAGE: [u8; 16] = *b"sixteen bytes !!";
const READ_BYTES: usize = 16 << 10;

/// Sends back what comes, on every connection.
pub(crate) async fn echo<R: Runtime>(mut listener: R::Listener, transport: Transport) {
    loop {
        let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
        let (stream, _) = accepted.map_err(Into::into).expect("a connection");
        R::spawn(async move {
            match transport {
                Transport::Tcp => echo_tcp(stream).await,
                Transport::Ws => {
                    let ws = async_tungstenite::accept_async(stream).await.expect("a handshake");
                    exchange_ws(ws, &Counter::default()).await;
                }
            }
        });
    }
}

/// Keeps `links` connections with `window` messages on each under way, and counts what comes back.
pub(crate) async fn load<R: Runtime>(
    runtime: R,
    transport: Transport,
    address: SocketAddr,
    (links, window): (usize, usize),
    counter: &Arc<Counter>,
) {
    for _ in 0..links {
        let dialled = runtime.dial(&address.to_string()).await;
        let mut stream = dialled.map_err(Into::into).expect("the other process listens");
        let counter = Arc::clone(counter);
        match transport {
            Transport::Tcp => R::spawn(async move {
                stream.write_all(&MESSAGE.repeat(window)).await.expect("the other end reads");
                load_tcp(stream, &counter).await;
            }),
            Transport::Ws => {
                let url = format!("ws://{address}/");
                let opened = async_tungstenite::client_async(url, stream).await;
                let (mut ws, _) = opened.expect("a handshake");
                R::spawn(async move {
                    for _ in 0..window {
                        let message = Message::binary(MESSAGE.to_vec());
                        ws.feed(message).await.expect("the other end reads");
                    }
                    ws.flush().await.expect("the other end reads");
                    exchange_ws(ws, &counter).await;
                });
            }
        }
    }
}

async fn echo_tcp(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn load_tcp(mut stream: impl AsyncRead + AsyncWrite + Unpin, counter: &Counter) {
    let mut buffer = vec![0; READ_BYTES];
    let mut partial = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let messages = (partial + length) / MESSAGE.len();
        partial = (partial + length) % MESSAGE.len();
        counter.add(messages);
        if stream.write_all(&MESSAGE.repeat(messages)).await.is_err() {
            return;
        }
    }
}

/// Sends each message back, until the link ends. One loop serves both sides.
async fn exchange_ws<S>(mut ws: WebSocketStream<S>, counter: &Counter)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        while ws.poll_ready_unpin(cx).is_ready() {
            match ws.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    counter.add(1);
                    if ws.start_send_unpin(message).is_err() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    // What it says comes up again at the next read.
                    let _ = ws.poll_flush_unpin(cx);
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    })
    .await;
}
