//! Many runs, or one that is looked at.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::args::Args;
use crate::plan::Plan;
use crate::run;
use crate::shrink::shrink;
use crate::tally::Tally;

/// How often the state is written.
const SAVED_EVERY: Duration = Duration::from_secs(5);
/// How many seeds are shown with all that failed in them.
pub(crate) const SHOWN: usize = 3;
/// How many lines of a trace are shown of its beginning, and of its end.
const TRACE_LINES: usize = 200;
pub(crate) const FAILED: u8 = 1;
pub(crate) const NOT_REACHED: u8 = 3;

/// Runs one seed, or as much of it as is asked for, and says what happened.
pub(crate) fn run_one(seed: u64, args: &Args) -> ExitCode {
    let plan = Plan::draw(seed, &args.without).plain(args.is_plain);
    println!("{plan:#?}");
    let report = run::run(&plan, args.wants_trace);
    if let Some(trace) = &report.trace {
        println!("{trace}");
    }
    let failure = report.failure.clone();
    let mut tally = Tally::default();
    tally.add(seed, report);
    println!("{}", tally.show(0, Duration::from_secs(1)));
    match failure {
        Some(failure) => {
            println!("seed {seed} fails: {failure}");
            ExitCode::from(FAILED)
        }
        None => ExitCode::SUCCESS,
    }
}

/// Where the seeds come from, and when that is over.
pub(crate) struct Source {
    of_file: Vec<u64>,
    next: AtomicU64,
    from: u64,
    until: Option<Instant>,
    end: u64,
    is_over: AtomicBool,
}

impl Source {
    /// Returns the seeds that are asked for, of which so many are done.
    pub(crate) fn of(args: &Args, done: u64) -> Self {
        let is_fresh = args.seconds.is_some() && args.count == 0;
        let (from, end) = match args.seed {
            Some(seed) => (seed, seed + 1),
            // Nobody has run these before.
            None if is_fresh => (fresh() + done, u64::MAX),
            None => (args.from + done, args.from + args.count),
        };
        if is_fresh {
            println!("fresh seeds: run the same again by --from {from} --seeds N");
        }
        Self {
            of_file: args.file.as_deref().map(seeds_of).unwrap_or_default(),
            next: AtomicU64::new(0),
            from,
            until: args.seconds.map(|span| Instant::now() + span),
            end,
            is_over: AtomicBool::new(false),
        }
    }

    /// Gives out no more of them.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn next(&self) -> Option<u64> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let of_file = self.of_file.len() as u64;
        if number < of_file {
            return usize::try_from(number).ok().map(|at| self.of_file[at]);
        }
        let seed = self.from + (number - of_file);
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        (seed < self.end && !is_late).then_some(seed)
    }
}

/// Runs many seeds, and says what they came to.
pub(crate) fn run_all(args: &Args) -> ExitCode {
    let before = args.state.as_deref().map(state_of).unwrap_or_default();
    let begun = Instant::now();
    let done = if args.state.is_some() { before.seeds } else { 0 };
    let source = Source::of(args, done);
    let events_before = before.events();
    let tally = Mutex::new((before, begun));
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| work(&source, &tally, args));
        }
    });
    let (tally, _) = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    save(&tally, args);
    println!("{}", tally.show(events_before, begun.elapsed()));
    if !tally.failed.is_empty() {
        println!("failed: {:?}", tally.failed);
        return ExitCode::from(FAILED);
    }
    let missing = tally.missing();
    if !missing.is_empty() && !args.is_any {
        println!("never reached: {missing:?}");
        return ExitCode::from(NOT_REACHED);
    }
    ExitCode::SUCCESS
}

/// Runs one seed after the other, until there is none left.
fn work(source: &Source, all: &Mutex<(Tally, Instant)>, args: &Args) {
    // A seed of a file may be there again in what follows, and nothing of it is lost if so.
    while let Some(seed) = source.next() {
        let report = run::run(&Plan::draw(seed, &[]).plain(args.is_plain), false);
        let failure = report.failure.clone();
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.0.add(seed, report);
        if args.state.is_some() && all.1.elapsed() > SAVED_EVERY {
            all.1 = Instant::now();
            save(&all.0, args);
        }
        let count = all.0.failed.len();
        drop(all);
        if let Some(failure) = failure {
            if args.stops_at_first {
                println!("seed {seed} fails: {}", first_lines(&failure));
            } else {
                show(seed, failure, count, args.is_plain);
            }
            let is_enough = args.state.is_none() && count >= SHOWN;
            if is_enough || args.stops_at_first {
                source.end();
            }
        }
    }
}

/// Says how a seed fails, and how to run as little of it as still does, with what happens in that.
fn show(seed: u64, failure: String, count: usize, is_plain: bool) {
    println!("seed {seed} fails: {}", first_lines(&failure));
    if count > SHOWN {
        return;
    }
    let (without, failure) = shrink(seed, is_plain, failure);
    let trace = run::run(&Plan::draw(seed, &without).plain(is_plain), true).trace;
    println!("{}", cut(&trace.unwrap_or_default()));
    println!("the least of it that fails: {}", first_lines(&failure));
    let without: Vec<String> = without.iter().map(ToString::to_string).collect();
    println!(
        "  cargo run --release -p chargehand-sim -- --seed {seed} --without {} --trace{}",
        if without.is_empty() { "999".to_owned() } else { without.join(",") },
        if is_plain { " --plain" } else { "" }
    );
}

/// Leaves out the middle of a long trace.
fn cut(trace: &str) -> String {
    let lines: Vec<&str> = trace.lines().collect();
    let Some(left_out) = lines.len().checked_sub(2 * TRACE_LINES).filter(|&count| count > 0) else {
        return trace.to_owned();
    };
    let (begin, end) = (&lines[..TRACE_LINES], &lines[TRACE_LINES + left_out..]);
    format!("{}\n[{left_out} lines left out]\n{}", begin.join("\n"), end.join("\n"))
}

fn first_lines(text: &str) -> String {
    text.lines().take(4).collect::<Vec<_>>().join("\n  ").chars().take(700).collect()
}

/// Reads seeds, one a line.
///
/// # Panics
/// Where there is no such file, or a line of it is no seed.
fn seeds_of(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    let lines = text.lines().filter_map(|line| line.split('#').next().map(str::trim));
    let seeds = lines.filter(|line| !line.is_empty());
    seeds.map(|line| line.parse().unwrap_or_else(|_| panic!("{line} is no seed"))).collect()
}

fn state_of(path: &Path) -> Tally {
    std::fs::read_to_string(path).map(|text| Tally::of_lines(&text)).unwrap_or_default()
}

/// # Panics
/// Where the file cannot be written.
fn save(tally: &Tally, args: &Args) {
    let Some(path) = &args.state else { return };
    let part = path.with_extension("part");
    std::fs::write(&part, tally.to_lines())
        .and_then(|()| std::fs::rename(&part, path))
        .unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
}

/// Returns a seed that differs from moment to moment, far above those that are counted up.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(words: &str) -> Source {
        let words = words.split(' ').map(str::to_owned);
        Source::of(&Args::parse(words).expect("it is right").expect("no help is asked for"), 0)
    }

    #[test]
    fn fresh_seeds_are_the_same_again_from_their_first() {
        let fresh = source("--seconds 60");
        let seeds: Vec<_> = (0..3).filter_map(|_| fresh.next()).collect();
        assert!(seeds[0] > 1 << 40, "far above those that are counted up");
        let again = source(&format!("--from {} --seeds 3", seeds[0]));
        assert_eq!(std::iter::from_fn(|| again.next()).collect::<Vec<_>>(), seeds);
    }

    #[test]
    fn of_a_long_trace_its_beginning_and_its_end_are_shown() {
        let trace = |lines: usize| {
            let lines: Vec<String> = (0..lines).map(|line| line.to_string()).collect();
            lines.join("\n")
        };
        assert_eq!(cut(&trace(2 * TRACE_LINES)), trace(2 * TRACE_LINES));
        let shown = cut(&trace(2 * TRACE_LINES + 3));
        assert!(shown.contains("\n199\n[3 lines left out]\n203\n"), "{shown}");
        assert!(shown.starts_with("0\n") && shown.ends_with("\n402"), "{shown}");
    }

    #[test]
    fn seeds_that_failed_once_are_run_whatever_the_time() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt");
        let late = source(&format!("--seconds 0 --file {path}"));
        let kept = seeds_of(Path::new(path));
        assert_eq!(std::iter::from_fn(|| late.next()).collect::<Vec<_>>(), kept);
    }
}
