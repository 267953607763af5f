//! A pool with a page that shows what it does: four workers, of which one is slow and one often fails.
//!
//! Run it with `cargo run -p chargehand-status --example page`, open the address that it prints, and press Enter
//! to end. It takes another address as its argument, and a token for actions after that.

use std::error::Error;
use std::time::Duration;

use chargehand::tokio::Tokio;
use chargehand::{Pool, TaskOptions};
use chargehand_status::Status;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::sleep;

async fn fetch(height: u64) -> Result<u64, String> {
    sleep(Duration::from_millis(5 + height % 20)).await;
    Ok(height)
}

async fn fetch_slowly(height: u64) -> Result<u64, String> {
    sleep(Duration::from_millis(200)).await;
    fetch(height).await
}

async fn fetch_badly(height: u64) -> Result<u64, String> {
    sleep(Duration::from_millis(10)).await;
    if height % 3 == 0 { Err(format!("no block {height} here")) } else { Ok(height) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, fetch)
        .in_process(8, fetch)
        .in_process(4, fetch_slowly)
        .in_process(4, fetch_badly)
        .build()?;
    let driver = tokio::spawn(driver);
    let mut status = Status::new(&pool).name("blocks");
    if let Some(token) = arguments.next() {
        status = status.actions(token);
    }
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);
    tokio::spawn(status.serve_on(listener));
    let retried = pool.with(TaskOptions::new().retries(2));
    let work = retried.for_each::<u64>(1..=1_000_000, |_, _| {});
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    tokio::select! {
        report = work => println!("{} done, {} failed", report.done, report.failed),
        line = lines.next_line() => drop(line?),
    }
    println!("{}", pool.stop().await?);
    Ok(driver.await?)
}
