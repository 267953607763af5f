//! Workers that take much and do nothing: those that stay, and those that drop it and join again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chargehand::core::message::{Message, Role};
use chargehand::testing::{Act, Script, World};

use crate::pair::{Socket, any_port};
use crate::raw::{Raw, script};
use crate::rig::{Rig, Tally, setup, steady};
use crate::{counts, millis, secs};

#[test]
fn a_hole_that_answers_pings_takes_a_little_and_then_one_at_a_time() {
    let world = World::new(9);
    let hole = world.worker(Script::new().name("hole").concurrency(u16::MAX).always(Act::Hang));
    world.worker(Script::new().name("good").takes(millis(20)).concurrency(8));
    let pool = world.pool(|builder| {
        builder.ahead_max(16_384).in_flight(u16::MAX).configure(|config| {
            config.attempt_timeout = secs(5);
            config.strikes_max = u16::MAX;
        })
    });
    let mut done = 0;
    let run = pool.for_each::<u64>(1..=16_384, |height, outcome| {
        assert_eq!(outcome, Ok(height));
        done += 1;
    });
    let run = world.run(async {
        let (asked, report) = (
            async {
                world.sleep(millis(4999)).await;
                hole.asked()
            },
            run,
        );
        futures_util::future::join(asked, report).await
    });
    let (asked, report) = run;
    assert!(report.is_complete());
    assert_eq!(done, 16_384);
    assert_eq!(asked, 16, "trust_initial, whatever it offers");
    // The range takes 41 s, and it had one for each 5 s of them.
    assert!(hole.asked() <= 16 + 10, "it was asked {}", hole.asked());
    let counts = counts(&world, &pool);
    assert_eq!((counts.done, counts.exhausted), (16_384, 0));
}

#[test]
fn a_hole_that_is_cut_off_for_its_strikes_gets_its_few_less_and_less_often() {
    let world = World::new(9);
    let hole = world.worker(Script::new().name("hole").concurrency(u16::MAX).always(Act::Hang));
    world.worker(Script::new().name("good").takes(millis(20)).concurrency(8));
    let pool = world.pool(|builder| {
        builder.ahead_max(16_384).in_flight(u16::MAX).configure(|config| {
            config.attempt_timeout = secs(1);
        })
    });
    let report = world.run(pool.for_each::<u64>(1..=16_384, |height, outcome| {
        assert_eq!(outcome, Ok(height));
    }));
    assert!(report.is_complete());
    let stats = world.run(pool.stats()).expect("the driver lives");
    let links = stats.workers.iter().find(|worker| worker.stats.done == 0).map(|w| w.stats.links);
    let links = links.expect("it did none");
    // With a second for each link and none between, there would be forty.
    assert!((3..=15).contains(&links), "it had {links} links in {:?}", world.elapsed());
    assert!(
        hole.asked() <= u64::from(16 * links),
        "in {links} links it was asked {}",
        hole.asked()
    );
    assert_eq!(counts(&world, &pool).exhausted, 0);
}

/// How many heights a range has while workers join, take and drop.
const HEIGHTS: u64 = 20_000;

/// Joins, takes what it gets, drops that, and joins again by the next name, until it is enough.
fn join_take_and_drop<P: Socket>(
    at: std::net::SocketAddr,
    enough: &Arc<AtomicBool>,
    taken: &Arc<AtomicU64>,
    name_of: impl Fn(u64) -> String + Send + 'static,
) -> crate::raw::Script<u64> {
    let (enough, taken) = (Arc::clone(enough), Arc::clone(taken));
    script(move || {
        let mut joined = 0;
        while !enough.load(Ordering::SeqCst) {
            let mut raw = Raw::client::<P>(at);
            raw.stream.set_read_timeout(Some(millis(30))).expect("a valid time");
            raw.say(&Message::hello(Role::Worker, u16::MAX, 1, &name_of(joined)));
            taken.fetch_add(take(&mut raw), Ordering::SeqCst);
            joined += 1;
        }
        joined
    })
}

/// Reads until nothing comes for a moment, and returns how many requests there were.
fn take(raw: &mut Raw) -> u64 {
    use std::io::Read;
    let mut count = 0;
    loop {
        let mut byte = [0];
        match raw.stream.peek(&mut byte) {
            Ok(1..) => {}
            _ => return count,
        }
        match raw.receive_message() {
            Some(Message::Request { .. }) => count += 1,
            Some(_) => {}
            None => {
                let _ = raw.stream.read(&mut byte);
                return count;
            }
        }
    }
}

async fn holes<P: Socket>(name_of: impl Fn(u64) -> String + Send + 'static, joins_min: u64) {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let (good_door, good) = any_port();
    let _good = P::job(P::serve(steady::<P>("good", millis(2)).concurrency(16), good_door));
    P::add(&rig.pool, &good).await.expect("there is room");
    rig.up::<P>(1).await;
    let (enough, taken) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let hole = join_take_and_drop::<P>(at, &enough, &taken, name_of);
    Tally::start(&rig.pool, 1..=HEIGHTS).all_done().await;
    enough.store(true, Ordering::SeqCst);
    let joined = hole.end().await;
    let taken = taken.load(Ordering::SeqCst);
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted, stats.bounced), (HEIGHTS, 0, 0));
    assert!(joined >= joins_min, "it joined only {joined} times");
    assert!(taken > 0, "it took some");
    assert!(taken <= 16 * joined && taken < HEIGHTS / 20, "it took {taken} in {joined} links");
}

pub(crate) async fn a_worker_that_joins_takes_drops_and_rejoins_exhausts_nothing<P: Socket>() {
    holes::<P>(|_| "hole".to_owned(), 20).await;
}

pub(crate) async fn one_with_sixty_names_from_one_host_exhausts_nothing<P: Socket>() {
    holes::<P>(|number| format!("hole {}", number % 60), 20).await;
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        holes:
            a_worker_that_joins_takes_drops_and_rejoins_exhausts_nothing
            one_with_sixty_names_from_one_host_exhausts_nothing;
    }
}
