//! What ends a program before its time.

use std::io;
use std::process;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::console::{Console, Lost};

/// The exit code of whatever was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;
/// How long a process that is told to end at once tries to say so.
const LAST_WORDS: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// SIGINT or SIGTERM.
    Interrupted,
    /// Nobody hears any more what it says.
    Unheard(Lost),
}

/// Tells of the first reason to stop. A signal after that ends the process at once.
#[derive(Debug)]
pub(crate) struct Stops(watch::Receiver<Option<Stop>>);

impl Stops {
    /// Begins to listen for signals, and for the end of whoever reads the console where `needs_ears`. In a
    /// task of its own: whoever is to stop may be busy. `at_last` is called where the process ends at once.
    pub(crate) fn listen(
        console: Console,
        needs_ears: bool,
        at_last: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let first = tokio::select! {
                () = next(&mut signals) => Stop::Interrupted,
                lost = console.lost(), if needs_ears => Stop::Unheard(lost),
            };
            sender.send_replace(Some(first));
            next(&mut signals).await;
            at_last();
            console.say("interrupted again: ends at once");
            // It may be that nobody reads it, which is no reason to stay.
            let _ = console.finish(Some(LAST_WORDS));
            process::exit(INTERRUPTED.into());
        });
        Ok(Self(receiver))
    }

    /// Returns the first reason, once there is one. Dropping the future changes nothing.
    pub(crate) async fn first(&mut self) -> Stop {
        let stop = self.0.wait_for(Option::is_some).await.expect("its task has the sender");
        stop.clone().expect("it was waited for")
    }
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
