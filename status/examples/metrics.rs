//! A pool's figures for Prometheus on a route of a server that is there already.
//!
//! Run it with `cargo run -p chargehand-status --example metrics`.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use chargehand::Pool;
use chargehand::tokio::Tokio;
use chargehand_status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, |height: u64| async move { Ok::<_, String>(height * height) })
        .build()?;
    let driver = tokio::spawn(driver);

    // The server of the application, and beside its own routes those of the pool.
    let app = Router::new()
        .route("/", get(async || "the application\n"))
        .merge(Status::new(&pool).router("/pool"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let report = pool.for_each::<u64>(1..=1000, |_, _| {}).await;
    println!("{} done", report.done);

    // What Prometheus does every 15 s, with `metrics_path: /pool/metrics`.
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /pool/metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    for line in answer.lines().filter(|line| line.starts_with("chargehand_tasks_total")) {
        println!("{line}"); // chargehand_tasks_total{outcome="done"} 1000
    }
    assert!(answer.contains("chargehand_tasks_total{outcome=\"done\"} 1000"));
    pool.stop().await?;
    Ok(driver.await?)
}
