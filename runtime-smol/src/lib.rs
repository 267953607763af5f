//! Chargehand on smol: clock, sleep, dial and listen.
//!
//! [`Smol`] is both the [`Timer`] and the [`Dial`]; [`SmolListener`] is the [`Accept`]. They work
//! on any executor: smol's reactor runs in a thread of its own, or inside `smol::block_on`. On Unix
//! `SmolUnix` and `SmolUnixListener` are the same for Unix domain sockets.
//!
//! Every socket gets `TCP_NODELAY`: a transport batches its writes itself, so what it writes should
//! leave at once. It is set here, because a transport only sees a byte stream. The rest is set by
//! [`SocketOptions`]: on Linux, Android and Apple's systems a peer whose machine has vanished is
//! found out by `SO_KEEPALIVE`, and the last file descriptors of the process are left for its files.
//!
//! A name's addresses are tried beside each other, a quarter of a second apart ([`race`]).
//!
//! [`race`]: chargehand_core::net::race

mod dial;
mod sleep;
mod sockets;
#[cfg(any(target_os = "android", target_os = "linux"))]
mod system_timer;
#[cfg(unix)]
mod unix;

use std::io::{self, IoSlice, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::Instant;
use chargehand_core::io::{Accept, Dial, Timer};
use chargehand_core::net::{Address, Descriptors, SocketOptions};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

pub use self::dial::Dialling;
pub use self::sleep::Sleep;
#[cfg(unix)]
pub use self::unix::{SmolUnix, SmolUnixListener, SmolUnixStream, UnixDialling};

/// What smol's streams differ in.
trait Socket {
    /// Reads what is there already.
    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Ends the direction to the peer.
    fn end(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn read_now(mut self: &Self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A stream of smol, over TCP where nothing else is said. Closing it closes the direction to the peer, as the end of a connection
/// should be told.
#[derive(Debug)]
pub struct SmolStream<T = TcpStream> {
    inner: Async<T>,
    /// The last read took all that was there: the next one waits before it tries.
    is_drained: bool,
    /// The waker is registered since.
    is_waiting: bool,
    /// Something was written since the last call to read.
    has_written: bool,
}

impl<T> SmolStream<T> {
    const fn new(inner: Async<T>) -> Self {
        Self { inner, is_drained: false, is_waiting: false, has_written: false }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let readable = self.inner.poll_readable(cx);
        self.is_waiting = readable.is_pending();
        readable
    }

    /// Returns the socket, to look at its addresses and options.
    pub fn get_ref(&self) -> &T {
        self.inner.get_ref()
    }

    /// Returns smol's own stream.
    pub fn into_inner(self) -> Async<T> {
        self.inner
    }
}

impl<T: Socket> AsyncRead for SmolStream<T>
where
    Async<T>: AsyncRead + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // Smol's own stream would try first, and once more when it is told of what it has just read.
        // Each time that is a system call for nothing. Readiness is reported as long as it lasts, so
        // what comes in between is not missed.
        let is_eager = mem::take(&mut self.has_written);
        if self.is_drained {
            let waits = self.is_waiting || !is_eager;
            let is_pending = waits && self.poll_wait(cx)?.is_pending();
            if is_eager && (is_pending || !waits) {
                // But whoever reads right after it has written hopes for an answer.
                match self.get_ref().read_now(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if !is_pending {
                            ready!(self.poll_wait(cx))?;
                        }
                    }
                    read => {
                        self.is_drained = matches!(&read, Ok(bytes) if *bytes < buffer.len());
                        return Poll::Ready(read);
                    }
                }
            }
            if is_pending {
                return Poll::Pending;
            }
        }
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.is_waiting = read.is_pending();
        self.is_drained = match &read {
            Poll::Ready(Ok(bytes)) => *bytes < buffer.len(),
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        read
    }
}

impl<T: Socket> AsyncWrite for SmolStream<T>
where
    Async<T>: AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // `Async` only flushes here.
        Poll::Ready(match self.get_ref().end() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

/// Smol's clock, sleep and dialler.
///
/// Copies share one epoch, the moment of [`Smol::new`].
#[derive(Clone, Copy, Debug)]
pub struct Smol {
    epoch: std::time::Instant,
    options: SocketOptions,
}

impl Smol {
    /// Makes a clock that starts now.
    pub fn new() -> Self {
        Self { epoch: std::time::Instant::now(), options: SocketOptions::new() }
    }

    /// Sets other options than the default ones for what is dialled. A listener has its own:
    /// [`SmolListener::socket_options`].
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Listens on `address`: `host:port` or the same after `tcp://`, as [`Address`] has it for both
    /// ends; port 0 takes any free one.
    ///
    /// # Errors
    /// Says what is wrong with the address, or what the system said: choose another port when it is in
    /// use.
    pub async fn bind(address: &str) -> io::Result<SmolListener> {
        let address = Address::to_listen(address).map_err(dial::invalid)?;
        let addresses = dial::resolve(&address).await?;
        SmolListener::from_std(TcpListener::bind(&addresses[..])?)
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for Smol {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::EPOCH.saturating_add(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let span = at.saturating_since(Instant::EPOCH);
        Sleep::until(self.epoch.checked_add(span))
    }

    fn descriptors(&self) -> Option<Descriptors> {
        sockets::descriptors()
    }
}

impl Dial for Smol {
    type Stream = SmolStream;
    type Error = io::Error;
    type Dialling = Dialling;

    fn dial(&self, address: &str) -> Dialling {
        dial::dial(address, self.options)
    }
}

/// A TCP listener of smol, made by [`Smol::bind`] or from one of `std`.
#[derive(Debug)]
pub struct SmolListener {
    inner: Async<TcpListener>,
    options: SocketOptions,
}

impl SmolListener {
    /// Sets other options than the default ones for what is accepted.
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Takes over a listener that is bound already.
    ///
    /// # Errors
    /// Says what the system said when it refused to make the socket non-blocking, or to watch it.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { inner: Async::new(listener)?, options: SocketOptions::new() })
    }

    /// Returns the address that it listens on, with the real port.
    ///
    /// # Errors
    /// Says what the system said; it does not fail on a socket that listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.get_ref().local_addr()
    }
}

impl Accept for SmolListener {
    type Stream = SmolStream;
    type Peer = SocketAddr;
    type Error = io::Error;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(SmolStream, SocketAddr)>> {
        loop {
            match self.inner.get_ref().accept() {
                Ok((stream, peer)) => {
                    sockets::prepare(&stream, &self.options)?;
                    let stream = Async::new(stream).map(SmolStream::new);
                    return Poll::Ready(stream.map(|stream| (stream, peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.inner.poll_readable(cx))?;
                }
                // One peer left the queue: that is no reason to pause for the others.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(sockets::explained(error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use smol::future;
    use smol::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn meet(
        listener: &mut SmolListener,
        address: &str,
    ) -> (io::Result<SmolStream>, io::Result<(SmolStream, SocketAddr)>) {
        future::zip(Smol::new().dial(address), poll_fn(|cx| listener.poll_accept(cx))).await
    }

    /// Returns the two ends of a connection.
    async fn connected() -> (SmolStream, SmolStream) {
        let mut listener = Smol::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (dialled, accepted) = meet(&mut listener, &address).await;
        (dialled.unwrap(), accepted.unwrap().0)
    }

    /// Blocks until there is something to read, without the reactor.
    fn until_there(stream: &SmolStream) {
        let socket = stream.get_ref();
        socket.set_nonblocking(false).unwrap();
        socket.peek(&mut [0]).unwrap();
        socket.set_nonblocking(true).unwrap();
    }

    #[test]
    fn a_dialled_stream_reaches_the_listener_and_neither_end_delays() {
        smol::block_on(async {
            let mut listener = Smol::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let (dialled, accepted) = meet(&mut listener, &address).await;
            let mut dialled = dialled.unwrap();
            let (mut accepted, peer) = accepted.unwrap();

            assert_eq!(peer, dialled.get_ref().local_addr().unwrap());
            assert!(dialled.get_ref().nodelay().unwrap());
            assert!(accepted.get_ref().nodelay().unwrap());
            dialled.write_all(b"hello").await.unwrap();
            let mut read = [0; 5];
            accepted.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"hello");
            dialled.close().await.unwrap();
            assert_eq!(accepted.read(&mut read).await.unwrap(), 0);
        });
    }

    #[test]
    fn what_comes_after_a_short_read_is_read_and_so_is_the_end() {
        smol::block_on(async {
            let (mut dialled, mut accepted) = connected().await;
            let mut read = [0; 64];
            for round in 0..100 {
                dialled.write_all(&[round; 3]).await.unwrap();
                assert_eq!(accepted.read(&mut read).await.unwrap(), 3);
                // Sometimes the next bytes are there before anybody waits for them.
                if round % 2 == 0 {
                    dialled.write_all(b"more").await.unwrap();
                }
                let nothing = future::poll_once(accepted.read(&mut read)).await;
                if nothing.is_none() && round % 2 == 0 {
                    assert_eq!(accepted.read(&mut read).await.unwrap(), 4);
                }
            }
            drop(dialled);
            assert_eq!(accepted.read(&mut read).await.unwrap(), 0);
        });
    }

    #[test]
    fn an_answer_that_came_within_a_write_is_read_without_a_wait() {
        smol::block_on(async {
            let (mut dialled, mut accepted) = connected().await;
            let mut read = [0; 64];
            for round in 0..200 {
                // In every other round, somebody waits for it already.
                if round % 2 == 0 {
                    assert!(future::poll_once(dialled.read(&mut read)).await.is_none());
                }
                dialled.write_all(b"ask").await.unwrap();
                assert_eq!(accepted.read(&mut read).await.unwrap(), 3);
                accepted.write_all(b"answer").await.unwrap();
                until_there(&dialled);
                let answer = future::poll_once(dialled.read(&mut read)).await;
                assert_eq!(answer.expect("it is there").unwrap(), 6);
            }
            // A read that fills the buffer says nothing about the rest.
            dialled.write_all(b"ask").await.unwrap();
            accepted.write_all(&[1; 100]).await.unwrap();
            until_there(&dialled);
            for expected in [64, 36] {
                let answer = future::poll_once(dialled.read(&mut read)).await;
                assert_eq!(answer.expect("it is there").unwrap(), expected);
            }
            assert_eq!(accepted.read(&mut read).await.unwrap(), 3);
            // Whoever reads once more, waits.
            assert!(future::poll_once(dialled.read(&mut read)).await.is_none());
            accepted.write_all(b"more").await.unwrap();
            assert_eq!(dialled.read(&mut read).await.unwrap(), 4);
        });
    }

    #[test]
    fn a_name_is_resolved() {
        smol::block_on(async {
            let std = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut listener = SmolListener::from_std(std).unwrap();
            let port = listener.local_addr().unwrap().port();
            let (dialled, accepted) = meet(&mut listener, &format!("localhost:{port}")).await;
            assert!(dialled.is_ok());
            assert!(accepted.is_ok());
        });
    }

    #[test]
    fn nobody_listening_is_an_error() {
        smol::block_on(async {
            let free = Smol::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let error = Smol::new().dial(&free.to_string()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn a_sleep_ends_at_its_time_by_the_same_clock() {
        let timer = Smol::new();
        let copy = timer;
        let at = timer.now().saturating_add(Duration::from_millis(30));
        smol::block_on(copy.sleep_until(at));
        assert!(timer.now() >= at);
    }

    #[test]
    fn a_sleep_to_the_far_future_is_pending_and_one_to_the_past_is_not() {
        let timer = Smol::new();
        let never = async {
            timer.sleep_until(Instant::FAR_FUTURE).await;
            false
        };
        let soon = async {
            timer.sleep_until(Instant::EPOCH).await;
            true
        };
        assert!(smol::block_on(future::or(never, soon)));
    }

    #[test]
    fn futures_and_streams_can_move_between_threads() {
        fn assert_send<T: Send>() {}
        assert_send::<Dialling>();
        assert_send::<SmolStream>();
        assert_send::<SmolListener>();
        assert_send::<Sleep>();
    }
}
