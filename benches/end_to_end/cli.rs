//! Arguments, of the benchmark itself and of the two processes that it starts.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures tasks through a manager and a worker in two processes on loopback.
#[derive(Debug, Parser)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    /// Only the rows whose name contains this, such as `tcp/tokio` or `one`.
    #[arg(long, default_value = "")]
    pub(crate) only: String,
    /// How often each row is measured, in turn with the others of its group; the median is shown.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How long one measurement takes.
    #[arg(long, default_value_t = 0.6)]
    pub(crate) seconds: f64,
    /// Run under `SCHED_RR`, which keeps other programs off (needs `chrt` and the right to).
    #[arg(long)]
    pub(crate) rr: bool,
    /// Exit with 1 if a target is missed.
    #[arg(long)]
    pub(crate) check: bool,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// The process at the other end.
    #[command(hide = true)]
    Worker(Side),
    /// The process that is measured.
    #[command(hide = true)]
    Manager(Measured),
}

/// What both ends must agree on.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) transport: Transport,
    pub(crate) runtime: Runtimes,
    pub(crate) load: Load,
    /// Stay on one CPU.
    #[arg(long)]
    pub(crate) one_cpu: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Measured {
    #[command(flatten)]
    pub(crate) side: Side,
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The process id of the other end.
    #[arg(long)]
    pub(crate) worker: u32,
    #[arg(long)]
    pub(crate) links: u16,
    #[arg(long)]
    pub(crate) window: u16,
    #[arg(long)]
    pub(crate) seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Ws,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtimes {
    Tokio,
    Smol,
}

/// What the manager does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// No manager and no worker: messages that are sent back.
    Bare,
    /// `Pool::process` over a range.
    Range,
    /// This many callers of `Pool::call`.
    Calls(u16),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
        })
    }
}

impl fmt::Display for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.pad("bare"),
            Self::Range => f.pad("process"),
            Self::Calls(callers) => f.pad(&format!("call-{callers}")),
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bare" => Ok(Self::Bare),
            "process" => Ok(Self::Range),
            _ => {
                let callers = text.strip_prefix("call-").and_then(|count| count.parse().ok());
                callers.map(Self::Calls).ok_or_else(|| format!("{text} is no load"))
            }
        }
    }
}
