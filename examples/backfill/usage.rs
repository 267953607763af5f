//! What is said of arguments that are not understood.

use std::error::Error;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::console::say_last;
use crate::failure::{INPUT, one_line, print};
use crate::rpc::hide_urls;

/// Reports what the argument parser found: help in full, an error in one line.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help, or the version.
        return print(&error.render().to_string());
    }
    say_last(&format!("{} (see --help)", one_line(&what(error))));
    ExitCode::from(INPUT)
}

/// Returns what is wrong with the arguments.
fn what(error: &clap::Error) -> String {
    // A node's URL may hold a key, and is not repeated even where it is none.
    if let (ErrorKind::ValueValidation, Some(ContextValue::String(option)), Some(why)) =
        (error.kind(), error.get(ContextKind::InvalidArg), error.source())
        && option.starts_with("--rpc")
    {
        return format!("error: invalid value for '{option}': {why}");
    }
    let text = error.render().to_string();
    // The first paragraph says what is wrong; the rest is a summary of the usage.
    hide_urls(text.split("\n\n").next().unwrap_or_default())
}
