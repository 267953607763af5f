//! A manager and two workers on tokio, in one process: one over TCP, one over WebSocket.
//!
//! Run it with `cargo run --example quickstart_tokio`.

use std::error::Error;

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::Tokio;
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Pool, Worker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Tokio::new();

    // Two workers, each on a free port. Elsewhere they would be processes on other machines.
    let tcp = Tokio::bind("127.0.0.1:0").await?;
    let tcp_address = tcp.local_addr()?.to_string();
    tokio::spawn(Worker::new(runtime, square).concurrency(8).serve(TcpListener::new(tcp)));
    let ws = Tokio::bind("127.0.0.1:0").await?;
    let ws_address = format!("ws://{}", ws.local_addr()?);
    tokio::spawn(Worker::new(runtime, square).concurrency(8).serve(WsListener::new(ws)));

    // The manager: a handle, and one future that does all the work.
    let (pool, driver) = Pool::builder(runtime)
        .connect(TcpConnector::new(runtime, &tcp_address)?)
        .connect(WsConnector::new(runtime, &ws_address)?)
        .build()?;
    let driver = tokio::spawn(driver);

    // One task.
    let answer: u64 = pool.call(&12_u64).await?;
    println!("12 squared is {answer}");

    // A range of them, as a stream of outcomes in the order in which they come.
    let mut outcomes = pool.process::<u64>(1..=1000);
    let mut sum = 0;
    while let Some((height, outcome)) = outcomes.next().await {
        assert_eq!(outcome?, height * height);
        sum += height;
    }
    println!("all heights are there: {}, summing up to {sum}", outcomes.ledger().is_complete());

    let stats = pool.stop().await?.tasks;
    driver.await?;
    println!("done {}, lost {}", stats.done, stats.submitted - stats.done);
    Ok(())
}

async fn square(height: u64) -> Result<u64, String> {
    height.checked_mul(height).ok_or_else(|| format!("{height} is too large to square"))
}
