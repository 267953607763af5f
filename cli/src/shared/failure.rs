//! What goes wrong before or around the work: one clear line, and an exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::console::say_last;
use crate::RUN_FAILED;

/// The exit code where what was asked for cannot be done.
pub(crate) const INPUT: u8 = 2;
const UNHEARD: u8 = 3;

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be done: exit code 2.
    Input(String),
    /// It was begun and could not be finished. Each program has an exit code of its own for that.
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
        let code = match self {
            Self::Input(_) => INPUT,
            Self::Run(_) => RUN_FAILED,
            Self::Unheard(_) => UNHEARD,
        };
        say_last(&format!("error: {}", one_line(self.text())));
        ExitCode::from(code)
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Input(text) | Self::Run(text) | Self::Unheard(text) => text,
        }
    }
}

/// Prints a text on standard output, and returns the exit code.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Failure::unheard(format!("standard output cannot be written: {error}")).report()
        }
    }
}

/// Returns a text without its line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
