//! The same pool on a runtime of one's own: threads of the standard library, and nothing else.
//!
//! Run it with `cargo run --example custom_runtime`. What a runtime must provide is a clock with a
//! sleep, a way to open a byte stream and a way to take them in: three small traits, implemented in
//! `runtime.rs`. The transport on top of them is the ordinary one.

mod runtime;

use std::error::Error;
use std::thread;

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::{Pool, Worker};
use runtime::{Threads, block_on};

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Threads::new();

    let mut addresses = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let listener = Threads::bind("127.0.0.1:0")?;
        addresses.push(listener.local_addr().to_string());
        let worker = Worker::new(runtime.clone(), double).concurrency(4);
        let stopper = worker.stopper();
        let thread = thread::spawn(move || block_on(worker.serve(TcpListener::new(listener))));
        workers.push((stopper, thread));
    }

    // Beside the two behind sockets, one in the pool's own future.
    let mut builder = Pool::builder(runtime.clone()).in_process(4, double);
    for address in &addresses {
        builder = builder.connect(TcpConnector::new(runtime.clone(), address)?);
    }
    let (pool, driver) = builder.build()?;
    let driver = thread::spawn(move || block_on(driver));

    block_on(async {
        let mut outcomes = pool.process::<u64>(1..=10_000);
        while let Some((height, outcome)) = outcomes.next().await {
            assert_eq!(outcome?, 2 * height);
        }
        assert!(outcomes.ledger().is_complete());
        for worker in pool.stats().await?.workers {
            println!("{} did {}", worker.peer, worker.stats.done);
        }
        let stats = pool.stop().await?.tasks;
        println!("{} of {} tasks done", stats.done, stats.submitted);
        Ok::<_, Box<dyn Error>>(())
    })?;

    driver.join().expect("the driver ends after stop");
    for (stopper, thread) in workers {
        stopper.stop();
        thread.join().expect("a worker ends after stop")?;
    }
    Ok(())
}

async fn double(height: u64) -> Result<u64, String> {
    Ok(2 * height)
}
