//! Peers that are there and say nothing, and networks that swallow what they say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chargehand::{DisconnectReason, PoolEvent};

use crate::pair::{Socket, any_port};
use crate::raw::dial;
use crate::refusals::Notes;
use crate::rig::{Rig, Tally, eventually, hand, impatient, millis, quick, setup, until, works};

/// Stands between a manager and its worker, and can stop to forward without closing anything.
struct Proxy {
    at: SocketAddr,
    links: Arc<Mutex<Vec<[Arc<AtomicBool>; 2]>>>,
}

impl Proxy {
    fn to(target: SocketAddr) -> Self {
        let (door, at) = any_port();
        let links = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&links);
        std::thread::spawn(move || forward_all(&door, target, &made));
        Self { at, links }
    }

    /// From now on nothing gets through on the connections that there are.
    fn swallow(&self, to_worker: bool, to_manager: bool) {
        for [up, down] in self.links.lock().expect("no panic with it").iter() {
            up.fetch_or(to_worker, Ordering::SeqCst);
            down.fetch_or(to_manager, Ordering::SeqCst);
        }
    }
}

fn forward_all(door: &TcpListener, to: SocketAddr, made: &Mutex<Vec<[Arc<AtomicBool>; 2]>>) {
    while let Ok((client, _)) = door.accept() {
        let server = dial(to);
        server.set_read_timeout(None).expect("no time is valid");
        let flags = [Arc::default(), Arc::default()];
        made.lock().expect("no panic with it").push(flags.clone());
        let [up, down] = flags;
        let back = (server.try_clone(), client.try_clone());
        std::thread::spawn(move || forward(client, server, &up));
        let (Ok(from), Ok(to)) = back else { panic!("sockets can be cloned") };
        std::thread::spawn(move || forward(from, to, &down));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, swallow: &AtomicBool) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if !swallow.load(Ordering::SeqCst) && to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // Even the end gets lost.
    if !swallow.load(Ordering::SeqCst) {
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

pub(crate) async fn a_peer_that_accepts_and_says_nothing_is_given_up_and_tried_again<P: Socket>() {
    // The system accepts for a listener that never does.
    let (_door, at) = any_port();
    let setup = P::connect(impatient::<P>(setup::<P>()), &at).configure(|config| {
        config.connect_timeout = millis(150);
    });
    let mut rig = Rig::start::<P>(setup);
    let (door, good) = any_port();
    let _good = P::job(P::serve(quick::<P>("good"), door));
    P::add(&rig.pool, &good).await.expect("there is room");
    for _ in 0..3 {
        rig.watch
            .until::<P>("connect_timeout", |event| match event {
                PoolEvent::Lost { reason, .. } | PoolEvent::Refused { reason, .. } => {
                    matches!(reason, DisconnectReason::ConnectTimeout(_))
                }
                _ => false,
            })
            .await;
    }
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn a_link_that_swallows_everything_is_lost_and_its_tasks_go_elsewhere<
    P: Socket,
>() {
    swallowed::<P>(true, true).await;
}

pub(crate) async fn a_link_that_swallows_requests_is_lost_and_its_tasks_go_elsewhere<P: Socket>() {
    swallowed::<P>(true, false).await;
}

pub(crate) async fn a_link_that_swallows_answers_is_lost_and_its_tasks_go_elsewhere<P: Socket>() {
    swallowed::<P>(false, true).await;
}

async fn swallowed<P: Socket>(to_worker: bool, to_manager: bool) {
    let (door, at) = any_port();
    // It holds its first four tasks until the link is gone, then it is quick.
    let held = Arc::new(AtomicBool::new(true));
    let holds = Arc::clone(&held);
    let work = hand::<P>("far", move |height| {
        let holds = Arc::clone(&holds);
        Box::pin(async move {
            until::<P>("it may go on", || !holds.load(Ordering::SeqCst)).await;
            Ok(crate::rig::answer_to(height))
        })
    });
    let notes = Notes::default();
    let _far = P::job(P::serve(notes.watch::<P>(work.concurrency(4)), door));
    let proxy = Proxy::to(at);
    let mut rig = Rig::start::<P>(P::connect(impatient::<P>(setup::<P>()), &proxy.at));
    rig.up::<P>(1).await;
    let mut range = Tally::start(&rig.pool, 1..=40);
    assert!(crate::rig::within::<P, _>(millis(20), range.take(1)).await.is_none());
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 4).await;
    proxy.swallow(to_worker, to_manager);
    let why = rig.watch.lost::<P>().await;
    // Whoever hears nothing may be the first to say so, if it can.
    let told = !to_manager && why.contains("nothing heard");
    assert!(told || why.contains("silent"), "{why}");
    let (door, good) = any_port();
    let _good = P::job(P::serve(quick::<P>("good"), door));
    P::add(&rig.pool, &good).await.expect("there is room");
    held.store(false, Ordering::SeqCst);
    range.all_done().await;
    // The way is free for new connections: the worker is back by itself.
    rig.up::<P>(2).await;
    works(&rig.pool).await;
    if to_worker {
        until::<P>("the worker notices, too", || notes.contain("nothing heard")).await;
    }
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (90, 4));
}

pub(crate) async fn a_worker_that_dials_comes_back_after_its_link_was_swallowed<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(impatient::<P>(setup::<P>()), door));
    let proxy = Proxy::to(at);
    let _job = P::job(P::dial(quick::<P>("far"), &proxy.at));
    rig.watch.connected::<P>().await;
    works(&rig.pool).await;
    proxy.swallow(true, true);
    let why = rig.watch.lost::<P>().await;
    // The worker may be back before the manager has noticed.
    assert!(why.contains("silent") || why.contains("newer"), "{why}");
    rig.watch.connected::<P>().await;
    works(&rig.pool).await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.workers.len(), 1, "it is the same worker");
    rig.stop().await;
}
