//! How a program that works with a pool begins and ends.

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use super::console::Console;
use super::failure::Failure;

/// Does what is to be done, with a runtime of so many threads, and returns the exit code. The pool runs on threads
/// of the runtime's, whatever the one that takes the outcomes waits for: a slow disk, or a pipe that nobody reads.
pub(crate) fn run(
    threads: usize,
    work: impl AsyncFnOnce(&Console) -> Result<u8, Failure>,
) -> ExitCode {
    let (console, runtime) = match open(threads) {
        Ok(opened) => opened,
        Err(error) => return Failure::run(error).report(),
    };
    let result = runtime.block_on(work(&console));
    // The runtime is still there: a second interrupt ends the process even where nobody reads this.
    let written = console.finish(None);
    let code = match (result, written) {
        (Err(failure), _) => failure.report(),
        (Ok(code), Ok(())) => ExitCode::from(code),
        (Ok(code), Err(lost)) => {
            let kept = format!("{lost}; the exit code would have been {code}");
            Failure::unheard(kept).report()
        }
    };
    runtime.shutdown_background();
    code
}

/// Opens the console, and a runtime of so many threads.
pub(crate) fn open(threads: usize) -> io::Result<(Console, Runtime)> {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    Ok((Console::open()?, runtime?))
}
