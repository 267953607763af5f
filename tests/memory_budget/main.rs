//! One budget in bytes: what a pool and a worker hold, whoever sends how much and whoever takes nothing.
//!
//! The tests take turns, each in a process of its own, whose memory they measure.

use std::fmt;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use chargehand::smol::{Smol, SmolListener};
use chargehand::{Builder, Pool, Threaded, Worker, tcp, ws};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What `raw` needs.
mod pair {
    pub(crate) trait Socket: Send + 'static {
        const WEBSOCKET: bool;
    }
}

/// What `raw` needs.
mod rig {
    pub(crate) fn answer_to(height: u64) -> u64 {
        height
    }
}

pub(crate) struct Tcp;
pub(crate) struct Ws;

impl pair::Socket for Tcp {
    const WEBSOCKET: bool = false;
}

impl pair::Socket for Ws {
    const WEBSOCKET: bool = true;
}

const MIB: usize = 1 << 20;
impl raw::Raw {
    /// Writes one message of two parts but for its end, and that once it is told to.
    fn write_half(&mut self, head: &[u8], body: &[u8], go: &AtomicBool) {
        let (first, rest) = body.split_at(body.len() - 1000);
        self.write(&self.header(head.len() + body.len()));
        self.write(head);
        self.write(first);
        while !go.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        self.write(rest);
    }
}

/// So long nothing may take.
const PATIENCE: Duration = Duration::from_secs(60);

static TURN: Mutex<()> = Mutex::new(());

/// Names a test to a child process.
macro_rules! here {
    ($test:ident) => {
        concat!(module_path!(), "::", stringify!($test))
    };
}

mod managers;
mod ranges;
#[path = "../support/raw.rs"]
mod raw;
mod workers;

/// Runs a test in a process of its own, whose memory is what is in use: an allocator keeps much of what
/// is freed otherwise, the more the longer the freed blocks were.
fn alone(test: &str, play: impl FnOnce()) {
    const CHILD: &str = "CHARGEHAND_MEMORY_BUDGET";
    if std::env::var_os(CHILD).is_some() {
        return play();
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, test) = test.split_once("::").expect("a path");
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .envs([(CHILD, "1"), ("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")])
        .output()
        .expect("it runs again");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// How much memory this process has now.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// Watches how much memory the process has at most.
struct Watch {
    start: usize,
    most: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn start() -> Self {
        let start = resident();
        let most = Arc::new(AtomicUsize::new(start));
        let is_over = Arc::new(AtomicBool::new(false));
        let (seen, ends) = (Arc::clone(&most), Arc::clone(&is_over));
        thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                seen.fetch_max(resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { start, most, is_over }
    }

    /// How much more there was than at the start.
    fn growth(&self) -> usize {
        self.most.load(Ordering::Relaxed) - self.start
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn any_port() -> (TcpListener, SocketAddr) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it has one");
    (door, at)
}

fn listener(door: TcpListener) -> SmolListener {
    SmolListener::from_std(door).expect("a listener")
}

fn accept<P: pair::Socket>(
    builder: Builder<Smol, Threaded>,
    door: TcpListener,
) -> Builder<Smol, Threaded> {
    if P::WEBSOCKET {
        builder.accept(ws::WsListener::new(listener(door)))
    } else {
        builder.accept(tcp::TcpListener::new(listener(door)))
    }
}

fn connect<P: pair::Socket>(
    builder: Builder<Smol, Threaded>,
    at: SocketAddr,
) -> Builder<Smol, Threaded> {
    if P::WEBSOCKET {
        let address = format!("ws://{at}");
        builder.connect(ws::WsConnector::new(Smol::new(), &address).expect("an address"))
    } else {
        let address = at.to_string();
        builder.connect(tcp::TcpConnector::new(Smol::new(), &address).expect("an address"))
    }
}

/// Makes a pool whose driver runs by itself.
fn run(builder: Builder<Smol, Threaded>) -> Pool {
    let (pool, driver) = builder.build().expect("the settings are in range");
    smol::spawn(driver).detach();
    pool
}

/// Serves in the background, with answers of [`answer`].
fn serve<P: pair::Socket>(concurrency: u16) -> SocketAddr {
    let (door, at) = any_port();
    let worker = Worker::new(Smol::new(), |number: u64| async move {
        if number == SLOW {
            smol::Timer::after(Duration::from_millis(300)).await;
        }
        Ok::<_, String>(answer(number))
    });
    let worker = worker.concurrency(concurrency);
    if P::WEBSOCKET {
        smol::spawn(worker.serve(ws::WsListener::new(listener(door)))).detach();
    } else {
        smol::spawn(worker.serve(tcp::TcpListener::new(listener(door)))).detach();
    }
    at
}

/// A request whose answer takes a while.
const SLOW: u64 = 1;
/// From here on answers are short.
const SHORT: u64 = 1_000_000;

fn answer(number: u64) -> Bytes {
    let length = if number >= SHORT { 10_000 } else { MIB };
    Bytes(vec![number.to_le_bytes()[0]; length])
}

/// Bytes that are encoded as a `Vec<u8>`, and not one by one.
#[derive(PartialEq)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Any)
    }
}

/// Completes with the future, or panics once that takes too long.
async fn in_time<R>(future: impl Future<Output = R>) -> R {
    let (mut future, mut late) = (pin!(future), pin!(smol::Timer::after(PATIENCE)));
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        assert!(late.as_mut().poll(cx).is_pending(), "it takes too long");
        Poll::Pending
    })
    .await
}

/// Makes calls one after the other, and returns how long the longest took.
async fn calls(pool: &Pool, count: u64) -> Duration {
    let mut longest = Duration::ZERO;
    for number in SHORT..SHORT + count {
        let begun = Instant::now();
        assert_eq!(in_time(pool.call::<Bytes, u64>(&number)).await, Ok(answer(number)));
        longest = longest.max(begun.elapsed());
    }
    longest
}
