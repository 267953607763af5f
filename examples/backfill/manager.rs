//! The half that hands out: a pool of workers, and what becomes of each height.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use chargehand::{Events, Pool, PoolEvent};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::args::ManagerArgs;
use crate::block::Block;
use crate::check::Verdict;
use crate::crew::Crew;
use crate::failure::Failure;
use crate::faults;
use crate::job::Job;
use crate::progress::Progress;
use crate::report::{Report, Resent, print_done_before};
use crate::setup::{Setup, set_up};

const INTERRUPTED: u8 = 130;

/// Backfills, reports, and returns the exit code.
pub(crate) fn run(args: &ManagerArgs) -> Result<ExitCode, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::run)?;
    runtime.block_on(backfill(args))
}

async fn backfill(args: &ManagerArgs) -> Result<ExitCode, Failure> {
    let mut job = Job::open(args).await?;
    if job.heights().is_complete() {
        let verdict = job.check.finish();
        print_done_before(&verdict);
        return Ok(exit_code(&verdict));
    }
    let (total, before) = (job.check.total(), job.check.before());
    let progress = Progress::new(total, before);
    let setup = set_up(args, job.check.range(), &progress).await?;
    // The chain stays until the workers are gone.
    let Setup { builder, crew, chain: _chain } = setup;

    let (pool, driver) = builder.build().map_err(Failure::input)?;
    let driver = tokio::spawn(driver);
    let resent = Resent::default();
    let watching = tokio::spawn(watch_events(pool.events(), progress.clone(), resent.clone()));
    let ticking = tokio::spawn(tick(pool.clone(), progress.clone()));
    let (done, done_seen) = watch::channel(0);
    let with_faults = args.rpc.is_none() || args.faults;
    let left = total - before;
    let crew =
        crew.map(|crew| tokio::spawn(tend(crew, with_faults, done_seen, left, progress.clone())));

    let started = Instant::now();
    let finished = take_all(&pool, &mut job, &progress, &done).await?;
    let elapsed = started.elapsed();
    drop(done);
    let crew = end_faults(crew).await?;
    let stats = pool.stats().await.map_err(Failure::run)?;
    ticking.abort();
    pool.stop().await.map_err(Failure::run)?;
    driver.await.map_err(Failure::run)?;
    // It ends with the pool; what it says last belongs above the table.
    watching.await.map_err(Failure::run)?;
    progress.finish();
    let labels = crew.as_ref().map(Crew::labels).unwrap_or_default();
    if let Some(crew) = crew {
        crew.stop().await;
    }
    if !finished {
        say_interrupted(&job);
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let verdict = job.check.finish();
    Report { verdict: &verdict, stats: &stats, labels: &labels, resent: &resent, elapsed }.print();
    Ok(exit_code(&verdict))
}

fn say_interrupted(job: &Job) {
    let missing = job.check.first_missing().map_or("none".to_owned(), |height| height.to_string());
    let (count, total) = (job.check.count(), job.check.total());
    let on = if job.is_kept() { "; the same command goes on from here" } else { "" };
    eprintln!("interrupted: {count} of {total} done; the first missing is {missing}{on}");
}

fn exit_code(verdict: &Verdict) -> ExitCode {
    if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Strikes the local workers with faults, if it is wanted, and gives them back.
async fn tend(
    crew: Crew,
    with_faults: bool,
    done: watch::Receiver<u64>,
    total: u64,
    progress: Progress,
) -> (Crew, io::Result<()>) {
    if with_faults {
        faults::run(crew, done, total, |text| progress.say(&text)).await
    } else {
        (crew, Ok(()))
    }
}

/// Takes every outcome. Returns false if it was interrupted.
async fn take_all(
    pool: &Pool,
    job: &mut Job,
    progress: &Progress,
    done: &watch::Sender<u64>,
) -> Result<bool, Failure> {
    let mut outcomes = pool.process::<Block>(job.heights().clone());
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::run)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::run)?;
    // If it cannot be saved, better now than after a second of work.
    job.save_now(outcomes.ledger()).await?;
    let finished = loop {
        let next = tokio::select! {
            biased;
            next = outcomes.next() => next,
            _ = interrupt.recv() => break false,
            _ = terminate.recv() => break false,
            due = job.save_is_due() => {
                due?;
                job.save(outcomes.ledger())?;
                continue;
            }
        };
        let Some((height, outcome)) = next else { break true };
        job.take(height, &outcome)?;
        let count = job.check.count();
        if count.is_multiple_of(64) {
            progress.set(count);
            done.send_replace(count - job.check.before());
        }
    };
    job.finish(outcomes.ledger()).await?;
    Ok(finished)
}

async fn end_faults(
    crew: Option<JoinHandle<(Crew, io::Result<()>)>>,
) -> Result<Option<Crew>, Failure> {
    let Some(crew) = crew else { return Ok(None) };
    let (crew, result) = crew.await.map_err(Failure::run)?;
    result.map_err(|error| Failure::run(format!("the faults went wrong: {error}")))?;
    Ok(Some(crew))
}

/// Says what happens, and counts what is sent again.
async fn watch_events(mut events: Events, progress: Progress, resent: Resent) {
    let mut said = HashMap::new();
    while let Some(event) = events.next().await {
        match &event {
            PoolEvent::Retried { peer, .. } => resent.count(peer),
            PoolEvent::Gone { .. } | PoolEvent::Closed { .. } => {}
            PoolEvent::Refused { peer, why, .. } => {
                // Each new reason once, however often it is tried.
                if said.insert(peer.clone(), why.clone()).as_ref() != Some(why) {
                    progress.say(&format!("{event}; keeps trying"));
                }
            }
            PoolEvent::Connected { peer, .. } => {
                said.remove(peer);
                progress.say(&event.to_string());
            }
            _ => progress.say(&event.to_string()),
        }
    }
}

async fn tick(pool: Pool, progress: Progress) {
    let mut ticks = tokio::time::interval(progress.interval());
    loop {
        ticks.tick().await;
        let Ok(stats) = pool.stats().await else { return };
        progress.show(&stats);
    }
}
