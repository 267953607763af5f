//! CPU time and CPU placement, as Linux has them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this process on the first CPU it may run on. Call it before there is another thread.
pub(crate) fn pin() {
    let allowed = sched_getaffinity(None).expect("the CPUs that we may run on");
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).expect("one at least");
    let mut only = CpuSet::new();
    only.set(first);
    sched_setaffinity(None, &only).expect("a CPU that we may run on");
}

/// How much CPU a process has used.
#[derive(Debug)]
pub(crate) struct CpuClock {
    threads: PathBuf,
}

impl CpuClock {
    pub(crate) fn of_this_process() -> Self {
        Self::of(std::process::id())
    }

    pub(crate) fn of(process: u32) -> Self {
        Self { threads: format!("/proc/{process}/task").into() }
    }

    /// Returns the time that all its threads were on a CPU.
    pub(crate) fn read(&self) -> Duration {
        let threads = fs::read_dir(&self.threads).expect("a process that runs");
        let nanos = threads.flatten().map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next();
            first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }
}
