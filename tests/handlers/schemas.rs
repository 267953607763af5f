//! A pool and a worker that were set up for unlike requests part as they connect, and both are told.

use std::sync::{Arc, Mutex};

use chargehand::core::io::Timer;
use chargehand::core::message::{Code, SCHEMA_BYTES_MAX};
use chargehand::tcp::TcpListener;
use chargehand::testing::{ManualTimer, World};
use chargehand::tokio::Tokio;
use chargehand::worker::WorkerEvent;
use chargehand::{DisconnectReason, Events, Pool, PoolEvent, Worker};

use super::secs;
use super::sockets::{any_listener, dialled, within};

/// What a worker was told. Its clones are the same list.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<WorkerEvent>>>);

impl Told {
    fn hook(&self) -> impl Fn(&WorkerEvent) + Send + use<> {
        let list = Arc::clone(&self.0);
        move |event| list.lock().expect("nobody panics with it").push(event.clone())
    }

    fn refusals(&self) -> Vec<DisconnectReason> {
        let events = self.0.lock().expect("nobody panics with it");
        let refused = |event: &WorkerEvent| match event {
            WorkerEvent::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        events.iter().filter_map(refused).collect()
    }
}

/// Makes a worker that answers its own name, with this schema.
fn worker<T: Timer>(
    timer: T,
    name: &'static str,
    schema: Option<&str>,
) -> Worker<T, impl chargehand::worker::Handler<Future: Send> + Send + use<T>> {
    let answer = move |_: u64| async move { Ok::<_, String>(name.to_owned()) };
    let worker = Worker::new(timer, answer).name(name);
    match schema {
        Some(schema) => worker.schema(schema),
        None => worker,
    }
}

/// Holds a refusal against the tags that it has to name.
fn names_both(reason: &DisconnectReason, ours: &str, theirs: &str) -> bool {
    let text = reason.to_string();
    let of_peer = match reason {
        DisconnectReason::WrongSchema { ours: here, theirs: there, .. } => {
            (&**here, &**there) == (ours, theirs)
        }
        // Where the other side was quicker: in its words.
        DisconnectReason::Goodbye { code, .. } => *code == Code::WrongSchema,
        _ => false,
    };
    of_peer && text.contains(ours) && text.contains(theirs)
}

async fn refusal(events: &mut Events) -> DisconnectReason {
    loop {
        match events.next().await.expect("the driver lives") {
            PoolEvent::Refused { reason, .. } | PoolEvent::TurnedAway { reason, .. } => {
                return reason;
            }
            _ => {}
        }
    }
}

#[test]
fn sides_of_one_schema_and_sides_that_say_none_go_together() {
    let (one, none) = (Some("blocks 1"), None);
    for (pools, workers) in [(one, one), (one, none), (none, one), (none, none)] {
        let world = World::new(7);
        let timer = world.timer();
        world.host("w", move || worker(timer.clone(), "w", workers));
        let pool = world.pool(|builder| match pools {
            Some(schema) => builder.schema(schema),
            None => builder,
        });
        assert_eq!(
            world.run(pool.call::<String, u64>(&1)),
            Ok("w".into()),
            "{pools:?} {workers:?}"
        );
    }
}

#[test]
fn unlike_schemas_are_refused_with_both_named_and_other_workers_go_on() {
    let world = World::new(7);
    let (timer, told) = (world.timer(), Told::default());
    let hook = told.clone();
    let old = world
        .host("old", move || worker(timer.clone(), "old", Some("blocks 1")).on_event(hook.hook()));
    let timer = world.timer();
    let new = world.host("new", move || worker(timer.clone(), "new", Some("blocks 2")));
    let pool = world.pool(|builder| builder.name("mary").schema("blocks 2"));
    let mut events = pool.events();
    for height in 0..50 {
        assert_eq!(world.run(pool.call::<String, u64>(&height)), Ok("new".into()));
    }
    world.advance(secs(30));
    let refused = world.run(refusal(&mut events));
    assert!(names_both(&refused, "blocks 2", "blocks 1"), "{refused}");
    let DisconnectReason::WrongSchema { peer, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(peer, "old");
    let refusals = told.refusals();
    assert!(refusals.len() > 1, "it is tried again, for the day that it is upgraded");
    assert!(refusals.iter().all(|why| names_both(why, "blocks 1", "blocks 2")), "{refusals:?}");
    assert_eq!((old.asked(), new.asked()), (0, 50));
}

#[test]
fn a_schema_that_no_hello_can_carry_is_refused_where_it_is_set() {
    for schema in ["x".repeat(SCHEMA_BYTES_MAX + 1), "two\nlines".into()] {
        let built = Pool::builder(ManualTimer::new()).schema(schema.as_str()).build();
        let text = built.expect_err("it is out of range").to_string();
        assert!(text.contains("schema") || text.contains("control"), "{text}");
        let served =
            worker(ManualTimer::new(), "w", Some(&schema)).serve(chargehand::memory::pair(1).1);
        let text = smol::block_on(served).expect_err("it is out of range").to_string();
        assert!(text.contains("schema must have at most 64 bytes"), "{text}");
    }
    let longest = "x".repeat(SCHEMA_BYTES_MAX);
    assert!(Pool::builder(ManualTimer::new()).schema(longest).build().is_ok());
}

#[tokio::test]
async fn unlike_schemas_are_refused_over_tcp_and_other_workers_go_on() {
    let told = Told::default();
    let (old, old_at) = any_listener().await;
    let (new, new_at) = any_listener().await;
    let old_worker = worker(Tokio::new(), "old", Some("blocks 1")).on_event(told.hook());
    let new_worker = worker(Tokio::new(), "new", Some("blocks 2"));
    let tasks = [
        tokio::spawn(old_worker.serve(TcpListener::new(old))),
        tokio::spawn(new_worker.serve(TcpListener::new(new))),
    ];
    let builder = Pool::builder(Tokio::new()).name("mary").schema("blocks 2");
    let (pool, driver) =
        builder.connect(dialled(old_at)).connect(dialled(new_at)).build().expect("in range");
    let mut events = pool.events();
    let driver = tokio::spawn(driver);
    within(async {
        let refused = refusal(&mut events).await;
        assert!(names_both(&refused, "blocks 2", "blocks 1"), "{refused}");
        for height in 0..20 {
            assert_eq!(pool.call::<String, u64>(&height).await, Ok("new".into()));
        }
        while told.refusals().is_empty() {
            tokio::task::yield_now().await;
        }
        pool.stop().await.expect("the driver lives");
        driver.await.expect("no panic");
    })
    .await;
    let refusals = told.refusals();
    assert!(refusals.iter().all(|why| names_both(why, "blocks 1", "blocks 2")), "{refusals:?}");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_worker_of_another_schema_that_dials_in_is_turned_away_with_both_named() {
    let told = Told::default();
    let (door, at) = any_listener().await;
    let builder = Pool::builder(Tokio::new()).schema("blocks 2");
    let (pool, driver) = builder.accept(TcpListener::new(door)).build().expect("in range");
    let mut events = pool.events();
    let driver = tokio::spawn(driver);
    let old = worker(Tokio::new(), "old", Some("blocks 1")).on_event(told.hook());
    let old = tokio::spawn(old.dial(dialled(at)));
    within(async {
        let refused = refusal(&mut events).await;
        assert!(names_both(&refused, "blocks 2", "blocks 1"), "{refused}");
        while told.refusals().is_empty() {
            tokio::task::yield_now().await;
        }
        let stats = pool.stats().await.expect("the driver lives");
        assert!(stats.workers.is_empty(), "{stats:?}");
        pool.stop().await.expect("the driver lives");
        driver.await.expect("no panic");
    })
    .await;
    assert!(told.refusals().iter().all(|why| names_both(why, "blocks 1", "blocks 2")));
    old.abort();
}
