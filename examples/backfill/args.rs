//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::address::{DialAddress, ListenAddress, Transport};
use crate::rpc::{CALL_TIMEOUT, NodeUrl};

/// How long a block is asked for where nothing else is said.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// How long an attempt may take a child worker of the demo chain, which needs milliseconds.
const DEMO_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take others: we do not know what they do.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);
/// No span on the command line is longer: 31 years are enough to wait.
const SECONDS_MAX: f64 = 1e9;

/// Backfills a range of blocks with workers that are processes of their own.
///
/// Without an option it makes a demo chain of hash-linked blocks, starts four child workers, kills
/// one and stops another in the middle, and checks that nothing was lost.
///
/// The exit code is 0 if every height came out exactly once and the blocks are linked from first to
/// last, 1 if not or if --out or --state cannot be written, 2 for wrong input, 3 if nobody takes what
/// it says any more (its pipe is closed, or the disk of its log is full), and 130 if it was
/// interrupted. In the latter two cases it stops in good order and saves its --state. A second
/// interrupt ends it at once.
#[derive(Debug, Parser)]
#[command(name = "backfill", version, args_conflicts_with_subcommands = true)]
#[command(max_term_width = 80)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) manager: ManagerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a worker that serves alone, on this machine or another than the manager's. It goes on
    /// serving where nobody takes what it says.
    #[command(override_usage = "backfill worker [OPTIONS] <--listen <ADDR>|--dial <ADDR>> \
                                \\\n       <--chain <FILE>|--rpc <URL>>")]
    Worker(WorkerArgs),
    /// Makes join files, for a pool whose members know each other over TLS.
    ///
    /// The first time it makes the pool's authority as well, whose file stays in the folder: whoever has
    /// it says who belongs to the pool. Move each join file to the machine of its member, and name it
    /// there with --tls. No file is written over another.
    Members(MembersArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    /// Where the files are made, and the authority's is. It is made if there is none.
    pub(crate) folder: PathBuf,
    /// The name of a manager. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) manager: Vec<String>,
    /// The name of a worker. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Vec<String>,
    /// For how many days from now the certificates are good.
    #[arg(long, value_name = "N", default_value_t = chargehand::tls::members::DAYS_DEFAULT)]
    pub(crate) days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ManagerArgs {
    /// The heights to backfill, both ends included [default: 1..=100000, or less where the node's
    /// chain is shorter; with --state, the one that was begun].
    #[arg(long, value_name = "A..=B", value_parser = parse_range)]
    pub(crate) range: Option<RangeInclusive<u64>>,
    /// A worker that runs already, as tcp://HOST:PORT or ws://HOST:PORT, over TLS as tls:// or
    /// wss://, or go+ws://HOST:PORT for one of the Go package `worker`. May be given several times; it starts no workers of its own
    /// then. A Go worker does one height at a time for each time that it is given. It answers
    /// success or an error, and no block: a height that it did is done, its line of --out is
    /// {"done":true,"height":N}, and no link to or from its block is checked.
    #[arg(long, value_name = "ADDR")]
    pub(crate) worker: Vec<DialAddress>,
    /// Where to listen for workers that dial in, as tcp://HOST:PORT or ws://HOST:PORT, or over TLS
    /// as tls:// or wss://. May be given several times; no child workers are started then.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<ListenAddress>,
    /// Who this manager is on links over TLS: its join file. The workers need theirs, of the same
    /// authority: `backfill members` makes them.
    #[arg(long, value_name = "JOINFILE")]
    pub(crate) tls: Option<PathBuf>,
    /// Lets links to other machines go unprotected, where the network itself is trusted. Without it
    /// --worker and --listen take addresses of this machine only, those over TLS, and go+ws://.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// How many blocks each worker is asked for at once [default: what the worker runs at once].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) in_flight: Option<u16>,
    /// How long a worker may take for a block, in seconds; then the block is asked of another one
    /// [default: 2 for the demo chain's child workers, 30 more than --retry-for with --rpc, and 120
    /// for workers that run already].
    #[arg(long, value_name = "SECS", value_parser = parse_timeout)]
    pub(crate) attempt_timeout: Option<Duration>,
    /// Writes the outcomes to a file: JSON Lines, one object for each height. Blocks come as they
    /// arrive, and after them the heights that failed. A file that is there already is refused,
    /// unless it is empty or --state goes on with it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrites what is in --out, where nothing goes on with it.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// Keeps in a file what is done, about once a second and at the end. The same command goes on
    /// from there, however this one ended. Heights that failed are tried again then.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Backfills real blocks of an Ethereum node by JSON-RPC, as http://HOST:PORT. Workers that
    /// run already have to be given the node themselves. No more than host and port of it is ever
    /// shown or kept.
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: Option<NodeUrl>,
    /// With --rpc: how long a worker goes on asking for a block that the node does not give, in
    /// seconds [default: 60]. Then the height fails with the node's reason.
    #[arg(long, value_name = "SECS", requires = "rpc", value_parser = parse_seconds)]
    pub(crate) retry_for: Option<Duration>,
    /// With --rpc: kills one child worker and stops another in the middle, as the demo does.
    #[arg(long, requires = "rpc", conflicts_with_all = ["worker", "listen"])]
    pub(crate) faults: bool,
}

impl ManagerArgs {
    /// Returns whether the manager starts workers of its own.
    pub(crate) fn starts_workers(&self) -> bool {
        self.worker.is_empty() && self.listen.is_empty()
    }

    /// Returns whether some child workers are to fail in the middle.
    pub(crate) fn strikes(&self) -> bool {
        self.rpc.is_none() || self.faults
    }

    /// Returns whether some workers may be of the Go package, and answer without a block.
    pub(crate) fn has_go(&self) -> bool {
        self.worker.iter().any(|address| address.transport == Transport::Go)
    }

    pub(crate) fn retry_for(&self) -> Duration {
        self.retry_for.unwrap_or(RETRY_FOR)
    }

    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout.unwrap_or_else(|| match &self.rpc {
            // A last call that begins just before the end, and some time on the way.
            Some(_) => self.retry_for() + CALL_TIMEOUT * 3,
            None if self.starts_workers() => DEMO_ATTEMPT_TIMEOUT,
            None => ATTEMPT_TIMEOUT,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) door: Door,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Lets links to other machines go unprotected, where the network itself is trusted. Without it
    /// --listen and --dial take addresses of this machine only, or those over TLS, unless --go says
    /// that it is to.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Who this worker is on links over TLS: its join file, of the managers' authority. `backfill members`
    /// makes one. A newer one that takes its place is gone by within seconds.
    #[arg(long, value_name = "JOINFILE")]
    pub(crate) tls: Option<PathBuf>,
    /// The name that managers know this worker by [default: a random one, and with --tls that of
    /// the join file; an instance may follow it, as in w1/2].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The runtime to run on.
    #[arg(long, value_enum, default_value_t = Runtime::Tokio)]
    pub(crate) runtime: Runtime,
    /// How many blocks it fetches at once. With --rpc that is the number of threads.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// With --rpc: how long it goes on asking for a block that the node does not give, in seconds.
    /// A node that is busy (HTTP 429 or 503, "limit exceeded") is left alone for as long as its
    /// Retry-After says; one in trouble, or without the block yet, is asked again after growing
    /// delays. Managers should have an --attempt-timeout well above this.
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) retry_for: Duration,
    /// Serves managers of the Go package `worker` too, for which it has to listen on ws://. They
    /// hear that a height is done or why not, and get no block.
    #[arg(long, conflicts_with = "dial")]
    pub(crate) go: bool,
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
    /// Where to listen for managers, as tcp://HOST:PORT or ws://HOST:PORT, or over TLS as tls:// or
    /// wss://; port 0 is any free one.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<ListenAddress>,
    /// The manager to dial in to, as tcp://HOST:PORT or ws://HOST:PORT, or over TLS as tls:// or
    /// wss://.
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

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("not in 0..={SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_seconds(text)?;
    if timeout < Duration::from_millis(1) {
        return Err("no worker answers within less than 0.001 seconds".to_owned());
    }
    Ok(timeout)
}
