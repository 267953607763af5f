//! The lists: the columns and rows of the one that is shown, and the whole text of its chosen row.

use ratatui::layout::Constraint::{self, Fill, Length};

use super::view::{SORTS, Tab, View};

use crate::look::{Event, Failed, Queue, Range, Worker, micros, millis, time_of_day};
use crate::numbers::{grouped, per_second};

/// A list as far as it is on the screen.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) head: Vec<String>,
    pub(super) widths: Vec<Constraint>,
    pub(super) rows: Vec<Vec<String>>,
    /// What there is no room for in the chosen row.
    pub(super) detail: String,
}

/// What the columns of workers are called, in the order of [`SORTS`].
const WORKER_COLUMNS: [(&str, Constraint); 9] = [
    ("ID", Length(6)),
    ("WORKER", Fill(1)),
    ("STATE", Length(11)),
    ("FLIGHT", Length(7)),
    ("RATE", Length(6)),
    ("DONE", Length(8)),
    ("FAILED", Length(7)),
    ("LOST", Length(5)),
    ("P99", Length(7)),
];
/// How many columns the strip of a range has at most.
const STRIP_MAX: u16 = 60;

pub(super) fn list(view: &View, width: u16) -> List {
    let it = &view.look.overview;
    match view.tab {
        Tab::Workers => workers(view),
        Tab::Queues => of(view, &it.queues, &QUEUES, queue, |it| {
            it.limits().map_or_else(String::new, |most| format!("at most {most}"))
        }),
        Tab::Ranges => {
            let strip_columns = width.saturating_sub(56).min(STRIP_MAX);
            let row = |it: &Range| range(it, strip_columns);
            of(view, &it.ranges, &RANGES, row, |it| {
                let low = it.low_water.as_ref().map(|low| format!("all up to {low} are done"));
                low.unwrap_or_default()
            })
        }
        Tab::Failures => of(view, &it.failures, &FAILURES, failure, |it| it.example.clone()),
        Tab::Events => of(view, &it.events, &EVENTS, event, |it| it.text.clone()),
    }
}

const QUEUES: [(&str, Constraint); 7] = [
    ("QUEUE", Fill(1)),
    ("WAITING", Length(9)),
    ("RESTING", Length(8)),
    ("FLIGHT", Length(7)),
    ("SENT", Length(11)),
    ("OLDEST", Length(7)),
    ("", Length(6)),
];

fn queue(it: &Queue) -> Vec<String> {
    vec![
        it.name.clone(),
        grouped(it.waiting + it.waiting_for_key),
        grouped(it.resting),
        grouped(it.in_flight),
        grouped(it.sent),
        it.oldest_ms.map_or_else(|| "-".to_owned(), millis),
        if it.is_paused { "paused" } else { "" }.to_owned(),
    ]
}

const RANGES: [(&str, Constraint); 5] = [
    ("RANGE", Length(21)),
    ("DONE", Length(17)),
    ("FLIGHT", Length(7)),
    ("FAILED", Length(7)),
    ("# done > flight ! failed", Fill(1)),
];

fn range(it: &Range, columns: u16) -> Vec<String> {
    vec![
        format!("{}..={}", it.first, it.last),
        format!("{} {}", grouped(it.done), percent(it.done, it.heights)),
        grouped(it.in_flight),
        grouped(it.failed),
        strip(&it.segments, usize::from(columns)),
    ]
}

fn percent(part: u64, whole: u64) -> String {
    format!("({} %)", u128::from(part) * 100 / u128::from(whole.max(1)))
}

/// Draws the parts of a range in so many columns: what is worst in each of them.
fn strip(segments: &[[u64; 4]], columns: usize) -> String {
    if segments.is_empty() {
        return String::new();
    }
    let columns = columns.min(segments.len()).max(1);
    let sign = |place: usize| {
        let (from, to) = (place * segments.len() / columns, (place + 1) * segments.len() / columns);
        let [heights, done, in_flight, failed] =
            segments[from..to].iter().fold([0u128; 4], |mut sum, part| {
                for (all, more) in sum.iter_mut().zip(part) {
                    *all += u128::from(*more);
                }
                sum
            });
        match () {
            () if failed > 0 => '!',
            () if done == heights => '#',
            () if in_flight > 0 => '>',
            () if done > 0 => '+',
            () => '.',
        }
    };
    (0..columns).map(sign).collect()
}

const FAILURES: [(&str, Constraint); 5] = [
    ("TIMES", Length(9)),
    ("LAST", Length(10)),
    ("WORKER", Length(16)),
    ("HEIGHT", Length(10)),
    ("EXAMPLE", Fill(1)),
];

fn failure(it: &Failed) -> Vec<String> {
    vec![
        grouped(it.count),
        format!("{} ago", millis(it.ago_ms)),
        it.peer.clone().unwrap_or_default(),
        it.height.clone().unwrap_or_default(),
        it.example.clone(),
    ]
}

const EVENTS: [(&str, Constraint); 3] =
    [("UTC", Length(9)), ("KIND", Length(14)), ("EVENT", Fill(1))];

fn event(it: &Event) -> Vec<String> {
    vec![time_of_day(it.at_ms), it.kind.clone(), it.text.clone()]
}

/// Lists things that are all there.
fn of<T>(
    view: &View,
    things: &[T],
    columns: &[(&str, Constraint)],
    row: impl Fn(&T) -> Vec<String>,
    detail: impl Fn(&T) -> String,
) -> List {
    List {
        head: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        widths: columns.iter().map(|(_, width)| *width).collect(),
        rows: things.iter().skip(view.first()).take(view.height).map(row).collect(),
        detail: things.get(view.cursor()).map(detail).unwrap_or_default(),
    }
}

/// Lists workers, of which a part is there.
fn workers(view: &View) -> List {
    let page = &view.look.page;
    let at = |row: usize| {
        let place = (row as u64).checked_sub(page.offset)?;
        page.rows.get(usize::try_from(place).ok()?)
    };
    let end = (view.first() + view.height).min(view.len(Tab::Workers));
    let row = |row| at(row).map_or_else(|| vec!["...".to_owned()], worker);
    let name = |(place, (name, _)): (usize, &(&str, Constraint))| {
        let is_sorted = SORTS[place] == view.sort;
        let arrow = if is_sorted && view.desc { "v" } else { "^" };
        if is_sorted { format!("{name}{arrow}") } else { (*name).to_owned() }
    };
    List {
        head: WORKER_COLUMNS.iter().enumerate().map(name).collect(),
        widths: WORKER_COLUMNS.iter().map(|(_, width)| *width).collect(),
        rows: (view.first()..end).map(row).collect(),
        detail: at(view.cursor()).map(about).unwrap_or_default(),
    }
}

fn worker(it: &Worker) -> Vec<String> {
    vec![
        it.id.clone(),
        it.peer.clone(),
        it.state.clone(),
        format!("{}/{}", it.in_flight, it.window),
        per_second(it.rate),
        grouped(it.done),
        grouped(it.failed),
        grouped(it.lost),
        it.p99_us.map_or_else(|| "-".to_owned(), micros),
    ]
}

fn about(it: &Worker) -> String {
    let identity = it.identity.as_ref().map_or_else(String::new, |who| format!(" ({who})"));
    let why = it.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let served = it.served().map_or_else(String::new, |served| format!("; {served}"));
    format!("{}{identity} is {}{why}{served}; {} links so far", it.peer, it.state, it.links)
}

const _: () = assert!(WORKER_COLUMNS.len() == SORTS.len());
