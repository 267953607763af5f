//! How a task is done: by a process of its own, or by a process that lives.

mod dialogue;
mod exec;
mod keeper;
mod serve;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chargehand::Failure as TaskFailure;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use self::exec::Exec;
use self::serve::Server;
use self::words::Words;
use crate::args::ProcessArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::groups::Groups;

/// What requests and answers mean: managers and workers of something else are refused as they connect.
pub(crate) const SCHEMA: &str = "chargehand-cli/1";
/// The longest result: it has to fit a frame.
const OUTPUT_MAX: u64 = 15 << 20;
/// How much is kept of what a command writes to standard error, from its end.
const TAIL_BYTES_MAX: usize = 4096;
/// What the details of a command's failure begin with.
const COMMAND: &str = "chargehand-cli/command/1";

/// What does tasks. Clones are the same.
#[derive(Clone)]
pub(crate) enum Processes {
    Exec(Arc<Exec>),
    Serve(Server),
}

/// What all tasks of a worker are bounded by.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    timeout: Option<Duration>,
    memory: Option<u64>,
    output_max: usize,
}

/// How a command ended that has failed: the details of the failure.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Tells it from the details of other handlers.
    what: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Ended {
    fn new(code: Option<i32>, signal: Option<i32>) -> Self {
        Self { what: COMMAND.to_owned(), code, signal }
    }

    /// Returns what a failure says of it, if it is of a command.
    pub(crate) fn of(failure: &TaskFailure) -> Option<Self> {
        let details = failure.details::<Self>()?.ok()?;
        (details.what == COMMAND).then_some(details)
    }
}

impl Processes {
    /// Makes those that the arguments describe. `None` where they say of none.
    pub(crate) fn new(
        args: &ProcessArgs,
        groups: &Groups,
        console: &Console,
        concurrency: u16,
    ) -> Result<Option<Self>, Failure> {
        if args.output_max > OUTPUT_MAX {
            return Err(Failure::input("--output-max is 15M at most"));
        }
        let output_max = usize::try_from(args.output_max).expect("it is 15 MiB at most");
        let bounds = Bounds { timeout: args.timeout, memory: args.memory, output_max };
        if let Some(command) = &args.exec {
            let words = Words::new(command, args.shell, args.stdin)
                .map_err(|why| Failure::input(format!("--exec: {why}")))?;
            return Ok(Some(Self::Exec(Arc::new(Exec::new(words, bounds, groups.clone())))));
        }
        let Some(command) = &args.serve else { return Ok(None) };
        let words =
            Words::of_server(command).map_err(|why| Failure::input(format!("--serve: {why}")))?;
        let server = Server::start(words, bounds, args.json, concurrency, groups, console);
        Ok(Some(Self::Serve(server)))
    }

    /// Does one task. Dropping the future ends what it has begun.
    pub(crate) async fn run(self, task: Vec<u8>) -> Result<Vec<u8>, TaskFailure> {
        match self {
            Self::Exec(exec) => {
                // In a task of its own: to start a process takes a while, during which its thread waits.
                let mut run = JoinSet::new();
                run.spawn(async move { exec.run(&task).await });
                match run.join_next().await {
                    Some(Ok(outcome)) => outcome,
                    Some(Err(error)) => Err(TaskFailure::new(error)),
                    None => Err(TaskFailure::new("it was not begun")),
                }
            }
            Self::Serve(server) => server.run(task).await,
        }
    }
}

/// Keeps the last of what comes, as far as there is room.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL_BYTES_MAX {
            self.0.drain(..self.0.len() - TAIL_BYTES_MAX);
        }
    }

    /// Returns it as a text, without the spaces around it.
    fn text(&self) -> String {
        let begin = self.0.len().saturating_sub(TAIL_BYTES_MAX);
        String::from_utf8_lossy(&self.0[begin..]).trim().to_owned()
    }
}

/// Adds to what is said of a command's end what it wrote to standard error last.
fn with_tail(what: String, tail: &str) -> String {
    if tail.is_empty() { what } else { format!("{what}: {tail}") }
}

/// Returns a span in seconds, as people write it.
fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

impl Processes {
    /// Ends what lives. Nothing is to be done by them after that.
    pub(crate) async fn stop(&self) {
        if let Self::Serve(server) = self {
            server.stop().await;
        }
    }
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exec(_) => "Exec",
            Self::Serve(_) => "Serve",
        })
    }
}
