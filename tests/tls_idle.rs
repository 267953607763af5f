//! What a link over TLS takes while nothing goes over it.

use std::time::Duration;

use chargehand::smol::{Smol, SmolListener};
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::{Authority, Members, Role};
use chargehand::{Pool, Worker};
use futures_util::future::{Either, select};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const LINKS: u32 = 60;
/// At each of the two ends.
const LINK_BYTES_MAX: usize = 24 << 10;

/// Members of one pool: `m1` and `w1`.
fn members() -> (Members, Members) {
    let dir = std::env::temp_dir().join(format!("chargehand-tls-idle-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a folder of its own");
    let authority = Authority::create(dir.join("authority.pem")).expect("a new file");
    authority.join(Role::Pool, "m1").write(dir.join("m1")).expect("a new file");
    authority.join(Role::Worker, "w1").write(dir.join("w1")).expect("a new file");
    let pool = Members::pool(dir.join("m1")).expect("its file");
    let worker = Members::worker(dir.join("w1")).expect("its file");
    std::fs::remove_dir_all(dir).expect("it is there");
    (pool, worker)
}

async fn soon<F: Future>(future: F) -> F::Output {
    let late = smol::Timer::after(Duration::from_secs(30));
    match select(std::pin::pin!(future), late).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("it never came about"),
    }
}

/// Waits until so many are up and have done a task, so that each has sent and read.
async fn up(pool: &Pool, count: u32) {
    while pool.stats().await.expect("the driver lives").tasks.workers_up < count {
        smol::Timer::after(Duration::from_millis(5)).await;
    }
    for height in 0..4 * u64::from(count) {
        assert_eq!(pool.call::<u64, u64>(&height).await, Ok(height));
    }
    // Tickets and the last answers have left by then.
    smol::Timer::after(Duration::from_millis(200)).await;
}

#[test]
fn an_idle_link_over_tls_takes_24_kib_at_most_at_either_end() {
    smol::block_on(async {
        let (own, hands) = members();
        let door = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = format!("tls://{}", door.local_addr().expect("it listens"));
        let listener = own.accept(SmolListener::from_std(door).expect("it listens"));
        let builder = Pool::builder(Smol::new()).links_per_identity(1000);
        let (pool, driver) =
            builder.accept(TcpListener::new(listener)).build().expect("limits in range");
        let driver = smol::spawn(driver);
        let mut jobs = Vec::new();
        let mut join = |number: u32| {
            let connector = TcpConnector::new(hands.dial(Smol::new()), &at).expect("an address");
            let hand =
                Worker::new(Smol::new(), |height: u64| async move { Ok::<_, String>(height) });
            let hand = hand.name(format!("w1/{number}"));
            jobs.push(smol::spawn(async move { hand.dial(connector).await }));
        };
        // What is there once for all of them is there by then.
        (0..20).for_each(&mut join);
        soon(up(&pool, 20)).await;
        let before = ALLOCATOR.current_usage();
        (20..20 + LINKS).for_each(&mut join);
        soon(up(&pool, 20 + LINKS)).await;
        let each = (ALLOCATOR.current_usage() - before) / LINKS as usize;
        assert!(each < 2 * LINK_BYTES_MAX, "{each} bytes for a link's two ends and its worker");
        assert!(each > 4 << 10, "{each} bytes cannot be all");
        soon(pool.stop()).await.expect("the driver lives");
        soon(driver).await;
    });
}
