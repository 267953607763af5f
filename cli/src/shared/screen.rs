//! A terminal whose last lines say how things stand.

use std::collections::VecDeque;
use std::io::{IsTerminal, stderr};

use rustix::termios::tcgetwinsize;

/// Where a terminal does not say how large it is.
const COLUMNS: usize = 80;
const ROWS: usize = 24;
/// The longest list below the first line.
const DETAILS_MAX: usize = 16;

/// How things stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// In full, where there is no terminal.
    pub(crate) line: String,
    /// The same in other words, the longest first: the first that fits is shown.
    pub(crate) forms: Vec<String>,
    /// What is shown below it, as far as there is room.
    pub(crate) details: Vec<String>,
}

/// What is drawn on a terminal now, below everything that was said.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    frame: Frame,
    /// How many columns each line takes.
    drawn: Vec<usize>,
}

impl Screen {
    /// Returns one for standard error, if that is a terminal that can move its cursor.
    pub(crate) fn of_stderr() -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        (stderr().is_terminal() && !is_dumb).then(Self::default)
    }

    /// Returns what to write to say `lines` above, and to draw the newest frame at the size that the
    /// terminal has now.
    pub(crate) fn redraw(&mut self, lines: VecDeque<String>, frame: Option<Frame>) -> String {
        if let Some(frame) = frame {
            self.frame = frame;
        }
        let (columns, rows) = size();
        let mut text = self.erase(columns);
        for line in lines {
            text += &line;
            text += "\r\n";
        }
        let lines = fit(&self.frame, columns, rows);
        text += &lines.join("\r\n");
        // A cursor at the end of a line would be anywhere once that is broken.
        text.push('\r');
        self.drawn = lines.iter().map(String::len).collect();
        text
    }

    /// Returns what to write to leave nothing of it.
    pub(crate) fn end(mut self) -> String {
        self.erase(size().0)
    }

    /// A terminal that became narrower has broken the lines that are drawn: they take more rows. The
    /// cursor is at the begin of the last one, wherever that is now.
    fn erase(&mut self, columns: usize) -> String {
        let above = self.drawn.split_last().map_or(&[][..], |(_, above)| above);
        let rows: usize = above.iter().map(|length| length.div_ceil(columns).max(1)).sum();
        let text = match (self.drawn.len(), rows) {
            (0, _) => String::new(),
            (_, 0) => "\r\x1b[J".to_owned(),
            _ => format!("\r\x1b[{rows}A\x1b[J"),
        };
        self.drawn.clear();
        text
    }
}

/// Returns how many columns and rows there are now.
fn size() -> (usize, usize) {
    let or = |size: u16, default| if size == 0 { default } else { usize::from(size) };
    tcgetwinsize(stderr())
        .map_or((COLUMNS, ROWS), |size| (or(size.ws_col, COLUMNS), or(size.ws_row, ROWS)))
}

/// Returns the lines to draw: each shorter than a row, since one that ends in the last column may
/// take a second one; and no more of them than half of the screen.
fn fit(frame: &Frame, columns: usize, rows: usize) -> Vec<String> {
    let room = columns.saturating_sub(1);
    let form = frame.forms.iter().find(|form| form.len() <= room).or(frame.forms.last());
    let Some(form) = form else { return Vec::new() };
    let mut lines = vec![cut(form, room)];
    let count = frame.details.len();
    let shown = count.min(DETAILS_MAX).min((rows / 2).saturating_sub(1));
    lines.extend(frame.details.iter().take(shown).map(|line| cut(line, room)));
    if shown < count && shown > 0 {
        lines.push(cut(&format!("  and {} more", count - shown), room));
    }
    lines
}

/// Only ASCII, of which each character surely takes one column.
fn cut(line: &str, room: usize) -> String {
    line.chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .take(room)
        .collect()
}
