//! A record of a pool, done again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use chargehand::record::{Replay, ReplayError, Replayed};

use crate::campaign::FAILED;
use crate::panics;

/// There is nothing that can be done again.
const NO_RECORD: u8 = 2;

/// Does the record in a file again with all checks after each call, and says what it does: with all calls, or
/// how many there were of each.
pub(crate) fn run(path: &Path, wants_trace: bool) -> ExitCode {
    let file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(why) => {
            eprintln!("{} cannot be read: {why}", path.display());
            return ExitCode::from(NO_RECORD);
        }
    };
    let mut output = io::stdout().lock();
    let done = redo(file, |call| {
        if wants_trace {
            // Whoever reads it may have enough of it.
            let _ = writeln!(output, "{call}");
        }
    });
    println!("{}", done.text);
    ExitCode::from(done.code)
}

struct Done {
    text: String,
    code: u8,
}

fn redo(record: impl BufRead, mut tell: impl FnMut(&Replayed)) -> Done {
    let mut replay = match Replay::new(record) {
        Ok(replay) => replay,
        Err(why) => return Done { text: why.to_string(), code: NO_RECORD },
    };
    let mut methods = BTreeMap::<&str, u64>::new();
    let (why, code) = loop {
        // What it holds is not looked at after a panic, but for the figures.
        match catch_unwind(AssertUnwindSafe(|| replay.step())) {
            Ok(Ok(Some(call))) => {
                *methods.entry(call.method()).or_default() += 1;
                tell(&call);
            }
            Ok(Ok(None)) => break ("all of it done again, as it was".to_owned(), 0),
            Ok(Err(why @ ReplayError::BreaksOff { .. })) => break (why.to_string(), 0),
            Ok(Err(why @ ReplayError::Differs { .. })) => break (why.to_string(), FAILED),
            Ok(Err(why)) => break (why.to_string(), NO_RECORD),
            Err(panic) => {
                let line = methods.values().sum::<u64>() + 2;
                break (format!("line {line}: {}", panics::text_of(&*panic)), FAILED);
            }
        }
    };
    let calls: u64 = methods.values().sum();
    let counts: Vec<String> =
        methods.iter().map(|(method, count)| format!("{count:>12}  {method}")).collect();
    let (counts, figures) = (counts.join("\n"), replay.scheduler().stats());
    let text = format!("{counts}\n{figures:#?}\n{calls} calls, each with all checks: {why}");
    Done { text, code }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use chargehand::testing::{Script, World};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn recorded() -> String {
        let (world, memory) = (World::new(1), Memory::default());
        world.worker(Script::new());
        let pool = world.pool(|builder| builder.record(memory.clone()));
        assert_eq!(world.run(pool.call::<u64, u64>(&7)), Ok(7));
        world.run(pool.stop()).unwrap();
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_record_is_done_again_and_every_call_is_told() {
        let text = recorded();
        let mut told = Vec::new();
        let done = redo(text.as_bytes(), |call| told.push(call.to_string()));
        assert_eq!(done.code, 0, "{}", done.text);
        assert!(
            done.text.contains("as it was") && done.text.contains("submitted: 1"),
            "{}",
            done.text
        );
        assert_eq!(told.len(), text.lines().count() - 2, "all but the first line and the last");
        assert!(told.iter().any(|line| line.contains("outcome: Done")), "{told:#?}");
    }

    #[test]
    fn what_cannot_be_done_again_is_told_from_what_is_done_otherwise() {
        let text = recorded();
        assert_eq!(redo("garbage".as_bytes(), |_| ()).code, NO_RECORD);
        let cut = text.replace("\"gave\"", "\"give\"");
        assert_eq!(redo(cut.as_bytes(), |_| ()).code, NO_RECORD);
        let other = text.replace("\"attempt\":1", "\"attempt\":2");
        let done = redo(other.as_bytes(), |_| ());
        assert_eq!(done.code, FAILED, "{}", done.text);
        assert!(done.text.contains("decides otherwise"), "{}", done.text);
    }
}
