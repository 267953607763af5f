//! What must not matter: a worker that is killed, and one that is stopped for a while.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::crew::{Crew, Member};

/// How long the killed worker is away.
const AWAY: Duration = Duration::from_millis(300);
/// How long the stopped worker stands still: longer than the heartbeat's patience.
const STANDSTILL: Duration = Duration::from_millis(1200);

/// Which worker is stopped, and which killed.
const STOPPED: usize = 2;
const KILLED: usize = 0;

/// Stops one worker after a quarter of `total` and kills another after half of it. Gives the crew
/// back once both run again, or once `progress` ended.
pub(crate) async fn run(
    mut crew: Crew,
    mut progress: watch::Receiver<u64>,
    total: u64,
    say: impl Fn(String),
) -> (Crew, io::Result<()>) {
    let result = both(&mut crew, &mut progress, total, &say).await;
    (crew, result)
}

async fn both(
    crew: &mut Crew,
    progress: &mut watch::Receiver<u64>,
    total: u64,
    say: &impl Fn(String),
) -> io::Result<()> {
    if progress.wait_for(|&done| done >= total / 4).await.is_err() {
        return Ok(());
    }
    let member = crew.member_mut(STOPPED);
    say(format!("FAULT: {} is stopped (SIGSTOP)", named(member)));
    member.pause()?;
    sleep(STANDSTILL).await;
    let member = crew.member_mut(STOPPED);
    member.resume()?;
    say(format!("FAULT: {} goes on (SIGCONT)", named(member)));

    if progress.wait_for(|&done| done >= total / 2).await.is_err() {
        return Ok(());
    }
    let member = crew.member_mut(KILLED);
    say(format!("FAULT: {} is killed (SIGKILL)", named(member)));
    member.kill().await?;
    sleep(AWAY).await;
    member.restart().await?;
    say(format!("FAULT: {} is started again", named(member)));
    Ok(())
}

fn named(member: &Member) -> String {
    format!("{} ({})", member.peer, member.label)
}
