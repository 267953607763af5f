//! A network between managers and workers that can be cut, slow, or stuck in one direction.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smol::future::{or, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{Async, Executor, Task, Timer};

use crate::pair::any_port;

/// How much is forwarded at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Forwards connections, on a thread of its own, until it is dropped.
pub(crate) struct Proxy {
    pub(crate) at: SocketAddr,
    network: Arc<Network>,
    _stop: async_channel::Sender<()>,
}

struct Network {
    target: SocketAddr,
    executor: Executor<'static>,
    links: Mutex<Vec<Task<()>>>,
    is_cut: AtomicBool,
    turned_away: AtomicU32,
    to_target: Way,
    from_target: Way,
}

/// One direction.
#[derive(Clone, Default)]
struct Way {
    is_stuck: Arc<AtomicBool>,
    /// How long each chunk takes.
    pace: Duration,
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::paced(target, Duration::ZERO)
    }

    /// Makes one that takes so long for each 16 KiB, in either direction.
    pub(crate) fn paced(target: SocketAddr, pace: Duration) -> Self {
        let way = || Way { is_stuck: Arc::default(), pace };
        let network = Arc::new(Network {
            target,
            executor: Executor::new(),
            links: Mutex::default(),
            is_cut: AtomicBool::new(false),
            turned_away: AtomicU32::new(0),
            to_target: way(),
            from_target: way(),
        });
        let (door, at) = any_port();
        let (stop, stopped) = async_channel::bounded(1);
        let accepting = Arc::clone(&network);
        std::thread::spawn(move || {
            let stopped = async {
                let _ = stopped.recv().await;
            };
            let run = accepting.executor.run(or(stopped, accepting.accept(door)));
            smol::block_on(run);
            accepting.links().clear();
        });
        Self { at, network, _stop: stop }
    }

    /// Cuts all links, and closes what comes in until they are mended.
    pub(crate) fn cut(&self) {
        let mut links = self.network.links();
        self.network.is_cut.store(true, Ordering::SeqCst);
        links.clear();
    }

    pub(crate) fn mend(&self) {
        self.network.is_cut.store(false, Ordering::SeqCst);
    }

    /// Returns how many came while it was cut.
    pub(crate) fn turned_away(&self) -> u32 {
        self.network.turned_away.load(Ordering::SeqCst)
    }

    /// From now on, or until now, nothing is read of what is sent to the target.
    pub(crate) fn stick_to_target(&self, is_stuck: bool) {
        self.network.to_target.is_stuck.store(is_stuck, Ordering::SeqCst);
    }

    /// From now on, or until now, nothing is read of what the target sends.
    pub(crate) fn stick_from_target(&self, is_stuck: bool) {
        self.network.from_target.is_stuck.store(is_stuck, Ordering::SeqCst);
    }
}

impl Network {
    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Task<()>>> {
        self.links.lock().expect("no panic with it")
    }

    async fn accept(&self, door: TcpListener) {
        let door = Async::new(door).expect("a socket");
        while let Ok((client, _)) = door.accept().await {
            let mut links = self.links();
            if self.is_cut.load(Ordering::SeqCst) {
                self.turned_away.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let (up, down) = (self.to_target.clone(), self.from_target.clone());
            let link = forward_both(client.into(), self.target, up, down);
            links.retain(|link| !link.is_finished());
            links.push(self.executor.spawn(link));
        }
    }
}

async fn forward_both(client: TcpStream, target: SocketAddr, up: Way, down: Way) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    zip(forward(client.clone(), server.clone(), up), forward(server, client, down)).await;
}

async fn forward(mut from: TcpStream, mut to: TcpStream, way: Way) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        while way.is_stuck.load(Ordering::SeqCst) {
            Timer::after(Duration::from_millis(5)).await;
        }
        let Ok(count @ 1..) = from.read(&mut chunk).await else { break };
        if !way.pace.is_zero() {
            Timer::after(way.pace).await;
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
    let _ = from.shutdown(std::net::Shutdown::Read);
}
