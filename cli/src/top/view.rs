//! What is shown now, and what keys change of that.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::{Look, Wanted};
use crate::args::Sort;
use crate::console::printable;
use crate::look::{History, WORKERS_AT_ONCE};

/// How many rates are kept to be drawn.
const RATES_MAX: usize = 600;

/// The lists, of which one is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Workers,
    Queues,
    Ranges,
    Failures,
    Events,
}

impl Tab {
    pub(super) const ALL: [Self; 5] =
        [Self::Workers, Self::Queues, Self::Ranges, Self::Failures, Self::Events];

    pub(super) fn place(self) -> usize {
        self as usize
    }
}

/// By what workers are sorted, in the order of their columns.
pub(super) const SORTS: [Sort; 9] = [
    Sort::Id,
    Sort::Peer,
    Sort::State,
    Sort::InFlight,
    Sort::Rate,
    Sort::Done,
    Sort::Failed,
    Sort::Lost,
    Sort::P99,
];

#[derive(Debug)]
pub(super) struct View {
    /// Where the figures are from.
    pub(super) at: String,
    pub(super) look: Look,
    /// Tasks done a second, the oldest first, and when the latest was.
    pub(super) rates: VecDeque<f64>,
    latest_ms: u64,
    /// Why the figures are not those of now.
    pub(super) missed: Option<String>,
    pub(super) is_paused: bool,
    pub(super) tab: Tab,
    /// Of each list the row that the keys have chosen, and the first that is shown.
    cursors: [(usize, usize); Tab::ALL.len()],
    /// How many rows the list had when it was drawn.
    pub(super) height: usize,
    pub(super) sort: Sort,
    pub(super) desc: bool,
}

impl View {
    pub(super) fn new(at: &str) -> Self {
        Self {
            at: at.to_owned(),
            look: Look::default(),
            rates: VecDeque::new(),
            latest_ms: 0,
            missed: None,
            is_paused: false,
            tab: Tab::Workers,
            cursors: Default::default(),
            height: 1,
            sort: Sort::Id,
            desc: false,
        }
    }

    /// Takes new figures, unless it is paused.
    pub(super) fn take(&mut self, look: Look) {
        self.missed = None;
        if self.is_paused {
            return;
        }
        if let Some(point) = &look.overview.point {
            if point.at_ms > self.latest_ms {
                self.latest_ms = point.at_ms;
                self.rates.push_back(point.done_rate);
                if self.rates.len() > RATES_MAX {
                    self.rates.pop_front();
                }
            }
        }
        self.look = look;
        self.move_to(self.cursor());
    }

    /// Takes the rates before the first figures.
    pub(super) fn remember(&mut self, history: &History) {
        let before = history.points.iter().map(|point| point.done_rate);
        self.rates = before.collect();
        if let Some(last) = history.points.last() {
            self.latest_ms = self.latest_ms.max(last.at_ms);
        }
    }

    /// Takes in that there are no new figures.
    pub(super) fn miss(&mut self, why: &str) {
        // It may be what the page said.
        self.missed = Some(printable(why));
    }

    /// Returns which workers to ask for.
    pub(super) fn wanted(&self) -> Wanted {
        // The rows on the screen are among those that are asked for, and so are some above and below: it is in steps,
        // so that not each key asks for others.
        let (first, height) = (self.cursors[Tab::Workers.place()].1 as u64, self.height as u64);
        let step = (WORKERS_AT_ONCE.saturating_sub(height) / 4).max(1);
        let offset = first.saturating_sub(step) / step * step;
        Wanted { sort: self.sort, desc: self.desc, offset }
    }

    /// Does what a key says. Returns whether that is to end it.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        let page = self.height.max(1);
        match key.code {
            KeyCode::Char('q') => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(Tab::ALL.len() - 1),
            KeyCode::Up => self.move_to(self.cursor().saturating_sub(1)),
            KeyCode::Down => self.move_to(self.cursor() + 1),
            KeyCode::PageUp => self.move_to(self.cursor().saturating_sub(page)),
            KeyCode::PageDown => self.move_to(self.cursor() + page),
            KeyCode::Home => self.move_to(0),
            KeyCode::End => self.move_to(usize::MAX),
            KeyCode::Left => self.sort_by(SORTS.len() - 1),
            KeyCode::Right => self.sort_by(1),
            KeyCode::Char('r') => self.desc = !self.desc,
            _ => {}
        }
        false
    }

    fn turn(&mut self, by: usize) {
        self.tab = Tab::ALL[(self.tab.place() + by) % Tab::ALL.len()];
        self.move_to(self.cursor());
    }

    fn sort_by(&mut self, by: usize) {
        let place = SORTS.iter().position(|sort| *sort == self.sort).unwrap_or_default();
        self.sort = SORTS[(place + by) % SORTS.len()];
        // Names from A on, of numbers the largest first.
        self.desc = !matches!(self.sort, Sort::Id | Sort::Peer | Sort::State);
    }

    /// How many rows a list has.
    pub(super) fn len(&self, tab: Tab) -> usize {
        let overview = &self.look.overview;
        match tab {
            Tab::Workers => usize::try_from(self.look.page.matched).unwrap_or(usize::MAX),
            Tab::Queues => overview.queues.len(),
            Tab::Ranges => overview.ranges.len(),
            Tab::Failures => overview.failures.len(),
            Tab::Events => overview.events.len(),
        }
    }

    /// The chosen row of the list that is shown.
    pub(super) fn cursor(&self) -> usize {
        self.cursors[self.tab.place()].0
    }

    /// The first row of the list that is on the screen.
    pub(super) fn first(&self) -> usize {
        self.cursors[self.tab.place()].1
    }

    /// Notes how many rows are on the screen, so that the chosen one is among them.
    pub(super) fn fit(&mut self, height: usize) {
        self.height = height;
        self.move_to(self.cursor());
    }

    fn move_to(&mut self, row: usize) {
        let height = self.height.max(1);
        let len = self.len(self.tab);
        let row = row.min(len.saturating_sub(1));
        let (_, first) = self.cursors[self.tab.place()];
        let first =
            first.clamp((row + 1).saturating_sub(height), row).min(len.saturating_sub(height));
        self.cursors[self.tab.place()] = (row, first);
    }
}
