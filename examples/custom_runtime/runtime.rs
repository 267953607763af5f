//! A runtime of threads: one for the clock, two for each stream, one for each listener.
//!
//! Simple rather than fast. What matters is the contract: a poll that returns `Pending` keeps the
//! waker, and wakes it when it is worth polling again.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, Ready, ready};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time;

use chargehand::core::Instant;
use chargehand::core::io::{Accept, Dial, Exposure, Timer};
use futures_io::{AsyncRead, AsyncWrite};

/// How many bytes a stream holds in each direction before it makes its source wait.
const PIPE_BYTES_MAX: usize = 64 * 1024;

/// Runs a future on the calling thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            // A wake since the poll began makes this return at once.
            Poll::Pending => thread::park(),
        }
    }
}

/// The runtime: a clock, and the way to sockets.
#[derive(Clone)]
pub(crate) struct Threads {
    clock: Arc<Clock>,
}

struct Clock {
    epoch: time::Instant,
    sleepers: Mutex<(BTreeMap<(Instant, u64), Waker>, u64)>,
    changed: Condvar,
}

impl Threads {
    /// Starts the clock's thread. It ends with the process.
    pub(crate) fn new() -> Self {
        let clock = Arc::new(Clock {
            epoch: time::Instant::now(),
            sleepers: Mutex::default(),
            changed: Condvar::new(),
        });
        let ticking = Arc::clone(&clock);
        thread::spawn(move || ticking.run());
        Self { clock }
    }

    /// Listens on `address`.
    pub(crate) fn bind(address: &str) -> io::Result<Listener> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let incoming = Arc::new(Mutex::new(Incoming::default()));
        let filling = Arc::clone(&incoming);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let mut incoming = filling.lock().unwrap();
                if incoming.closed {
                    return;
                }
                incoming.streams.push_back(stream);
                if let Some(waker) = incoming.waker.take() {
                    waker.wake();
                }
            }
        });
        Ok(Listener { incoming, address, thread: Some(thread) })
    }
}

impl Clock {
    fn now(&self) -> Instant {
        Instant::EPOCH.saturating_add(self.epoch.elapsed())
    }

    fn run(&self) {
        let mut guard = self.sleepers.lock().unwrap();
        loop {
            let now = self.now();
            match guard.0.first_key_value() {
                None => guard = self.changed.wait(guard).unwrap(),
                Some((&(at, _), _)) if at > now => {
                    let span = at.saturating_since(now);
                    guard = self.changed.wait_timeout(guard, span).unwrap().0;
                }
                Some(_) => guard.0.pop_first().expect("it is there").1.wake(),
            }
        }
    }
}

impl Timer for Threads {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: Arc::clone(&self.clock), at, key: None }
    }
}

/// Completes at its time.
pub(crate) struct Sleep {
    clock: Arc<Clock>,
    at: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        let clock = Arc::clone(&self.clock);
        let mut guard = clock.sleepers.lock().unwrap();
        guard.1 += 1;
        let new = (self.at, guard.1);
        let key = *self.key.get_or_insert(new);
        guard.0.insert(key, cx.waker().clone());
        clock.changed.notify_one();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.sleepers.lock().unwrap().0.remove(&key);
        }
    }
}

impl Dial for Threads {
    type Stream = Stream;
    type Error = io::Error;
    type Dialling = Ready<io::Result<Stream>>;

    /// Blocks while it connects, which a real runtime would not.
    fn dial(&self, address: &str) -> Self::Dialling {
        ready(TcpStream::connect(address).and_then(Stream::new))
    }

    fn exposure(&self, address: &str) -> Exposure {
        Exposure::of_address(address)
    }
}

/// Incoming streams, taken in by a thread.
pub(crate) struct Listener {
    incoming: Arc<Mutex<Incoming>>,
    address: SocketAddr,
    /// `None` once it is told to end.
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.incoming.lock().unwrap().closed = true;
        // The thread hears of it by a connection. Whoever comes later is refused.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.thread.take().map(thread::JoinHandle::join);
        }
    }
}

#[derive(Default)]
struct Incoming {
    streams: VecDeque<io::Result<TcpStream>>,
    waker: Option<Waker>,
    /// Whether the listener is gone.
    closed: bool,
}

impl Listener {
    /// Returns where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Accept for Listener {
    type Stream = Stream;
    type Peer = SocketAddr;
    type Error = io::Error;
    // Nothing has to be done for the stream before it can be read and written.
    type Opening = Ready<io::Result<Stream>>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, SocketAddr)>> {
        let mut incoming = self.incoming.lock().unwrap();
        let Some(stream) = incoming.streams.pop_front() else {
            incoming.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(stream.and_then(|stream| {
            let peer = stream.peer_addr()?;
            Ok((ready(Ok(Stream::new(stream)?)), peer))
        }))
    }

    fn exposure(&self) -> Exposure {
        Exposure::of_ip(self.address.ip())
    }
}

/// A socket with a thread for each direction.
pub(crate) struct Stream {
    socket: TcpStream,
    input: Arc<Pipe>,
    output: Arc<Pipe>,
}

/// Bytes between a socket's thread and the future that reads or writes the stream.
#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    /// No more bytes will be put in.
    ended: bool,
    error: Option<io::ErrorKind>,
    waker: Option<Waker>,
}

impl Stream {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let (input, output) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
        let (source, sink) = (socket.try_clone()?, socket.try_clone()?);
        let (filling, draining) = (Arc::clone(&input), Arc::clone(&output));
        thread::spawn(move || filling.fill_from(source));
        thread::spawn(move || draining.drain_into(sink));
        Ok(Self { socket, input, output })
    }
}

impl Pipe {
    fn change(&self, change: impl FnOnce(&mut PipeState)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        self.changed.notify_one();
    }

    fn fill_from(&self, mut socket: TcpStream) {
        let mut chunk = [0; 4096];
        loop {
            let full = |state: &mut PipeState| state.bytes.len() >= PIPE_BYTES_MAX && !state.ended;
            drop(self.changed.wait_while(self.state.lock().unwrap(), full).unwrap());
            match socket.read(&mut chunk) {
                Ok(0) => return self.change(|state| state.ended = true),
                Ok(count) => self.change(|state| state.bytes.extend(&chunk[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.change(|state| state.error = Some(error.kind())),
            }
        }
    }

    fn drain_into(&self, mut socket: TcpStream) {
        loop {
            let empty = |state: &mut PipeState| state.bytes.is_empty() && !state.ended;
            let mut state = self.changed.wait_while(self.state.lock().unwrap(), empty).unwrap();
            let chunk: Vec<u8> = state.bytes.iter().copied().collect();
            drop(state);
            if chunk.is_empty() {
                let _ = socket.shutdown(Shutdown::Write);
                return;
            }
            let result = socket.write_all(&chunk);
            // The bytes count as held until the socket has them.
            self.change(|state| match result {
                Ok(()) => drop(state.bytes.drain(..chunk.len())),
                Err(error) => state.error = Some(error.kind()),
            });
            state = self.state.lock().unwrap();
            if state.error.is_some() {
                return;
            }
        }
    }

    /// Looks at the state: `Pending`, with the waker kept, unless `look` finds something.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&mut PipeState) -> Option<R>,
    ) -> Poll<io::Result<R>> {
        let mut state = self.state.lock().unwrap();
        if let Some(found) = look(&mut state) {
            self.changed.notify_one();
            return Poll::Ready(Ok(found));
        }
        if let Some(kind) = state.error {
            return Poll::Ready(Err(kind.into()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.input.poll(cx, |state| {
            let count = state.bytes.read(buffer).expect("a queue of bytes never fails");
            (count > 0 || state.ended).then_some(count)
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.output.poll(cx, |state| {
            let count = bytes.len().min(PIPE_BYTES_MAX.saturating_sub(state.bytes.len()));
            state.bytes.extend(&bytes[..count]);
            (count > 0 && state.error.is_none()).then_some(count)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll(cx, |state| state.bytes.is_empty().then_some(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.change(|state| state.ended = true);
        self.poll_flush(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Ends both threads: one reads the end, the other fails to write.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.input.change(|state| state.ended = true);
        self.output.change(|state| state.ended = true);
    }
}
