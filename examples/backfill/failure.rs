//! What goes wrong before or around the work: one clear line, and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be done: exit code 2.
    Input(String),
    /// It was begun and could not be finished: exit code 1.
    Run(String),
}

impl Failure {
    pub(crate) fn input(text: impl Display) -> Self {
        Self::Input(text.to_string())
    }

    pub(crate) fn run(text: impl Display) -> Self {
        Self::Run(text.to_string())
    }

    /// Says it, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Self::Input(text) => (text, 2),
            Self::Run(text) => (text, 1),
        };
        eprintln!("error: {}", one_line(text));
        ExitCode::from(code)
    }
}

/// Reports what the argument parser found: help in full, an error in one line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help, or the version. It fails only where nobody reads it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    // The first paragraph says what is wrong; the rest is a summary of the usage.
    let what = text.split("\n\n").next().unwrap_or_default();
    eprintln!("{} (see --help)", one_line(what));
    ExitCode::from(2)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
