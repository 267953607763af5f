//! What shells and `man` know of the command.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::{Failure, print};

/// Prints a shell's completions.
pub(crate) fn completions(shell: Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "chargehand", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Writes a page for each command into a folder.
pub(crate) fn man(folder: &Path) -> ExitCode {
    match clap_mangen::generate_to(Cli::command(), folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::input(format!("{}: {error}", folder.display())).report(),
    }
}
