//! Arguments.

use clap::{Args, Parser, Subcommand};

use crate::processes::Launcher;
use crate::spec::Placement;

/// Measures chargehand beside the bare machine and beside other job systems.
///
/// Managers and workers run in processes of their own on loopback. What is compared takes turns, and
/// figures are medians with minimum and maximum.
#[derive(Debug, Parser)]
#[command(max_term_width = 80)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tasks a second, beside the bare wire.
    ///
    /// `process` takes the typed answers of a range of heights. `call` is many callers of
    /// `Pool::call_raw` with one task each: the handler answers with the body that came, and its
    /// caller sends that again. So what is counted is the pool's and the worker's own: a program
    /// that makes a new body for each call, and a handler that makes its answer, come on top, there
    /// as on the bare wire, which sends one buffer again and again.
    Throughput,
    /// How long a task takes: p50, p99 and p99.9, beside the bare wire.
    Latency,
    /// The same no-op job by NATS, gearmand, beanstalkd, Redis, tarpc, `ZeroMQ` and a Go pair.
    Peers,
    /// Ten thousand links, a million queued calls, a range of a billion heights.
    Scale,
    /// What TLS costs, beside what it costs the bare wire (futures-rustls): tasks a second, links that come
    /// back, memory.
    Tls,
    /// What figures, flight records and traces cost, at full load and at
    /// 50,000 tasks a second.
    #[cfg(feature = "watched")]
    Watched,
    /// Short and long tasks mixed, and a slow worker: makespan and waiting time by window; each mechanism
    /// of scheduling off and on; and dask.distributed and Celery on the same range.
    Mixed,
    /// Instructions of the pieces for one cycle, under callgrind.
    Instructions {
        /// Fail if a piece takes 3 % more than `bench/instructions.txt` says, or if the scheduler's
        /// cost is not flat.
        #[arg(long)]
        check: bool,
        /// Write what was counted into `bench/instructions.txt`.
        #[arg(long, conflicts_with = "check")]
        record: bool,
    },
    /// Measures what the goals are about, and says for each whether it is met.
    Goals {
        /// Exit with 1 if one is missed.
        #[arg(long)]
        check: bool,
    },
    /// Measures everything and writes docs/PERFORMANCE.md anew, tables and plots.
    Report {
        /// Measure nothing: draw what was kept the last time.
        #[arg(long)]
        stored: bool,
    },
    /// A process that one of the others starts.
    #[command(hide = true)]
    Side { side: String },
}

impl Command {
    /// Whether what it does times programs that talk over loopback.
    pub(crate) const fn measures_time(&self) -> bool {
        !matches!(
            self,
            Self::Instructions { .. } | Self::Report { stored: true } | Self::Side { .. }
        )
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only what contains this, such as `tcp/tokio` or `4x64`.
    #[arg(long, global = true, default_value = "")]
    pub(crate) only: String,
    /// How many times each row is measured, in turn with the others of its group.
    #[arg(long, global = true, default_value_t = 7)]
    pub(crate) rounds: usize,
    /// How long one measurement takes.
    #[arg(long, global = true, default_value_t = 0.4)]
    pub(crate) seconds: f64,
    /// All windows, numbers of links and payloads: takes an hour.
    #[arg(long, global = true)]
    pub(crate) full: bool,
    /// Where the processes run. By default those with one task in flight share a core, and all others
    /// run anywhere.
    #[arg(long, global = true)]
    pub(crate) place: Option<Placement>,
    /// Run under `SCHED_RR`, which keeps other programs off (needs `chrt` and permission).
    #[arg(long, global = true)]
    pub(crate) rr: bool,
}

impl Options {
    pub(crate) fn launcher(&self) -> Launcher {
        Launcher { rr: self.rr, program: None }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_fits_into_80_columns() {
        let mut program = Cli::command();
        program.build();
        let commands = program.get_subcommands().cloned().collect::<Vec<_>>();
        for mut command in commands.into_iter().chain([program]) {
            for help in [command.render_help(), command.render_long_help()] {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
        }
    }
}
