//! Workers by hand that answer late, twice, for others, too much, too slowly or not at all.

use std::net::TcpListener;
use std::time::Duration;

use chargehand::core::TaskId;
use chargehand::core::message::{Code, Extensions, Message};
use chargehand::{PoolEvent, TaskError};

use crate::pair::{Job, Socket, any_port};
use crate::raw::{Raw, Script, done, encoded, script};
use crate::rig::{
    Rig, Tally, answer_to, eventually, hand, impatient, millis, quick, setup, steady, until, works,
};

/// A pool that dials one worker by hand.
fn with_raw<P: Socket, T: Send + 'static>(
    change: impl FnOnce(crate::pair::Setup<P>) -> crate::pair::Setup<P>,
    play: impl FnOnce(Raw, TcpListener) -> T + Send + 'static,
) -> (Rig, Script<T>) {
    let (door, at) = any_port();
    let script = script(move || play(Raw::server::<P>(&door), door));
    (Rig::start::<P>(change(P::connect(setup::<P>(), &at))), script)
}

/// Adds a worker that does its work.
async fn help<P: Socket>(rig: &Rig) -> Job {
    let (door, at) = any_port();
    let job = P::job(P::serve(quick::<P>("good"), door));
    P::add(&rig.pool, &at).await.expect("there is room");
    job
}

pub(crate) async fn a_worker_by_hand_is_served_byte_by_byte<P: Socket>() {
    // The same as whole frames, whatever the chunks.
    let (rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, _| {
            raw.greet_as_worker("by hand", 1);
            let (task, attempt, height) = raw.request().expect("a request");
            let body = postcard::to_stdvec(&answer_to(height)).expect("a number");
            let answer = raw.framed(&encoded(&done(task, attempt), &body));
            for byte in answer {
                raw.write(&[byte]);
                std::thread::sleep(millis(1));
            }
            raw.work_on();
        },
    );
    assert_eq!(rig.pool.call::<u64, u64>(&3).await, Ok(7));
    works(&rig.pool).await;
    let stats = rig.stop().await;
    assert_eq!((stats.lost, stats.stale), (0, 0));
    worker.end().await;
}

pub(crate) async fn a_second_answer_is_ignored<P: Socket>() {
    let (rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, _| {
            raw.greet_as_worker("by hand", 1);
            let (task, attempt, height) = raw.request().expect("a request");
            raw.answer(task, attempt, answer_to(height));
            raw.answer(task, attempt, 666);
            raw.answer(task, attempt, 667);
            raw.work_on();
        },
    );
    assert_eq!(rig.pool.call::<u64, u64>(&1).await, Ok(3));
    works(&rig.pool).await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.stale, stats.lost), (51, 2, 0));
    worker.end().await;
}

pub(crate) async fn an_answer_to_an_older_attempt_is_ignored<P: Socket>() {
    let (rig, worker) = with_raw::<P, _>(
        |setup| {
            setup.configure(|config| {
                config.attempt_timeout = millis(150);
                config.strikes_max = 1000;
                config.attempts_max = 1000;
            })
        },
        |mut raw, _| {
            raw.greet_as_worker("slow", 1);
            let (task, first, _) = raw.request().expect("a request");
            let (again, second, height) = raw.request().expect("it is sent again");
            assert_eq!((task, first + 1), (again, second));
            raw.answer(task, first, 666);
            raw.answer(task, second, answer_to(height));
            raw.work_on();
        },
    );
    assert_eq!(rig.pool.call::<u64, u64>(&5).await, Ok(11));
    let stats = rig.stop().await;
    assert!(stats.stale >= 1, "{stats:?}");
    assert_eq!((stats.done, stats.foreign, stats.lost), (1, 0, 0));
    worker.end().await;
}

pub(crate) async fn an_answer_after_the_task_was_cancelled_is_ignored<P: Socket>() {
    let (rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, _| {
            raw.greet_as_worker("by hand", 1);
            let (task, attempt, _) = raw.request().expect("a request");
            loop {
                match raw.receive_message().expect("a Cancel") {
                    Message::Cancel { task: which, attempt: what } => {
                        assert_eq!((which, what), (task, attempt));
                        break;
                    }
                    Message::Ping => raw.say(&Message::Pong),
                    other => panic!("{other:?}"),
                }
            }
            raw.answer(task, attempt, 666);
            raw.work_on();
        },
    );
    let task = rig.pool.submit::<u64, u64>(&1).await.expect("it is queued");
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 1).await;
    task.cancel();
    assert_eq!(task.await, Err(TaskError::Cancelled));
    works(&rig.pool).await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.cancelled, stats.stale), (50, 1, 1));
    worker.end().await;
}

pub(crate) async fn an_answer_for_another_workers_task_is_refused_and_harms_nobody<P: Socket>() {
    let (name, named) = async_channel::bounded::<(TaskId, u16)>(1);
    let (refused, go_on) = async_channel::bounded::<()>(1);
    let (mut rig, honest) = with_raw::<P, _>(
        |setup| setup,
        move |mut raw, _| {
            raw.greet_as_worker("honest", 1);
            let (task, attempt, height) = raw.request().expect("a request");
            name.send_blocking((task, attempt)).expect("the liar listens");
            go_on.recv_blocking().expect("the liar is refused");
            raw.answer(task, attempt, answer_to(height));
            raw.work_on();
        },
    );
    rig.up::<P>(1).await;
    let task = rig.pool.submit::<u64, u64>(&8).await.expect("it is queued");
    let (task_id, attempt) = named.recv().await.expect("the honest one has it");
    let (door, at) = any_port();
    let liar = script(move || {
        let mut raw = Raw::server::<P>(&door);
        raw.greet_as_worker("liar", 1);
        raw.answer(task_id, attempt, 666);
        raw.goodbye()
    });
    P::add(&rig.pool, &at).await.expect("there is room");
    let (code, text) = liar.end().await.expect("a Goodbye");
    assert_eq!(code, Code::BadMessage, "{text}");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("never held"), "{why}");
    refused.send(()).await.expect("the honest one waits");
    assert_eq!(task.await, Ok(17), "the outcome is the honest one's");
    let stats = rig.stop().await;
    assert_eq!((stats.foreign, stats.lost, stats.resent), (1, 0, 0));
    honest.end().await;
}

/// Plays a worker that sends `nonsense` while it holds a task. It is refused, and the task is done
/// by another.
async fn refused_once_up<P: Socket>(
    why_contains: &str,
    nonsense: impl FnOnce(&Raw) -> Vec<u8> + Send + 'static,
) {
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| setup,
        move |mut raw, door| {
            raw.greet_as_worker("by hand", 1);
            raw.request().expect("a request");
            let bytes = nonsense(&raw);
            raw.write(&bytes);
            drop(door);
            raw.goodbye()
        },
    );
    rig.up::<P>(1).await;
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains(why_contains), "{why}");
    assert_eq!(worker.end().await.map(|(code, _)| code), Some(Code::BadMessage));
    let _good = help::<P>(&rig).await;
    assert_eq!(task.await, Ok(9));
    rig.stop().await;
}

pub(crate) async fn an_answer_for_a_task_that_never_was_is_refused<P: Socket>() {
    refused_once_up::<P>("never held", |raw| {
        raw.framed(&encoded(&done(TaskId::from_parts(77_777, 3), 1), &[]))
    })
    .await;
}

pub(crate) async fn a_message_that_is_not_a_workers_to_send_is_refused<P: Socket>() {
    refused_once_up::<P>("Request", |raw| {
        let task = TaskId::from_parts(0, 0);
        raw.framed(&encoded(
            &Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] },
            &[],
        ))
    })
    .await;
}

pub(crate) async fn bytes_behind_a_message_are_refused<P: Socket>() {
    refused_once_up::<P>("bytes follow", |raw| raw.framed(&encoded(&Message::Pong, &[0]))).await;
}

pub(crate) async fn an_empty_message_is_refused<P: Socket>() {
    refused_once_up::<P>("empty", |raw| raw.framed(&[])).await;
}

pub(crate) async fn a_flood_of_pongs_is_refused<P: Socket>() {
    refused_once_up::<P>("Pongs", |raw| raw.framed(&encoded(&Message::Pong, &[])).repeat(20_000))
        .await;
}

pub(crate) async fn a_flood_of_old_answers_is_refused<P: Socket>() {
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, door| {
            raw.greet_as_worker("by hand", 1);
            let (task, attempt, height) = raw.request().expect("a request");
            raw.answer(task, attempt, answer_to(height));
            let again = raw.framed(&encoded(&done(task, attempt), &[]));
            raw.write(&again.repeat(20_000));
            drop(door);
            raw.goodbye()
        },
    );
    assert_eq!(rig.pool.call::<u64, u64>(&4).await, Ok(9));
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("answers to"), "{why}");
    assert_eq!(worker.end().await.map(|(code, _)| code), Some(Code::BadMessage));
    let _good = help::<P>(&rig).await;
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn a_reset_in_the_middle_of_an_answer_loses_the_link_and_not_the_task<
    P: Socket,
>() {
    cut_in_mid_frame::<P>(Raw::reset).await;
}

pub(crate) async fn an_end_in_the_middle_of_an_answer_loses_the_link_and_not_the_task<P: Socket>() {
    cut_in_mid_frame::<P>(drop).await;
}

async fn cut_in_mid_frame<P: Socket>(cut: fn(Raw)) {
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| setup,
        move |mut raw, _| {
            raw.greet_as_worker("by hand", 2);
            let (task, attempt, _) = raw.request().expect("a request");
            let body = postcard::to_stdvec(&666_u64).expect("a number");
            let answer = raw.framed(&encoded(&done(task, attempt), &body));
            raw.write(&answer[..answer.len() - 1]);
            cut(raw);
        },
    );
    rig.up::<P>(1).await;
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    rig.watch.lost::<P>().await;
    worker.end().await;
    let _good = help::<P>(&rig).await;
    assert_eq!(task.await, Ok(9), "the part that came is not an answer");
    let stats = rig.stop().await;
    assert_eq!((stats.lost, stats.resent, stats.done), (1, 1, 1));
}

pub(crate) async fn an_end_with_tasks_held_sends_them_again<P: Socket>() {
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, door| {
            raw.greet_as_worker("by hand", 4);
            for _ in 0..4 {
                raw.request().expect("a request");
            }
            drop(door);
        },
    );
    rig.up::<P>(1).await;
    let mut range = Box::pin(Tally::start(&rig.pool, 1..=20).all_done());
    assert!(crate::rig::within::<P, _>(millis(20), range.as_mut()).await.is_none());
    rig.watch.lost::<P>().await;
    worker.end().await;
    let _good = help::<P>(&rig).await;
    range.await;
    let again = |event: &PoolEvent| matches!(event, PoolEvent::Retried { attempt: 2, .. });
    for _ in 0..4 {
        rig.watch.until::<P>("Retried", again).await;
    }
    let stats = rig.stop().await;
    assert_eq!((stats.lost, stats.resent, stats.done), (4, 4, 20));
}

pub(crate) async fn a_worker_that_stops_reading_is_lost_and_holds_up_nobody<P: Socket>() {
    let (release, stop_sleeping) = async_channel::bounded::<()>(1);
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| impatient::<P>(setup).in_flight(64),
        move |mut raw, door| {
            raw.greet_as_worker("deaf", 64);
            drop(door);
            let _ = stop_sleeping.recv_blocking();
            drop(raw);
        },
    );
    rig.up::<P>(1).await;
    // Far more than any buffer between here and there: 64 times 256 KiB.
    let mut tasks = Vec::new();
    for _ in 0..64 {
        let request = (1_u64, vec![7_u8; 256 << 10]);
        tasks.push(rig.pool.submit::<u64, _>(&request).await.expect("it is queued"));
    }
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("silent"), "{why}");
    release.close();
    worker.end().await;
    let (door, at) = any_port();
    let _good = P::job(P::serve(quick::<P>("good"), door));
    P::add(&rig.pool, &at).await.expect("there is room");
    for task in tasks {
        // The good one reads them all, and finds that they are no heights.
        assert!(matches!(task.await, Err(TaskError::Failed(_))));
    }
    rig.stop().await;
}

pub(crate) async fn a_worker_that_dribbles_its_answer_is_lost<P: Socket>() {
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| impatient::<P>(setup),
        |mut raw, door| {
            raw.greet_as_worker("slow", 1);
            drop(door);
            let (task, attempt, _) = raw.request().expect("a request");
            let answer = raw.framed(&encoded(&done(task, attempt), &[7; 1000]));
            for byte in answer {
                // Never silent, and never done: a second for ten bytes.
                if std::io::Write::write_all(&mut raw.stream, &[byte]).is_err() {
                    return true;
                }
                std::thread::sleep(millis(100));
            }
            false
        },
    );
    rig.up::<P>(1).await;
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("silent"), "{why}");
    let _good = help::<P>(&rig).await;
    assert_eq!(task.await, Ok(9));
    assert!(worker.end().await, "its connection was closed");
    rig.stop().await;
}

pub(crate) async fn a_window_is_kept_to_the_letter<P: Socket>() {
    let (rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, _| {
            raw.greet_as_worker("three", 3);
            let mut held = Vec::new();
            while held.len() < 3 {
                held.push(raw.request().expect("a request"));
            }
            // Nothing more comes until one is answered.
            raw.stream.set_read_timeout(Some(millis(150))).expect("a valid time");
            assert!(raw.stream.peek(&mut [0]).is_err(), "a fourth request");
            raw.stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid time");
            let (task, attempt, height) = held.remove(0);
            raw.answer(task, attempt, answer_to(height));
            held.push(raw.request().expect("a request"));
            for (task, attempt, height) in held {
                raw.answer(task, attempt, answer_to(height));
            }
            raw.work_on();
        },
    );
    Tally::start(&rig.pool, 1..=30).all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.resent), (30, 0));
    worker.end().await;
}

pub(crate) async fn a_worker_that_drains_gets_nothing_more_and_may_answer_what_it_holds<
    P: Socket,
>() {
    let (mut rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, _| {
            raw.greet_as_worker("leaving", 2);
            let one = raw.request().expect("a request");
            let two = raw.request().expect("a request");
            raw.say(&Message::Drain);
            std::thread::sleep(millis(50));
            for (task, attempt, height) in [one, two] {
                raw.answer(task, attempt, answer_to(height));
            }
            assert_eq!(raw.request(), None, "nothing more is asked");
        },
    );
    rig.up::<P>(1).await;
    let tasks = [
        rig.pool.submit::<u64, u64>(&1).await.expect("it is queued"),
        rig.pool.submit::<u64, u64>(&2).await.expect("it is queued"),
        rig.pool.submit::<u64, u64>(&3).await.expect("it is queued"),
    ];
    rig.watch.closed::<P>().await;
    worker.end().await;
    let _good = help::<P>(&rig).await;
    for (height, task) in (1..).zip(tasks) {
        assert_eq!(task.await, Ok(answer_to(height)));
    }
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost, stats.resent), (3, 0, 0));
}

pub(crate) async fn a_displaced_worker_is_told_so<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let old = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_worker("twin", 1);
        raw.request().expect("a request");
        raw.goodbye()
    });
    rig.watch.connected::<P>().await;
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 1).await;
    let new = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_worker("twin", 1);
        raw.work_on();
    });
    let (code, text) = old.end().await.expect("a Goodbye");
    assert_eq!(code, Code::Displaced, "{text}");
    assert_eq!(task.await, Ok(9));
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!((stats.workers.len(), stats.workers[0].stats.links), (1, 2));
    rig.stop().await;
    new.end().await;
}

pub(crate) async fn a_pool_that_stops_says_so_to_its_workers<P: Socket>() {
    let (rig, worker) = with_raw::<P, _>(
        |setup| setup,
        |mut raw, _| {
            raw.greet_as_worker("by hand", 1);
            raw.goodbye()
        },
    );
    rig.up::<P>(1).await;
    rig.stop().await;
    assert_eq!(worker.end().await.map(|(code, _)| code), Some(Code::Stopped));
}

pub(crate) async fn a_worker_keeps_to_its_own_rules_with_a_manager_by_hand<P: Socket>() {
    let (door, at) = any_port();
    let work = hand::<P>("strict", |height| {
        Box::pin(async move {
            if height == 1 { std::future::pending().await } else { Ok(answer_to(height)) }
        })
    });
    let _job = P::job(P::serve(work.concurrency(1), door));
    // Past its window.
    let greedy = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_manager(10_000, 1);
        raw.ask(1, 1);
        raw.ask(2, 1);
        raw.goodbye()
    });
    assert_eq!(greedy.end().await.map(|(code, _)| code), Some(Code::BadMessage));
    // The same attempt twice.
    let twice = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_manager(10_000, 2);
        raw.ask(1, 1);
        raw.ask(1, 1);
        raw.goodbye()
    });
    assert_eq!(twice.end().await.map(|(code, _)| code), Some(Code::BadMessage));
    // A flood of pings.
    let flood = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_manager(10_000, 1);
        let ping = raw.framed(&encoded(&Message::Ping, &[]));
        raw.write(&ping.repeat(20_000));
        raw.goodbye()
    });
    let ended = flood.end().await;
    assert!(ended.is_none_or(|(code, _)| code == Code::BadMessage));
    // What they asked for is forgotten: there is room for a manager that behaves.
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    assert_eq!(rig.pool.call::<u64, u64>(&2).await, Ok(5));
    rig.stop().await;
}

pub(crate) async fn a_worker_gives_up_a_manager_that_is_silent<P: Socket>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve(steady::<P>("alone", millis(1)), door));
    let silent = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_manager(100, 1);
        let started = std::time::Instant::now();
        (raw.goodbye(), started.elapsed())
    });
    let (goodbye, took) = silent.end().await;
    assert_eq!(goodbye.map(|(code, _)| code), Some(Code::Timeout));
    assert!(took >= millis(190), "twice the interval, not {took:?}");
    until::<P>("it serves others", || Raw::client::<P>(at).receive().is_some()).await;
}

pub(crate) async fn a_thousand_idle_links_leave_a_busy_one_alone<P: Socket>() {
    let (door, at) = any_port();
    let setup = P::accept(setup::<P>().workers_max(1200), door).configure(|config| {
        config.heartbeat_interval = Duration::from_secs(60);
        config.attempt_timeout = Duration::MAX;
    });
    let rig = Rig::start::<P>(setup);
    let idlers = script(move || {
        let greet = |number| {
            let mut raw = Raw::client::<P>(at);
            raw.greet_as_worker(&format!("idle {number}"), 1);
            raw
        };
        (0..1000).map(greet).collect::<Vec<_>>()
    });
    let idlers = idlers.end().await;
    rig.up::<P>(1000).await;
    // Each idle one takes one task and keeps it; the busy one does all the others.
    let mut range = Tally::start(&rig.pool, 1..=4000);
    assert!(crate::rig::within::<P, _>(millis(20), range.take(1)).await.is_none());
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 1000).await;
    let _busy = P::job(P::dial(quick::<P>("busy"), &at));
    range.take(3000).await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!((stats.tasks.workers_up, stats.tasks.in_flight), (1001, 1000));
    drop(idlers);
    range.all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (4000, 1000));
}
