//! The command line.

#![allow(clippy::doc_markdown, reason = "they are help texts, and shown as they are")]

mod look;
mod values;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use chargehand::record::Change;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::look::{
    ActArgs, ExplainArgs, LookArgs, PageArgs, QueueCommand, Sort, TopArgs, WorkersArgs,
};
use self::values::{parse_bytes, parse_name, parse_range, parse_timeout};
use crate::address::Address;

/// How long an output may be where nothing else is said.
const OUTPUT_MAX: &str = "1M";
/// How long the file of a record may become where nothing else is said.
const RECORD_MAX: &str = "64M";

/// Runs a command for each task: on this machine, or on many, and loses none.
#[derive(Debug, Parser)]
#[command(name = "chargehand", version, max_term_width = 80)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a command for each task, and writes what comes of it as JSON Lines.
    ///
    /// A task is a line, a JSON value, or a number of a range. Without --worker and --listen it is a
    /// parallel on this machine; with them, `chargehand worker` elsewhere does tasks too.
    ///
    /// Each outcome is a line: {"v":1,"n":17,"task":"...","result":"..."}, or with "error" in place of
    /// "result". n is the number of the task's line, from 1 on, or that of the range.
    ///
    /// SIGINT and SIGTERM let what is under way end, begin nothing more, and save the --state. The
    /// second one kills what runs, and so do SIGHUP (but under nohup) and SIGQUIT at once.
    ///
    /// The exit code is 0 if every task is done, 1 if some failed, 2 for wrong input, 3 if nobody
    /// takes what it says any more (a closed pipe, a full disk under it), 4 if --out or --state
    /// cannot be written or the tasks cannot be read any further, and 130 if it was interrupted.
    Run(RunArgs),
    /// Does the tasks of a run on another machine, or of any manager whose requests are strings.
    ///
    /// SIGINT and SIGTERM let what is under way end. The second one kills it, and so do SIGHUP (but
    /// under nohup) and SIGQUIT at once. The exit code is 0 if it was told to stop, 2 for wrong input,
    /// and 130 if it was told twice or at once.
    #[command(override_usage = "chargehand worker [OPTIONS] <--exec <CMD>|--serve <CMD>> \
                                \\\n       [--connect <ADDR>|--listen <ADDR>]")]
    Worker(WorkerArgs),
    /// Makes and lists the files of a pool's members, who know each other over TLS.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Replays a record that `run --record` wrote, and prints each step.
    ///
    /// With --with it plays the same tasks and workers under other policies instead, and prints what they would have
    /// come to: an estimate.
    ///
    /// The exit code is 0 if all of it went as it did then, 1 if a step went otherwise, and 2 if it is
    /// no record or a damaged one, or a policy of --with is none.
    Replay(ReplayArgs),
    /// Prints the state of a running pool once.
    ///
    /// URL is where its status page is: what `run --status` says, or any program with chargehand-status.
    ///
    /// The exit code is 0 if the pool answers, 1 if its driver is stuck or has ended, 2 for wrong input, 3 if
    /// its output can't be written, and 4 if nothing or something else answers at URL.
    Status(LookArgs),
    /// Lists the workers of a running pool. The exit codes are 0, 2, 3 and 4 of `status`.
    Workers(WorkersArgs),
    /// Explains why tasks of a running pool wait and why workers are idle.
    ///
    /// Without --task, --queue or --worker it says all of it. The exit codes are 0, 2, 3 and 4 of `status`; 2 also
    /// where there is no such task, queue or worker.
    Explain(ExplainArgs),
    /// Shows a pool that runs, live, in the terminal.
    ///
    /// q ends it, p pauses what is shown, Tab and Shift-Tab change the table, the arrows, PgUp, PgDn, Home and
    /// End scroll it, Left and Right choose the column that workers are sorted by, and r turns the order round.
    ///
    /// The exit code is 0 after q, SIGINT or SIGTERM, 2 for wrong input, 3 if the terminal is gone, and 4 if
    /// nothing or something else answers at URL when it begins.
    Top(TopArgs),
    /// Pauses a queue of a pool that runs, or lets it go on.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Has a pool that runs take nothing new, finish what it has, and end.
    ///
    /// The exit code is 0 once it drains, 2 for wrong input or where the pool refuses, 3 if nobody takes what
    /// it says, and 4 if nothing or something else answers at URL.
    Drain(ActArgs),
    /// Prints the completions of a shell.
    Completions(CompletionsArgs),
    /// Writes the manual pages into a folder.
    Man(ManArgs),
}

/// How a task is done.
#[derive(Debug, Args)]
pub(crate) struct ProcessArgs {
    /// A command to start for each task.
    ///
    /// It is split into words once, as a shell would, and no shell sees it. Each {} in it is replaced by
    /// the task as it is, which stays one word (or a part of it) whatever is in it. Without any {} the task
    /// comes last. What the command writes to standard output is the result, without one newline at the
    /// end. Any exit code but 0 is a failure, with the last of what it wrote to standard error; 75 is "not
    /// now": the task is tried again later, here or elsewhere, and nothing is counted against it.
    #[arg(long, value_name = "CMD", conflicts_with = "serve")]
    pub(crate) exec: Option<String>,
    /// A command to start once, that does one task after the other, or many at once.
    ///
    /// It reads lines {"id":1,"task":"..."} and answers each with {"id":1,"result":"..."} or
    /// {"id":1,"error":"..."}, in any order. It is started again when it dies, after a delay that grows.
    /// The task it died with is tried once more on its own.
    #[arg(long, value_name = "CMD")]
    pub(crate) serve: Option<String>,
    /// Has --exec run by `sh -c`, with the task as "$1" in place of any {}.
    #[arg(long, requires = "exec")]
    pub(crate) shell: bool,
    /// Gives the task to the command of --exec on standard input, and not as an argument.
    #[arg(long, requires = "exec")]
    pub(crate) stdin: bool,
    /// Tasks and results are JSON values, and not texts.
    #[arg(long)]
    pub(crate) json: bool,
    /// How long a task may take, in seconds. Then its processes are killed, and it has failed [default:
    /// no limit].
    ///
    /// With --serve the command is told first: {"id":1,"cancel":true}. It is killed where it has not answered
    /// within 5 seconds more.
    #[arg(long, value_name = "SECS", value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    /// How much memory each process of a task may ask for, as 512M or 2G (its address space, as `ulimit -v`
    /// has it) [default: no limit].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// How long a result may be, as 64K or 8M, up to 15M. A longer one is a failure.
    #[arg(long, value_name = "BYTES", default_value = OUTPUT_MAX, value_parser = parse_bytes)]
    pub(crate) output_max: u64,
    /// How many tasks a worker does at once: processes of --exec, or tasks that the command of --serve
    /// holds [default: as many as CPUs for `worker --exec`, else 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: Option<u16>,
}

/// How links to other machines are protected.
#[derive(Debug, Args)]
pub(crate) struct LinksArgs {
    /// Who this end is on links over TLS: its join file. `chargehand keys` makes them.
    #[arg(long, value_name = "JOINFILE")]
    pub(crate) tls: Option<PathBuf>,
    /// A list of members who are not let in any more. `chargehand keys revoke` writes it.
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) revoked: Option<PathBuf>,
    /// Lets links to other machines go unprotected, where the network itself is trusted.
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) processes: ProcessArgs,
    /// How many local workers there are, where --exec or --serve says what they do [default: as many as
    /// CPUs].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) local: Option<u16>,
    /// A worker that runs already, as tcp://HOST:PORT, ws://HOST:PORT or unix:///PATH, or over TLS as
    /// tls:// or wss://. May be given several times.
    #[arg(long, value_name = "ADDR")]
    pub(crate) worker: Vec<Address>,
    /// Where to listen for workers that dial in; port 0 is any free one. May be given several times.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Address>,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
    /// Writes the outcomes to a file, and not to standard output. A file that is there already is refused,
    /// unless it is empty or --state goes on with it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrites what is in --out, where nothing goes on with it.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// Keeps in a file what is done, about once a second and at the end. The same command goes on from
    /// there, however this one ended. Tasks that failed are tried again then, but for those of --ordered.
    #[arg(long, value_name = "FILE", requires = "out")]
    pub(crate) state: Option<PathBuf>,
    /// Writes the outcomes in the order of their tasks.
    #[arg(long)]
    pub(crate) ordered: bool,
    /// How many times a task that failed is tried again, after a second each.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u16,
    /// How many times a task may be lost with its worker before it has failed.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) attempts: u16,
    /// Begins nothing more once a task has failed.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Writes down what the scheduler is told and does, for `chargehand replay`: no tasks and no results. The file
    /// must not be there yet, and never becomes longer than --record-max: it has what came last.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// How long the file of --record may become, as 16M or 1G; 64M have millions of tasks where most succeed.
    #[arg(long, value_name = "BYTES", default_value = RECORD_MAX, requires = "record")]
    #[arg(value_parser = parse_bytes)]
    pub(crate) record_max: u64,
    /// Says only what is wrong.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How the summary at the end is shown.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

impl RunArgs {
    /// Returns whether there are local workers.
    pub(crate) fn is_local(&self) -> bool {
        self.processes.exec.is_some() || self.processes.serve.is_some()
    }

    /// Returns whether there may be others.
    pub(crate) fn is_remote(&self) -> bool {
        !self.worker.is_empty() || !self.listen.is_empty()
    }
}

/// What the tasks are.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SourceArgs {
    /// A file with a task on each line, or with JSON values where --json is given; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) tasks: Option<PathBuf>,
    /// The numbers of a range, both ends included.
    #[arg(long, value_name = "A..=B", value_parser = parse_range)]
    pub(crate) range: Option<RangeInclusive<u64>>,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) processes: ProcessArgs,
    #[command(flatten)]
    pub(crate) door: Door,
    #[command(flatten)]
    pub(crate) links: LinksArgs,
    /// The name that managers know this worker by [default: a random one, and with --tls that of the join
    /// file; an instance may follow it, as in w1/2].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The queues that it serves, by their names with commas between them: of a pool with queues it gets those
    /// tasks only. `default` is that of every pool, and the only one of a `run` [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) queues: Option<Vec<String>>,
    /// How many tasks a second each manager sends it at most [default: no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

/// How the worker and its managers meet.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Door {
    /// The run to dial, as tcp://HOST:PORT, ws://HOST:PORT or unix:///PATH, or over TLS as tls:// or wss://
    /// [default: what the join file of --tls says].
    #[arg(long, value_name = "ADDR")]
    pub(crate) connect: Option<Address>,
    /// Where to listen for runs that dial; port 0 is any free one.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<Address>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes a pool's authority in a folder: whoever has its file says who belongs to the pool.
    Init(InitArgs),
    /// Makes a member's join file. Move it to the machine of its member, and name it there with --tls.
    Add(AddArgs),
    /// Puts a member on the list of those who are not let in any more.
    ///
    /// The list is a file that every end has to have, where --revoked names it. It is read again as it
    /// changes.
    Revoke(RevokeArgs),
    /// Lists the members whose join files are in the folder, and who is revoked.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder of the pool's files. It is made if there is none.
    pub(crate) folder: PathBuf,
    /// How it is shown what was made.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The folder of the pool's files.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) member: MemberArgs,
    /// For a worker: where its run listens, so that `worker` needs no --connect.
    #[arg(long, value_name = "ADDR", conflicts_with = "manager")]
    pub(crate) connect: Option<Address>,
    /// For how many days from now the certificate is good.
    #[arg(long, value_name = "N", default_value_t = chargehand::tls::members::DAYS_DEFAULT)]
    pub(crate) days: u32,
    /// How it is shown what was made.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

/// Who a member is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MemberArgs {
    /// The name of a manager: of a `chargehand run`, say.
    #[arg(long, value_name = "NAME")]
    pub(crate) manager: Option<String>,
    /// The name of a worker.
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The folder of the pool's files.
    pub(crate) folder: PathBuf,
    /// The member's name.
    pub(crate) name: String,
    /// How it is shown what was done.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The folder of the pool's files.
    pub(crate) folder: PathBuf,
    /// How they are shown.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The record.
    pub(crate) file: PathBuf,
    /// Prints no steps, but how it ended.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Plays it under another policy, as retries_max=0, attempt_timeout=2.5s, queue.0.in_flight_max=4, window=auto;
    /// may be given several times.
    ///
    /// Times and failures are drawn from those that each worker had: it is an estimate, and how far that is off shows
    /// beside it.
    #[arg(long, value_name = "POLICY=VALUE")]
    pub(crate) with: Vec<Change>,
    /// Prints the source of a Rust test of this name instead: the record's workers, tasks and policies in a world of
    /// `chargehand::testing`.
    #[arg(long, value_name = "NAME", conflicts_with = "with", value_parser = parse_name)]
    pub(crate) test: Option<String>,
    /// How the end is shown.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder, which has to be there.
    pub(crate) folder: PathBuf,
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}
