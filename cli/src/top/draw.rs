//! The screen: what there is to say of the pool above, one of its lists below.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Wrap};

use super::tables::{self, List};
use super::view::{Tab, View};
use crate::look::{Latency, bytes, ended, micros, open, time_of_day, workers_by_state};
use crate::numbers::per_second;

/// How many notices are shown.
const NOTICES_MAX: usize = 2;
/// How many columns the latencies take.
const LATENCY_COLUMNS: u16 = 44;
const KEYS: &str =
    " q quit  p pause  tab list  up/down pgup/pgdn scroll  left/right sort  r reverse";

pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let notices = notices(view);
    let rows = u16::try_from(notices.len()).unwrap_or(u16::MAX);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows),
        Constraint::Length(5),
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [title, noticed, figures, times, tabs, list, detail, keys] = parts.areas(frame.area());
    frame.render_widget(head(view), title);
    frame.render_widget(Paragraph::new(notices).fg(Color::Yellow), noticed);
    frame.render_widget(Paragraph::new(lines(view)), figures);
    let halves = Layout::horizontal([Constraint::Length(LATENCY_COLUMNS), Constraint::Min(0)]);
    let [latencies, rates] = halves.areas(times);
    frame.render_widget(latency_table(view), latencies);
    draw_rates(frame, view, rates);
    frame.render_widget(tab_line(view), tabs);
    // The first row has the names of the columns.
    view.fit(usize::from(list.height.saturating_sub(1)));
    let shown = tables::list(view, list.width);
    let said = Paragraph::new(format!(" {}", shown.detail)).wrap(Wrap { trim: false });
    draw_list(frame, view, shown, list);
    frame.render_widget(said, detail);
    frame.render_widget(Paragraph::new(KEYS).add_modifier(Modifier::REVERSED), keys);
}

fn head(view: &View) -> Paragraph<'static> {
    let it = &view.look.overview;
    let paused = if view.is_paused { "  PAUSED" } else { "" };
    let text =
        format!(" {}  {}  {} UTC{paused}  {}", it.name, it.life, time_of_day(it.at_ms), view.at);
    Paragraph::new(text).add_modifier(Modifier::REVERSED | Modifier::BOLD)
}

fn notices(view: &View) -> Vec<Line<'static>> {
    let missed = view.missed.iter().map(|why| format!("{why}; these are the last figures"));
    let all = missed.chain(view.look.overview.notices.iter().cloned());
    all.take(NOTICES_MAX).map(|notice| Line::from(format!(" {notice}"))).collect()
}

fn lines(view: &View) -> Vec<Line<'static>> {
    let it = &view.look.overview;
    let (done, failed) =
        it.point.as_ref().map_or((0.0, 0.0), |point| (point.done_rate, point.failed_rate));
    let rate = format!("{} done/s, {} failed/s", per_second(done), per_second(failed));
    let memory = format!("{} of {}", bytes(it.memory_used), bytes(it.memory_max));
    let named = [
        ("rate", rate),
        ("open", open(it)),
        ("ended", ended(it)),
        ("workers", workers_by_state(it)),
        ("memory", memory),
    ];
    let line = |(name, text)| {
        Line::from(vec![Span::from(format!(" {name:<11}")).bold(), Span::from(text)])
    };
    named.map(line).to_vec()
}

fn latency_table(view: &View) -> Paragraph<'static> {
    let times = &view.look.overview.latency;
    let of = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), micros);
    let row = |name: &str, it: &Latency| {
        let (p50, p90, p99) = (of(it.p50_us), of(it.p90_us), of(it.p99_us));
        Line::from(vec![
            Span::from(format!(" {name:<11}")).bold(),
            Span::from(format!("{p50:>9} {p90:>9} {p99:>9}")),
        ])
    };
    let head =
        Line::from(format!(" {:<11}{:>9} {:>9} {:>9}", "last 60 s", "p50", "p90", "p99")).bold();
    Paragraph::new(vec![
        head,
        row("waited", &times.queue_wait),
        row("service", &times.service),
        row("round trip", &times.round_trip),
    ])
}

fn draw_rates(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let [title, bars] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let shown = view.rates.iter().rev().take(usize::from(bars.width));
    // Bars have whole heights: three more digits are enough for any of them.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of tasks")]
    let mut heights: Vec<u64> = shown.map(|rate| (rate * 1000.0) as u64).collect();
    heights.reverse();
    let most = view.rates.iter().rev().take(usize::from(bars.width)).copied().fold(0.0, f64::max);
    let title_text = format!(" done/s, at most {}", per_second(most));
    frame.render_widget(Paragraph::new(title_text).bold(), title);
    frame.render_widget(Sparkline::default().data(&heights).fg(Color::Green), bars);
}

fn tab_line(view: &View) -> Line<'static> {
    let names = Tab::ALL.map(|tab| {
        let name = match tab {
            Tab::Workers => "Workers",
            Tab::Queues => "Queues",
            Tab::Ranges => "Ranges",
            Tab::Failures => "Failures",
            Tab::Events => "Events",
        };
        let text = format!(" {name} {} ", view.len(tab));
        if tab == view.tab { Span::from(text).reversed().bold() } else { Span::from(text) }
    });
    Line::from(names.to_vec())
}

fn draw_list(frame: &mut Frame<'_>, view: &View, list: List, area: Rect) {
    let chosen = view.cursor().saturating_sub(view.first());
    let rows = list.rows.into_iter().enumerate().map(|(place, cells)| {
        let style = if place == chosen { Style::new().reversed() } else { Style::new() };
        Row::new(cells).style(style)
    });
    let table = Table::new(rows, list.widths).header(Row::new(list.head).bold());
    frame.render_widget(table, area);
}
