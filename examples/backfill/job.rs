//! What is to be done, what was done before, and where it goes.

use std::future::pending;
use std::io;
use std::ops::RangeInclusive;

use chargehand::{Ledger, TaskError};

use crate::args::ManagerArgs;
use crate::block::Block;
use crate::chain::{BLOCKS, BLOCKS_MAX};
use crate::check::Check;
use crate::failure::Failure;
use crate::lines::{Lines, name};
use crate::output;
use crate::rpc::{Node, hide_urls};
use crate::saved::{Saver, StateFile};
use crate::state::State;

/// There is room for every gap: a height that is done and not noted would be done twice. There are
/// about as many gaps as heights in flight, and as heights that failed.
const SPANS_MAX: usize = usize::MAX;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) check: Check,
    /// What was done before.
    heights: Ledger,
    output: Option<Lines>,
    /// Where the blocks come from, in words.
    source: String,
    saver: Option<Saver<State>>,
    /// How many heights had an outcome when the state was saved.
    saved: Option<u64>,
}

impl Job {
    /// Begins anew, or goes on where the state says.
    pub(crate) async fn open(args: &ManagerArgs) -> Result<Self, Failure> {
        let (file, state) = match &args.state {
            Some(path) => StateFile::open(path).map(|(file, state)| (Some(file), state))?,
            None => (None, None),
        };
        match (file, state) {
            (Some(file), Some(state)) => Self::resume(args, file, state).await,
            (file, _) => Self::begin(args, file).await,
        }
    }

    async fn begin(args: &ManagerArgs, file: Option<StateFile<State>>) -> Result<Self, Failure> {
        let range = range(args, args.range.clone()).await?;
        let out = args.out.as_deref();
        let output = out
            .map(|path| Lines::begin(path, args.force, file.as_ref().map(StateFile::path)))
            .transpose()?;
        Ok(Self {
            check: Check::new(range.clone()),
            heights: Ledger::growing(range, SPANS_MAX),
            output,
            source: source(args),
            saver: file.map(Saver::new),
            saved: None,
        })
    }

    async fn resume(
        args: &ManagerArgs,
        file: StateFile<State>,
        state: State,
    ) -> Result<Self, Failure> {
        let refused =
            |why: String| Failure::input(format!("--state {}: {why}", file.path().display()));
        let heights = Ledger::resume_growing(&state.heights, SPANS_MAX)
            .map_err(|error| refused(error.to_string()))?;
        let kept = heights.range().ok_or_else(|| refused("its range is empty".to_owned()))?;
        if let Some(why) = asked_otherwise(args, &state, &kept) {
            return Err(refused(why));
        }
        let check = Check::resume(kept.clone(), &heights, state.tally).map_err(refused)?;
        if !heights.is_complete() {
            // What is left must still be there.
            range(args, Some(kept)).await?;
        }
        let output = state.output.map(Lines::resume).transpose()?;
        let (source, saver) = (source(args), Some(Saver::new(file)));
        Ok(Self { check, heights, output, source, saver, saved: None })
    }

    /// Returns what was done before.
    pub(crate) fn heights(&self) -> &Ledger {
        &self.heights
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.saver.is_some()
    }

    /// Takes one height's outcome.
    pub(crate) fn take(
        &mut self,
        height: u64,
        outcome: &Result<Option<Block>, TaskError>,
    ) -> Result<(), Failure> {
        self.check.take(height, outcome);
        self.write(|lines| output::write(lines, height, outcome)).map(drop)
    }

    fn write<R>(
        &mut self,
        write: impl FnOnce(&mut Lines) -> io::Result<R>,
    ) -> Result<Option<R>, Failure> {
        let Some(output) = &mut self.output else { return Ok(None) };
        write(output).map(Some).map_err(|error| output.failure(&error))
    }

    /// Returns when it is time to save the state; never where none is kept. Dropping the future
    /// changes nothing.
    pub(crate) async fn save_is_due(&mut self) -> Result<(), Failure> {
        match &mut self.saver {
            Some(saver) => saver.due().await,
            None => pending().await,
        }
    }

    /// Begins to save the state, once that is due. `heights` are those whose outcomes were taken.
    pub(crate) fn save(&mut self, heights: &Ledger) -> Result<(), Failure> {
        let count = Some(self.check.count());
        let is_new = self.saved != count;
        // Before the state, which is to name only what the system has.
        let is_kept = self.is_kept();
        let flushed = if is_kept && is_new { self.write(Lines::flush)? } else { None };
        let Some(saver) = &mut self.saver else { return Ok(()) };
        if !is_new {
            saver.skip();
            return Ok(());
        }
        let (output, file) = flushed.unzip();
        let state = State {
            source: self.source.clone(),
            output,
            tally: self.check.tally().clone(),
            heights: heights.snapshot().into_owned(),
        };
        saver.begin(state, file);
        self.saved = count;
        Ok(())
    }

    /// Saves the state, and returns when it is on the disk.
    pub(crate) async fn save_now(&mut self, heights: &Ledger) -> Result<(), Failure> {
        self.settle().await?;
        self.save(heights)?;
        self.settle().await
    }

    /// Completes the output: a line that a run before this one could not end goes.
    pub(crate) fn end_output(&mut self) -> Result<(), Failure> {
        self.write(Lines::finish).map(drop)
    }

    /// Completes the output and the state.
    pub(crate) async fn finish(&mut self, heights: &Ledger) -> Result<(), Failure> {
        self.end_output()?;
        // Even if no height is new: there may be new lines of heights that failed.
        self.saved = None;
        self.save_now(heights).await
    }

    /// Waits until nothing is being saved any more.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        match &mut self.saver {
            Some(saver) => saver.settle().await,
            None => Ok(()),
        }
    }
}

/// Returns where the blocks come from. What workers read that run already, they alone know. A node is
/// named without the rest of its URL, in which keys come and go.
fn source(args: &ManagerArgs) -> String {
    match &args.rpc {
        Some(url) => format!("node {url}"),
        None if args.starts_workers() => "the demo chain".to_owned(),
        None => "what the workers read".to_owned(),
    }
}

/// Returns the heights that were asked for, if there are such.
async fn range(
    args: &ManagerArgs,
    asked: Option<RangeInclusive<u64>>,
) -> Result<RangeInclusive<u64>, Failure> {
    let Some(url) = args.rpc.clone() else {
        let range = asked.unwrap_or(1..=BLOCKS);
        if args.starts_workers() && (*range.start() == 0 || *range.end() > BLOCKS_MAX) {
            return Err(Failure::input(format!(
                "the demo chain has blocks 1..={BLOCKS_MAX} at most; \
                 --rpc or --worker backfills other ones"
            )));
        }
        return Ok(range);
    };
    let named = url.to_string();
    let retry_for = args.retry_for();
    let head = tokio::task::spawn_blocking(move || Node::new(url, 1, retry_for).head())
        .await
        .map_err(Failure::run)?
        .map_err(Failure::input)?;
    let range = asked.unwrap_or(1..=head.min(BLOCKS));
    if *range.end() > head || range.is_empty() {
        return Err(Failure::input(format!(
            "node {named}: its chain ends at block {head}, so {} is not in it",
            shown(&range)
        )));
    }
    Ok(range)
}

/// Returns what the arguments ask for that a state is not of.
fn asked_otherwise(
    args: &ManagerArgs,
    state: &State,
    kept: &RangeInclusive<u64>,
) -> Option<String> {
    if let Some(asked) = args.range.as_ref().filter(|asked| *asked != kept) {
        return Some(format!("it is of heights {}, not of {}", shown(kept), shown(asked)));
    }
    let source = source(args);
    // One of an earlier version names the node in full.
    let kept = hide_urls(&state.source);
    if source != kept {
        return Some(format!("its blocks come from {kept}, not from {source}"));
    }
    let written = state.output.as_ref().map(|mark| mark.path.as_str());
    match (written, &args.out) {
        (None, None) => None,
        (Some(written), None) => Some(format!("it goes with --out {written}")),
        (None, Some(_)) => Some("it was begun without --out, and cannot go on with it".to_owned()),
        (Some(written), Some(asked)) => {
            let is_same = name(asked).is_ok_and(|asked| asked == written);
            (!is_same).then(|| format!("it goes with --out {written}, not {}", asked.display()))
        }
    }
}

fn shown(range: &RangeInclusive<u64>) -> String {
    format!("{}..={}", range.start(), range.end())
}
