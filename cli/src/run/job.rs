//! What is to be done, what was done before, and where it goes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::future::pending;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use chargehand::core::ledger::{Snapshot, Span};
use chargehand::{Ledger, TaskError};
use serde::{Deserialize, Serialize};

use super::output::Output;
use super::task::{Task, is_final, line};
use super::tasks::{Gate, Read, Tasks};
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::lines::{Lines, Mark, name};
use crate::saved::{self, Saver, StateFile};

/// There is room for every gap: a task that is done and not noted would be done twice. There are about as many
/// gaps as tasks under way, and as tasks that failed.
const SPANS_MAX: usize = usize::MAX;
/// No file has more lines than that.
const LINES_MAX: u64 = 1 << 62;

/// What is saved of a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    source: Source,
    /// What was read of the tasks, where they are not those of a range.
    read: Read,
    is_ordered: bool,
    /// How many tasks failed whose lines are among those of what is done: those of a run in order.
    failed: u64,
    output: Mark,
    done: Snapshot<Vec<Span>>,
}

impl saved::State for State {
    const NAME: &'static str = "chargehand-run-state ";
    const VERSION: u64 = 1;
    const OF: &'static str = "a run";
    const SUFFIX: &'static str = "chargehand";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Lines,
    Values,
    Range(u64, u64),
}

impl Source {
    fn of(args: &RunArgs) -> Self {
        match &args.source.range {
            Some(range) => Self::Range(*range.start(), *range.end()),
            None if args.processes.json => Self::Values,
            None => Self::Lines,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Lines => "lines".to_owned(),
            Self::Values => "JSON values".to_owned(),
            Self::Range(first, last) => format!("the range {first}..={last}"),
        }
    }

    fn numbers(&self) -> RangeInclusive<u64> {
        match self {
            Self::Lines | Self::Values => 1..=LINES_MAX,
            Self::Range(first, last) => *first..=*last,
        }
    }
}

/// How many tasks have an outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Done in this run.
    pub(super) done: u64,
    /// Failed in this run, or in one before in order.
    pub(super) failed: u64,
    /// Settled before this run.
    pub(super) before: u64,
    /// Failed before this run, and is not tried again.
    pub(super) failed_before: u64,
}

impl Tally {
    /// Returns how many tasks this run has settled.
    pub(super) fn of_this_run(self) -> u64 {
        self.done + self.failed - self.failed_before
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) tally: Tally,
    source: Source,
    json: bool,
    is_ordered: bool,
    /// What is settled: done, and in order also what failed.
    settled: Ledger,
    read: Read,
    output: Output,
    order: Order,
    gate: Rc<Gate>,
    saver: Option<Saver<State>>,
    /// How many tasks were settled when the state was saved.
    saved: Option<u64>,
}

/// Outcomes that wait for those before them.
#[derive(Debug, Default)]
struct Order {
    waiting: BTreeMap<u64, (String, bool)>,
    bytes: usize,
}

impl Job {
    /// Begins anew, or goes on where the state says.
    pub(super) fn open(args: &RunArgs) -> Result<Self, Failure> {
        if let (Some(tasks), Some(out)) = (&args.source.tasks, &args.out) {
            if is_same_file(tasks, out) {
                return Err(Failure::input(format!(
                    "--out {}: it is the file that the tasks are read from: give another",
                    out.display()
                )));
            }
        }
        let (file, state) = match &args.state {
            Some(path) => StateFile::open(path).map(|(file, state)| (Some(file), state))?,
            None => (None, None),
        };
        match (file, state) {
            (Some(file), Some(state)) => Self::resume(args, file, state),
            (file, _) => Self::begin(args, file),
        }
    }

    fn begin(args: &RunArgs, file: Option<StateFile<State>>) -> Result<Self, Failure> {
        let output = match &args.out {
            None => Output::stdout().map_err(Failure::run)?,
            Some(path) => {
                Output::file(Lines::begin(path, args.force, file.as_ref().map(StateFile::path))?)
            }
        };
        let source = Source::of(args);
        let settled = Ledger::growing(source.numbers(), SPANS_MAX);
        Ok(Self::new(args, source, settled, output, file))
    }

    fn resume(args: &RunArgs, file: StateFile<State>, state: State) -> Result<Self, Failure> {
        let refused =
            |why: String| Failure::input(format!("--state {}: {why}", file.path().display()));
        let settled = Ledger::resume_growing(&state.done, SPANS_MAX)
            .map_err(|error| refused(error.to_string()))?;
        if let Some(why) = asked_otherwise(args, &state) {
            return Err(refused(why));
        }
        if settled.range() != Some(state.source.numbers()) {
            return Err(refused("its tasks are not those that it says".to_owned()));
        }
        let lines = Lines::resume(state.output)?;
        let before = settled.completed_count();
        let mut job = Self::new(args, state.source, settled, Output::file(lines), Some(file));
        let failed = state.failed;
        job.tally = Tally { done: 0, failed, before, failed_before: failed };
        job.read = state.read;
        Ok(job)
    }

    fn new(
        args: &RunArgs,
        source: Source,
        settled: Ledger,
        output: Output,
        file: Option<StateFile<State>>,
    ) -> Self {
        let gate = Rc::new(Gate::default());
        if args.ordered {
            gate.keep_order();
        }
        Self {
            tally: Tally::default(),
            source,
            json: args.processes.json,
            is_ordered: args.ordered,
            settled,
            read: Read::default(),
            output,
            order: Order::default(),
            gate,
            saver: file.map(Saver::new),
            saved: None,
        }
    }

    /// Returns the tasks that are not settled.
    pub(super) fn tasks(&self, args: &RunArgs) -> Result<Tasks, Failure> {
        let (settled, gate) = (self.settled.clone(), Rc::clone(&self.gate));
        match &args.source.tasks {
            Some(path) => Tasks::of_file(path, self.json, (settled, Some(self.read.clone())), gate),
            None => Ok(Tasks::of_range(&self.source.numbers(), settled, gate)),
        }
    }

    /// Returns the numbers of the tasks that are not settled, in their order: those that this run gives out.
    pub(super) fn open_numbers(&self) -> Vec<RangeInclusive<u64>> {
        self.settled.gaps().collect()
    }

    /// Returns what says how many tasks may be under way.
    pub(super) fn gate(&self) -> Rc<Gate> {
        Rc::clone(&self.gate)
    }

    /// Returns how many tasks there are in all, if that is known.
    pub(super) fn total(&self) -> Option<u64> {
        let Source::Range(first, last) = self.source else { return None };
        (last - first).checked_add(1)
    }

    pub(super) fn is_kept(&self) -> bool {
        self.saver.is_some()
    }

    /// Takes one task's outcome. Returns whether it failed.
    pub(super) fn take(
        &mut self,
        task: &Task,
        outcome: &Result<Vec<u8>, TaskError>,
    ) -> Result<bool, Failure> {
        self.gate.ended.set(self.gate.ended.get() + 1);
        if !is_final(outcome) {
            return Ok(false);
        }
        let line = line(task, outcome, self.json);
        if !self.is_ordered {
            self.write(task.number, &line, outcome.is_ok())?;
            return Ok(outcome.is_err());
        }
        self.order.bytes += line.len();
        self.order.waiting.insert(task.number, (line, outcome.is_ok()));
        while let Some(number) = self.gate.next_in_order() {
            let Some((line, is_done)) = self.order.waiting.remove(&number) else { break };
            self.order.bytes -= line.len();
            self.gate.pass_in_order();
            self.write(number, &line, is_done)?;
        }
        self.gate.held.set(self.order.bytes);
        Ok(outcome.is_err())
    }

    fn write(&mut self, number: u64, line: &str, is_done: bool) -> Result<(), Failure> {
        // Those that a later run tries again come last, where it cuts them off.
        let is_settled = is_done || self.is_ordered;
        if is_settled || self.saver.is_none() {
            self.output.done(line)?;
        } else {
            self.output.failed(line)?;
        }
        let count = if is_done { &mut self.tally.done } else { &mut self.tally.failed };
        *count += 1;
        if is_settled && self.saver.is_some() {
            self.settled.complete(number).expect("there is room for every gap");
        }
        Ok(())
    }

    /// Writes what is buffered, where somebody may read it now.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.output.flush()
    }

    /// Returns when it is time to save the state; never where none is kept. Dropping the future changes
    /// nothing.
    pub(super) async fn save_is_due(&mut self) -> Result<(), Failure> {
        match &mut self.saver {
            Some(saver) => saver.due().await,
            None => pending().await,
        }
    }

    /// Begins to save the state, once that is due.
    pub(super) fn save(&mut self) -> Result<(), Failure> {
        let Some(saver) = &mut self.saver else { return Ok(()) };
        let count = Some(self.settled.completed_count());
        if self.saved == count {
            saver.skip();
            return Ok(());
        }
        // Before the state, which is to name only what the system has.
        let Some((output, file)) = self.output.mark()? else { return Ok(()) };
        let state = State {
            source: self.source.clone(),
            read: self.gate.read().or(&self.read),
            is_ordered: self.is_ordered,
            failed: if self.is_ordered { self.tally.failed } else { 0 },
            output,
            done: self.settled.snapshot().into_owned(),
        };
        saver.begin(state, Some(file));
        self.saved = count;
        Ok(())
    }

    /// Saves the state, and returns when it is on the disk.
    pub(super) async fn save_now(&mut self) -> Result<(), Failure> {
        self.settle().await?;
        self.save()?;
        self.settle().await
    }

    /// Completes the output and the state.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        self.output.finish()?;
        // Even if none is new: there may be new lines of tasks that failed.
        self.saved = None;
        self.save_now().await
    }

    /// Waits until nothing is being saved any more.
    pub(super) async fn settle(&mut self) -> Result<(), Failure> {
        match &mut self.saver {
            Some(saver) => saver.settle().await,
            None => Ok(()),
        }
    }
}

/// Returns whether tasks come from the very file that outcomes are to go to, whatever it is called there.
fn is_same_file(tasks: &Path, out: &Path) -> bool {
    let of_tasks = if tasks == Path::new("-") {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        stdin.and_then(|stdin| File::from(stdin).metadata())
    } else {
        fs::metadata(tasks)
    };
    // A terminal may well be both.
    let (Ok(of_tasks), Ok(of_out)) = (of_tasks, fs::metadata(out)) else { return false };
    let is_same = (of_tasks.dev(), of_tasks.ino()) == (of_out.dev(), of_out.ino());
    is_same && of_out.is_file()
}

/// Returns what the arguments ask for that a state is not of.
fn asked_otherwise(args: &RunArgs, state: &State) -> Option<String> {
    let asked = Source::of(args);
    if asked != state.source {
        return Some(format!("it is of {}, not of {}", state.source.shown(), asked.shown()));
    }
    if args.ordered != state.is_ordered {
        let with = if state.is_ordered { "with" } else { "without" };
        return Some(format!("it was begun {with} --ordered, and goes on so alone"));
    }
    let written = &state.output.path;
    let out = args.out.as_deref()?;
    let is_same = name(out).is_ok_and(|asked| asked == *written);
    (!is_same).then(|| format!("it goes with --out {written}, not {}", out.display()))
}
