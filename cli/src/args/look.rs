//! The command line of what looks at a pool that runs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;
use crate::look::Endpoint;

/// Who may look at a run, and do something about it.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Serves a live page, metrics for Prometheus and probes there, as 127.0.0.1:9090; port 0 is any free one.
    ///
    /// `chargehand top` and its siblings look at it too. Whoever reaches the address sees the run: it has to be
    /// a loopback one, unless --insecure is given.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) status: Option<String>,
    /// Lets whoever has the token in this file drain the run, pause queues and remove workers by --status
    /// [default: nobody can].
    #[arg(long, value_name = "FILE", requires = "status")]
    pub(crate) status_token: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// Where its status page is, as http://127.0.0.1:9090/.
    pub(crate) url: Endpoint,
    /// How it is shown: for people, or as the page's own JSON.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// What they are sorted by.
    #[arg(long, value_enum, default_value_t = Sort::Id)]
    pub(crate) sort: Sort,
    /// Turns the order round: the most first.
    #[arg(long)]
    pub(crate) desc: bool,
    /// Lists those in this state alone: up, busy, delayed, suspended, connecting, "backing off", absent or
    /// draining.
    #[arg(long, value_name = "STATE", default_value = "", hide_default_value = true)]
    pub(crate) only: String,
    /// Lists those alone that have this in their name or identity.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) find: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// Says what this task does now and why: of a run by its number, of other pools by its height, its place in a map,
    /// or its id.
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    #[arg(allow_hyphen_values = true, conflicts_with_all = ["queue", "worker"])]
    pub(crate) task: String,
    /// Says why the tasks of this queue wait.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    #[arg(conflicts_with = "worker")]
    pub(crate) queue: String,
    /// Says why those workers get none whose name, or id, has this.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) worker: String,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Where its status page is, as http://127.0.0.1:9090/.
    pub(crate) url: Endpoint,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Begins nothing more of a queue. The exit codes are those of `drain`.
    Pause(QueueArgs),
    /// Lets a paused queue go on. The exit codes are those of `drain`.
    Resume(QueueArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// The queue's name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) act: ActArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// Where its status page is, as http://127.0.0.1:9090/.
    pub(crate) url: Endpoint,
    /// The file with the token that the pool lets in: that of `run --status-token`.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How it is shown what was done.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// What workers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Id,
    Peer,
    State,
    InFlight,
    Rate,
    Done,
    Failed,
    Lost,
    P99,
}

impl Sort {
    /// Returns what the endpoint calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Peer => "peer",
            Self::State => "state",
            Self::InFlight => "in_flight",
            Self::Rate => "rate",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::P99 => "p99",
        }
    }
}
