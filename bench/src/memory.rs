//! What tasks and ranges cost a manager in memory.

use std::sync::Arc;
use std::time::Duration;

use chargehand::Pool;
use chargehand::smol::Smol;
use chargehand::tokio::Tokio;

use crate::manager::{process, sleep, start};
use crate::measure::{Figures, Meter, as_f64, resident_bytes, say};
use crate::runtime::Runtime;
use crate::spec::{Runtimes, Spec};

/// How often a range's memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Queues tasks with 16 bytes each in a pool without workers, and says what each takes: everything but the handle
/// itself, which is the caller's.
pub(crate) fn queue(tasks: u32, allocated: Option<fn() -> usize>) {
    let allocated = allocated.expect("the program that counts");
    Tokio::block_on(async {
        let runtime = Tokio::start();
        let mut handles = Vec::with_capacity(tasks as usize);
        let (before, resident) = (allocated(), resident_bytes());
        let builder = Pool::builder(runtime).tasks_max(tasks);
        let (pool, driver) = builder.build().expect("limits in range");
        Tokio::spawn(driver);
        for _ in 0..tasks {
            let task = pool.submit::<(), _>(&[b'!'; 16]).await;
            handles.push(task.expect("the pool runs"));
        }
        while pool.stats().await.expect("the pool runs").tasks.waiting < tasks {
            sleep(runtime, Duration::from_millis(10)).await;
        }
        let each = |now: usize, then: usize| as_f64((now - then) as u64) / f64::from(tasks);
        let resident = as_f64(resident_bytes() - resident) / f64::from(tasks);
        let own = each(allocated(), before);
        say(&Figures::from([("own".to_owned(), own), ("resident".to_owned(), resident)]));
        drop(handles);
        std::process::exit(0);
    });
}

/// Goes through a range of a billion heights for a while, and says how much memory it took early on
/// and at most.
pub(crate) fn range(spec: Spec, address: &str, seconds: f64, allocated: Option<fn() -> usize>) {
    let allocated = allocated.expect("the program that counts");
    match spec.runtime {
        Runtimes::Tokio => Tokio::block_on(watch::<Tokio>(spec, address, seconds, allocated)),
        Runtimes::Smol => Smol::block_on(watch::<Smol>(spec, address, seconds, allocated)),
    }
}

async fn watch<R: Runtime>(spec: Spec, address: &str, seconds: f64, allocated: fn() -> usize) {
    let runtime = R::start();
    let pool = start(runtime, spec, address).await;
    let meter = Arc::new(Meter::new(false));
    R::spawn(process(pool, Arc::clone(&meter), |answer: u64, height| answer == height));
    let third = Duration::from_secs_f64(seconds / 3.0);
    let early = most(runtime, third, allocated).await;
    let late = most(runtime, 2 * third, allocated).await;
    let bytes = |bytes: usize| as_f64(bytes as u64);
    say(&Figures::from([
        ("first third".to_owned(), bytes(early)),
        ("rest".to_owned(), bytes(late)),
        ("heights".to_owned(), as_f64(meter.count())),
    ]));
    std::process::exit(0);
}

/// Returns the most that was allocated within a span.
async fn most<R: Runtime>(runtime: R, span: Duration, allocated: fn() -> usize) -> usize {
    let until = runtime.now().saturating_add(span);
    let mut most = 0;
    while runtime.now() < until {
        sleep(runtime, LOOK).await;
        most = most.max(allocated());
    }
    most
}
