//! Workers that send much, and calls that nobody takes.

use std::pin::Pin;
use std::task::Context;

use chargehand::testing::World;
use chargehand::{Task, TaskError, WorkerOptions};
use futures_util::future::join_all;

use super::pair::Socket;
use super::raw::{Raw, done, encoded};
use super::*;

/// Takes a request, sends its answer but for the rest, and that once it is told to.
fn send_half<P: Socket>(at: SocketAddr, name: usize, body: &[u8], go: &AtomicBool) {
    send_half_over(Raw::client::<P>(at), name, body, go);
}

fn send_half_over(mut raw: Raw, name: usize, body: &[u8], go: &AtomicBool) {
    raw.greet_as_worker(&format!("half {name}"), 1);
    let (task, attempt, _) = raw.request().expect("a request");
    raw.write_half(&encoded(&done(task, attempt), &[]), body, go);
    // There may have been no room for it.
    while let Some((task, attempt, _)) = raw.request() {
        raw.write_half(&encoded(&done(task, attempt), &[]), body, go);
    }
}

fn half_sent_answers<P: Socket>(count: usize, longest: usize, memory_max: usize) {
    let (door, at) = any_port();
    let builder = Pool::builder(Smol::new())
        .frame_bytes_max(u32::try_from(longest).unwrap())
        .memory_max(memory_max);
    let pool = run(accept::<P>(builder, door));
    let length = longest - 100;
    let body = Arc::new(postcard::to_stdvec(&Bytes(vec![7; length])).expect("bytes"));
    let watch = Watch::start();
    let go = Arc::new(AtomicBool::new(false));
    let hers: Vec<_> = (0..count)
        .map(|name| {
            let go = Arc::clone(&go);
            let body = Arc::clone(&body);
            thread::spawn(move || send_half::<P>(at, name, &body, &go))
        })
        .collect();
    smol::block_on(async {
        let mut tasks: Vec<Task<Bytes>> = Vec::new();
        for number in 0..count as u64 {
            tasks.push(in_time(pool.submit(&number)).await.expect("there is room"));
        }
        // Each has its own by now, and no room for more.
        let all_sent = async {
            while pool.stats().await.expect("it runs").tasks.sent < count as u64 {
                smol::Timer::after(Duration::from_millis(10)).await;
            }
        };
        in_time(all_sent).await;
        let good = serve::<Tcp>(4).to_string();
        pool.add(
            tcp::TcpConnector::new(Smol::new(), &good).expect("an address"),
            WorkerOptions::new(),
        )
        .await
        .unwrap();
        let longest = calls(&pool, 100).await;
        assert!(longest < Duration::from_secs(5), "good workers go on: {longest:?}");
        smol::Timer::after(Duration::from_millis(500)).await;
        let half_sent = watch.growth();
        assert!(half_sent <= memory_max / 4 * 5 + 24 * MIB, "{} MiB", half_sent / MIB);
        go.store(true, Ordering::Relaxed);
        for task in tasks {
            let answer = in_time(task).await.expect("an answer").0;
            // Those for which there was no room may have been asked for again, of the good worker.
            assert!([length, MIB].contains(&answer.len()));
        }
        assert!(watch.growth() <= memory_max / 4 * 5 + 32 * MIB, "{} MiB", watch.growth() / MIB);
        let stats = pool.stats().await.expect("it runs").tasks;
        assert_eq!((stats.lost, stats.timed_out), (0, 0));
        in_time(pool.stop()).await.expect("it runs");
    });
    for half in hers {
        half.join().expect("see above");
    }
}

/// Whoever takes all that there is for long answers has to leave as much to others.
#[test]
fn half_sent_answers_of_one_host_leave_others_room_for_long_ones() {
    alone(here!(half_sent_answers_of_one_host_leave_others_room_for_long_ones), || {
        const LONGEST: usize = 4 * MIB;
        const GREEDY: u64 = 20;
        let (door, at) = any_port();
        // So that nobody is lost for what it does not send, and this machine is as any host.
        let builder = Pool::builder(Smol::new()).links_per_host(100).configure(|config| {
            config.heartbeat_interval = Duration::from_secs(1000);
            config.heartbeat_timeout = Duration::from_secs(1000);
            config.attempt_timeout = Duration::from_secs(1000);
        });
        let builder = builder.frame_bytes_max(u32::try_from(LONGEST).unwrap()).memory_max(64 * MIB);
        let pool = run(accept::<Tcp>(builder, door));
        let body = Arc::new(postcard::to_stdvec(&Bytes(vec![7; LONGEST - 100])).expect("bytes"));
        let go = Arc::new(AtomicBool::new(false));
        let host = |number| std::net::Ipv4Addr::new(127, 0, 0, number);
        let greedy: Vec<_> = (0..usize::try_from(GREEDY).unwrap())
            .map(|name| {
                let (go, body) = (Arc::clone(&go), Arc::clone(&body));
                let from = host(2);
                thread::spawn(move || {
                    send_half_over(Raw::client_from::<Tcp>(from, at), name, &body, &go);
                })
            })
            .collect();
        smol::block_on(async {
            let mut tasks: Vec<Task<Bytes>> = Vec::new();
            for number in 0..GREEDY {
                tasks.push(in_time(pool.submit(&number)).await.expect("there is room"));
            }
            let all_sent = async {
                while pool.stats().await.expect("it runs").tasks.sent < GREEDY {
                    smol::Timer::after(Duration::from_millis(10)).await;
                }
            };
            in_time(all_sent).await;
            smol::Timer::after(Duration::from_millis(500)).await;
            let good_body = Arc::clone(&body);
            let good = thread::spawn(move || {
                let mut raw = Raw::client_from::<Tcp>(host(3), at);
                raw.greet_as_worker("good", 1);
                while let Some((task, attempt, _)) = raw.request() {
                    raw.say_with(&done(task, attempt), &good_body);
                }
            });
            for number in 0..5_u64 {
                let answer = in_time(pool.call::<Bytes, u64>(&number)).await.expect("an answer");
                assert_eq!(answer.0.len(), LONGEST - 100);
            }
            go.store(true, Ordering::Relaxed);
            for task in tasks {
                in_time(task).await.expect("an answer");
            }
            in_time(pool.stop()).await.expect("it runs");
            good.join().expect("see above");
        });
        for one in greedy {
            one.join().expect("see above");
        }
    });
}

#[test]
fn sixteen_half_sent_answers_over_tcp_take_no_more_than_there_is_and_all_come() {
    alone(
        here!(sixteen_half_sent_answers_over_tcp_take_no_more_than_there_is_and_all_come),
        || {
            half_sent_answers::<Tcp>(16, 16 * MIB, 256 * MIB);
        },
    );
}

#[test]
fn many_half_sent_answers_over_tcp_take_no_more_than_there_is_and_all_come() {
    alone(here!(many_half_sent_answers_over_tcp_take_no_more_than_there_is_and_all_come), || {
        half_sent_answers::<Tcp>(40, 4 * MIB, 32 * MIB);
    });
}

#[test]
fn many_half_sent_answers_over_websocket_take_no_more_than_there_is_and_all_come() {
    alone(
        here!(many_half_sent_answers_over_websocket_take_no_more_than_there_is_and_all_come),
        || {
            half_sent_answers::<Ws>(40, 4 * MIB, 32 * MIB);
        },
    );
}

/// Messages that are short enough to be let in before anybody looks, and never end.
fn half_sent_short_answers<P: Socket>() {
    const LINKS: u64 = 400;
    const LENGTH: usize = 60 << 10;
    let (door, at) = any_port();
    let builder = Pool::builder(Smol::new()).links_per_host(500).tasks_max(1024);
    let builder = builder.frame_bytes_max(64 << 10).memory_max(4 * MIB);
    let pool = run(accept::<P>(builder, door));
    let mut links: Vec<_> = (0..LINKS)
        .map(|name| {
            let mut raw = Raw::client::<P>(at);
            raw.greet_as_worker(&format!("half {name}"), 1);
            raw
        })
        .collect();
    smol::block_on(async {
        let mut tasks: Vec<Task<Bytes>> = Vec::new();
        for number in 0..LINKS {
            tasks.push(in_time(pool.submit(&number)).await.expect("there is room"));
        }
        let held: Vec<_> = links.iter_mut().map(|raw| raw.request().expect("a request")).collect();
        let body = postcard::to_stdvec(&Bytes(vec![7; LENGTH])).expect("bytes");
        let watch = Watch::start();
        for (raw, &(task, attempt, _)) in links.iter_mut().zip(&held) {
            let head = encoded(&done(task, attempt), &[]);
            raw.write(&raw.header(head.len() + body.len()));
            raw.write(&head);
            raw.write(&body[..LENGTH - 1000]);
        }
        smol::Timer::after(Duration::from_millis(500)).await;
        // What a read brings in before a length is known, and the buffers of these tests, are beside it.
        let growth = watch.growth();
        assert!(growth <= 4 * MIB + 6 * MIB, "{} MiB", growth / MIB);
        // Of those that somebody waits for none is dropped for lack of room.
        let mut awaited = join_all(tasks.iter_mut().take(100));
        let asked = poll_fn(|cx| Poll::Ready(Pin::new(&mut awaited).poll(cx).is_pending()));
        assert!(asked.await);
        for raw in &mut links {
            raw.write(&body[LENGTH - 1000..]);
        }
        in_time(awaited).await.into_iter().for_each(|answer| {
            assert_eq!(answer.expect("an answer").0.len(), LENGTH);
        });
        // Those that nobody waited for may have been asked for again, of links that say nothing more.
        drop(tasks);
        in_time(pool.stop()).await.expect("it runs");
    });
}

#[test]
fn short_answers_over_tcp_that_never_end_take_no_more_than_there_is_however_many_there_are() {
    alone(
        here!(
            short_answers_over_tcp_that_never_end_take_no_more_than_there_is_however_many_there_are
        ),
        half_sent_short_answers::<Tcp>,
    );
}

#[test]
fn short_answers_over_websocket_that_never_end_take_no_more_than_there_is_however_many_there_are() {
    alone(
        here!(
            short_answers_over_websocket_that_never_end_take_no_more_than_there_is_however_many_there_are
        ),
        half_sent_short_answers::<Ws>,
    );
}

#[test]
fn outcomes_may_be_taken_in_any_order_however_many_there_are() {
    alone(here!(outcomes_may_be_taken_in_any_order_however_many_there_are), || {
        let builder = Pool::builder(Smol::new())
            .frame_bytes_max(u32::try_from(2 * MIB).unwrap())
            .memory_max(16 * MIB);
        let pool = run(connect::<Ws>(connect::<Tcp>(builder, serve::<Tcp>(32)), serve::<Ws>(4)));
        let watch = Watch::start();
        smol::block_on(async {
            for is_backwards in [false, true] {
                let mut tasks: Vec<(u64, Task<Bytes>)> = Vec::new();
                for number in 2..102 {
                    tasks.push((
                        number,
                        in_time(pool.submit(&number)).await.expect("there is room"),
                    ));
                }
                smol::Timer::after(Duration::from_millis(200)).await;
                if is_backwards {
                    tasks.reverse();
                }
                // Whoever is gone or cancelled holds nobody up.
                drop(tasks.remove(50));
                tasks[60].1.cancel();
                for (number, task) in tasks {
                    match in_time(task).await {
                        Ok(bytes) => assert_eq!(bytes, answer(number)),
                        Err(error) => assert_eq!(error, TaskError::Cancelled),
                    }
                }
                in_time(pool.idle()).await.expect("it runs");
            }
            in_time(pool.stop()).await.expect("it runs");
        });
        // Of its workers each may have what it does in its own buffers.
        assert!(watch.growth() < 16 * MIB + 80 * MIB, "{} MiB", watch.growth() / MIB);
    });
}

/// Outcomes of calls that nobody takes for a while hold up the link that brings more.
fn a_link_that_we_do_not_read<P: Socket>() {
    let builder = Pool::builder(Smol::new())
        .frame_bytes_max(u32::try_from(2 * MIB).unwrap())
        .memory_max(12 * MIB)
        .configure(|config| {
            config.heartbeat_interval = Duration::from_millis(200);
            config.heartbeat_timeout = Duration::from_millis(200);
            config.attempt_timeout = Duration::from_millis(500);
        });
    let pool = run(connect::<P>(builder, serve::<P>(16)));
    smol::block_on(async {
        in_time(calls(&pool, 1)).await;
        let watch = Watch::start();
        let mut tasks: Vec<Task<Bytes>> = Vec::new();
        for number in 10..26_u64 {
            tasks.push(in_time(pool.submit(&number)).await.expect("there is room"));
        }
        // Whoever asks is thought to take it, so these are kept.
        let asks = |cx: &mut Context<'_>| {
            for task in &mut tasks {
                assert!(Pin::new(task).poll(cx).is_pending());
            }
            Poll::Ready(())
        };
        poll_fn(asks).await;
        smol::Timer::after(Duration::from_secs(3)).await;
        let stats = pool.stats().await.expect("it runs").tasks;
        assert!(stats.done < 16, "all of them came, and nobody took them");
        // The worker has the others in its own buffers.
        assert!(watch.growth() < 48 * MIB, "{} MiB", watch.growth() / MIB);
        for (number, task) in (10..).zip(tasks) {
            assert_eq!(in_time(task).await, Ok(answer(number)));
        }
        let stats = pool.stats().await.expect("it runs").tasks;
        assert_eq!((stats.lost, stats.timed_out, stats.sent), (0, 0, 17), "{stats:?}");
        in_time(pool.stop()).await.expect("it runs");
    });
}

#[test]
fn a_link_over_tcp_that_we_do_not_read_is_neither_silent_nor_late() {
    alone(here!(a_link_over_tcp_that_we_do_not_read_is_neither_silent_nor_late), || {
        a_link_that_we_do_not_read::<Tcp>();
    });
}

#[test]
fn a_link_over_websocket_that_we_do_not_read_is_neither_silent_nor_late() {
    alone(here!(a_link_over_websocket_that_we_do_not_read_is_neither_silent_nor_late), || {
        a_link_that_we_do_not_read::<Ws>();
    });
}

#[test]
fn long_answers_over_links_in_memory_take_no_more_than_there_is() {
    const FRAME: u32 = 8192;
    let world = World::new(5);
    let (connector, listener) = chargehand::memory::pair(64);
    let answer = |_: u64| async { Ok::<_, String>("x".repeat(8000)) };
    let worker = Worker::new(world.timer(), answer).concurrency(16);
    world.spawn(async move { worker.serve(listener).await.expect("in range") });
    let builder = Pool::builder(world.timer()).connect(connector).frame_bytes_max(FRAME);
    let builder = builder.memory_max(5 * FRAME as usize).tasks_max(32).in_flight(16);
    let builder = builder.configure(|config| config.trust_initial = 16);
    let (pool, mut driver) = builder.build().expect("in range");
    world.spawn(poll_fn(move |cx| {
        let polled = Pin::new(&mut driver).poll(cx);
        if polled.is_pending() {
            driver.check();
        }
        polled
    }));
    world.advance(Duration::from_millis(100));
    let submit = |number| pool.try_submit::<String, u64>(number).expect("there is room");
    let tasks: Vec<Task<String>> = (0..32).map(submit).collect();
    assert!(world.run(join_all(tasks)).iter().all(Result::is_ok));
}

#[test]
fn callers_wait_with_long_requests_and_all_are_answered() {
    alone(here!(callers_wait_with_long_requests_and_all_are_answered), || {
        let (door, at) = any_port();
        let worker = Worker::new(Smol::new(), |body: Bytes| async move {
            smol::Timer::after(Duration::from_millis(5)).await;
            Ok::<_, String>(body.0.len() as u64)
        });
        smol::spawn(worker.serve(tcp::TcpListener::new(listener(door)))).detach();
        let builder = Pool::builder(Smol::new())
            .frame_bytes_max(u32::try_from(2 * MIB).unwrap())
            .memory_max(12 * MIB);
        let pool = run(connect::<Tcp>(builder, at));
        let request = Bytes(vec![1; MIB]);
        let watch = Watch::start();
        smol::block_on(async {
            let mut queued = Vec::new();
            while let Ok(task) = pool.try_submit::<u64, _>(&request) {
                queued.push(task);
                assert!(queued.len() < 100, "no bound");
            }
            let calls = (0..64).map(|_| pool.call::<u64, _>(&request));
            for answer in in_time(join_all(calls.chain(None))).await {
                assert_eq!(answer, Ok(MIB as u64));
            }
            for task in queued {
                assert_eq!(in_time(task).await, Ok(MIB as u64));
            }
            assert!(pool.try_submit::<u64, _>(&request).is_ok(), "there is room again");
            in_time(pool.stop()).await.expect("it runs");
        });
        // Those that wait have their own.
        assert!(watch.growth() < 64 * MIB + 24 * MIB, "{} MiB", watch.growth() / MIB);
    });
}

fn after_a_burst<P: Socket>() {
    let at: Vec<_> = (0..4).map(|_| serve::<P>(16)).collect();
    let builder = at.iter().fold(Pool::builder(Smol::new()), |all, at| connect::<P>(all, *at));
    let pool = run(builder);
    smol::block_on(async {
        in_time(calls(&pool, 20)).await;
        let start = resident();
        for _ in 0..3 {
            let burst = join_all((10..74_u64).map(|number| {
                let pool = pool.clone();
                async move { (number, pool.call::<Bytes, u64>(&number).await) }
            }));
            for (number, outcome) in in_time(burst).await {
                assert_eq!(outcome, Ok(answer(number)));
            }
        }
        smol::Timer::after(Duration::from_millis(300)).await;
        let kept = resident().saturating_sub(start);
        assert!(kept < 24 * MIB, "{} MiB stayed", kept / MIB);
        in_time(pool.stop()).await.expect("it runs");
    });
}

#[test]
fn after_a_burst_of_long_answers_over_tcp_the_memory_goes_back() {
    alone(here!(after_a_burst_of_long_answers_over_tcp_the_memory_goes_back), after_a_burst::<Tcp>);
}

#[test]
fn after_a_burst_of_long_answers_over_websocket_the_memory_goes_back() {
    alone(
        here!(after_a_burst_of_long_answers_over_websocket_the_memory_goes_back),
        after_a_burst::<Ws>,
    );
}
