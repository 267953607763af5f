//! Who gets in where many were before: crowds of invented names, restarts, and workers that are full.

use std::collections::VecDeque;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chargehand::core::message::{Code, Extensions, Message, Role};
use chargehand::core::{Jitter, WorkerState};
use chargehand::testing::{Script, World};
use chargehand::worker::WorkerEvent;
use chargehand::{PoolEvent, WorkerInfo};

use crate::pair::{Go, Socket, any_port, any_port_for_many};
use crate::raw::{self, Raw, dial_plain_from, script};
use crate::rig::{Rig, answer_to, eventually, quick, setup, within, works};
use crate::{counts, millis, secs};

/// Joins under a name. The wire ends without a word when it is dropped.
fn join<P: Socket>(at: std::net::SocketAddr, name: &str) -> Raw {
    let mut raw = Raw::client::<P>(at);
    raw.greet_as_worker(name, 1);
    raw
}

pub(crate) async fn a_thousand_invented_names_keep_no_good_worker_out<P: Socket>() {
    let (door, at) = any_port();
    // As many as the pool has room for, and a few that push the first out again.
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let crowd = script(move || {
        for number in 0..1100 {
            drop(join::<P>(at, &format!("invented {number}")));
        }
    });
    crowd.end().await;
    eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == 0).await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.workers.len(), 1024, "it is full");
    // On its first connection: one that is sent away tries again a second later at the soonest.
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&told);
    let good = quick::<P>("good").on_event(move |event| ear.lock().unwrap().push(event.clone()));
    let _good = P::job(P::dial(good, &at));
    let is_good =
        |event: &PoolEvent| matches!(event, PoolEvent::Connected { peer, .. } if &**peer == "good");
    rig.watch.until::<P>("the good worker", is_good).await;
    works(&rig.pool).await;
    let told = told.lock().unwrap().clone();
    assert!(matches!(&told[..], [WorkerEvent::Connected { .. }]), "{told:?}");
    rig.stop().await;
}

/// How long that takes, where no machine is busy with other things.
#[test]
fn a_thousand_invented_names_cost_a_good_worker_no_time() {
    let world = World::new(11);
    let crowd: Vec<_> = (0..1100).map(|_| world.worker(Script::new().dials_in())).collect();
    let pool = world.pool(|builder| builder);
    world.advance(secs(1));
    assert!(counts(&world, &pool).workers_up >= 1000, "most are in");
    for worker in &crowd {
        worker.dies().now();
    }
    world.advance(secs(1));
    let stats = world.run(pool.stats()).expect("the driver lives");
    assert_eq!((stats.tasks.workers_up, stats.workers.len()), (0, 1024), "it is full");
    let begun = world.elapsed();
    world.worker(Script::new().name("good").dials_in());
    assert_eq!(world.run(pool.call::<u64, u64>(&7)), Ok(7));
    let span = world.elapsed().saturating_sub(begun);
    assert!(span < secs(3), "it took {span:?}");
}

/// Whoever opens connections as fast as it can from a host of its own, and keeps the latest.
fn crowd<R: Send + 'static>(
    count: usize,
    kept: usize,
    is_over: &Arc<AtomicBool>,
    open: impl Fn(usize) -> R + Send + 'static,
) -> raw::Script<usize> {
    let is_over = Arc::clone(is_over);
    script(move || {
        let mut latest = VecDeque::new();
        let numbers =
            (0..).take_while(|&number| number < count || !is_over.load(Ordering::Relaxed));
        numbers.fold(0, |opened, number| {
            latest.push_back(open(number));
            if latest.len() > kept {
                latest.pop_front();
            }
            opened + 1
        })
    })
}

fn is_up(worker: &WorkerInfo) -> bool {
    matches!(worker.stats.state, WorkerState::Up)
}

pub(crate) async fn five_thousand_connections_and_two_thousand_names_keep_no_good_worker_out<
    P: Socket,
>() {
    let (door, at) = any_port_for_many();
    let set = setup::<P>().workers_max(200).handshakes_max(64);
    let rig = Rig::start::<P>(P::accept(set, door));
    let is_over = Arc::new(AtomicBool::new(false));
    // These say what a handshake begins with, and no more.
    let begins: &[u8] = if P::WEBSOCKET { b"GET /" } else { &[9, 0] };
    let dribble = |host| {
        let from = Ipv4Addr::new(127, 0, 0, host);
        crowd(2500, 100, &is_over, move |_| {
            let mut raw = dial_plain_from(from, at);
            // It may have been pushed out already.
            let _ = raw.stream.write_all(begins);
            raw
        })
    };
    let crowds = [dribble(3), dribble(4)];
    // And these stay, as workers of names of which each is new.
    let invented = crowd(2000, 400, &is_over, move |number| {
        let mut raw = Raw::client_from::<P>(Ipv4Addr::new(127, 0, 0, 2), at);
        raw.say(&Message::hello(Role::Worker, 1, 1, &format!("invented {number}")));
        raw
    });
    eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == 200).await;
    let mut good = Vec::new();
    for number in 0..5 {
        let name = format!("good {number}");
        let started = Instant::now();
        good.push(P::job(P::dial(quick::<P>(&name), &at)));
        eventually::<P>(&rig.pool, |stats| {
            stats.workers.iter().any(|worker| *worker.peer == *name && is_up(worker))
        })
        .await;
        let span = started.elapsed();
        assert!(span < secs(2), "{name} took {span:?}");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut dribbled = 0;
    for crowd in crowds {
        dribbled += crowd.end().await;
    }
    assert!(dribbled >= 5000, "{dribbled}");
    assert!(invented.end().await >= 2000);
    // They are all still there.
    eventually::<P>(&rig.pool, |stats| {
        let is_good = |worker: &&WorkerInfo| worker.peer.starts_with("good") && is_up(worker);
        stats.workers.iter().filter(is_good).count() == 5
    })
    .await;
    rig.stop().await;
}

pub(crate) async fn a_worker_that_restarts_under_new_names_locks_nobody_out<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>().workers_max(4), door));
    let kept = quick::<P>("kept");
    let _kept = P::job(P::dial(kept, &at));
    rig.up::<P>(1).await;
    // Killed each time, so that it says nothing.
    let restarts = script(move || {
        for number in 0..8 {
            let started = Instant::now();
            drop(join::<P>(at, &format!("worker-{number:08x}")));
            let span = started.elapsed();
            assert!(span < secs(2), "start {number} took {span:?}");
        }
        join::<P>(at, "worker-last")
    });
    let last = restarts.end().await;
    rig.up::<P>(2).await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert!(stats.workers.len() <= 4, "{stats:?}");
    assert!(stats.workers.iter().any(|worker| &*worker.peer == "kept"), "one that is up stays");
    drop(last);
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn who_holds_a_place_is_not_pushed_out<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>().workers_max(2), door));
    let play = script(move || {
        let both = [join::<P>(at, "one"), join::<P>(at, "two")];
        let mut third = Raw::client::<P>(at);
        third.say(&Message::hello(Role::Worker, 1, 1, "three"));
        let (code, text) = third.goodbye().expect("a word");
        assert_eq!(code, Code::Busy);
        assert!(text.contains("workers_max"), "{text}");
        both
    });
    let both = play.end().await;
    rig.up::<P>(2).await;
    drop(both);
    rig.stop().await;
}

pub(crate) async fn who_said_goodbye_is_not_kept<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let play = script(move || {
        for number in 0..20 {
            let mut raw = join::<P>(at, &format!("polite {number}"));
            raw.say(&Message::Drain);
            raw.say(&Message::Goodbye { code: Code::Stopped, text: "done" });
            raw.rest();
        }
    });
    play.end().await;
    // A real one does the same.
    let hand = quick::<P>("real");
    let stopper = hand.stopper();
    let job = P::job(P::dial(hand, &at));
    works(&rig.pool).await;
    stopper.stop();
    job.done().await;
    eventually::<P>(&rig.pool, |stats| stats.workers.is_empty()).await;
    rig.stop().await;
}

pub(crate) async fn who_did_something_before_is_not_delayed_for_its_host<P: Socket>() {
    let (door, at) = any_port();
    // After ten links that did nothing, a delay that nobody here would wait for.
    let setup = setup::<P>().configure(|config| {
        config.backoff = config.backoff.base(millis(50)).cap(secs(600)).jitter(Jitter::None);
    });
    let mut rig = Rig::start::<P>(P::accept(setup, door));
    let work_once = move || {
        let mut raw = join::<P>(at, "good");
        let (task, attempt, height) = raw.request().expect("a task");
        raw.answer(task, attempt, answer_to(height));
        raw
    };
    let before = script(work_once);
    assert_eq!(rig.pool.call::<u64, u64>(&1).await, Ok(answer_to(1)));
    drop(before.end().await);
    // Others from the same host do nothing.
    let task = rig.pool.submit::<u64, u64>(&2).await.expect("it is queued");
    let others = script(move || {
        for number in 0..12 {
            drop(join::<P>(at, &format!("useless {number}")));
        }
        join::<P>(at, "useless at last")
    });
    let useless = others.end().await;
    eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == 1).await;
    rig.watch.lost::<P>().await;
    let again = script(work_once);
    let answer = within::<P, _>(secs(5), task).await;
    assert_eq!(answer, Some(Ok(answer_to(2))), "the good one gets it at once");
    again.end().await;
    drop(useless);
    rig.stop().await;
}

pub(crate) async fn a_worker_of_the_go_dialect_that_is_full_costs_no_attempt<P: Go>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve_json(quick::<P>("full").links_max(1), door));
    let first = script(move || {
        let mut first = Raw::go_client(at);
        first.send_text("{\"Height\":1}");
        assert!(first.receive().is_some());
        first
    });
    let first = first.end().await;
    let setup = P::connect_json(setup::<P>().configure(|config| config.attempts_max = 1), at);
    let mut rig = Rig::start::<P>(setup);
    let task = rig.pool.submit::<(), u64>(&5).await.expect("it is queued");
    for _ in 0..8 {
        let why = rig.watch.refused::<P>().await;
        assert!(why.contains("503"), "{why}");
    }
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!((stats.tasks.sent, stats.tasks.waiting), (0, 1));
    drop(first);
    assert_eq!(task.await, Ok(()));
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.sent, stats.lost), (1, 1, 0));
}

/// The same in the dialect that has words of its own: a Goodbye before a link is up.
pub(crate) async fn a_worker_that_is_full_costs_no_attempt<P: Socket>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve(quick::<P>("full").links_max(1), door));
    let first = script(move || {
        let mut first = Raw::client::<P>(at);
        first.greet_as_manager(60_000, 1);
        let body = postcard_of(1);
        let task = chargehand::core::TaskId::from_parts(1, 0);
        let request =
            Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] };
        first.say_with(&request, &body);
        assert!(matches!(first.receive_message(), Some(Message::Response { .. })));
        first
    });
    let first = first.end().await;
    let setup = P::connect(setup::<P>().configure(|config| config.attempts_max = 1), &at);
    let mut rig = Rig::start::<P>(setup);
    let task = rig.pool.submit::<u64, u64>(&5).await.expect("it is queued");
    for _ in 0..8 {
        rig.watch.refused::<P>().await;
    }
    drop(first);
    assert_eq!(task.await, Ok(answer_to(5)));
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.sent, stats.lost), (1, 1, 0));
    crate::rig::pause::<P>(millis(5)).await;
}

fn postcard_of(height: u64) -> Vec<u8> {
    postcard::to_stdvec(&height).expect("a number")
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        doors:
            five_thousand_connections_and_two_thousand_names_keep_no_good_worker_out
            a_thousand_invented_names_keep_no_good_worker_out
            a_worker_that_restarts_under_new_names_locks_nobody_out
            who_holds_a_place_is_not_pushed_out
            who_said_goodbye_is_not_kept
            who_did_something_before_is_not_delayed_for_its_host
            a_worker_that_is_full_costs_no_attempt;
    }
}

mod in_the_go_dialect {
    cases! {
        ws_tokio = WsTokio, ws_smol = WsSmol;
        { doors: a_worker_of_the_go_dialect_that_is_full_costs_no_attempt; }
    }
}
