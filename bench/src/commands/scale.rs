//! Ten thousand links, a million queued calls, and a range of a billion heights.

use super::show;
use super::throughput::Group;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::measure::Figures;
use crate::processes::{Launcher, counting};
use crate::spec::{Crowded, Load, Placement, Runtimes, Side, Spec, Transport};
use crate::table::SCALE;

pub(crate) const SECTION: &str = "scale";

pub(crate) const LINKS: u32 = 10_000;
const BUSY_LINKS: u32 = 16;
const QUEUED: u32 = 1_000_000;
/// Memory is the same every time.
const MEMORY_ROUNDS: usize = 1;
/// How long a range is watched: a billion heights would take minutes.
const RANGE_SECONDS: f64 = 6.0;

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let (launcher, counting) = (options.launcher(), counting());
    let few = Options { rounds: MEMORY_ROUNDS, ..options.clone() };
    let mut records = Vec::new();
    for (contest, options) in [
        (idle_memory(&counting), &few),
        (queue_memory(&counting), &few),
        (range_memory(&counting), &few),
        (idle_crowd(&launcher, options.seconds), options),
        (busy_crowd(&launcher, options.seconds), options),
    ] {
        if options.wants(contest.name()) {
            records.extend(show(contest.name(), &contest, SCALE, options));
        }
    }
    records
}

/// What an idle link takes at the manager.
pub(crate) fn idle_memory(counting: &Launcher) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "an idle link at the manager, of 10,000");
    for transport in [Transport::Tcp, Transport::Ws] {
        contest
            .add(transport.to_string(), None, move || crowd(counting, transport, LINKS, None, 0.0));
    }
    contest
}

/// What a queued call takes.
pub(crate) fn queue_memory(counting: &Launcher) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "a queued call with 16 bytes, of 1,000,000");
    contest.add("queued", None, || counting.side(&Side::Queue { tasks: QUEUED }).told());
    contest
}

/// What a range takes while it goes on.
pub(crate) fn range_memory(counting: &Launcher) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "a range of 1,000,000,000 heights");
    contest.add("4x64", None, || {
        let spec = group(4, 64).spec(Load::Range, HEIGHT_ANSWER_BYTES, HEIGHT_ANSWER_BYTES, false);
        let mut worker = counting.side(&Side::Worker(spec));
        let address = worker.told();
        counting.side(&Side::Range { spec, address, seconds: RANGE_SECONDS }).told()
    });
    contest
}

/// What links that cannot take any work cost those that can.
pub(crate) fn idle_crowd(launcher: &Launcher, seconds: f64) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "16 busy links beside a crowd that cannot take work");
    let row = |links| move || busy(launcher, links, seconds);
    let none = contest.add("no crowd", None, row(0));
    contest.add("10,000 links", Some(none), row(LINKS));
    contest
}

/// Work for all of many links, beside a bare echo over as many.
pub(crate) fn busy_crowd(launcher: &Launcher, seconds: f64) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "10,000 links, one task in flight on each");
    let row = move |load| {
        let bytes = HEIGHT_ANSWER_BYTES;
        let spec: Spec = group(LINKS, 1).spec(load, bytes, bytes, false);
        move || launcher.measure(spec, seconds)
    };
    let bare = contest.add("bare", None, row(Load::Bare));
    contest.add("process", Some(bare), row(Load::Range));
    contest
}

fn group(links: u32, window: u16) -> Group {
    Group {
        transport: Transport::Tcp,
        runtime: Runtimes::Tokio,
        links,
        window,
        payload: HEIGHT_ANSWER_BYTES,
        placement: Placement::Free,
    }
}

/// Measures busy links beside a crowd of others.
fn busy(launcher: &Launcher, links: u32, seconds: f64) -> Figures {
    let spec =
        group(BUSY_LINKS, 64).spec(Load::Range, HEIGHT_ANSWER_BYTES, HEIGHT_ANSWER_BYTES, false);
    let mut worker = launcher.side(&Side::Worker(spec));
    let address: String = worker.told();
    crowd(launcher, Transport::Tcp, links, Some((address, worker.id())), seconds)
}

pub(super) fn crowd(
    launcher: &Launcher,
    transport: Transport,
    links: u32,
    busy: Option<(String, u32)>,
    seconds: f64,
) -> Figures {
    let busy_links = if busy.is_some() { BUSY_LINKS } else { 0 };
    let crowded = Crowded { transport, links, busy, busy_links, seconds };
    let mut manager = launcher.side(&Side::Crowded(crowded));
    let address = manager.told();
    let _crowd = launcher.side(&Side::Crowd { transport, links, address });
    manager.told()
}
