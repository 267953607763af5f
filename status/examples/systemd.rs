//! A pool under systemd: it says when it is ready, and goes on saying that its driver lives. On Unix.
//!
//! With `Type=notify` and `WatchdogSec=30` in the service's file systemd waits for the first word and starts the
//! program again where the second stays out. Run it with `cargo run -p chargehand-status --example systemd`.

use std::error::Error;
use std::time::Duration;

use chargehand::Pool;
use chargehand::tokio::Tokio;
use sd_notify::NotifyState;
use tokio::time::{sleep, timeout};

/// Tells systemd what the pool's driver says, which is nothing where it is not polled. Until it has ended.
///
/// It is ready without workers: the pool keeps tasks until they join, and starting it again would bring none.
async fn notify(pool: Pool) -> std::io::Result<()> {
    // Twice within the time that systemd gives; now and then where it does not watch.
    let every = sd_notify::watchdog_enabled().unwrap_or(Duration::from_secs(20)) / 2;
    let mut is_ready = false;
    loop {
        match timeout(every, pool.stats()).await {
            Ok(Ok(stats)) => {
                if !std::mem::replace(&mut is_ready, true) {
                    sd_notify::notify(&[NotifyState::Ready])?;
                }
                let status = stats.to_string();
                sd_notify::notify(&[NotifyState::Status(&status), NotifyState::Watchdog])?;
            }
            // The pool has ended.
            Ok(Err(_)) => return sd_notify::notify(&[NotifyState::Stopping]),
            // It is stuck: systemd hears nothing, and acts.
            Err(_) => continue,
        }
        sleep(every).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, |height: u64| async move { Ok::<_, String>(height * height) })
        .build()?;
    let driver = tokio::spawn(driver);
    let notifier = tokio::spawn(notify(pool.clone()));

    let report = pool.for_each::<u64>(1..=1000, |_, _| {}).await;
    sleep(Duration::from_millis(500)).await; // a service has more to do
    println!("{} done", report.done);
    pool.stop().await?;
    driver.await?;
    Ok(notifier.await??)
}
