//! A range of mixed durations with one slow worker, beside what others make of it in the same run.

use std::env;
use std::path::PathBuf;

use super::mixed::{WORKERS, heights};
use super::show;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::processes::root;
use crate::spec::{MixedLoad, Side};
use crate::table::MIXED;

pub(crate) const SECTION: &str = "schedulers";

/// What `bench/schedulers.py` knows, and what its rows are called.
const OTHERS: [(&str, &str); 3] = [
    ("dask", "dask.distributed"),
    ("celery", "Celery on Redis"),
    ("celery-prefetch-1", "Celery on Redis, prefetch 1, late acknowledgements"),
];

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = &options.launcher();
    let heights = heights(options);
    let mut records = Vec::new();
    for slow in [false, true] {
        let workers = if slow { "one of 8 workers 10 times slower" } else { "8 equal workers" };
        let name = format!("beside other schedulers, a range, {workers}");
        if !options.wants(&name) {
            continue;
        }
        let mut contest = Contest::new(SECTION, &name);
        let load = MixedLoad::Range(heights);
        for (label, by_answers) in [("ours, least loaded", false), ("ours, first answer", true)] {
            contest.add(label, None, move || {
                let sleepers = Side::Sleepers { workers: WORKERS, slow, stragglers: false };
                let mut sleepers = launcher.side(&sleepers);
                let addresses = sleepers.told();
                let manager = Side::Mixed { addresses, window: 1, slow, by_answers, load };
                launcher.side(&manager).told()
            });
        }
        for (other, label) in OTHERS {
            contest.add(label, None, move || {
                let script = root().join("bench/schedulers.py");
                let words = [
                    script.into_os_string(),
                    other.into(),
                    heights.to_string().into(),
                    u8::from(slow).to_string().into(),
                ];
                launcher.start(python(), words).told()
            });
        }
        records.extend(show(&name, &contest, MIXED, options));
    }
    records
}

/// The Python of the environment that `bench/install.sh` makes.
fn python() -> PathBuf {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("schedulers/bin/python")
}
