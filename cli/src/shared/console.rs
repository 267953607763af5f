//! What the program says: on a thread of its own, so that nothing waits for a reader but the end.
//!
//! Whoever says something leaves it here and goes on. An output that is not read loses lines, and
//! says how many once it is read again. One that cannot be written any more (its reader is gone, its
//! disk is full) is noted for whoever asks: see [`Console::lost`].

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, stderr, stdout};
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::watch;

use super::screen::{Frame, Screen};

/// How many lines wait for a slow reader of standard error.
const LINES_MAX: usize = 1000;

/// How often a full output that does not block is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The program's standard output and standard error. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Console(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is to be written, or everything was.
    changed: Condvar,
    lost: watch::Sender<Option<Lost>>,
    is_terminal: bool,
}

#[derive(Debug, Default)]
struct State {
    /// For standard error.
    lines: VecDeque<String>,
    left_out: u64,
    /// The newest one is enough.
    status: Option<Frame>,
    /// For standard output.
    out: String,
    is_over: bool,
    is_written: bool,
}

/// An output that cannot be written any more.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// Which one.
    pub(crate) name: &'static str,
    why: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written: {}", self.name, self.why)
    }
}

impl Console {
    /// Opens both, with a thread that writes.
    pub(crate) fn open() -> io::Result<Self> {
        let screen = Screen::of_stderr();
        let this = Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            lost: watch::Sender::new(None),
            is_terminal: screen.is_some(),
        }));
        let shared = Arc::clone(&this.0);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || shared.write_all(screen))?;
        Ok(this)
    }

    /// Returns whether standard error is a terminal that shows how things stand in place.
    pub(crate) fn is_terminal(&self) -> bool {
        self.0.is_terminal
    }

    /// Says a line on standard error.
    pub(crate) fn say(&self, line: &str) {
        let mut state = self.0.lock();
        if state.lines.len() < LINES_MAX {
            state.lines.push_back(printable(line));
        } else {
            state.left_out += 1;
        }
        self.0.changed.notify_all();
    }

    /// Shows how things stand, in place of what was shown before.
    pub(crate) fn show(&self, frame: Frame) {
        self.0.lock().status = Some(frame);
        self.0.changed.notify_all();
    }

    /// Prints a line on standard output.
    pub(crate) fn print(&self, line: &str) {
        let mut state = self.0.lock();
        state.out += &printable(line);
        state.out.push('\n');
        self.0.changed.notify_all();
    }

    /// Returns once an output cannot be written any more.
    pub(crate) async fn lost(&self) -> Lost {
        let mut lost = self.0.lost.subscribe();
        let lost = lost.wait_for(Option::is_some).await.expect("its sender is in this");
        lost.clone().expect("it was waited for")
    }

    /// Waits until everything is written, at most as long as `within` where that is given. Nothing is
    /// to be said after it. Blocks the thread.
    pub(crate) fn finish(&self, within: Option<Duration>) -> Result<(), Lost> {
        let mut state = self.0.lock();
        state.is_over = true;
        self.0.changed.notify_all();
        let deadline = within.map(|within| Instant::now() + within);
        while !state.is_written {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let changed = &self.0.changed;
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => changed.wait_timeout(state, left).expect("nothing panics with it").0,
                None => changed.wait(state).expect("nothing panics with it"),
            };
        }
        self.0.lost.borrow().clone().map_or(Ok(()), Err)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it")
    }

    /// Writes whatever comes, to the end.
    fn write_all(&self, mut screen: Option<Screen>) {
        let mut err = Stream { name: "standard error", to: stderr(), is_lost: false };
        let mut out = Stream { name: "standard output", to: stdout(), is_lost: false };
        loop {
            let mut state = self.lock();
            while state.lines.is_empty() && state.status.is_none() && state.out.is_empty() {
                if state.is_over {
                    drop(state);
                    self.note(err.write(screen.take().map_or_else(String::new, Screen::end)));
                    self.lock().is_written = true;
                    self.changed.notify_all();
                    return;
                }
                state = self.changed.wait(state).expect("nothing panics with it");
            }
            let mut lines = mem::take(&mut state.lines);
            let left_out = mem::take(&mut state.left_out);
            let (status, printed) = (state.status.take(), mem::take(&mut state.out));
            drop(state);
            if left_out > 0 {
                lines.push_back(format!("{left_out} lines were left out: nobody read them"));
            }
            let text = match &mut screen {
                Some(screen) => screen.redraw(lines, status),
                None => plain(lines, status),
            };
            self.note(err.write(text));
            self.note(out.write(printed));
        }
    }

    fn note(&self, written: Result<(), Lost>) {
        if let Err(lost) = written {
            // The first one is the reason.
            self.lost.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(lost);
                is_first
            });
        }
    }
}

/// One of the two outputs.
struct Stream<W> {
    name: &'static str,
    to: W,
    is_lost: bool,
}

impl<W: AsFd> Stream<W> {
    /// Writes a text. Once it fails, and says so, nothing is written any more.
    fn write(&mut self, text: impl AsRef<str>) -> Result<(), Lost> {
        let text = text.as_ref();
        if self.is_lost || text.is_empty() {
            return Ok(());
        }
        write_all(&self.to, text.as_bytes()).map_err(|error| {
            self.is_lost = true;
            Lost { name: self.name, why: error.to_string() }
        })
    }
}

/// Says a last line outside of any console: on standard error, or else on standard output. It may be
/// that neither can be written, and then nobody is there who could be told.
pub(crate) fn say_last(line: &str) {
    let line = printable(line) + "\n";
    if write_all(stderr(), line.as_bytes()).is_err() {
        let _ = write_all(stdout(), line.as_bytes());
    }
}

/// Writes without the library's own streams, which panic, buffer, or call a closed one written.
pub(crate) fn write_all(to: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            // Somebody who has it too made it so. Only this thread waits.
            Err(Errno::AGAIN) => thread::sleep(RETRY_DELAY),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn plain(lines: VecDeque<String>, status: Option<Frame>) -> String {
    let status = status.map(|frame| frame.line);
    lines.into_iter().chain(status).map(|line| line + "\n").collect()
}

/// Peers choose their names and errors: none of them is to end a line, to move a cursor, or to have what stands beside
/// it show backwards.
pub(crate) fn printable(line: &str) -> String {
    let is_odd = |c: char| {
        let turns = ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&c);
        c.is_control() || turns || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    line.chars().map(|c| if is_odd(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_that_a_peer_says_moves_the_cursor_or_turns_what_stands_beside_it() {
        assert_eq!(printable("a\nb\u{1b}[2J\u{9b}"), "a?b?[2J?");
        assert_eq!(printable("w1\u{202e} 1w \u{2067}\u{2028}\u{200f}"), "w1? 1w ???");
        assert_eq!(printable("wörker 工人 עובד"), "wörker 工人 עובד");
    }
}
