//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::HONEST;

pub(crate) const HELP: &str = "\
Simulates whole pools under faults and counts independently what becomes of
each task.

  --seeds N [--from S]  run the seeds S to S + N - 1 (S defaults to 0)
  --seconds T           run new seeds for T seconds; with --seeds, run those,
                        but for T seconds at most
  --file PATH           first run the seeds in a file, one per line (# begins
                        a comment)
  --seed S [--trace]    run a single seed [and print what happens]
      [--without 1,4]   leaving out these parts of its plan; part 0 stays, the
                        honest worker that everything depends on in the end
  --plain               run pools that do not judge their workers, with which
                        some of the seeds failed that are kept
  --core                run the scheduler alone against its naive model and
                        print how many events were compared and checked; with
                        --seeds, --seconds or --seed
  --replay FILE         repeat the calls to the scheduler that
      [--trace]         `Builder::record` wrote to a file, with all checks
                        after each [and print them]
  --jobs N              run N threads (default 1)
  --state PATH          save progress and counts to a file, and resume from it
  --first               stop at the first failing seed, without shrinking it
  --any                 do not require that every rare state is reached

Exit codes: 0 success; 1 a seed failed (the command for the smallest plan that
still fails is printed), or a replay differed from its record; 2 invalid
arguments or an invalid record; 3 a rare state was never reached, so the runs
show less than they appear to.";

#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word of the command line")]
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
    pub(crate) is_plain: bool,
    pub(crate) is_core: bool,
    pub(crate) replay: Option<PathBuf>,
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
                "--plain" => args.is_plain = true,
                "--core" => args.is_core = true,
                "--any" => args.is_any = true,
                "--first" => args.stops_at_first = true,
                "--seeds" => args.count = number(&value()?)?,
                "--from" => args.from = number(&value()?)?,
                "--seed" => args.seed = Some(number(&value()?)?),
                "--seconds" => args.seconds = Some(Duration::from_secs(number(&value()?)?)),
                "--jobs" => args.jobs = number::<usize>(&value()?)?.max(1),
                "--file" => args.file = Some(value()?.into()),
                "--replay" => args.replay = Some(value()?.into()),
                "--state" => args.state = Some(value()?.into()),
                "--without" => {
                    args.without = value()?.split(',').map(number).collect::<Result<_, _>>()?;
                    if args.without.contains(&HONEST) {
                        return Err(format!(
                            "without part {HONEST}, the honest worker, nothing need end"
                        ));
                    }
                }
                _ => return Err(format!("unknown: {word}")),
            }
        }
        let has_work = args.count > 0
            || args.seconds.is_some()
            || args.file.is_some()
            || args.replay.is_some();
        if args.seed.is_none() && !has_work {
            return Err("nothing to do".to_owned());
        }
        if args.is_core && (args.file.is_some() || args.state.is_some()) {
            return Err("--core takes neither --file nor --state".to_owned());
        }
        Ok(Some(args))
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_into_80_columns() {
        assert!(HELP.lines().count() > 10);
        for line in HELP.lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
    }
}
