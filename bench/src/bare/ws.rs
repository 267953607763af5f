//! Binary messages over WebSocket.

use std::future::poll_fn;
use std::task::{Context, Poll};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::{Bytes, Message};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{SinkExt, StreamExt};

use super::Traffic;

/// Goes on until the connection ends.
pub(super) async fn run<S>(mut ws: WebSocketStream<S>, mut traffic: Traffic)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = Bytes::from(vec![b'!'; traffic.out_bytes]);
    poll_fn(|cx| poll(&mut ws, &mut traffic, &message, cx)).await;
}

fn poll<S>(
    ws: &mut WebSocketStream<S>,
    traffic: &mut Traffic,
    message: &Bytes,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        while traffic.owed > 0 && ws.poll_ready_unpin(cx).is_ready() {
            if ws.start_send_unpin(Message::Binary(message.clone())).is_err() {
                return Poll::Ready(());
            }
            traffic.owed -= 1;
        }
        match ws.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(came))) => {
                assert_eq!(came.len(), traffic.in_bytes, "both ends agree on it");
                traffic.came(1);
            }
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => {
                // What it says comes up again at the next read.
                let _ = ws.poll_flush_unpin(cx);
                return Poll::Pending;
            }
        }
    }
}
