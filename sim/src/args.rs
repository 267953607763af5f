//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const HELP: &str = "\
Simulates whole pools under faults, and counts for itself what becomes of each task.

  chargehand-sim --seeds N [--from S]   runs the seeds S to S + N - 1; S is 0 unless it is said
  chargehand-sim --seconds T            runs seeds that nobody has run before, for so long, and says the first; with
                                        --seeds, those, and no longer than that
  chargehand-sim --file PATH            runs the seeds of a file first, one a line; # begins a comment
  chargehand-sim --seed S [--trace]     runs one, and says what happened in it
                 [--without 1,4]        without these parts of its plan
  --jobs N        so many threads; 1 unless it is said
  --state PATH    keeps in a file how far it is and what it has counted, and goes on from there
  --first         stops at the first seed that fails, and takes no time to look for the least of it
  --any           does not ask that every rare state was reached

It ends with 0 where all was well, with 1 where a seed failed (it then prints the command that runs as
little of it as still fails), with 2 where the command line is no good, and with 3 where a rare state was
never reached, so that the runs show less than they seem to.";

#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    pub(crate) from: u64,
    pub(crate) count: u64,
    pub(crate) seconds: Option<Duration>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) seed: Option<u64>,
    pub(crate) without: Vec<usize>,
    pub(crate) wants_trace: bool,
    pub(crate) jobs: usize,
    pub(crate) state: Option<PathBuf>,
    pub(crate) is_any: bool,
    pub(crate) stops_at_first: bool,
}

impl Args {
    /// Reads the command line: `None` where it asks for help.
    ///
    /// # Errors
    /// Says what is no good about it.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self { jobs: 1, ..Self::default() };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--trace" => args.wants_trace = true,
                "--any" => args.is_any = true,
                "--first" => args.stops_at_first = true,
                "--seeds" => args.count = number(&value()?)?,
                "--from" => args.from = number(&value()?)?,
                "--seed" => args.seed = Some(number(&value()?)?),
                "--seconds" => args.seconds = Some(Duration::from_secs(number(&value()?)?)),
                "--jobs" => args.jobs = number::<usize>(&value()?)?.max(1),
                "--file" => args.file = Some(value()?.into()),
                "--state" => args.state = Some(value()?.into()),
                "--without" => {
                    args.without = value()?.split(',').map(number).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("unknown: {word}")),
            }
        }
        let has_work = args.count > 0 || args.seconds.is_some() || args.file.is_some();
        if args.seed.is_none() && !has_work {
            return Err("nothing to do".to_owned());
        }
        Ok(Some(args))
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}
