//! Workers that stop politely cost a task no attempt, and what waits at them is handed back at once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chargehand::core::io::Timer;
use chargehand::testing::{ManualTimer, WorkerHandle, World};
use chargehand::worker::Handler;
use chargehand::{TaskError, Worker, WorkerOptions};
use futures_util::future::join_all;

use crate::pair::{Socket, any_port};
use crate::raw::{Raw, done, encoded, script};
use crate::rig::{Rig, Tally, answer_to, hand, pause, setup, steady, until};
use crate::roles::leaver;
use crate::{counts, millis, secs};

/// Adds a worker whose every task takes `span`, and who has little patience when it is stopped. It
/// notes that it has the last task that began.
fn host(
    world: &World,
    number: usize,
    span: Duration,
    holder: &Rc<Cell<Option<usize>>>,
) -> WorkerHandle {
    let (timer, holder) = (world.timer(), Rc::clone(holder));
    world.host(&format!("host-{number}"), move || {
        let (timer, holder) = (timer.clone(), Rc::clone(&holder));
        brief(timer.clone(), move |height: u64| {
            holder.set(Some(number));
            let nap = timer.sleep_until(timer.now().saturating_add(span));
            async move {
                nap.await;
                Ok::<_, String>(height)
            }
        })
    })
}

fn brief<F, A>(timer: ManualTimer, work: F) -> Worker<ManualTimer, impl Handler>
where
    F: Fn(u64) -> A + 'static,
    A: Future<Output = Result<u64, String>> + 'static,
{
    Worker::new(timer, work).drain_timeout(millis(100))
}

/// Waits until the task has run somewhere for a second. Those that stopped are dialled later and later.
async fn next_holder(world: &World, holder: &Cell<Option<usize>>) -> usize {
    loop {
        world.sleep(secs(1)).await;
        if let Some(number) = holder.take() {
            return number;
        }
    }
}

#[test]
fn a_long_task_survives_many_workers_that_stop_before_it_is_done() {
    let world = World::new(5);
    let holder = Rc::new(Cell::new(None));
    let hosts: Vec<_> = (0..3).map(|number| host(&world, number, secs(3), &holder)).collect();
    let pool = world.pool(|builder| builder.configure(|config| config.attempts_max = 1));
    let task = pool.try_submit::<u64, u64>(7).expect("there is room");
    for _ in 0..20 {
        let number = world.run(next_holder(&world, &holder));
        hosts[number].stops().now();
        world.at(world.elapsed() + millis(500), hosts[number].revives());
    }
    assert_eq!(world.run(task), Ok(7));
    let counts = counts(&world, &pool);
    assert_eq!((counts.done, counts.exhausted, counts.bounced, counts.sent), (1, 0, 0, 21));
}

#[test]
fn a_task_whose_workers_always_stop_bounces_in_the_end_and_says_so() {
    let world = World::new(5);
    let holder = Rc::new(Cell::new(None));
    let hosts: Vec<_> = (0..3).map(|number| host(&world, number, secs(3), &holder)).collect();
    let pool = world.pool(|builder| builder.configure(|config| config.resends_max = 6));
    let task = world.spawn({
        let pool = pool.clone();
        async move { pool.call::<u64, u64>(&7).await }
    });
    for _ in 0..6 {
        let number = world.run(next_holder(&world, &holder));
        hosts[number].stops().now();
        world.at(world.elapsed() + millis(500), hosts[number].revives());
    }
    let error = world.run(task).expect_err("it never had three seconds");
    assert_eq!(error, TaskError::Bounced { sends: 6 });
    assert!(error.to_string().contains("resends_max"), "{error}");
    assert_eq!(counts(&world, &pool).bounced, 1);
}

#[test]
fn what_waits_at_a_worker_that_stops_is_with_an_idle_one_at_once() {
    let world = World::new(5);
    let timer = world.timer();
    let patient = |name: &str, concurrency| {
        let timer = timer.clone();
        world.host(name, move || {
            let clock = timer.clone();
            let work = move |height: u64| {
                let nap = clock.sleep(if height < 100 { millis(1) } else { secs(11) });
                async move {
                    nap.await;
                    Ok::<_, String>(height)
                }
            };
            Worker::new(timer.clone(), work).concurrency(concurrency)
        })
    };
    let stops = patient("stops", 1);
    let pool = world.pool(|builder| builder.in_flight(8));
    // It earns its look-ahead.
    for height in 0..8 {
        assert_eq!(world.run(pool.call::<u64, u64>(&height)), Ok(height));
    }
    let calls = join_all((100..107).map(|height| {
        let pool = pool.clone();
        async move { pool.call::<u64, u64>(&height).await }
    }));
    let calls = world.spawn(calls);
    world.advance(Duration::ZERO);
    assert_eq!(stops.asked(), 8 + 7, "six wait there, behind the one that runs");
    let idle = patient("idle", 8);
    world.run(pool.add(idle.connector(), WorkerOptions::new())).expect("there is room");
    world.advance(millis(100));
    assert_eq!(idle.asked(), 0);
    let begun = world.elapsed();
    stops.stops().now();
    world.advance(millis(10));
    assert_eq!(idle.asked(), 6);
    assert!(world.run(calls).iter().all(Result::is_ok));
    assert_eq!(world.elapsed().saturating_sub(begun), secs(11));
    let counts = counts(&world, &pool);
    assert_eq!((counts.returned, counts.lost), (6, 0));
}

pub(crate) async fn a_long_task_survives_workers_that_stop_one_after_another<P: Socket>() {
    const STOPS: usize = 8;
    let holder = Arc::new(AtomicUsize::new(usize::MAX));
    let mut setup = setup::<P>().configure(|config| config.attempts_max = 1);
    let (mut stoppers, mut jobs) = (Vec::new(), Vec::new());
    for number in 0..=STOPS {
        let holder = Arc::clone(&holder);
        let slow = hand::<P>(&format!("slow {number}"), move |height| {
            holder.store(number, Ordering::SeqCst);
            Box::pin(async move {
                pause::<P>(millis(1500)).await;
                Ok(answer_to(height))
            })
        });
        let slow = slow.drain_timeout(millis(50));
        stoppers.push(slow.stopper());
        let (door, at) = any_port();
        setup = P::connect(setup, &at);
        jobs.push(P::job(P::serve(slow, door)));
    }
    let rig = Rig::start::<P>(setup);
    let task = rig.pool.submit::<u64, u64>(&3).await.expect("it is queued");
    for _ in 0..STOPS {
        let has_it = || holder.load(Ordering::SeqCst) != usize::MAX;
        until::<P>("some worker has it", has_it).await;
        pause::<P>(millis(50)).await;
        stoppers[holder.swap(usize::MAX, Ordering::SeqCst)].stop();
    }
    assert_eq!(task.await, Ok(answer_to(3)));
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted, stats.sent), (1, 0, STOPS as u64 + 1));
}

pub(crate) async fn a_task_survives_processes_that_stop_because_of_it<P: Socket>() {
    let mut leavers: Vec<_> = (0..7).map(|_| leaver::<P>()).collect();
    let mut setup = setup::<P>().configure(|config| config.attempts_max = 2);
    for child in &leavers {
        setup = P::connect(setup, &child.at);
    }
    let rig = Rig::start::<P>(setup);
    let task = rig.pool.submit::<u64, u64>(&3).await.expect("it is queued");
    until::<P>("all have left", || leavers.iter_mut().all(crate::children::Child::is_over)).await;
    let (door, at) = any_port();
    let _job = P::job(P::serve(steady::<P>("stays", millis(1)), door));
    P::add(&rig.pool, &at).await.expect("there is room");
    assert_eq!(task.await, Ok(answer_to(3)));
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.sent), (1, 8), "{stats:?}");
}

pub(crate) async fn what_waits_at_a_worker_that_stops_runs_elsewhere_at_once<P: Socket>() {
    let (door, at) = any_port();
    let work = |started: Arc<AtomicU32>| {
        move |height| -> crate::rig::Answer {
            started.fetch_add(1, Ordering::SeqCst);
            let span = if height < 100 { millis(1) } else { secs(11) };
            Box::pin(async move {
                pause::<P>(span).await;
                Ok(answer_to(height))
            })
        }
    };
    let stops = hand::<P>("stops", work(Arc::default()));
    let stopper = stops.stopper();
    let _job = P::job(P::serve(stops, door));
    let rig = Rig::start::<P>(P::connect(setup::<P>().in_flight(8), &at));
    for height in 0..8 {
        assert_eq!(rig.pool.call::<u64, u64>(&height).await, Ok(answer_to(height)));
    }
    let mut tasks = Vec::new();
    for height in 100..107 {
        tasks.push(rig.pool.submit::<u64, u64>(&height).await.expect("it is queued"));
    }
    crate::rig::eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 7).await;
    let started = Arc::<AtomicU32>::default();
    let (door, idle) = any_port();
    let hand = hand::<P>("idle", work(Arc::clone(&started))).concurrency(8);
    let _idle = P::job(P::serve(hand, door));
    P::add(&rig.pool, &idle).await.expect("there is room");
    rig.up::<P>(2).await;
    let begun = Instant::now();
    stopper.stop();
    until::<P>("six begin elsewhere", || started.load(Ordering::SeqCst) == 6).await;
    let span = begun.elapsed();
    assert!(span < secs(2), "{span:?} is not at once");
    drop(tasks);
    rig.stop().await;
}

/// It answers all that it has, and is gone while the manager sends it more.
pub(crate) async fn what_a_worker_answered_before_it_was_gone_is_not_asked_again<P: Socket>() {
    const WINDOW: u16 = 300;
    let (door, at) = any_port();
    let play = script(move || {
        let mut raw = Raw::server::<P>(&door);
        raw.greet_as_worker("leaves", WINDOW);
        let held: Vec<_> = (0..WINDOW).map(|_| raw.request().expect("a request")).collect();
        // In one write: of many short ones the system drops some where the other end falls behind.
        let answers = held.iter().flat_map(|&(task, attempt, height)| {
            let body = postcard::to_stdvec(&answer_to(height)).expect("a number");
            raw.framed(&encoded(&done(task, attempt), &body))
        });
        raw.write(&answers.collect::<Vec<u8>>());
        drop(raw);
        let mut raw = Raw::server::<P>(&door);
        raw.greet_as_worker("leaves", WINDOW);
        let mut again = 0;
        while let Some((task, attempt, height)) = raw.request() {
            again += u32::from(held.iter().any(|&(_, _, answered)| answered == height));
            raw.answer(task, attempt, answer_to(height));
        }
        again
    });
    let setup = setup::<P>().in_flight(WINDOW).configure(|config| {
        config.trust_initial = WINDOW.into();
    });
    let rig = Rig::start::<P>(P::connect(setup, &at));
    rig.up::<P>(1).await;
    Tally::start(&rig.pool, 1..=2 * u64::from(WINDOW)).all_done().await;
    rig.stop().await;
    assert_eq!(play.end().await, 0, "done twice");
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        stops:
            a_long_task_survives_workers_that_stop_one_after_another
            a_task_survives_processes_that_stop_because_of_it
            what_waits_at_a_worker_that_stops_runs_elsewhere_at_once
            what_a_worker_answered_before_it_was_gone_is_not_asked_again;
    }
}
