//! A record of a run's scheduler, done again.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::process::ExitCode;

use chargehand::record::{Change, Figures, Recording, Replay, ReplayError, Replayed};
use serde_json::json;

use crate::TASKS_FAILED;
use crate::args::{Format, ReplayArgs};
use crate::failure::{Failure, print};

/// How a replay ended.
struct Done {
    steps: u64,
    /// Why not all of it was done again as it was.
    differs: Option<String>,
    /// The record has no end: its run was killed, or is not over.
    breaks_off: bool,
    figures: String,
}

/// Makes the calls of a record again, prints each, and returns the exit code.
pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    if let Some(name) = &args.test {
        let source = recording(args).map(|recording| recording.test_source(name));
        return source.map_or_else(|failure| failure.report(), |source| print(&source));
    }
    if !args.with.is_empty() {
        return what_if(args);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let replayed = replay(args, &mut out).and_then(|done| {
        let code = u8::from(done.differs.is_some()) * TASKS_FAILED;
        let text = done.text(args.output);
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| unheard(&error))?;
        Ok(code)
    });
    replayed.map_or_else(|failure| failure.report(), ExitCode::from)
}

fn replay(args: &ReplayArgs, out: &mut impl Write) -> Result<Done, Failure> {
    let named = |why: String| Failure::input(format!("{}: {why}", args.file.display()));
    let file = File::open(&args.file).map_err(|error| named(error.to_string()))?;
    let mut replay = Replay::new(BufReader::new(file)).map_err(|error| named(error.to_string()))?;
    let (mut steps, mut differs, mut breaks_off) = (0, None, false);
    loop {
        match replay.step() {
            Ok(Some(step)) => {
                steps += 1;
                if !args.quiet {
                    let text = shown(&step, args.output);
                    writeln!(out, "{text}").map_err(|error| unheard(&error))?;
                }
            }
            Ok(None) => break,
            Err(error @ ReplayError::Differs { .. }) => {
                differs = Some(error.to_string());
                break;
            }
            Err(ReplayError::BreaksOff { .. }) => {
                breaks_off = true;
                break;
            }
            Err(error) => return Err(named(error.to_string())),
        }
    }
    Ok(Done { steps, differs, breaks_off, figures: replay.scheduler().stats().to_string() })
}

fn shown(step: &Replayed, format: Format) -> String {
    if format == Format::Human {
        return step.to_string();
    }
    let (call, at) = (step.line(), step.now().as_nanos());
    json!({ "v": 1, "call": call, "at_ns": at, "method": step.method(), "text": step.to_string() })
        .to_string()
}

fn recording(args: &ReplayArgs) -> Result<Recording, Failure> {
    let named = |why: String| Failure::input(format!("{}: {why}", args.file.display()));
    let file = File::open(&args.file).map_err(|error| named(error.to_string()))?;
    Recording::read(BufReader::new(file)).map_err(|error| named(error.to_string()))
}

/// Plays a record under other policies, prints what that comes to, and returns the exit code.
fn what_if(args: &ReplayArgs) -> ExitCode {
    let told = recording(args).and_then(|recording| {
        let refused =
            |error: chargehand::record::ChangeError| Failure::input(format!("--with {error}"));
        let observed = recording.observed();
        let unchanged = recording.estimate(&[]).map_err(refused)?;
        let changed = recording.estimate(&args.with).map_err(refused)?;
        Ok(estimate_text(args, &observed, &unchanged, &changed))
    });
    told.map_or_else(|failure| failure.report(), |text| print(&text))
}

fn estimate_text(
    args: &ReplayArgs,
    observed: &Figures,
    unchanged: &Figures,
    changed: &Figures,
) -> String {
    let with: Vec<String> = args.with.iter().map(Change::to_string).collect();
    if args.output == Format::Json {
        let [observed, unchanged, changed] = [observed, unchanged, changed].map(figures_json);
        let shown = json!({
            "v": 1, "is_estimate": true, "with": with,
            "observed": observed, "unchanged": unchanged, "changed": changed,
        });
        return format!("{shown}\n");
    }
    let mut text = format!("{:<16} {:>12} {:>12} {:>12}\n", "", "then", "played so", "with");
    let rows = observed.rows().into_iter().zip(unchanged.rows()).zip(changed.rows());
    for (((name, then), (_, so)), (_, with)) in rows {
        // Nothing fails that writes into a string.
        let _ = writeln!(text, "{name:<16} {then:>12} {so:>12} {with:>12}");
    }
    text + &format!(
        "The last column is an estimate, with {}: the tasks and workers of the record, and times and failures\n\
         drawn from those that each worker had. \"played so\" is the same without changes: how far that is from\n\
         \"then\", so far off is the estimate at least.\n",
        with.join(", ")
    )
}

fn figures_json(figures: &Figures) -> serde_json::Value {
    let micros = |times: &chargehand::measure::Histogram, share| {
        times.quantile(share).map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    };
    json!({
        "span_us": u64::try_from(figures.span.as_micros()).unwrap_or(u64::MAX),
        "tasks": figures.tasks, "done": figures.done, "failed": figures.failed,
        "other": figures.other, "sent": figures.sent,
        "task_time_p50_us": micros(&figures.task_time, 0.5),
        "task_time_p99_us": micros(&figures.task_time, 0.99),
        "queue_wait_p50_us": micros(&figures.queue_wait, 0.5),
        "queue_wait_p99_us": micros(&figures.queue_wait, 0.99),
    })
}

impl Done {
    fn text(&self, format: Format) -> String {
        let Self { steps, differs, breaks_off, figures } = self;
        if format == Format::Json {
            let shown = json!({
                "v": 1, "steps": steps, "differs": differs, "breaks_off": breaks_off, "figures": figures,
            });
            return shown.to_string();
        }
        let end = match differs {
            Some(why) => why.as_str(),
            None if *breaks_off => {
                "the record breaks off there: its run was killed, or is not over"
            }
            None => "all of it was done again, as it was",
        };
        format!("{figures}\n{steps} steps: {end}")
    }
}

fn unheard(error: &io::Error) -> Failure {
    Failure::unheard(format!("standard output cannot be written: {error}"))
}
