//! What a subscriber of `tracing` sees of a pool and of a worker: levels, fields and messages.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use chargehand::testing::{Act, ManualTimer, Script, World};
use chargehand::{Pool, TaskError, Worker, memory};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const SECOND: Duration = Duration::from_secs(1);

/// An event, its message among its fields.
#[derive(Clone, Debug)]
struct Seen {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    fn names(&self) -> Vec<&str> {
        self.fields.keys().copied().collect()
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Keeps what it sees up to a level.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<Seen>>>, Level);

impl Log {
    /// Returns what was seen while `run` ran.
    fn of(level: Level, run: impl FnOnce()) -> Vec<Seen> {
        let log = Self(Arc::default(), level);
        tracing::subscriber::with_default(log.clone(), run);
        let seen = log.0.lock().unwrap();
        seen.clone()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("chargehand") && *metadata.level() <= self.1
    }

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen { level: *event.metadata().level(), fields: BTreeMap::new() };
        event.record(&mut seen);
        self.0.lock().unwrap().push(seen);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The only one with this message.
fn only<'a>(seen: &'a [Seen], message: &str) -> &'a Seen {
    let mut with = seen.iter().filter(|seen| seen.field("message") == message);
    let first = with.next().unwrap_or_else(|| panic!("{message} in {seen:#?}"));
    assert!(with.next().is_none(), "{message} twice in {seen:#?}");
    first
}

#[test]
fn a_worker_that_is_killed_is_a_warning_that_names_it_and_the_reason() {
    let seen = Log::of(Level::INFO, || {
        let world = World::new(1);
        let worker = world.worker(Script::new().name("w7").takes(5 * SECOND));
        world.at(SECOND, worker.dies());
        let pool = world.pool(|builder| builder.name("m3"));
        let _task = pool.try_submit::<u64, u64>(7).unwrap();
        world.advance(3 * SECOND);
    });
    let connected = only(&seen, "connected");
    assert_eq!(connected.level, Level::INFO);
    assert_eq!(connected.names(), ["manager", "message", "peer", "window", "worker"]);
    let lost = only(&seen, "link lost");
    assert_eq!(lost.level, Level::WARN);
    assert_eq!(lost.names(), ["manager", "message", "peer", "reason", "worker"]);
    assert_eq!(
        (lost.field("manager"), lost.field("peer"), lost.field("worker")),
        ("m3", "w7", "0")
    );
    assert_eq!(lost.field("reason"), "the peer closed the connection");
    let mut again = seen.iter().filter(|seen| seen.field("message") == "cannot connect");
    assert_eq!(again.next().map(|seen| seen.level), Some(Level::WARN), "it is tried again");
}

#[test]
fn what_ends_in_good_order_is_for_information() {
    let seen = Log::of(Level::TRACE, || {
        let world = World::new(1);
        let stops = world.worker(Script::new().name("stops"));
        world.worker(Script::new().name("stays"));
        world.at(SECOND, stops.stops());
        let pool = world.pool(|builder| builder);
        world.advance(2 * SECOND);
        world.run(pool.stop()).unwrap();
    });
    let ends: Vec<_> = seen.iter().filter(|seen| seen.field("message").contains("link")).collect();
    assert_eq!(ends.len(), 2, "{seen:#?}");
    assert!(ends.iter().all(|end| end.level == Level::INFO), "{ends:#?}");
    assert!(!seen.iter().any(|seen| seen.level == Level::ERROR), "{seen:#?}");
}

#[test]
fn what_becomes_of_tasks_is_for_those_who_look_closer() {
    let run = || {
        let world = World::new(1);
        let script = Script::new().name("sick").nth(1, Act::Restart(SECOND));
        world.worker(script.when(|request| request.height() == Some(9), Act::Fail("no".into())));
        let well = world.worker(Script::new().name("well").takes(SECOND));
        world.at(Duration::ZERO, well.dies());
        let pool = world.pool(|builder| {
            builder.configure(|config| (config.failures_max, config.retries_max) = (1, 0))
        });
        assert_eq!(world.run(pool.call::<u64, u64>(&7)), Ok(7));
        world.at(3 * SECOND, well.revives());
        world.advance(20 * SECOND);
        let failed = world.run(pool.call::<u64, u64>(&9));
        assert!(matches!(failed, Err(TaskError::Failed(_)) | Ok(9)), "{failed:?}");
        let _ = world.run(pool.call::<u64, u64>(&9));
    };
    let seen = Log::of(Level::TRACE, run);
    let again = only(&seen, "task sent again");
    assert_eq!(
        (again.level, again.field("attempt"), again.field("peer")),
        (Level::DEBUG, "2", "sick")
    );
    assert_eq!(again.names(), ["attempt", "manager", "message", "peer", "task"]);
    let suspended = only(&seen, "worker suspended");
    assert_eq!((suspended.level, suspended.field("peer")), (Level::WARN, "sick"));
    assert!(suspended.field("span_ms").parse::<u64>().unwrap() > 0);
    // At the default level there is nothing of single tasks.
    let seen = Log::of(Level::INFO, run);
    assert!(!seen.iter().any(|seen| seen.fields.contains_key("task")), "{seen:#?}");
}

#[test]
fn a_worker_tells_of_its_links_and_of_panics_under_its_name() {
    let seen = Log::of(Level::INFO, || {
        let (connector, listener) = memory::pair(4);
        let handler = |height: u64| async move {
            assert!(height != 7, "seven is out");
            Ok::<u64, String>(height)
        };
        let worker = Worker::new(ManualTimer::new(), handler).name("w7");
        let stopper = worker.stopper();
        let mut worker = pin!(worker.serve(listener));
        let builder = Pool::builder(ManualTimer::new()).name("m3").connect(connector);
        let (pool, driver) = builder.build().unwrap();
        let mut driver = Box::pin(driver);
        let mut task = pin!(pool.try_submit::<u64, u64>(7).unwrap());
        let cx = &mut Context::from_waker(Waker::noop());
        while task.as_mut().poll(cx).is_pending() {
            assert!(driver.as_mut().poll(cx).is_pending());
            assert!(worker.as_mut().poll(cx).is_pending());
        }
        drop(driver);
        assert!(worker.as_mut().poll(cx).is_pending());
        stopper.stop();
        assert!(worker.as_mut().poll(cx).is_ready());
    });
    let of_worker: Vec<_> = seen
        .into_iter()
        .filter(|seen| {
            !seen.fields.contains_key("manager") || seen.fields.contains_key("worker_name")
        })
        .collect();
    let connected = only(&of_worker, "connected");
    assert_eq!((connected.field("worker_name"), connected.field("manager")), ("w7", "m3"));
    let panic = only(&of_worker, "handler, hook or callback panicked");
    assert_eq!((panic.level, panic.field("panic")), (Level::ERROR, "seven is out"));
    let lost = only(&of_worker, "link lost");
    assert_eq!((lost.level, lost.field("worker_name")), (Level::WARN, "w7"));
    assert_eq!(lost.names(), ["manager", "message", "peer", "reason", "worker_name"]);
    assert_eq!(only(&of_worker, "stopping").level, Level::INFO);
}
