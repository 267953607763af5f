//! A pool and its workers over TLS: an authority, a join file for each member, and mutual TLS.
//!
//! Run it with `cargo run --example members --features members`.

use std::error::Error;
use std::fs;
use std::path::Path;

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::{Authority, Members, Role};
use chargehand::tokio::Tokio;
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Pool, Worker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let files = std::env::temp_dir().join(format!("chargehand-members-{}", std::process::id()));
    fs::create_dir(&files)?;
    let done = work(&files).await;
    fs::remove_dir_all(&files)?;
    done
}

async fn work(files: &Path) -> Result<(), Box<dyn Error>> {
    // Once. The authority's file stays where members are made; each join file goes to its member.
    let authority = Authority::create(files.join("authority.pem"))?;
    for name in ["w1", "w2"] {
        authority.join(Role::Worker, name).write(files.join(name))?;
    }
    authority.join(Role::Pool, "m1").write(files.join("m1"))?;

    // Two workers, who have nothing but their files.
    let runtime = Tokio::new();
    let worker = |name: &str| Worker::new(runtime, square).name(name).concurrency(8);
    let (tcp, ws) = (Tokio::bind("127.0.0.1:0").await?, Tokio::bind("127.0.0.1:0").await?);
    let (tcp_at, ws_at) = (tcp.local_addr()?, ws.local_addr()?);
    let tcp = Members::worker(files.join("w1"))?.accept(tcp);
    tokio::spawn(worker("w1").serve(TcpListener::new(tcp)));
    let ws = Members::worker(files.join("w2"))?.accept(ws);
    tokio::spawn(worker("w2").serve(WsListener::new(ws)));

    // The manager, likewise. One `Members` for all that it dials: the sessions to resume are in it.
    let members = Members::pool(files.join("m1"))?;
    let (pool, driver) = Pool::builder(runtime)
        .connect(TcpConnector::new(members.dial(runtime), &format!("tls://{tcp_at}"))?)
        .connect(WsConnector::new(members.dial(runtime), &format!("wss://{ws_at}"))?)
        .build()?;
    let driver = tokio::spawn(driver);
    let mut outcomes = pool.process::<u64>(1..=1000);
    while let Some((height, outcome)) = outcomes.next().await {
        assert_eq!(outcome?, height * height);
    }
    println!("{}: all heights are there: {}", members.name(), outcomes.ledger().is_complete());
    pool.stop().await?;
    driver.await?;
    Ok(())
}

async fn square(height: u64) -> Result<u64, String> {
    height.checked_mul(height).ok_or_else(|| format!("{height} is too large to square"))
}
