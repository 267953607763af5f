//! Tasks a second over transports, runtimes, links, windows and payloads, beside the bare wire.

use std::fmt;

use super::show;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::processes::Launcher;
use crate::spec::{Load, Placement, Runtimes, Spec, Transport, Watch};
use crate::table::THROUGHPUT;

pub(crate) const SECTION: &str = "throughput";

/// What a body's head and its length take on the wire, within a byte or two.
const HEAD_BYTES: usize = 12;
/// Groups with more bytes in flight are left out.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// Rows that are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) transport: Transport,
    pub(crate) runtime: Runtimes,
    pub(crate) links: u32,
    pub(crate) window: u16,
    pub(crate) payload: usize,
    pub(crate) placement: Placement,
}

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = options.launcher();
    let mut records = Vec::new();
    for group in groups(options) {
        let name = group.to_string();
        if options.wants(&name) {
            let contest = contest(group, &launcher, options.seconds);
            records.extend(show(&name, &contest, THROUGHPUT, options));
        }
    }
    records
}

/// Returns the groups that these options ask for.
pub(crate) fn groups(options: &Options) -> Vec<Group> {
    let mut groups = Vec::new();
    for transport in [Transport::Tcp, Transport::Ws] {
        for runtime in [Runtimes::Tokio, Runtimes::Smol] {
            for (links, window, payload) in shapes(options.full, runtime) {
                let bytes = links as usize * usize::from(window) * payload;
                if bytes > IN_FLIGHT_BYTES_MAX {
                    continue;
                }
                let usual =
                    if links * u32::from(window) == 1 { Placement::Same } else { Placement::Free };
                let placement = options.place.unwrap_or(usual);
                groups.push(Group { transport, runtime, links, window, payload, placement });
            }
        }
    }
    groups
}

/// Links, windows and payloads.
fn shapes(full: bool, runtime: Runtimes) -> Vec<(u32, u16, usize)> {
    if !full {
        let mut shapes = vec![(1, 1, 16), (1, 64, 16), (4, 64, 16)];
        if runtime == Runtimes::Tokio {
            shapes.extend([(64, 16, 16), (4, 64, 1 << 10), (4, 16, 64 << 10), (4, 4, 1 << 20)]);
        }
        return shapes;
    }
    let mut shapes = Vec::new();
    for payload in [16, 1 << 10, 64 << 10] {
        for links in [1, 4, 64] {
            shapes.extend([1, 16, 64, 256].map(|window| (links, window, payload)));
        }
    }
    shapes
}

/// Returns the rows of a group: each kind of load after the bare wire that moves the same bytes.
pub(crate) fn contest(group: Group, launcher: &Launcher, seconds: f64) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, group.to_string());
    let row = move |load, request_bytes, answer_bytes| {
        let spec = group.spec(load, request_bytes, answer_bytes, false);
        move || launcher.measure(spec, seconds)
    };
    let calls = Load::Calls(group.links * u32::from(group.window));
    let payload = group.payload;
    if payload == HEIGHT_ANSWER_BYTES {
        let bare = contest.add("bare", None, row(Load::Bare, payload, payload));
        contest.add("process", Some(bare), row(Load::Range, payload, payload));
        contest.add("call", Some(bare), row(calls, payload, payload));
        return contest;
    }
    let small = HEIGHT_ANSWER_BYTES;
    let down =
        contest.add("bare, long answers", None, row(Load::Bare, small, payload + HEAD_BYTES));
    contest.add("process, long answers", Some(down), row(Load::Range, small, payload));
    let both = row(Load::Bare, payload + HEAD_BYTES, payload + HEAD_BYTES);
    let both = contest.add("bare, long both ways", None, both);
    contest.add("call, long both ways", Some(both), row(calls, payload, payload));
    contest
}

impl Group {
    pub(crate) fn spec(
        self,
        load: Load,
        request_bytes: usize,
        answer_bytes: usize,
        timed: bool,
    ) -> Spec {
        let Self { transport, runtime, links, window, placement, .. } = self;
        Spec {
            transport,
            runtime,
            load,
            links,
            window,
            request_bytes,
            answer_bytes,
            placement,
            timed,
            watch: Watch::Nobody,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, runtime, links, window, payload, placement } = self;
        let payload = match payload >> 10 {
            0 => format!("{payload} B"),
            kibi @ ..1024 => format!("{kibi} KiB"),
            kibi => format!("{} MiB", kibi >> 10),
        };
        write!(f, "{transport}/{runtime} {links}x{window} {payload}, {placement}")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn options(arguments: &[&str]) -> Options {
        let program = ["bench", "throughput"];
        Cli::parse_from(program.iter().chain(arguments)).options
    }

    #[test]
    fn the_full_grid_has_every_window_that_fits() {
        let groups = groups(&options(&["--full"]));
        for (links, window, payload) in [(1, 1, 16), (64, 256, 16), (4, 256, 64 << 10)] {
            let same = groups.iter().filter(|group| {
                (group.links, group.window, group.payload) == (links, window, payload)
            });
            assert_eq!(same.count(), 4, "{links}x{window} {payload}");
        }
        let bytes =
            |group: &Group| group.links as usize * usize::from(group.window) * group.payload;
        assert!(groups.iter().all(|group| bytes(group) <= IN_FLIGHT_BYTES_MAX));
    }

    #[test]
    fn names_say_all_that_tells_groups_apart() {
        let mut names: Vec<_> =
            groups(&options(&["--full"])).iter().map(Group::to_string).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
