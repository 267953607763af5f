//! A worker behind a route of an axum server, and a manager that dials it.

use std::error::Error;

use chargehand::tokio::Tokio;
use chargehand::ws::{Upgrades, WsConnector};
use chargehand::{Pool, Worker};
use chargehand_http_examples::axum_route::{router, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `json` also lets managers of the Go package in.
    let (upgrader, upgraded) = Upgrades::new().json(true).pair();
    let port = TcpListener::bind("127.0.0.1:0").await?;
    let address = port.local_addr()?;
    let server = tokio::spawn(serve(port, router(upgrader)));

    let double = |height: u64| async move { Ok::<_, String>(2 * height) };
    let worker = Worker::new(Tokio::new(), double).concurrency(8);
    let stopper = worker.stopper();
    let worker = tokio::spawn(worker.serve(upgraded));

    let runtime = Tokio::new();
    let (pool, driver) = Pool::builder(runtime)
        .connect(WsConnector::new(runtime, &format!("ws://{address}/work"))?)
        .build()?;
    tokio::spawn(driver);
    let mut outcomes = pool.process::<u64>(1..=1000);
    while let Some((height, outcome)) = outcomes.next().await {
        assert_eq!(outcome?, 2 * height);
    }
    println!("{} heights by way of http://{address}/work", pool.stop().await?.tasks.done);

    stopper.stop();
    worker.await??;
    server.abort();
    Ok(())
}
