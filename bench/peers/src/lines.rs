//! A blocking connection that is read as much at a time as is there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// A connection to a broker.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    /// What is to be written at the next flush.
    pub(crate) out: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let stream = connect(address);
        Self { stream, buffer: Vec::new(), start: 0, out: Vec::new() }
    }

    /// Returns what has come and was not taken.
    pub(crate) fn input(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Takes so many bytes off.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.start += bytes;
        assert!(self.start <= self.buffer.len(), "more than there is");
    }

    /// Waits for more.
    pub(crate) fn read(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        let mut more = [0; 16 << 10];
        let bytes = self.stream.read(&mut more).expect("the broker stays");
        assert!(bytes > 0, "the broker closed the connection");
        self.buffer.extend_from_slice(&more[..bytes]);
    }

    pub(crate) fn flush(&mut self) {
        self.stream.write_all(&self.out).expect("the broker stays");
        self.out.clear();
    }
}

/// Connects, and waits for whoever is to listen.
pub(crate) fn connect(address: &str) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true).expect("TCP");
                return stream;
            }
            Err(error) => {
                assert!(begun.elapsed() < Duration::from_secs(10), "{address}: {error}");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
