//! What a terminal shows, however wide it is and becomes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::state::{Saved, wait_for_more};
use super::support::{
    Ended, Folder, Guard, PATIENCE, Running, backfill, run, send, start_worker, wait,
};

/// A terminal as most are: a line that is too long goes on in the next row, and breaks elsewhere when
/// the width changes.
struct Terminal {
    master: File,
    width: usize,
    lines: Vec<Vec<u8>>,
    /// The line that the cursor is in, and how far.
    line: usize,
    column: usize,
    /// A sequence that has begun.
    escape: Option<String>,
    /// The widest line that was ever there, since the width was set.
    widest: usize,
    /// Every line that was there at some time.
    history: Vec<String>,
}

impl Terminal {
    /// Starts it with standard error on a terminal of so many columns.
    fn start(width: u16, command: &mut Command) -> (Self, Guard) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it is there");
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).expect("a descriptor of ours");
        let mut this = Self {
            master: File::from(master),
            width: 0,
            lines: vec![Vec::new()],
            line: 0,
            column: 0,
            escape: None,
            widest: 0,
            history: Vec::new(),
        };
        this.resize(width);
        command.env("TERM", "xterm").stdout(Stdio::null()).stderr(slave);
        (this, Guard(command.spawn().expect("it is built")))
    }

    fn resize(&mut self, width: u16) {
        let size = Winsize { ws_row: 24, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("a terminal");
        self.width = width.into();
        self.widest = 0;
    }

    /// Takes what was written so far. Returns false where nothing was, or nobody has it any more.
    fn take(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(count) => {
                bytes[..count].iter().for_each(|&byte| self.on_byte(byte));
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            // Linux says so once the other end is closed.
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
                false
            }
        }
    }

    /// Takes what is written until something is true of it.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            let last = self.history.len().saturating_sub(20);
            assert!(begun.elapsed() < PATIENCE, "never: {what}: {:#?}", &self.history[last..]);
            if !self.take() {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn on_byte(&mut self, byte: u8) {
        if let Some(escape) = &mut self.escape {
            escape.push(byte.into());
            if byte.is_ascii_alphabetic() {
                let escape = self.escape.take().expect("it is there");
                self.on_escape(&escape);
            }
            return;
        }
        match byte {
            b'\x1b' => self.escape = Some(String::new()),
            b'\r' => self.column -= self.column % self.width,
            b'\n' => {
                self.note(self.line);
                self.line += 1;
                self.column = 0;
                if self.line == self.lines.len() {
                    self.lines.push(Vec::new());
                }
            }
            _ => {
                assert!(byte >= b' ', "{byte}");
                let line = &mut self.lines[self.line];
                line.truncate(self.column);
                line.push(byte);
                self.column += 1;
            }
        }
    }

    fn on_escape(&mut self, escape: &str) {
        if escape == "[J" {
            (self.line..self.lines.len()).for_each(|line| self.note(line));
            self.lines[self.line].truncate(self.column);
            self.lines.truncate(self.line + 1);
            return;
        }
        let rows = escape.strip_prefix('[').and_then(|rest| rest.strip_suffix('A'));
        let rows: usize = rows.and_then(|rows| rows.parse().ok()).expect("a known sequence");
        for _ in 0..rows {
            if self.column >= self.width {
                self.column -= self.width;
            } else {
                self.line = self.line.checked_sub(1).expect("not above the top");
                let length = self.lines[self.line].len();
                self.column += length.saturating_sub(1) / self.width * self.width;
            }
        }
    }

    fn note(&mut self, line: usize) {
        let text = String::from_utf8_lossy(&self.lines[line]).into_owned();
        if text.contains("done") || text.contains(" left") {
            self.widest = self.widest.max(text.len());
        }
        self.history.push(text);
    }

    fn shown(&self) -> Vec<String> {
        self.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Waits until it says how it stands, at the width that there is now.
    fn until_redrawn(&mut self) {
        let count = self.history.len();
        self.until("drawn again", |this| {
            this.history.len() > count + 20 && this.shown().iter().any(|line| line.contains("left"))
        });
    }
}

#[test]
fn a_narrow_terminal_has_no_broken_line_and_one_that_changes_keeps_no_leftover() {
    let (mut terminal, mut demo) = Terminal::start(100, &mut backfill());
    for width in [100, 50, 120, 41, 20, 80] {
        // What was drawn for another width is taken as such.
        send(Signal::STOP, &demo);
        thread::sleep(Duration::from_millis(20));
        while terminal.take() {}
        terminal.resize(width);
        send(Signal::CONT, &demo);
        // The first erases what was wider.
        let count = terminal.history.len();
        terminal.until("drawn once", |this| this.history.len() > count);
        terminal.widest = 0;
        terminal.until_redrawn();
        assert!(
            terminal.widest > 0 && terminal.widest < width.into(),
            "{width}: {}",
            terminal.widest
        );
        let shown = terminal.shown();
        // One line that says how it stands, and the workers below it.
        let how = shown.iter().filter(|line| line.contains("left")).count();
        let workers = shown.iter().filter(|line| line.starts_with("  ")).count();
        assert_eq!((how, workers), (1, 4), "{width}: {shown:#?}");
    }
    let begun = Instant::now();
    while demo.0.try_wait().expect("a child of ours").is_none() {
        terminal.take();
        assert!(begun.elapsed() < PATIENCE, "it does not end");
    }
    while terminal.take() {}
    assert_eq!(wait(&mut demo).code(), Some(0));
    let shown = terminal.shown();
    assert!(
        shown.iter().all(|line| !line.contains("left") && !line.starts_with("  ")),
        "{shown:#?}"
    );
    assert!(shown[0].starts_with("making a demo chain"), "{shown:#?}");
    // What was said is all there, above.
    assert_eq!(shown.iter().filter(|line| line.starts_with("FAULT")).count(), 4, "{shown:#?}");
}

/// Returns the numbers before "/s".
fn rates<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<f64> {
    let rate = |line: &str| {
        let (before, _) = line.split_once("/s, ")?;
        before.rsplit(' ').next()?.parse().ok()
    };
    lines.filter_map(rate).collect()
}

#[test]
fn speed_and_time_left_are_of_this_run_and_not_of_what_was_done_before() {
    let folder = Folder::new("rate");
    let (chain, state) = (folder.text("chain"), folder.path("state"));
    // 1,600 a second at most.
    let slow = ["--chain", &chain, "--concurrency", "8", "--delay", "5"];
    let (_slow, slow) = start_worker("tcp", &slow);
    let (_fast, fast) = start_worker("tcp", &["--chain", &chain]);
    let command = |worker: &str| {
        let mut command = backfill();
        command.args(["--worker", worker, "--range", "1..=90000", "--state"]).arg(&state);
        command
    };
    let first = Running::start(&mut command(&fast));
    wait_for_more(&state, 8000);
    send(Signal::INT, &first.child);
    assert_eq!(first.finish().code, Some(130));
    let before = Saved::read(&state).expect("a state").count();
    assert!(before < 85_000, "{before}");

    let (mut terminal, manager) = Terminal::start(100, &mut command(&slow));
    let stood = terminal.history.len();
    terminal.until("some seconds", |this| this.history.len() > stood + 40);
    send(Signal::INT, &manager);
    let shown = rates(terminal.history.iter().map(String::as_str));
    assert!(shown.len() > 10, "{shown:?}");
    assert!(shown.iter().all(|&rate| rate > 50.0 && rate < 2000.0), "{shown:?}");
    drop(manager);

    let mut lines = Running::start(&mut command(&slow));
    for _ in 0..3 {
        lines.wait_for("/s, ");
    }
    send(Signal::INT, &lines.child);
    let Ended { err, .. } = lines.finish();
    let said = rates(err.lines());
    assert!(said.len() >= 3 && said.iter().all(|&rate| rate > 50.0 && rate < 2000.0), "{err}");
    // What is left of 90,000, at that speed.
    let line = err.lines().filter(|line| line.contains("/s, ")).nth(1).expect("a line");
    let done: f64 = line.split(' ').next().expect("a number").replace(',', "").parse().expect(line);
    let left = line.split("/s, ").nth(1).and_then(|rest| rest.split(" s left").next());
    let left: f64 = left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    let rate = rates(std::iter::once(line))[0];
    assert!((left - (90_000.0 - done) / rate).abs() < 1.0, "{line}");
}

#[test]
fn without_a_worker_it_waits_for_one_and_says_once_why_none_is_there() {
    let gone = {
        let door = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        door.local_addr().expect("bound")
    };
    for scheme in ["tcp", "ws"] {
        let address = format!("{scheme}://{gone}");
        let mut manager =
            Running::start(backfill().args(["--worker", &address, "--range", "1..=10"]));
        let line = manager.wait_for("waits for a worker");
        assert_eq!(line, "0 of 10 done, waits for a worker, 0 of 1 workers up");
        manager.wait_for("waits for a worker");
        send(Signal::INT, &manager.child);
        let Ended { code, err, .. } = manager.finish();
        assert_eq!(code, Some(130));
        assert!(!err.contains("begins") && !err.contains("0/s"), "{err}");
        let refused: Vec<_> = err.lines().filter(|line| line.contains("keeps trying")).collect();
        let [refused] = refused[..] else { panic!("{err}") };
        assert_eq!(refused.matches("cannot connect").count(), 1, "{refused}");
        assert_eq!(refused.matches(&gone.to_string()).count(), 1, "{refused}");
    }
}

#[test]
fn heights_are_lost_and_connections_are_not() {
    let Ended { code, out, err } = run(&mut backfill());
    assert_eq!(code, Some(0), "{out}{err}");
    let both = format!("{out}{err}");
    assert!(both.contains("lost 0, doubled 0"), "{both}");
    assert!(both.contains(": connection broken: "), "{both}");
    let others = both.replace("lost 0, doubled 0", "").replace("nothing lost, nothing", "");
    assert!(!others.contains("lost"), "{others}");
}

#[test]
fn help_fits_into_eighty_columns() {
    for arguments in [&["--help"][..], &["-h"], &["worker", "--help"], &["worker", "-h"]] {
        let help = run(backfill().args(arguments)).out;
        let long: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(help.lines().count() > 10 && long.is_empty(), "{arguments:?}: {long:#?}");
    }
}
