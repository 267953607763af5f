//! What goes wrong before or around the work: one clear line, and an exit code.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::console::say_last;
use crate::rpc::hide_urls;

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be done: exit code 2.
    Input(String),
    /// It was begun and could not be finished: exit code 1.
    Run(String),
    /// What it says cannot be written: exit code 3.
    Unheard(String),
}

impl Failure {
    pub(crate) fn input(text: impl Display) -> Self {
        Self::Input(text.to_string())
    }

    pub(crate) fn run(text: impl Display) -> Self {
        Self::Run(text.to_string())
    }

    pub(crate) fn unheard(text: impl Display) -> Self {
        Self::Unheard(text.to_string())
    }

    /// Adds to what it says.
    pub(crate) fn and(self, more: &str) -> Self {
        match self {
            Self::Input(text) => Self::Input(text + more),
            Self::Run(text) => Self::Run(text + more),
            Self::Unheard(text) => Self::Unheard(text + more),
        }
    }

    /// Says it, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Self::Input(text) => (text, 2),
            Self::Run(text) => (text, 1),
            Self::Unheard(text) => (text, 3),
        };
        say_last(&format!("error: {}", one_line(text)));
        ExitCode::from(code)
    }
}

/// Reports what the argument parser found: help in full, an error in one line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help, or the version.
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                Failure::unheard(format!("standard output cannot be written: {why}")).report()
            }
        };
    }
    say_last(&format!("{} (see --help)", one_line(&what(error))));
    ExitCode::from(2)
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

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
