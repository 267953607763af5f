//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::address::{DialAddress, ListenAddress};
use crate::rpc::NodeUrl;

/// Backfills a range of blocks with workers that are processes of their own.
///
/// Without an option it makes a demo chain of hash-linked blocks, starts four local workers, kills
/// one and stops another in the middle, and checks that nothing was lost.
///
/// The exit code is 0 if every height came out exactly once and the blocks are linked from first to
/// last, 1 if not, 2 for wrong input, and 130 if it was interrupted.
#[derive(Debug, Parser)]
#[command(name = "backfill", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) manager: ManagerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a worker that serves alone, on this machine or another than the manager's.
    Worker(WorkerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ManagerArgs {
    /// The heights to backfill, both ends included [default: 1..=100000, or less where the node's
    /// chain is shorter; with --state, the one that was begun].
    #[arg(long, value_name = "A..=B", value_parser = parse_range)]
    pub(crate) range: Option<RangeInclusive<u64>>,
    /// A worker that runs already, as tcp://HOST:PORT or ws://HOST:PORT. May be given several
    /// times; no local workers are started then.
    #[arg(long, value_name = "ADDR")]
    pub(crate) worker: Vec<DialAddress>,
    /// Where to listen for workers that dial in, as tcp://HOST:PORT or ws://HOST:PORT. May be given
    /// several times; no local workers are started then.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<ListenAddress>,
    /// How many blocks each worker is asked for at once [default: what the worker runs at once].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) in_flight: Option<u16>,
    /// Writes the outcomes to a file: JSON Lines, one object for each height. Blocks come as they
    /// arrive, and after them the heights that failed.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Keeps in a file what is done, about once a second and at the end. The same command goes on
    /// from there, however this one ended. Heights that failed are tried again then.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Backfills real blocks of an Ethereum node by JSON-RPC, as http://HOST:PORT. Workers that
    /// run already have to be given the node themselves.
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: Option<NodeUrl>,
    /// With --rpc: kills one local worker and stops another in the middle, as the demo does.
    #[arg(long, requires = "rpc", conflicts_with_all = ["worker", "listen"])]
    pub(crate) faults: bool,
}

impl ManagerArgs {
    /// Returns whether the manager starts workers of its own.
    pub(crate) fn is_local(&self) -> bool {
        self.worker.is_empty() && self.listen.is_empty()
    }
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) door: Door,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The name that managers know this worker by [default: a random one].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The runtime to run on.
    #[arg(long, value_enum, default_value_t = Runtime::Tokio)]
    pub(crate) runtime: Runtime,
    /// How many blocks it fetches at once. With --rpc that is the number of threads.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// With --chain: how long each block takes, in milliseconds, as if it came from afar.
    #[arg(long, value_name = "MS", default_value = "0", value_parser = parse_millis)]
    pub(crate) delay: Duration,
    /// Is a child of a manager: says only what is wrong, and stops when standard input ends.
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

/// How the worker and its managers meet.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Door {
    /// Where to listen for managers, as tcp://HOST:PORT or ws://HOST:PORT; port 0 is any free one.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<ListenAddress>,
    /// The manager to dial in to, as tcp://HOST:PORT or ws://HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    pub(crate) dial: Option<DialAddress>,
}

/// Where the blocks come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SourceArgs {
    /// The demo chain's file. One of 100,000 blocks is made if there is none.
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: Option<PathBuf>,
    /// An Ethereum node's JSON-RPC address, as http://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: Option<NodeUrl>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Runtime {
    Tokio,
    Smol,
}

impl Runtime {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}

fn parse_range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..=").ok_or("a range is written like 1..=100000")?;
    let parse = |height: &str| {
        let digits = height.replace('_', "");
        digits.parse::<u64>().map_err(|_| format!("\"{height}\" is not a height"))
    };
    let (first, last) = (parse(first)?, parse(last)?);
    if first > last {
        return Err("the range is empty: its first height is above its last".to_owned());
    }
    Ok(first..=last)
}

fn parse_millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().map_err(|_| "not a number of milliseconds")?;
    Ok(Duration::from_millis(millis))
}
