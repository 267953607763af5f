//! In place of a timer of the system's, where there is none.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct SystemTimer(Infallible);

impl SystemTimer {
    pub(crate) fn start(_: Duration) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn poll(&self, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {}
    }
}
