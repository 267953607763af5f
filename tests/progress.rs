//! How far attempts are: what handlers say, who is told, what it gives a long task, and what it does not give a
//! worker that floods or lies.

#[path = "support/by_hand.rs"]
mod by_hand;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chargehand::core::TaskId;
use chargehand::core::message::{Aside, Message, PROGRESS_BYTES_MAX, Progress};
use chargehand::memory::pair;
use chargehand::testing::{ManualTimer, WorkerHandle, World};
use chargehand::{Context, Pool, PoolEvent, TaskError, TaskKey, TaskOptions, TaskProgress, Worker};
use futures_util::future::join;

use by_hand::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// Takes so many seconds, and says so after each.
async fn count(timer: ManualTimer, cx: Context, seconds: u64) -> Result<u64, String> {
    for done in 1..=seconds {
        timer.sleep(SECOND).await;
        cx.progress(done, seconds);
    }
    Ok(seconds)
}

fn hosts(world: &World, names: &[&str]) {
    for name in names {
        let timer = world.timer();
        world.host(name, move || {
            let (timer, own) = (timer.clone(), timer.clone());
            Worker::new(timer, move |cx: Context, seconds: u64| count(own.clone(), cx, seconds))
        });
    }
}

/// Runs `each` in a pool whose workers are remote, and in one with them in its own process.
fn for_both(timeout: Duration, each: impl Fn(&World, &Pool)) {
    let world = World::new(5);
    hosts(&world, &["one", "other"]);
    let pool = world.pool(|builder| builder.configure(|config| config.attempt_timeout = timeout));
    each(&world, &pool);

    let world = World::new(5);
    let pool = world.pool(|mut builder| {
        for _ in 0..2 {
            let timer = world.timer();
            builder = builder
                .in_process(1, move |cx: Context, seconds: u64| count(timer.clone(), cx, seconds));
        }
        builder.configure(|config| config.attempt_timeout = timeout)
    });
    each(&world, &pool);
}

fn parts(progress: Option<TaskProgress>) -> Option<(u64, u64, u16)> {
    progress.map(|progress| (progress.done, progress.total, progress.attempt))
}

#[test]
fn whoever_waits_for_a_task_hears_how_far_it_is_and_that_it_has_ended() {
    for_both(60 * SECOND, |world, pool| {
        world.run(async {
            let mut task = pool.submit::<u64, u64>(&3).await.unwrap();
            let mut heard = Vec::new();
            while let Some(progress) = task.progress().await {
                heard.push((progress.done, progress.total, progress.attempt));
            }
            // What is done at once with the answer is not worth a message.
            assert_eq!(heard, [(1, 3, 1), (2, 3, 1)]);
            assert_eq!(task.await, Ok(3));
        });
    });
}

#[test]
fn those_who_share_a_task_all_hear_how_far_it_is() {
    for_both(60 * SECOND, |world, pool| {
        let shared = pool.with(TaskOptions::new().key(TaskKey::from(7).unique()));
        world.run(async {
            let mut first = shared.submit::<u64, u64>(&3).await.unwrap();
            let mut second = shared.submit::<u64, u64>(&3).await.unwrap();
            let heard = join(first.progress(), second.progress()).await;
            assert_eq!((parts(heard.0), parts(heard.1)), (Some((1, 3, 1)), Some((1, 3, 1))));
            assert_eq!(join(first, second).await, (Ok(3), Ok(3)));
        });
    });
}

#[test]
fn the_latest_that_was_said_while_nobody_waited_is_told_at_once() {
    for_both(60 * SECOND, |world, pool| {
        world.run(async {
            let mut task = pool.submit::<u64, u64>(&9).await.unwrap();
            world.sleep(6 * SECOND).await;
            let before = world.elapsed();
            assert_eq!(parts(task.progress().await), Some((5, 9, 1)));
            assert_eq!(world.elapsed(), before);
            assert_eq!(parts(task.progress().await), Some((6, 9, 1)));
            assert!(world.elapsed() > before, "news, and not the same again");
        });
    });
}

#[test]
fn events_and_figures_say_how_far_the_heights_of_a_range_are() {
    for_both(60 * SECOND, |world, pool| {
        let (told, mut events) = (Rc::new(RefCell::new(Vec::new())), pool.all_events());
        let lines = Rc::clone(&told);
        world.spawn(async move {
            while let Some(event) = events.next().await {
                if let PoolEvent::Progress(progress) = event {
                    lines.borrow_mut().push((progress.height, progress.done, progress.total));
                }
            }
        });
        world.run(async {
            let mut outcomes = pool.process::<u64>(3..=4);
            let first = outcomes.next();
            let stats = async {
                world.sleep(Duration::from_millis(2500)).await;
                pool.stats().await.unwrap()
            };
            let (_, stats) = join(first, stats).await;
            let told = |told: &TaskProgress| (told.height, told.done, told.total);
            let mut progress: Vec<_> = stats.progress.iter().map(told).collect();
            progress.sort_unstable();
            assert_eq!(progress, [(Some(3), 2, 3), (Some(4), 2, 4)]);
            let text = stats.progress[0].to_string();
            assert!(text.contains("height ") && text.contains(": 2 of "), "{text}");
            while outcomes.next().await.is_some() {}
            assert!(pool.stats().await.unwrap().progress.is_empty(), "nothing is under way");
        });
        let mut told = told.take();
        told.sort_unstable();
        let expected = [(3, 1, 3), (3, 2, 3), (4, 1, 4), (4, 2, 4), (4, 3, 4)];
        assert_eq!(told, expected.map(|(height, done, total)| (Some(height), done, total)));
    });
}

#[test]
fn a_task_of_ten_minutes_is_done_at_once_with_attempts_of_ten_seconds_where_it_makes_progress() {
    for_both(10 * SECOND, |world, pool| {
        world.time_limit(3600 * SECOND);
        let long = pool.with(TaskOptions::new().attempt_max(Duration::from_secs(1800)));
        assert_eq!(world.run(async { long.call::<u64, u64>(&600).await }), Ok(600));
        let tasks = world.run(pool.stats()).unwrap().tasks;
        assert_eq!((tasks.sent, tasks.timed_out), (1, 0), "{tasks:?}");
        assert!(world.elapsed() < 601 * SECOND);
    });
}

#[test]
fn without_that_option_and_past_its_bound_progress_gives_no_time() {
    for options in [TaskOptions::new(), TaskOptions::new().attempt_max(30 * SECOND)] {
        for_both(10 * SECOND, |world, pool| {
            world.time_limit(3600 * SECOND);
            let pool = pool.with(options.clone().deadline(300 * SECOND));
            let error = world.run(async { pool.call::<u64, u64>(&600).await }).unwrap_err();
            assert!(matches!(error, TaskError::Exhausted { attempts: 5 }), "{error}");
        });
    }
}

#[test]
fn a_handler_that_says_so_in_each_of_its_polls_is_not_polled_again_and_again() {
    let polls = Rc::new(RefCell::new(0));
    for_kind(Rc::clone(&polls), |world, pool| {
        polls.replace(0);
        assert_eq!(world.run(async { pool.call::<u64, u64>(&7).await }), Ok(7));
        let polls = *polls.borrow();
        assert!(polls < 100, "{polls} polls in ten seconds");
    });
}

/// Handlers that say something else each time they are polled, and take ten seconds.
fn for_kind(polls: Rc<RefCell<u64>>, each: impl Fn(&World, &Pool<chargehand::Local>)) {
    let world = World::new(5);
    let (timer, counted) = (world.timer(), Rc::clone(&polls));
    let pool = world.local_pool(|builder| {
        builder.in_process(1, move |cx: Context, height: u64| {
            let (mut sleep, counted) = (Box::pin(timer.sleep(10 * SECOND)), Rc::clone(&counted));
            std::future::poll_fn(move |waker| {
                *counted.borrow_mut() += 1;
                cx.progress(*counted.borrow(), 0);
                sleep.as_mut().poll(waker).map(|()| Ok::<_, String>(height))
            })
        })
    });
    each(&world, &pool);

    let world = World::new(5);
    let timer = world.timer();
    world.host("one", move || {
        let (own, counted) = (timer.clone(), Rc::clone(&polls));
        Worker::new(timer.clone(), move |cx: Context, height: u64| {
            let (mut sleep, counted) = (Box::pin(own.sleep(10 * SECOND)), Rc::clone(&counted));
            std::future::poll_fn(move |waker| {
                *counted.borrow_mut() += 1;
                cx.progress(*counted.borrow(), 0);
                sleep.as_mut().poll(waker).map(|()| Ok::<_, String>(height))
            })
        })
    });
    let pool = world.local_pool(|builder| builder);
    each(&world, &pool);
}

#[test]
fn however_often_a_handler_says_so_few_messages_leave_and_the_last_is_the_latest() {
    let world = World::new(5);
    let timer = world.timer();
    world.host("one", move || {
        let own = timer.clone();
        let handler = move |cx: Context, count: u64| {
            let timer = own.clone();
            async move {
                for done in 1..=count {
                    timer.sleep(Duration::from_millis(1)).await;
                    cx.progress(done, count);
                }
                timer.sleep(SECOND).await;
                Ok::<_, String>(count)
            }
        };
        Worker::new(timer.clone(), handler).progress_interval(Duration::from_millis(500))
    });
    let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&said);
    world.watch(move |passing| {
        let is_got = passing.step == chargehand::testing::Step::ManagerGot;
        if let (true, Ok(Aside::Progress(progress))) = (is_got, Aside::decode(passing.frame)) {
            seen.lock().unwrap().push(progress.done);
        }
    });
    let pool = world.pool(|builder| builder);
    assert_eq!(world.run(async { pool.call::<u64, u64>(&3000).await }), Ok(3000));
    let said = said.lock().unwrap();
    assert!((5..=7).contains(&said.len()), "{said:?}");
    assert_eq!(said.last(), Some(&3000));
    assert!(said.is_sorted());
}

/// A pool with one peer by hand that holds a task, and a way to say how far that is.
fn with_peer(window: u16) -> (World, Pool, Peer, (TaskId, u16)) {
    let world = World::new(5);
    let (connector, mut listener) = pair(4096);
    let pool = world.pool(|builder| builder.connect(connector));
    world.advance(Duration::ZERO);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.hello("by hand", window, u32::MAX);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear_all(), ["Hello", "Welcome"]);
    pool.try_submit::<u64, u64>(1).expect("there is room").detach();
    world.advance(Duration::ZERO);
    let asked = peer.request();
    (world, pool, peer, asked)
}

fn say(peer: &mut Peer, (task, attempt): (TaskId, u16), done: u64) {
    let progress = Progress { task, attempt, done, total: 0 };
    peer.send(progress.encode(&mut [0; PROGRESS_BYTES_MAX]), &[]);
}

#[test]
fn a_worker_that_floods_its_manager_with_progress_loses_its_link() {
    let (world, _pool, mut peer, asked) = with_peer(2);
    // What a worker may say in a second for each attempt of its window, and what the network held up.
    for done in 0..64 + 32 {
        say(&mut peer, asked, done);
    }
    world.advance(Duration::ZERO);
    assert!(peer.hear_all().is_empty());
    // So much later there may be so much more.
    world.advance(2 * SECOND);
    for done in 0..64 {
        say(&mut peer, asked, done);
    }
    world.advance(Duration::ZERO);
    assert!(peer.hear_all().is_empty());
    say(&mut peer, asked, 1);
    world.advance(Duration::ZERO);
    let (code, text) = peer.goodbye();
    assert_eq!(code, chargehand::core::message::Code::BadMessage);
    assert!(text.contains("progress_interval"), "{text}");
}

#[test]
fn progress_of_what_was_never_asked_ends_a_link_and_that_of_what_is_over_does_not() {
    let (world, _pool, mut peer, asked) = with_peer(1);
    peer.answer(asked, 7);
    say(&mut peer, asked, 1);
    world.advance(Duration::ZERO);
    assert!(peer.hear_all().is_empty());
    let (task, attempt) = asked;
    say(&mut peer, (TaskId::from_parts(task.slot(), task.generation() + 1), attempt), 1);
    world.advance(Duration::ZERO);
    assert!(peer.goodbye().1.contains("never held"));
}

#[test]
fn a_progress_that_is_no_message_ends_a_link() {
    let (world, _pool, mut peer, _) = with_peer(1);
    peer.send(&[10, 0, 0], &[]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.goodbye().0, chargehand::core::message::Code::BadMessage);
}

#[test]
fn a_manager_that_does_not_say_that_it_takes_progress_is_sent_none() {
    use chargehand::core::message::{Hello, Role};

    let world = World::new(5);
    let (connector, mut listener) = pair(64);
    let timer = world.timer();
    let own = timer.clone();
    let worker =
        Worker::new(timer, move |cx: Context, seconds: u64| count(own.clone(), cx, seconds));
    world.spawn(worker.dial(connector));
    world.advance(Duration::ZERO);
    // As an older manager does: without extensions.
    let mut peer = Peer::accept(&mut listener).expect("it dials at once");
    peer.say(&Message::Hello(Hello::new(Role::Manager, 0, 1, "old")), &[]);
    let extensions = chargehand::core::message::Extensions::NONE;
    peer.say(&Message::Welcome { heartbeat_millis: 60_000, window: 1, extensions }, &[]);
    let (task, attempt) = (TaskId::from_parts(0, 0), 1);
    let body = postcard::to_stdvec(&5_u64).unwrap();
    peer.say(&Message::Request { task, attempt, extensions, body: &[] }, &body);
    world.advance(6 * SECOND);
    assert_eq!(peer.hear_all(), ["Hello", "Response"]);
}

/// On threads that block, over TCP and real time.
#[tokio::test]
async fn a_handler_that_blocks_says_how_far_it_is_and_has_its_time_once_more() {
    use chargehand::tcp::{TcpConnector, TcpListener};
    use chargehand::tokio::Tokio;

    let step = Duration::from_millis(150);
    let listener = Tokio::bind("127.0.0.1:0").await.expect("a port of loopback");
    let address = listener.local_addr().expect("it is bound").to_string();
    let worker = Worker::blocking(Tokio::new(), 1, move |cx: Context, parts: u64| {
        for done in 1..=parts {
            std::thread::sleep(step);
            cx.progress(done, parts);
        }
        Ok::<_, String>(parts)
    });
    let worker = worker.expect("a thread").progress_interval(Duration::from_millis(100));
    let serving = tokio::spawn(async { worker.serve(TcpListener::new(listener)).await });
    let connector = TcpConnector::new(Tokio::new(), &address).expect("an address");
    let (pool, driver) = Pool::builder(Tokio::new())
        .connect(connector)
        // Far less than the job takes, and far more than from one part to the next.
        .configure(|config| config.attempt_timeout = Duration::from_millis(1200))
        .build()
        .expect("limits in range");
    let driver = tokio::spawn(driver);
    let long = pool.with(TaskOptions::new().attempt_max(Duration::from_secs(60)));
    let mut task = long.submit::<u64, u64>(&20).await.expect("it is taken");
    let mut heard = Vec::new();
    while let Some(progress) = task.progress().await {
        heard.push(progress.done);
        assert_eq!((progress.total, progress.attempt), (20, 1));
    }
    assert_eq!(task.await, Ok(20));
    assert!(heard.len() >= 5 && heard.is_sorted(), "{heard:?}");
    drop((pool, long));
    driver.await.expect("no panic");
    serving.abort();
}

/// Says once how far it is, so many seconds after it began, and is done after a hundred.
fn says_once(world: &World, after: u64) -> WorkerHandle {
    let timer = world.timer();
    world.host("one", move || {
        let own = timer.clone();
        let handler = move |cx: Context, height: u64| {
            let timer = own.clone();
            async move {
                timer.sleep(Duration::from_secs(after)).await;
                cx.progress(1, 2);
                timer.sleep(Duration::from_secs(100 - after)).await;
                Ok::<_, String>(height)
            }
        };
        Worker::new(timer.clone(), handler).grace(60 * SECOND)
    })
}

#[test]
fn what_is_said_while_a_link_is_away_or_breaks_gives_an_attempt_its_time_over_the_next_one() {
    // The network goes at 45 s, the link somewhat later or at once.
    for breaks_at in [45, 53] {
        let world = World::new(5);
        let worker = says_once(&world, 50);
        let pool = world.pool(|builder| {
            builder.configure(|config| {
                (config.grace, config.attempt_timeout) = (60 * SECOND, 60 * SECOND);
            })
        });
        world.at(45 * SECOND, worker.loses_network());
        world.at(Duration::from_secs(breaks_at), worker.loses_link());
        world.at(55 * SECOND, worker.regains_network());
        let long = pool.with(TaskOptions::new().attempt_max(600 * SECOND));
        assert_eq!(world.run(async { long.call::<u64, u64>(&7).await }), Ok(7));
        let stats = world.run(pool.stats()).unwrap();
        assert_eq!((stats.tasks.sent, stats.tasks.timed_out), (1, 0), "{breaks_at}: {stats:?}");
        assert!(world.elapsed() < 102 * SECOND, "{:?}", world.elapsed());
    }
}
