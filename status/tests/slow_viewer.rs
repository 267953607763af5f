//! A viewer that reads nothing, in a process of its own: its memory is looked at.

mod support;

use std::time::{Duration, Instant};

use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool};
use chargehand_status::Status;
use support::{Outcome, events, serve, until, watch};
use tokio::time::sleep;

/// How much memory this process has.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_reads_nothing_costs_one_frame_and_nobody_else_waits_for_it() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new()).build()?;
    tokio::spawn(driver);
    let interval = Duration::from_millis(100);
    let address = serve(Status::new(&pool).interval(interval).viewers_max(64)).await;
    // A long frame: as many failures as are shown, each as long as it may be.
    let long = "x".repeat(2000);
    let (bad, driver) = Pool::builder(Tokio::new())
        .in_process(1, move |height: u64| {
            let text = format!("{}{long}", "y".repeat(usize::try_from(height).unwrap()));
            async move { Err::<(), _>(Failure::permanent(text)) }
        })
        .build()?;
    tokio::spawn(driver);
    let slow = serve(Status::new(&bad).interval(interval)).await;
    until(slow, "/readyz", |answer| answer.status == 200).await;
    bad.for_each::<()>(1..=60, |_, _| {}).await;
    let frame = until(slow, "/api/overview", |it| it.body.len() > 30_000).await.body.len();
    let mut viewers = Vec::new();
    for _ in 0..64 {
        viewers.push(watch(slow).await);
    }
    // Until the sockets' own buffers are full.
    sleep(Duration::from_secs(4)).await;
    let before = resident_bytes();
    sleep(Duration::from_secs(3)).await;
    let grown = resident_bytes().saturating_sub(before);
    // Thirty frames for each of 64 would be some 60 MB.
    assert!(grown < 8 << 20, "{grown} bytes more, with frames of {frame}");
    let mut live = watch(address).await;
    let began = Instant::now();
    events(&mut live, 10).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    Ok(())
}
