//! A manager behind a route of hyper's, and workers that dial in.

use std::error::Error;

use chargehand::core::io::Exposure;
use chargehand::tokio::Tokio;
use chargehand::ws::{Upgrades, WsConnector};
use chargehand::{Pool, Worker};
use chargehand_http_examples::hyper_route::serve;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (upgrader, upgraded) = Upgrades::new().exposure(Exposure::Local).pair();
    let port = TcpListener::bind("127.0.0.1:0").await?;
    let address = port.local_addr()?;
    let server = tokio::spawn(serve(port, upgrader));

    let runtime = Tokio::new();
    let (pool, driver) = Pool::builder(runtime).accept(upgraded).build()?;
    tokio::spawn(driver);

    let mut workers = Vec::new();
    for number in 1..=3 {
        let double = |height: u64| async move { Ok::<_, String>(2 * height) };
        let worker = Worker::new(runtime, double).name(format!("worker-{number}"));
        let connector = WsConnector::new(runtime, &format!("ws://{address}/join"))?;
        let stopper = worker.stopper();
        workers.push((stopper, tokio::spawn(worker.concurrency(8).dial(connector))));
    }
    let mut outcomes = pool.process::<u64>(1..=1000);
    while let Some((height, outcome)) = outcomes.next().await {
        assert_eq!(outcome?, 2 * height);
    }
    for worker in pool.stats().await?.workers {
        println!("{} did {}", worker.peer, worker.stats.done);
    }
    println!("{} heights by way of http://{address}/join", pool.stop().await?.tasks.done);

    for (stopper, worker) in workers {
        stopper.stop();
        worker.await??;
    }
    server.abort();
    Ok(())
}
