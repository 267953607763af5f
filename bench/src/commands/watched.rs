//! What it costs to watch a pool: figures, flight records, traces.

use super::show;
use super::throughput::Group;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::processes::Launcher;
use crate::spec::{Load, Placement, Runtimes, Spec, Transport, Watch};
use crate::table::THROUGHPUT;

pub(crate) const SECTION: &str = "watched";

/// What a pool that is not at its limit does.
const TASKS_PER_SECOND: u32 = 50_000;
const GROUP: Group = Group {
    transport: Transport::Tcp,
    runtime: Runtimes::Tokio,
    links: 4,
    window: 64,
    payload: HEIGHT_ANSWER_BYTES,
    placement: Placement::Free,
};

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = options.launcher();
    let mut records = Vec::new();
    for contest in contests(&launcher, options.seconds) {
        if options.wants(contest.name()) {
            records.extend(show(contest.name(), &contest, THROUGHPUT, options));
        }
    }
    records
}

/// Each load as it is first, and then watched.
fn contests(launcher: &Launcher, seconds: f64) -> Vec<Contest<'_>> {
    let calls = Load::Calls(GROUP.links * u32::from(GROUP.window));
    let loads = [
        (format!("{GROUP}, process"), Load::Range),
        (format!("{GROUP}, call"), calls),
        (format!("{GROUP}, {TASKS_PER_SECOND} tasks/s"), Load::Paced(TASKS_PER_SECOND)),
    ];
    loads.map(|(name, load)| contest(name, load, launcher, seconds)).into()
}

fn contest(name: String, load: Load, launcher: &Launcher, seconds: f64) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, name);
    let row = |watch| {
        let spec = GROUP.spec(load, GROUP.payload, GROUP.payload, false);
        let spec = Spec { watch, ..spec };
        move || launcher.measure(spec, seconds)
    };
    let alone = contest.add("watched by nobody", None, row(Watch::Nobody));
    contest.add("figures, asked for each second", Some(alone), row(Watch::Figures));
    contest.add("flight recorder", Some(alone), row(Watch::Record));
    // A range is one span, whose attempts are spans as well: that of calls is the greater price.
    if !matches!(load, Load::Range) {
        contest.add("a trace for each call", Some(alone), row(Watch::Traces));
    }
    contest
}
