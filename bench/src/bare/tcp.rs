//! Bytes over TCP: so many are a message.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::Traffic;

struct Pump<S> {
    stream: S,
    traffic: Traffic,
    input: Vec<u8>,
    /// How much of a message has come.
    partial: usize,
    /// Any part of this will do for any part of a message: nobody reads it.
    output: Vec<u8>,
    /// How many bytes of the messages owed are still to be written.
    unwritten: usize,
}

/// Goes on until the connection ends.
pub(super) async fn run<S>(stream: S, traffic: Traffic, buffer_bytes: usize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pump = Pump {
        stream,
        traffic,
        input: vec![0; buffer_bytes],
        partial: 0,
        output: vec![b'!'; buffer_bytes],
        unwritten: 0,
    };
    poll_fn(|cx| pump.poll(cx)).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let wrote = self.poll_write(cx);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut self.input);
            match read {
                Poll::Ready(Ok(bytes @ 1..)) => {
                    let messages = (self.partial + bytes) / self.traffic.in_bytes;
                    self.partial = (self.partial + bytes) % self.traffic.in_bytes;
                    self.traffic.came(messages);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                // What was not written for want of room wakes us as well.
                Poll::Pending => return Poll::Pending,
            }
            if wrote.is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Writes what is owed, as far as there is room.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), ()> {
        self.unwritten += self.traffic.owed * self.traffic.out_bytes;
        self.traffic.owed = 0;
        while self.unwritten > 0 {
            let some = &self.output[..self.unwritten.min(self.output.len())];
            match Pin::new(&mut self.stream).poll_write(cx, some) {
                Poll::Ready(Ok(bytes @ 1..)) => self.unwritten -= bytes,
                Poll::Ready(_) => return Err(()),
                Poll::Pending => break,
            }
        }
        // TLS may hold what the socket had no room for.
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        Ok(())
    }
}
