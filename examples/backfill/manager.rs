//! The half that hands out: a pool of workers, and what becomes of each height.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use chargehand::{Outcomes, Pool, PoolStats, TaskOptions};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::answer::{Answer, PerhapsBlock};
use crate::args::ManagerArgs;
use crate::block::Block;
use crate::check::Verdict;
use crate::console::Console;
use crate::crew::Crew;
use crate::events;
use crate::failure::Failure;
use crate::faults;
use crate::job::Job;
use crate::program;
use crate::progress::Progress;
use crate::report::{Report, Resent, print_done_before};
use crate::setup::{Setup, set_up};
use crate::stop::{INTERRUPTED, Stop, Stops};

/// Backfills, reports, and returns the exit code.
pub(crate) fn run(args: &ManagerArgs) -> ExitCode {
    program::run(1, async |console| backfill(args, console).await)
}

/// How a run ended.
enum End {
    Complete,
    Stopped(Stop),
}

async fn backfill(args: &ManagerArgs, console: &Console) -> Result<u8, Failure> {
    // A file that may not grow any more is an error like a full disk, not the end of the process.
    let _at_limit = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(Failure::run)?;
    let mut job = Job::open(args).await?;
    if job.heights().is_complete() {
        job.end_output()?;
        let verdict = job.check.finish();
        print_done_before(console, &verdict);
        return Ok(exit_code(&verdict));
    }
    let (total, before) = (job.check.total(), job.check.before());
    let progress = Progress::new(console.clone(), total, before);
    let setup = set_up(args, job.check.range(), &progress).await?;
    // The chain stays until the workers are gone.
    let Setup { builder, crew, chain: _chain } = setup;

    let (pool, driver) = builder.build().map_err(Failure::input)?;
    // Before it runs, so that nothing is missed.
    let events = pool.events();
    let driver = tokio::spawn(driver);
    let mut stops = Stops::listen(console.clone(), true, || ()).map_err(Failure::run)?;
    let resent = Resent::default();
    let watching = tokio::spawn(events::watch(events, progress.clone(), resent.clone()));
    let ticking = tokio::spawn(tick(pool.clone(), progress.clone()));
    let (done, done_seen) = watch::channel(0);
    let left = total - before;
    let crew = crew
        .map(|crew| tokio::spawn(tend(crew, args.strikes(), done_seen, left, progress.clone())));

    let started = Instant::now();
    let ended = if args.has_go() {
        let outcomes = outcomes::<PerhapsBlock>(&pool, &job, args);
        take_all(outcomes, &mut job, &mut stops, &progress, done).await
    } else {
        let outcomes = outcomes::<Block>(&pool, &job, args);
        take_all(outcomes, &mut job, &mut stops, &progress, done).await
    };
    let elapsed = started.elapsed();
    // Whatever it ended by, in good order.
    let crew = end_faults(crew).await;
    ticking.abort();
    let stats = stop(&pool, driver).await;
    // It ends with the pool; what it says last belongs above the table.
    watching.await.map_err(Failure::run)?;
    progress.clear();
    let (crew, struck) = crew?;
    let labels = crew.as_ref().map(Crew::labels).unwrap_or_default();
    if let Some(crew) = crew {
        crew.stop().await;
    }
    match ended? {
        End::Stopped(Stop::Interrupted) => {
            console.say(&format!("interrupted: {}", how_far(&job)));
            Ok(INTERRUPTED)
        }
        End::Stopped(Stop::Unheard(lost)) => {
            Err(Failure::unheard(format!("{lost}; stopped: {}", how_far(&job))))
        }
        End::Complete => {
            struck?;
            let (stats, verdict) = (stats?, job.check.finish());
            let (stats, verdict, resent) = (&stats, &verdict, &resent);
            Report { verdict, stats, labels: &labels, resent, elapsed, console }.print();
            Ok(exit_code(verdict))
        }
    }
}

/// Ends the pool, and returns how it stood.
async fn stop(pool: &Pool, driver: JoinHandle<()>) -> Result<PoolStats, Failure> {
    let stats = pool.stats().await.map_err(Failure::run);
    let stopped = pool.stop().await.map_err(Failure::run);
    driver.await.map_err(Failure::run)?;
    stopped?;
    stats
}

fn how_far(job: &Job) -> String {
    let missing = job.check.first_missing().map_or("none".to_owned(), |height| height.to_string());
    let (count, total) = (job.check.count(), job.check.total());
    let on = if job.is_kept() { "; the same command goes on from here" } else { "" };
    format!("{count} of {total} done; the first missing is {missing}{on}")
}

fn exit_code(verdict: &Verdict) -> u8 {
    u8::from(!verdict.is_good())
}

/// Strikes the child workers with faults, if it is wanted, and gives them back.
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

fn outcomes<A: Answer>(pool: &Pool, job: &Job, args: &ManagerArgs) -> Outcomes<A> {
    let mut options = TaskOptions::new();
    if args.rpc.is_some() {
        // All workers ask one node, and each for as long as is wanted in all.
        options = options.retries(0);
    }
    pool.with(options).process(job.heights().clone())
}

/// Takes every outcome, unless there is a reason to stop before that. What was taken is in the output
/// and the state then, unless these are what failed.
async fn take_all<A: Answer>(
    mut outcomes: Outcomes<A>,
    job: &mut Job,
    stops: &mut Stops,
    progress: &Progress,
    done: watch::Sender<u64>,
) -> Result<End, Failure> {
    // If it cannot be saved, better now than after a second of work.
    if let Err(failure) = job.save_now(outcomes.ledger()).await {
        return Err(failed(job, failure).await);
    }
    let end = loop {
        // In no order: outcomes may be ready at any time, and must not keep a stop waiting.
        let next = tokio::select! {
            next = outcomes.next() => next,
            stop = stops.first() => break End::Stopped(stop),
            due = job.save_is_due() => {
                if let Err(failure) = due.and_then(|()| job.save(outcomes.ledger())) {
                    return Err(failed(job, failure).await);
                }
                continue;
            }
        };
        let Some((height, outcome)) = next else { break End::Complete };
        if let Err(failure) = job.take(height, &outcome.map(Answer::block)) {
            return Err(failed(job, failure).await);
        }
        let count = job.check.count();
        progress.set(count);
        if count.is_multiple_of(64) {
            done.send_replace(count - job.check.before());
        }
    };
    match job.finish(outcomes.ledger()).await {
        Ok(()) => Ok(end),
        Err(failure) => Err(failed(job, failure).await),
    }
}

/// Adds to why the output or the state cannot be written what there is of them.
async fn failed(job: &mut Job, failure: Failure) -> Failure {
    // What it fails with is said already, or comes of the same.
    let _ = job.settle().await;
    let (count, total) = (job.check.count(), job.check.total());
    let on = if job.is_kept() {
        "; the same command goes on from the state that was saved last"
    } else {
        ""
    };
    failure.and(&format!("; stopped at {count} of {total}{on}"))
}

/// Returns the child workers, and how striking them went.
async fn end_faults(
    crew: Option<JoinHandle<(Crew, io::Result<()>)>>,
) -> Result<(Option<Crew>, Result<(), Failure>), Failure> {
    let Some(crew) = crew else { return Ok((None, Ok(()))) };
    let (crew, result) = crew.await.map_err(Failure::run)?;
    let struck = result.map_err(|error| Failure::run(format!("the faults went wrong: {error}")));
    Ok((Some(crew), struck))
}

async fn tick(pool: Pool, progress: Progress) {
    let mut ticks = tokio::time::interval(progress.interval());
    loop {
        ticks.tick().await;
        let Ok(stats) = pool.stats().await else { return };
        progress.show(&stats);
    }
}
