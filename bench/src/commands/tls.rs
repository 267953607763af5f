//! What TLS costs: tasks a second beside the bare wire's, links that come back, and memory.

use super::show;
use super::throughput::Group;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::members::JoinFiles;
use crate::processes::{Launcher, counting};
use crate::spec::{Load, Placement, Runtimes, Side, Transport};
use crate::table::TLS;

pub(crate) const SECTION: &str = "tls";

const RECONNECTS: u32 = 1000;
const IDLE: u32 = 2000;
const LONG: usize = 64 << 10;
/// What a body's head and its length take on the wire, within a byte or two.
const HEAD_BYTES: usize = 12;

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let _files = JoinFiles::make();
    let (launcher, counting) = (options.launcher(), counting());
    let once = Options { rounds: 1, ..options.clone() };
    let mut contests: Vec<(Contest<'_>, &Options)> = groups(options)
        .into_iter()
        .map(|group| (throughput(group, &launcher, options.seconds), options))
        .collect();
    contests.push((reconnects(&launcher), options));
    contests.push((idle(&counting), &once));
    let mut records = Vec::new();
    for (contest, options) in contests {
        if options.wants(contest.name()) {
            records.extend(show(contest.name(), &contest, TLS, options));
        }
    }
    records
}

/// On one core, what counts is what TLS costs. On two, the bare wire with short messages mostly waits for its other
/// end to wake up, and the slower end of two meets the other awake more often.
fn groups(options: &Options) -> Vec<Group> {
    let mut groups = Vec::new();
    for runtime in [Runtimes::Tokio, Runtimes::Smol] {
        for (links, window, payload, usual) in [
            (1, 1, HEIGHT_ANSWER_BYTES, Placement::Same),
            (4, 64, HEIGHT_ANSWER_BYTES, Placement::Same),
            (4, 64, HEIGHT_ANSWER_BYTES, Placement::Free),
            (4, 16, LONG, Placement::Same),
            (4, 16, LONG, Placement::Free),
        ] {
            let transport = Transport::Tls;
            let placement = options.place.unwrap_or(usual);
            groups.push(Group { transport, runtime, links, window, payload, placement });
        }
    }
    groups
}

/// The bare wire and calls, both without TLS and with it. Calls lose by it what the bare wire loses, or less or
/// more: that is the price.
fn throughput(group: Group, launcher: &Launcher, seconds: f64) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, group.to_string());
    let row = move |transport, load, bytes| {
        let spec = Group { transport, ..group }.spec(load, bytes, bytes, false);
        move || launcher.measure(spec, seconds)
    };
    let calls = Load::Calls(group.links * u32::from(group.window));
    let payload = group.payload;
    let on_wire = if payload == LONG { payload + HEAD_BYTES } else { payload };
    let bare = contest.add("bare, plain", None, row(Transport::Tcp, Load::Bare, on_wire));
    let secured = contest.add("bare, TLS", Some(bare), row(Transport::Tls, Load::Bare, on_wire));
    let call = contest.add("call, plain", None, row(Transport::Tcp, calls, payload));
    contest.add_against("call, TLS", call, secured, row(Transport::Tls, calls, payload));
    if payload == HEIGHT_ANSWER_BYTES {
        let range = contest.add("process, plain", None, row(Transport::Tcp, Load::Range, payload));
        let measure = row(Transport::Tls, Load::Range, payload);
        contest.add_against("process, TLS", range, secured, measure);
    }
    contest
}

/// A thousand links that come back at once.
pub(crate) fn reconnects(launcher: &Launcher) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "1,000 links that come back, links a second");
    let row = move |transport| {
        move || launcher.side(&Side::Reconnects { transport, links: RECONNECTS }).told()
    };
    let plain = contest.add("plain", None, row(Transport::Tcp));
    contest.add("TLS, resumed", Some(plain), row(Transport::Tls));
    contest
}

/// What an idle link takes at the manager.
pub(crate) fn idle(counting: &Launcher) -> Contest<'_> {
    let mut contest = Contest::new(SECTION, "an idle link at the manager, of 2,000");
    for transport in [Transport::Tcp, Transport::Tls] {
        let measure = move || super::scale::crowd(counting, transport, IDLE, None, 0.0);
        contest.add(transport.to_string(), None, measure);
    }
    contest
}
