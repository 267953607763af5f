//! What only a process can do: die at once, stand still, run out of memory or of open files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chargehand::TaskError;
use rustix::process::Signal;

use crate::children::{CONCURRENCY, Child, POISON};
use crate::pair::Socket;
use crate::raw::{Raw, Script, dial, script};
use crate::rig::{Rig, Tally, answer_to, eventually, impatient, pause, quick, setup, works};

pub(crate) async fn a_killed_worker_loses_nothing_and_is_found_again_on_its_port<P: Socket>() {
    let (mut victim, other) = (Child::worker::<P>(CONCURRENCY), Child::worker::<P>(CONCURRENCY));
    let setup = P::connect(P::connect(setup::<P>(), &victim.at), &other.at);
    let mut rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let mut range = Tally::start(&rig.pool, 1000..=4000);
    range.take(300).await;
    victim.signal(Signal::KILL);
    victim.wait();
    rig.watch.lost::<P>().await;
    range.take(300).await;
    let _again = Child::worker_at::<P>(&victim.at.to_string(), CONCURRENCY);
    rig.up::<P>(2).await;
    // The same once more, by the other one.
    drop(other);
    range.all_done().await;
    let stats = rig.stop().await;
    assert!(stats.lost > 0, "it held some: {stats:?}");
    assert_eq!(stats.failed + stats.cancelled + stats.aborted, 0);
}

pub(crate) async fn a_stopped_worker_is_lost_and_rejoins_when_it_is_continued<P: Socket>() {
    let (victim, other) = (Child::worker::<P>(CONCURRENCY), Child::worker::<P>(CONCURRENCY));
    let setup = P::connect(P::connect(impatient::<P>(setup::<P>()), &victim.at), &other.at);
    let mut rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let mut range = Tally::start(&rig.pool, 1000..=3000);
    range.take(300).await;
    victim.signal(Signal::STOP);
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("silent"), "{why}");
    victim.signal(Signal::CONT);
    rig.up::<P>(2).await;
    range.all_done().await;
    let stats = rig.stop().await;
    assert_eq!(stats.done, 2001);
    assert!(stats.lost > 0, "it held some: {stats:?}");
}

/// Starts a worker's process again whenever it has died.
struct Keeper {
    at: SocketAddr,
    enough: Arc<AtomicBool>,
    script: Script<u32>,
}

impl Keeper {
    fn of<P: Socket>() -> Self {
        let mut child = Child::worker::<P>(1);
        let at = child.at;
        let enough = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&enough);
        let script = script(move || {
            let mut deaths = 0;
            while !ends.load(Ordering::SeqCst) {
                if child.is_over() {
                    deaths += 1;
                    child = Child::worker_at::<P>(&at.to_string(), 1);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            deaths
        });
        Self { at, enough, script }
    }
}

pub(crate) async fn a_task_that_kills_every_worker_ends_exhausted_and_the_others_finish<
    P: Socket,
>() {
    let keepers = [Keeper::of::<P>(), Keeper::of::<P>()];
    let mut setup = setup::<P>().configure(|config| config.attempts_max = 3);
    for keeper in &keepers {
        setup = P::connect(setup, &keeper.at);
    }
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let results = Tally::start(&rig.pool, POISON - 100..=POISON + 100).finish().await;
    for (height, result) in results {
        let exhausted = Err(TaskError::Exhausted { attempts: 3 });
        assert_eq!(result, if height == POISON { exhausted } else { Ok(answer_to(height)) });
    }
    rig.up::<P>(2).await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted), (200, 1));
    let mut deaths = 0;
    for keeper in keepers {
        keeper.enough.store(true, Ordering::SeqCst);
        deaths += keeper.script.end().await;
    }
    assert_eq!(deaths, 3, "one for each attempt");
}

/// How much memory so many connections may take, each with its small buffers.
const BYTES_EACH: u64 = 32 << 10;
const MANY: u64 = 60;

pub(crate) async fn announced_lengths_take_no_memory<P: Socket>() {
    let worker = Child::worker::<P>(CONCURRENCY);
    let at = worker.at;
    announce_all::<P>(&worker, move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_manager(60_000, 1);
        raw
    })
    .await;
    let manager = Child::manager::<P>();
    let at = manager.at;
    let number = std::sync::atomic::AtomicU32::new(0);
    announce_all::<P>(&manager, move || {
        let mut raw = Raw::client::<P>(at);
        let name = format!("raw {}", number.fetch_add(1, Ordering::SeqCst));
        raw.greet_as_worker(&name, 1);
        raw
    })
    .await;
}

async fn announce_all<P: Socket>(child: &Child, greet: impl Fn() -> Raw + Send + 'static) {
    let announce = move || {
        let mut raw = greet();
        let header = raw.header((16 << 20) - 1);
        raw.write(&header);
        raw.write(&[3; 100]);
        raw
    };
    // What is held for ever after the first one is not the question.
    let (warm, announce) = script(move || (announce(), announce)).end().await;
    pause::<P>(Duration::from_millis(200)).await;
    let before = child.resident_bytes();
    let held = script(move || (0..MANY).map(|_| announce()).collect::<Vec<_>>()).end().await;
    // Until it has certainly read them: it answers one that comes later.
    pause::<P>(Duration::from_millis(200)).await;
    let grown = child.resident_bytes().saturating_sub(before);
    assert!(grown < MANY * BYTES_EACH, "{MANY} connections took {grown} bytes");
    drop((warm, held));
}

/// Opens more connections than the child can, and sees it pause and recover.
async fn crowd_out<P: Socket>(child: Child) -> Child {
    let at = child.at;
    let crowd = script(move || {
        let crowd: Vec<_> = (0..60).map(|_| dial(at)).collect();
        child.wait_for("paused");
        (crowd, child)
    });
    let (crowd, child) = crowd.end().await;
    let before = child.processor_time();
    pause::<P>(Duration::from_secs(1)).await;
    let used = child.processor_time().saturating_sub(before);
    assert!(used < Duration::from_millis(250), "it used {used:?} of a second");
    drop(crowd);
    child
}

pub(crate) async fn a_worker_out_of_files_pauses_and_recovers<P: Socket>() {
    let child = crowd_out::<P>(Child::cramped_worker::<P>()).await;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &child.at));
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn a_manager_out_of_files_pauses_and_recovers<P: Socket>() {
    let child = crowd_out::<P>(Child::cramped_manager::<P>()).await;
    let _good = P::job(P::dial(quick::<P>("good"), &child.at));
    script(move || {
        child.wait_for("done");
    })
    .end()
    .await;
}

pub(crate) async fn a_crash_loop_backs_off_and_leaves_the_fleet_alone<P: Socket>() {
    let good = Child::worker::<P>(CONCURRENCY);
    // Accepts, greets, and dies at once, again and again.
    let (door, at) = crate::pair::any_port();
    let enough = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&enough);
    let flapping = script(move || {
        let mut links = 0;
        while !ends.load(Ordering::SeqCst) {
            let mut raw = Raw::server::<P>(&door);
            raw.greet_as_worker("flapping", 1);
            links += 1;
        }
        links
    });
    let setup = P::connect(P::connect(setup::<P>(), &good.at), &at)
        .configure(|config| config.attempts_max = 1000);
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(1).await;
    Tally::start(&rig.pool, 1000..=2500).all_done().await;
    eventually::<P>(&rig.pool, |stats| {
        stats.workers.iter().any(|worker| worker.stats.backoff_attempts >= 5)
    })
    .await;
    enough.store(true, Ordering::SeqCst);
    assert!(flapping.end().await >= 5);
    rig.stop().await;
}
