//! A record of a run's scheduler, done again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::process::ExitCode;

use chargehand::record::{Replay, ReplayError};
use serde_json::json;

use crate::TASKS_FAILED;
use crate::args::{Format, ReplayArgs};
use crate::failure::Failure;

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
                    writeln!(out, "{step}").map_err(|error| unheard(&error))?;
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
