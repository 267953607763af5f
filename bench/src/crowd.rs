//! Ten thousand links: what each costs a manager, and what it costs the busy ones.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use chargehand::core::io::{Connect, Wire};
use chargehand::core::message::{HEAD_BYTES_MAX, Message, Role};
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::Tokio;
use chargehand::ws::WsListener;
use chargehand::{BoxError, Pool, Task, WorkerOptions};

use crate::manager::{process, sleep, until_up, ws};
use crate::measure::{
    Figures, Meter, Stopwatch, WARM_UP, allow_links, as_f64, end_with_standard_input,
    resident_bytes, say,
};
use crate::members;
use crate::runtime::Runtime;
use crate::spec::{Crowded, Transport};

/// After which buffers that were used once are given up.
const QUIET: Duration = Duration::from_millis(1500);

/// Opens links that answer pings and hold the one task that they are given.
pub(crate) fn run(transport: Transport, links: u32, address: &str) {
    end_with_standard_input();
    allow_links(links);
    Tokio::block_on(async {
        let runtime = Tokio::start();
        for number in 0..links {
            match transport {
                Transport::Tcp => {
                    join(TcpConnector::new(runtime, address).expect("an address"), number).await;
                }
                Transport::Tls => {
                    let dial = members::worker().dial(runtime);
                    join(TcpConnector::new(dial, address).expect("an address"), number).await;
                }
                Transport::Ws | Transport::Json => join(ws(runtime, address), number).await,
            }
        }
        pending::<()>().await;
    });
}

/// Opens one link, and leaves it to itself.
async fn join<C>(mut connect: C, number: u32)
where
    C: Connect<Wire: Send + 'static, Error: Into<BoxError>>,
{
    let connected = connect.connect().await;
    let mut wire = connected.map_err(Into::into).expect("the manager listens");
    let name = match wire.identity() {
        Some(_) => format!("{}/{number}", members::WORKER),
        None => format!("idle-{number}"),
    };
    let hello = Message::hello(Role::Worker, 1, number.into(), &name);
    send(&mut wire, &hello).await.expect("the manager listens");
    while !take(&mut wire).await.expect("the manager listens") {}
    // Until the manager has seen enough.
    Tokio::spawn(async move { while take(&mut wire).await.is_some() {} });
}

/// Takes one message. Returns whether it was the Welcome, or nothing once the link is over.
async fn take<W: Wire>(wire: &mut W) -> Option<bool> {
    let message = poll_fn(|cx| {
        wire.poll_recv(cx).map(|frame| {
            let frame = frame.ok()??;
            let message = Message::decode(frame).expect("the manager's message");
            if let Message::Goodbye { text, .. } = message {
                panic!("the manager says: {text}");
            }
            Some((message == Message::Ping, matches!(message, Message::Welcome { .. })))
        })
    });
    let (is_ping, is_welcome) = message.await?;
    if is_ping {
        send(wire, &Message::Pong).await?;
    }
    Some(is_welcome)
}

async fn send<W: Wire>(wire: &mut W, message: &Message<'_>) -> Option<()> {
    let mut head = [0; HEAD_BYTES_MAX];
    let head = message.encode(&mut head);
    poll_fn(|cx| wire.poll_send(cx, head, &[])).await.ok()?;
    poll_fn(|cx| wire.poll_flush(cx)).await.ok()
}

/// Manages a crowd, and a busy worker beside it if there is one.
pub(crate) fn manage(crowded: &Crowded, allocated: Option<fn() -> usize>) {
    allow_links(crowded.links + crowded.busy_links);
    Tokio::block_on(manage_all(crowded, allocated));
}

async fn manage_all(crowded: &Crowded, allocated: Option<fn() -> usize>) {
    let runtime = Tokio::start();
    let before = Memory::now(allocated);
    let (listener, address) = <Tokio as Runtime>::bind().await;
    let links = crowded.links;
    let builder = Pool::builder(runtime)
        .workers_max((links + crowded.busy_links).max(1))
        .tasks_max(4 * links + 16_384)
        // They hold their task for as long as this runs.
        .configure(|config| config.attempt_timeout = Duration::from_secs(3600));
    let builder = match crowded.transport {
        Transport::Tcp => builder.accept(TcpListener::new(listener)),
        Transport::Tls => {
            let accept = members::pool().accept(listener);
            builder.links_per_identity(links as usize).accept(TcpListener::new(accept))
        }
        Transport::Ws | Transport::Json => builder.accept(WsListener::new(listener)),
    };
    let (pool, driver) = builder.build().expect("limits in range");
    Tokio::spawn(driver);
    say(&address);
    // The pool alone is not a link's cost.
    sleep(runtime, Duration::from_millis(50)).await;
    let empty = Memory::now(allocated);
    until_up(runtime, &pool, links).await;
    let Some((busy, process)) = &crowded.busy else {
        sleep(runtime, QUIET).await;
        say(&Memory::now(allocated).since(&before, &empty, links));
        std::process::exit(0);
    };
    let held = hold(runtime, &pool, links).await;
    for _ in 0..crowded.busy_links {
        let connector = TcpConnector::new(runtime, busy).expect("an address");
        pool.add(connector, WorkerOptions::new()).await.expect("there is room");
    }
    until_up(runtime, &pool, links + crowded.busy_links).await;
    say(&load(runtime, &pool, *process, crowded.seconds).await);
    drop(held);
    std::process::exit(0);
}

/// Gives every link of the crowd a task that it keeps, so that none is eligible any more.
async fn hold(runtime: Tokio, pool: &Pool, links: u32) -> Vec<Task<u64>> {
    let mut held = Vec::new();
    for number in 0..u64::from(links) {
        held.push(pool.submit(&number).await.expect("the pool runs"));
    }
    while pool.stats().await.expect("the pool runs").tasks.in_flight < links {
        sleep(runtime, Duration::from_millis(10)).await;
    }
    held
}

async fn load(runtime: Tokio, pool: &Pool, worker: u32, seconds: f64) -> Figures {
    let meter = Arc::new(Meter::new(false));
    let is_right = |answer: u64, height| answer == height;
    Tokio::spawn(process(pool.clone(), Arc::clone(&meter), is_right));
    sleep(runtime, WARM_UP).await;
    let stopwatch = Stopwatch::begin(&meter, &[("worker".to_owned(), worker)]);
    sleep(runtime, Duration::from_secs_f64(seconds)).await;
    stopwatch.end(&meter)
}

/// What a process holds.
struct Memory {
    allocated: Option<usize>,
    resident: u64,
}

impl Memory {
    fn now(allocated: Option<fn() -> usize>) -> Self {
        Self { allocated: allocated.map(|allocated| allocated()), resident: resident_bytes() }
    }

    /// Returns the bytes for each of `links`: with the share of the pool's tables, which it set
    /// aside `before` there were any, and without.
    fn since(&self, before: &Self, empty: &Self, links: u32) -> Figures {
        let each = |now: u64, then: u64| as_f64(now.saturating_sub(then)) / f64::from(links);
        let resident = each(self.resident, empty.resident);
        let mut figures = Figures::from([("resident".to_owned(), resident)]);
        let all = (self.allocated, before.allocated, empty.allocated);
        if let (Some(now), Some(before), Some(empty)) = all {
            figures.insert("with tables".to_owned(), each(now as u64, before as u64));
            figures.insert("own".to_owned(), each(now as u64, empty as u64));
        }
        figures
    }
}
