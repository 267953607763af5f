//! How long a task takes, beside the bare wire.

use super::show;
use super::throughput::Group;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::processes::Launcher;
use crate::spec::{Load, Placement, Runtimes, Transport};
use crate::table::LATENCY;

pub(crate) const SECTION: &str = "latency";

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = options.launcher();
    let mut records = Vec::new();
    for group in groups(options) {
        let name = group.to_string();
        if options.wants(&name) {
            let contest = contest(group, &launcher, options.seconds);
            records.extend(show(&name, &contest, LATENCY, options));
        }
    }
    records
}

fn groups(options: &Options) -> Vec<Group> {
    if options.full || options.place.is_some() {
        let groups = super::throughput::groups(options);
        return groups.into_iter().filter(|group| group.payload == HEIGHT_ANSWER_BYTES).collect();
    }
    let mut groups = Vec::new();
    for transport in [Transport::Tcp, Transport::Ws] {
        for runtime in [Runtimes::Tokio, Runtimes::Smol] {
            let shapes = [
                (1, 1, Placement::Same),
                (1, 1, Placement::Each),
                (4, 1, Placement::Free),
                (4, 64, Placement::Free),
            ];
            groups.extend(shapes.map(|(links, window, placement)| {
                let payload = HEIGHT_ANSWER_BYTES;
                Group { transport, runtime, links, window, payload, placement }
            }));
        }
    }
    groups
}

/// Returns the rows of a group. A range's latencies are known with one task in flight only: each is
/// the time since the last outcome.
pub(crate) fn contest(group: Group, launcher: &Launcher, seconds: f64) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, group.to_string());
    let row = move |load| {
        let spec = group.spec(load, group.payload, group.payload, true);
        move || launcher.measure(spec, seconds)
    };
    let in_flight = group.links * u32::from(group.window);
    let bare = contest.add("bare", None, row(Load::Bare));
    if in_flight == 1 {
        contest.add("process", Some(bare), row(Load::Range));
    }
    contest.add("call", Some(bare), row(Load::Calls(in_flight)));
    contest
}
