//! A worker that serves alone, on this machine: `cargo run --example worker -- 127.0.0.1:9000`.
//!
//! Point any number of managers at it. It stops when its standard input ends (Ctrl-D), after
//! finishing what it holds.

use std::error::Error;
use std::time::Duration;

use chargehand::Worker;
use chargehand::smol::Smol;
use chargehand::tcp::TcpListener;
use smol::Unblock;
use smol::io::AsyncReadExt;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    smol::block_on(async {
        let listener = Smol::bind(&address).await?;
        println!("listening on {}", listener.local_addr()?);
        let worker = Worker::new(Smol::new(), handle)
            .name("example")
            .concurrency(8)
            .drain_timeout(Duration::from_secs(10));
        let stopper = worker.stopper();
        smol::spawn(async move {
            // Whether it ended or failed: there is nobody at the other end any more.
            let _ = Unblock::new(std::io::stdin()).read_to_end(&mut Vec::new()).await;
            stopper.stop();
        })
        .detach();
        worker.serve(TcpListener::new(listener)).await?;
        Ok(())
    })
}

/// Handlers should be idempotent: after a lost link a task is sent again.
async fn handle(height: u64) -> Result<String, String> {
    smol::Timer::after(Duration::from_millis(1)).await;
    Ok(format!("the block at {height}"))
}
