//! The half that hands out: a pool of workers, and what becomes of each task.

mod crew;
mod events;
mod flow;
mod job;
mod output;
mod progress;
mod status;
mod task;
mod tasks;

use std::process::ExitCode;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::crew::{bind, cpus};
use self::flow::{End, Flow};
use self::job::Job;
use self::progress::Progress;
pub(crate) use self::status::token;
use crate::TASKS_FAILED;
use crate::args::RunArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::groups::Groups;
use crate::program;
use crate::stop::{INTERRUPTED, Stop, Stops};

/// More threads than these have nothing to do: most of the work is that of the processes.
const THREADS_MAX: u16 = 4;
/// How long the pool may take to end once there is nothing to wait for.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Does all tasks, and returns the exit code.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    program::run(threads(), async |console| work(args, console).await)
}

/// Returns how many threads there are of use.
pub(crate) fn threads() -> usize {
    cpus().clamp(1, THREADS_MAX).into()
}

async fn work(args: &RunArgs, console: &Console) -> Result<u8, Failure> {
    let groups = Groups::default();
    let worked = work_with(args, &groups, console).await;
    // What it could not wait for is dropped some time, and this process does not wait for that.
    groups.kill_all();
    worked
}

async fn work_with(args: &RunArgs, groups: &Groups, console: &Console) -> Result<u8, Failure> {
    if !args.is_local() && !args.is_remote() {
        return Err(Failure::input(
            "nobody does the tasks: give --exec CMD or --serve CMD, or --worker ADDR or --listen ADDR",
        ));
    }
    // A file that may not grow any more is an error like a full disk, not the end of the process.
    let _at_limit = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(Failure::run)?;
    let job = Job::open(args)?;
    let tasks = job.tasks(args)?;
    // Before anything is started that a signal has to end.
    let to_kill = groups.clone();
    let stops =
        Stops::listen(console.clone(), true, move || to_kill.kill_all()).map_err(Failure::run)?;
    let crew = crew::gather(args, groups, console).await?;
    let (pool, driver) = crew.builder.build().map_err(crate::members::explained)?;
    // Before it runs, so that nothing is missed.
    let events = pool.events();
    let page = status::serve(args, &pool, console, job.open_numbers()).await?;
    let driver = tokio::spawn(driver);
    let progress = Progress::new(console.clone(), args.quiet);
    let mut flow = Flow::new(&pool, job, stops, progress, crew.local, args);
    let end = flow.run(tasks, events).await;
    let (tally, progress) = flow.over();
    // Whoever has the token of the status page may have stopped it before.
    let _ = pool.stop_within(DRAIN_MAX).await;
    driver.await.map_err(Failure::run)?;
    for processes in &crew.processes {
        processes.stop().await;
    }
    drop(page);
    let end = end?;
    progress.sum_up(tally, matches!(end, End::Drained | End::Stopped(_)), args.output);
    match end {
        End::Complete | End::FailedFast if tally.failed > 0 => Ok(TASKS_FAILED),
        End::Complete | End::FailedFast => Ok(0),
        End::Drained | End::Stopped(Stop::Interrupted) => Ok(INTERRUPTED),
        End::Stopped(Stop::Unheard(lost)) => Err(Failure::unheard(lost)),
    }
}
