//! Each reason why a task waits or a worker gets none, as the page gives it and the command says it: pools in worlds
//! with a clock of their own, whose page is asked by real processes of the command.
//!
//! A reason without a case here does not compile: there are as many cases as names of reasons.

use std::any::Any;
use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use chargehand::core::{Choice, Config, Ejection, Idles, Waits};
use chargehand::explain::Lacks;
use chargehand::testing::{Act, Script, World};
use chargehand::{Failure, Pool, QueueOptions, Rate, TaskOptions, Throttled, Worker, from_stream};
use chargehand_status::Status;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde_json::Value;
use tower::ServiceExt;

use super::support::{Running, chargehand, repository, until};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// How long in virtual time a reason may take to come up.
const SOON: Duration = Duration::from_secs(120);

/// A pool for which a reason holds, or will soon, and what has to be kept for that.
struct Held {
    pool: Pool,
    kept: Vec<Box<dyn Any>>,
    /// The task that is asked for; all of the pool where this is empty.
    task: &'static str,
}

impl Held {
    fn new(pool: Pool) -> Self {
        Self { pool, kept: Vec::new(), task: "" }
    }

    fn keeping(mut self, kept: impl Any) -> Self {
        self.kept.push(Box::new(kept));
        self
    }
}

/// How a reason comes to hold; `None` for one that is never said once there is nothing left to do.
type Case = (&'static str, Option<fn(&World) -> Held>);

const WAITS: [Case; Waits::NAMES.len()] = [
    (
        "rests",
        Some(|world| {
            world.worker(fails());
            let pool =
                configured(world, |config| (config.retries_max, config.retry_delay) = (1, HOUR));
            submitted(world, pool, TaskOptions::new(), 1)
        }),
    ),
    ("key", Some(|world| hung(world, |pool| (pool, TaskOptions::new().key("account 7"))))),
    (
        "key_paused",
        Some(|world| {
            let later = Failure::from(Throttled::after(HOUR).for_key());
            world.worker(Script::new().always(Act::Advise(later)));
            let pool = world.pool(|builder| builder);
            submitted(world, pool, TaskOptions::new().key("account 7"), 1)
        }),
    ),
    ("paused", Some(|world| in_queue(world, QueueOptions::new().paused()))),
    ("queue_in_flight", Some(|world| in_queue(world, QueueOptions::new().in_flight_max(1)))),
    ("queue_rate", Some(|world| in_queue(world, QueueOptions::new().rate(Rate::per(1, HOUR))))),
    (
        "no_worker",
        Some(|world| {
            let pool = world.pool(|builder| builder);
            submitted(world, pool, TaskOptions::new(), 1)
        }),
    ),
    ("away", Some(away)),
    ("none_serves", Some(throttled)),
    (
        "not_served",
        Some(|world| {
            hosted(world, Some("tip"), None);
            let pool = world.pool(|builder| builder.queue("tip", QueueOptions::new()));
            submitted(world, pool, TaskOptions::new(), 1)
        }),
    ),
    ("no_room", Some(|world| hung(world, |pool| (pool, TaskOptions::new())))),
    (
        "suspect",
        Some(|world| {
            let worker = world.worker(hangs().concurrency(2));
            let pool = world.pool(|builder| builder);
            let held = submitted(world, pool, TaskOptions::new(), 2);
            world.advance(SECOND);
            worker.loses_link().now();
            held
        }),
    ),
    (
        "elsewhere",
        Some(|world| {
            world.worker(hangs());
            world.worker(fails());
            let pool = configured(world, |config| {
                (config.retries_max, config.retry_delay) = (1, Duration::ZERO);
                config.elsewhere_wait = HOUR;
            });
            submitted(world, pool, TaskOptions::new(), 2)
        }),
    ),
    (
        "held_back",
        Some(|world| {
            world.worker(Script::new().takes(SECOND));
            world.worker(Script::new().takes(20 * SECOND));
            let pool = configured(world, |config| config.choice = Choice::FirstAnswer);
            streamed(world, pool, |pool| pool.process::<u64>(1..=90))
        }),
    ),
    ("stopping", None),
    ("turn", None),
];

const IDLES: [Case; Idles::NAMES.len()] = [
    ("away", Some(away)),
    (
        "failing",
        Some(|world| {
            world.worker(fails());
            world.worker(hangs());
            let pool = configured(world, |config| config.failures_max = 1);
            submitted(world, pool, TaskOptions::new(), 4)
        }),
    ),
    (
        "off_others",
        Some(|world| {
            for number in 0..4 {
                world.worker(Script::new().takes(if number == 0 { 40 * MS } else { MS }));
            }
            let pool = configured(world, |config| {
                let mut ejection = Ejection::new();
                ejection.answers = 4;
                (config.choice, config.ejection) = (Choice::FirstAnswer, Some(ejection));
            });
            let of_range = pool.clone();
            let range = async move { of_range.for_each::<u64>(1..=100_000, |_, _| ()).await };
            Held::new(pool).keeping(world.spawn(range))
        }),
    ),
    ("throttled", Some(throttled)),
    (
        "early",
        Some(|world| {
            world.worker(Script::new().dials_in().always(Act::Close));
            let pool = configured(world, |config| config.attempts_max = 1000);
            submitted(world, pool, TaskOptions::new(), 3)
        }),
    ),
    (
        "busy",
        Some(|world| {
            // What it is told to drop it goes on with: there is no word for it in its dialect.
            world.go_worker(hangs());
            let pool = world.pool(|builder| builder);
            let call = pool.clone();
            let task = world.run(call.submit::<(), u64>(&1)).expect("it is queued");
            world.advance(SECOND);
            drop(task);
            Held::new(pool)
        }),
    ),
    (
        "leaving",
        Some(|world| {
            let held = hung(world, |pool| (pool, TaskOptions::new()));
            world.advance(SECOND);
            let worker = world.run(held.pool.stats()).expect("it runs").workers[0].id;
            let pool = held.pool.clone();
            held.keeping(world.spawn(async move { pool.remove(worker).await }))
        }),
    ),
    (
        "rate",
        Some(|world| {
            hosted(world, None, Some(Rate::per(1, HOUR)));
            let pool = world.pool(|builder| builder);
            submitted(world, pool, TaskOptions::new(), 2)
        }),
    ),
    ("full", Some(|world| hung(world, |pool| (pool, TaskOptions::new())))),
    (
        "room",
        Some(|world| {
            world.worker(Script::new());
            Held::new(world.pool(|builder| builder))
        }),
    ),
];

const LACKS: [Case; Lacks::NAMES.len()] = [
    (
        "outside_room",
        Some(|world| {
            let pool = world.pool(|builder| builder.tasks_max(2).queue_max(8));
            submitted(world, pool, TaskOptions::new(), 5)
        }),
    ),
    (
        "outside_memory",
        Some(|world| {
            world.worker(Script::new().answers(|_: u64| vec![7_u8; 300_000]));
            let pool = world.pool(|builder| builder.frame_bytes_max(1 << 20).memory_max(6 << 20));
            streamed(world, pool, |pool| pool.process::<Vec<u8>>(1..=1000).ahead(1000))
        }),
    ),
    (
        "outside_taking",
        Some(|world| {
            world.worker(Script::new().concurrency(4));
            let pool = world.pool(|builder| builder);
            streamed(world, pool, |pool| pool.process::<u64>(1..=1000).ahead(16))
        }),
    ),
    (
        "outside_key",
        Some(|world| {
            world.worker(hangs());
            let pool = world.pool(|builder| builder);
            let keyed = pool.with(TaskOptions::new().key("account 7"));
            streamed(world, keyed, |pool| pool.process::<u64>(1..=1000))
        }),
    ),
    (
        "outside_nothing",
        Some(|world| {
            world.worker(hangs());
            let pool = world.pool(|builder| builder);
            streamed(world, pool, |pool| pool.process::<u64>(1..=1000))
        }),
    ),
    (
        "outside_source",
        Some(|world| {
            let pool = world.pool(|builder| builder);
            streamed(world, pool, |pool| pool.map::<u64, _>(from_stream(stream::pending::<u64>())))
        }),
    ),
    (
        "outside_stopped",
        Some(|world| {
            world.worker(hangs());
            let pool = world.pool(|builder| builder);
            let mut held = streamed(world, pool, |pool| pool.process::<u64>(1..=1000));
            let stopped = held.pool.clone();
            world.advance(SECOND);
            held.task = "900";
            held.keeping(world.spawn(async move { stopped.stop_within(HOUR).await }))
        }),
    ),
];

fn hangs() -> Script {
    Script::new().always(Act::Hang)
}

fn fails() -> Script {
    Script::new().always(Act::Fail("no".to_owned()))
}

fn configured(world: &World, change: impl FnOnce(&mut Config)) -> Pool {
    world.pool(|builder| builder.configure(change))
}

/// Adds a worker that never answers, and serves these queues or has this rate.
fn hosted(world: &World, queues: Option<&'static str>, rate: Option<Rate>) {
    let timer = world.timer();
    world.host("w1", move || {
        let hangs = |height: u64| async move {
            pending::<()>().await;
            Ok::<u64, String>(height)
        };
        let worker = Worker::new(timer.clone(), hangs);
        let worker = if let Some(name) = queues { worker.queues([name]) } else { worker };
        if let Some(rate) = rate { worker.rate(rate) } else { worker }
    });
}

/// Submits so many tasks, and keeps them.
fn submitted(world: &World, pool: Pool, options: TaskOptions, count: u64) -> Held {
    let handle = pool.with(options);
    let tasks: Vec<_> = (0..count)
        .map(|number| world.run(handle.submit::<u64, _>(&number)).expect("it is queued"))
        .collect();
    Held::new(pool).keeping(tasks)
}

/// Two tasks of a worker that does one, and never ends.
fn hung(world: &World, set: impl FnOnce(Pool) -> (Pool, TaskOptions)) -> Held {
    world.worker(hangs());
    let (pool, options) = set(world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = HOUR;
        })
    }));
    submitted(world, pool, options, 2)
}

/// Two tasks of a queue whose workers have room for more.
fn in_queue(world: &World, queue: QueueOptions) -> Held {
    world.worker(hangs().concurrency(4));
    let pool = world.pool(|builder| builder.queue("tip", queue));
    let options = TaskOptions::new().queue(pool.queue("tip").expect("it is there"));
    submitted(world, pool, options, 2)
}

fn away(world: &World) -> Held {
    let worker = world.worker(Script::new());
    worker.loses_network().now();
    let pool = world.pool(|builder| builder);
    submitted(world, pool, TaskOptions::new(), 1)
}

fn throttled(world: &World) -> Held {
    let later = Failure::from(Throttled::after(HOUR));
    world.worker(Script::new().always(Act::Advise(later)));
    let pool = world.pool(|builder| builder);
    submitted(world, pool, TaskOptions::new(), 1)
}

/// Begins a stream whose outcomes nobody takes.
fn streamed<S: Stream + Unpin + 'static>(
    world: &World,
    pool: Pool,
    begin: impl FnOnce(&Pool) -> S,
) -> Held {
    let mut outcomes = begin(&pool);
    assert!(world.run(async { outcomes.next().now_or_never() }).is_none(), "nothing is done yet");
    Held::new(pool).keeping(outcomes)
}

#[test]
fn the_page_and_the_command_give_every_reason_why_a_task_waits() {
    assert_eq!(WAITS.map(|(name, _)| name), Waits::NAMES);
    check("waiting", &WAITS);
}

#[test]
fn the_page_and_the_command_give_every_reason_why_a_worker_gets_none() {
    assert_eq!(IDLES.map(|(name, _)| name), Idles::NAMES);
    check("workers", &IDLES);
}

#[test]
fn the_page_and_the_command_give_every_reason_why_a_task_is_not_in_the_scheduler() {
    assert_eq!(LACKS.map(|(name, _)| name), Lacks::NAMES);
    check("outside", &LACKS);
}

/// Has each reason come to hold, asks for it as JSON and as text, and looks for it in the guide.
fn check(part: &str, cases: &[Case]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    // The routes need one; whatever is asked of them is answered in the world.
    let _entered = runtime.enter();
    let guide = std::fs::read_to_string(repository("docs/OPERATIONS.md")).expect("it is there");
    for (name, make) in cases {
        let Some(make) = make else { continue };
        assert!(guide.contains(&format!("`{name}`")), "the guide says nothing of {name}");
        let world = World::new(1);
        let held = make(&world);
        let site = Site { router: Status::new(&held.pool).router("/"), world: &world };
        let (part, path) = match held.task {
            "" => (part, "/api/explain".to_owned()),
            task => ("tasks", format!("/api/explain?task={task}")),
        };
        let found = || {
            let told: Value = serde_json::from_slice(&site.get(&path)).expect("JSON");
            let rows = told[part].as_array().cloned().unwrap_or_default();
            rows.into_iter().find(|row| row["why"] == **name).ok_or(told)
        };
        let mut row = found();
        while row.is_err() && world.elapsed() < SOON {
            world.advance(50 * MS);
            row = found();
        }
        let row = row.unwrap_or_else(|told| panic!("{name} never came up: {told}"));
        let text = row["text"].as_str().expect("a text");
        let json = site.asked_by_command(held.task, "json");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let rows = json[part].as_array().expect("a list");
        assert!(rows.iter().any(|row| row["why"] == **name), "{name}: {json}");
        let human = site.asked_by_command(held.task, "human");
        assert!(human.contains(text), "{name}: no \"{text}\" in {human}");
        if part != "workers" {
            assert!(text.contains("What would change it: "), "{text}");
        }
    }
}

/// A page whose pool's clock stands while it answers.
struct Site<'a> {
    router: Router,
    world: &'a World,
}

impl Site<'_> {
    fn get(&self, path: &str) -> Vec<u8> {
        let request = Request::get(path).header("Host", "localhost").body(Body::empty());
        let response = self.router.clone().oneshot(request.expect("a request"));
        let body = self.world.run(async {
            let response = response.await.expect("it answers");
            to_bytes(response.into_body(), 1 << 20).await.expect("it is short")
        });
        body.to_vec()
    }

    /// Runs the command, answers its request, and returns what it printed.
    fn asked_by_command(&self, task: &str, output: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
        let mut command = chargehand();
        command.args(["explain", &url, "--output", output]);
        if !task.is_empty() {
            command.args(["--task", task]);
        }
        let running = Running::start(&mut command);
        let mut stream = accepted(&listener);
        let mut head = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
        let first = head.next().expect("a request").expect("readable");
        while !head.next().expect("a request").expect("readable").is_empty() {}
        let body = self.get(first.split(' ').nth(1).expect("a path"));
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        stream
            .write_all(answer.as_bytes())
            .and_then(|()| stream.write_all(&body))
            .expect("it reads");
        let ended = running.finish();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out
    }
}

fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a socket");
    let mut accepted = None;
    until("the command dials", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.expect("just seen");
    stream.set_nonblocking(false).expect("a socket");
    stream
}
