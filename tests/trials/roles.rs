//! What children of the trials are, beyond those of the conformance suite.

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use chargehand::{Pool, PoolEvent};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::children::{CONCURRENCY, Child, ROLE, cramp, die_with_the_parent, say};
use crate::pair::{Socket, TcpSmol, TcpTokio, WsSmol, WsTokio};
use crate::reach::{Reach, raw_hand};
use crate::rig::{Rig, Tally, answer_to, hand, pause, setup};

/// The test that plays the roles of this module.
const ENTRY: &str = "roles::a_child_of_the_trials_plays_only_roles_that_there_are";
/// How long an answer of a worker of blobs is.
pub(crate) const BLOB_BYTES: usize = 64 << 10;
/// What a confined process may have beyond what it has at its start, and what the pool in it may hold of that.
const LITTLE_BYTES: u64 = 64 << 20;
const HOARD_BYTES: usize = 24 << 20;
/// How many blobs are asked for: 250 MiB in all.
const BLOBS: u32 = 4000;
/// How many heights a busy manager does for each word that it says.
pub(crate) const HEIGHTS: u64 = 200;

/// Starts a worker that dials a manager.
pub(crate) fn dialler<P: Socket>(manager: SocketAddr, name: &str) -> Child {
    start::<P>("dialler", manager, name)
}

/// Starts a manager that listens and does one range after the other. It says `range` after each, `up`
/// with a name for each worker that joins, and `paused` when it can accept none. It aborts if it loses
/// one.
pub(crate) fn busy_manager<P: Socket>() -> Child {
    start::<P>("manager", nowhere(), "roomy")
}

/// Starts the same with room for few open files.
pub(crate) fn cramped_busy_manager<P: Socket>() -> Child {
    start::<P>("manager", nowhere(), "cramped")
}

/// Starts a worker that answers each request with 64 KiB of its first byte.
pub(crate) fn worker_of_blobs<P: Socket>() -> Child {
    start::<P>("blobs", nowhere(), "-")
}

/// Starts the same in a process that may have little more memory than it has at its start.
pub(crate) fn blobs_in_little_memory<P: Socket>() -> Child {
    start::<P>("blobs", nowhere(), "little")
}

/// Starts a manager that may have little more memory than it has at its start, asks for very many blobs and takes
/// none for a while. It says `all taken` at the end.
pub(crate) fn hoarder<P: Socket>() -> Child {
    start::<P>("hoarder", nowhere(), "-")
}

fn start<P: Socket>(what: &str, at: SocketAddr, word: &str) -> Child {
    Child::start_by(ENTRY, &format!("{what} {} {at} {word}", P::NAME))
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Returns the most memory that a child ever held, in bytes.
pub(crate) fn peak_bytes(child: &Child) -> u64 {
    field(&child.proc("status"), "VmHWM:")
}

/// Returns the most memory that a process ever held, in bytes.
pub(crate) fn peak_of(process: &str) -> u64 {
    field(&status(process), "VmHWM:")
}

/// Forgets this process's peak so far, which other tests in it made, and returns what it has now.
pub(crate) fn begin_peak() -> u64 {
    // Where that may not be written the peak is that of all tests so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    field(&status("self"), "VmRSS:")
}

fn status(process: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives")
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes.expect("the field").parse::<u64>().expect("a number") << 10
}

/// Lets this process have so many bytes more than it has now, as `ulimit -v` does. Whoever asks for more is gone.
async fn confine<P: Socket>(more: u64) {
    // The first poll of everything is over then, so its threads are there.
    pause::<P>(Duration::from_millis(20)).await;
    let mut limit = getrlimit(Resource::As);
    limit.current = Some(field(&status("self"), "VmSize:") + more);
    setrlimit(Resource::As, limit).expect("less is always allowed");
}

/// The entry of these children, and a test by itself where no role is given.
#[test]
fn a_child_of_the_trials_plays_only_roles_that_there_are() {
    if let Ok(role) = env::var(ROLE) {
        play(&role);
    } else {
        let blobs = worker_of_blobs::<TcpSmol>();
        assert_ne!(blobs.at.port(), 0);
        assert!(peak_bytes(&blobs) > 1 << 20);
    }
}

fn play(role: &str) {
    let words: Vec<&str> = role.split(' ').collect();
    let [what, pair, address, word] = words[..] else { panic!("no role: {role}") };
    let at = address.parse().expect("an address");
    die_with_the_parent();
    match pair {
        "tcp_tokio" => play_on::<TcpTokio>(what, at, word),
        "tcp_smol" => play_on::<TcpSmol>(what, at, word),
        "ws_tokio" => play_on::<WsTokio>(what, at, word),
        "ws_smol" => play_on::<WsSmol>(what, at, word),
        other => panic!("no pair: {other}"),
    }
}

fn play_on<P: Reach>(what: &str, at: SocketAddr, word: &str) {
    let listen = || {
        let door = TcpListener::bind(at).expect("the port is free");
        let at = door.local_addr().expect("it listens");
        (door, at)
    };
    match what {
        "dialler" => P::run(dial::<P>(at, word)),
        "manager" => {
            let (door, at) = listen();
            P::run(manage::<P>(door, at, word == "cramped"));
        }
        "blobs" => {
            let (door, at) = listen();
            P::run(serve_blobs::<P>(door, at, word == "little"));
        }
        "hoarder" => {
            let (door, at) = listen();
            P::run(hoard::<P>(door, at));
        }
        other => panic!("no role: {other}"),
    }
}

async fn dial<P: Socket>(manager: SocketAddr, name: &str) {
    let hand = hand::<P>(name, |height| {
        Box::pin(async move {
            pause::<P>(Duration::from_millis(1)).await;
            Ok(answer_to(height))
        })
    });
    say(&format!("at {manager}"));
    P::job(P::dial(hand.concurrency(CONCURRENCY), &manager)).done().await;
}

async fn manage<P: Socket>(door: TcpListener, at: SocketAddr, cramped: bool) {
    let setup = setup::<P>().configure(|config| {
        // Strangers stay until others take their places, and links until they break.
        config.connect_timeout = Duration::from_secs(60);
        config.heartbeat_interval = Duration::from_secs(60);
    });
    let rig = Rig::start::<P>(P::accept(setup, door));
    let mut events = rig.pool.events();
    P::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                PoolEvent::Connected { peer, .. } => say(&format!("up {peer}")),
                PoolEvent::AcceptFailed { .. } => say("paused"),
                PoolEvent::Lost { peer, reason, .. } => {
                    eprintln!("{peer} is lost: {reason}");
                    std::process::abort();
                }
                _ => {}
            }
        }
    });
    if cramped {
        cramp::<P>().await;
    }
    say(&format!("at {at}"));
    P::spawn(do_ranges(rig.pool.clone()));
    rig.driver.done().await;
}

async fn do_ranges(pool: Pool) {
    loop {
        Tally::start(&pool, 1000..=999 + HEIGHTS).all_done().await;
        say("range");
    }
}

async fn serve_blobs<P: Reach>(door: TcpListener, at: SocketAddr, is_confined: bool) {
    let hand = raw_hand::<P>(|request| {
        let first = request.first().copied().unwrap_or_default();
        Box::pin(async move { Ok(vec![first; BLOB_BYTES]) })
    });
    let job = P::job(P::serve_raw(hand.concurrency(8), door));
    if is_confined {
        confine::<P>(LITTLE_BYTES).await;
    }
    say(&format!("at {at}"));
    job.done().await;
}

async fn hoard<P: Socket>(door: TcpListener, at: SocketAddr) {
    let setup = setup::<P>().frame_bytes_max(1 << 20).memory_max(HOARD_BYTES);
    let rig = Rig::start::<P>(P::accept(setup, door));
    confine::<P>(LITTLE_BYTES).await;
    say(&format!("at {at}"));
    rig.up::<P>(2).await;
    let requests = (0..BLOBS).map(|number| vec![u8::try_from(number % 251).expect("it is below")]);
    let mut blobs = rig.pool.map_raw(requests);
    let first = blobs.next().await.expect("there are some");
    // Nobody takes any meanwhile.
    pause::<P>(Duration::from_millis(1500)).await;
    let mut count = 0;
    let mut next = Some(first);
    while let Some((request, answer)) = next {
        assert!(answer.expect("it is answered") == vec![request[0]; BLOB_BYTES]);
        count += 1;
        next = blobs.next().await;
    }
    assert_eq!(count, BLOBS);
    drop(blobs);
    rig.stop().await;
    say("all taken");
    // Until the parent has looked at it.
    std::future::pending::<()>().await;
}
