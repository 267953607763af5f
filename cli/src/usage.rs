//! What is said of arguments that are not understood.

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::console::{say_last, write_all};
use crate::failure::{INPUT, one_line, print};

/// Reports what the argument parser found: help in full, an error in one line.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help, or the version.
        return print(&error.render().to_string());
    }
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // It may be that nobody reads it, and the exit code says the same.
        let _ = write_all(io::stderr(), text.as_bytes());
        return ExitCode::from(INPUT);
    }
    // The first paragraph says what is wrong; the rest is a summary of the usage.
    let what = text.split("\n\n").next().unwrap_or_default();
    say_last(&format!("{} (see --help)", one_line(what)));
    ExitCode::from(INPUT)
}
