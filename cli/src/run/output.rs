//! Where the lines of outcomes go.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::stdout;

use crate::console::write_all;
use crate::failure::Failure;
use crate::lines::{Lines, Mark};

const BUFFER_BYTES: usize = 1 << 16;

#[derive(Debug)]
pub(super) enum Output {
    File(Box<Lines>),
    Stdout(BufWriter<Stdout>),
}

/// Standard output without the library's own stream, which flushes each line.
#[derive(Debug)]
pub(super) struct Stdout(OwnedFd);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(&self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    pub(super) fn stdout() -> io::Result<Self> {
        // No task's process is to have it.
        let out = Stdout(fcntl_dupfd_cloexec(stdout(), 0)?);
        Ok(Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, out)))
    }

    pub(super) fn file(lines: Lines) -> Self {
        Self::File(Box::new(lines))
    }

    /// Writes a line of what is settled.
    pub(super) fn done(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::File(lines) => lines.done(line).map_err(|error| lines.failure(&error)),
            Self::Stdout(out) => {
                let written = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
                written.map_err(|error| unheard(&error))
            }
        }
    }

    /// Writes a line of what is to be tried again by a later run.
    pub(super) fn failed(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::File(lines) => lines.failed(line).map_err(|error| lines.failure(&error)),
            Self::Stdout(_) => self.done(line),
        }
    }

    /// Hands over what is buffered, where somebody may read it now.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::File(lines) => lines.flush().map(drop).map_err(|error| lines.failure(&error)),
            Self::Stdout(out) => out.flush().map_err(|error| unheard(&error)),
        }
    }

    /// Hands all lines of what is settled to the system. Returns how far that is, and the file: `None` where a
    /// later run could not go on with it.
    pub(super) fn mark(&mut self) -> Result<Option<(Mark, Arc<File>)>, Failure> {
        match self {
            Self::File(lines) => lines.flush().map(Some).map_err(|error| lines.failure(&error)),
            Self::Stdout(_) => Ok(None),
        }
    }

    /// Writes all that is left. Nothing is to be written after that.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::File(lines) => lines.finish().map_err(|error| lines.failure(&error)),
            Self::Stdout(_) => self.flush(),
        }
    }
}

fn unheard(error: &io::Error) -> Failure {
    Failure::unheard(format!("standard output cannot be written: {error}"))
}
