//! What ends a program before its time.

use std::fs;
use std::io;
use std::process::{self, Command};
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

/// Tells of the first reason to stop. A signal after that ends the process at once, and so do SIGHUP and SIGQUIT
/// in any case.
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
        let mut signals = Signals::listen()?;
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let first = tokio::select! {
                told = signals.next() => match told {
                    Told::Stop => Ok(Stop::Interrupted),
                    Told::Abort(why) => Err(why),
                },
                lost = console.lost(), if needs_ears => Ok(Stop::Unheard(lost)),
            };
            let why = match first {
                Ok(stop) => {
                    sender.send_replace(Some(stop));
                    match signals.next().await {
                        Told::Stop => "interrupted again",
                        Told::Abort(why) => why,
                    }
                }
                Err(why) => why,
            };
            at_last();
            console.say(&format!("{why}: ends at once"));
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

/// What a signal asks for.
enum Told {
    Stop,
    /// To end at once, and why.
    Abort(&'static str),
}

#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started this process had it ignored, as `nohup` does: it is to stay so.
    hangup: Option<Signal>,
    quit: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let unless_ignored =
            |kind| if is_in(ignored, kind) { Ok(None) } else { signal(kind).map(Some) };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
            quit: unless_ignored(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
            Some(()) = received(&mut self.hangup) => Told::Abort("hung up"),
            Some(()) = received(&mut self.quit) => Told::Abort("told to quit"),
        }
    }
}

/// Waits for a signal. Returns `None` at once where there is none to wait for.
async fn received(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// Returns the signals that this process ignores, a bit each: where the system has a file that says so, or as `ps`
/// has it. None of them where neither does.
fn ignored() -> u64 {
    let of_file = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        mask(status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?)
    };
    of_file().or_else(of_ps).unwrap_or(0)
}

fn of_ps() -> Option<u64> {
    let id = process::id().to_string();
    let said = Command::new("ps").args(["-o", "ignored=", "-p", &id]).output().ok()?;
    mask(&String::from_utf8_lossy(&said.stdout))
}

fn mask(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits.trim(), 16).ok()
}

fn is_in(mask: u64, kind: SignalKind) -> bool {
    let bit = u32::try_from(kind.as_raw_value() - 1).ok().and_then(|bit| 1_u64.checked_shl(bit));
    bit.is_some_and(|bit| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_learn_what_is_ignored_say_the_same() {
        // Rust's own runtime has it ignored.
        assert!(is_in(ignored(), SignalKind::pipe()) && !is_in(ignored(), SignalKind::terminate()));
        assert_eq!(of_ps(), Some(ignored()));
    }
}
