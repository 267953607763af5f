//! As little of a plan as still fails.

use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::run;

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Returns which parts of a failing seed's plan may be left out, and how the rest fails.
pub(crate) fn shrink(seed: u64, without: &[usize], failure: String) -> (Vec<usize>, String) {
    let mut best = (without.to_vec(), failure);
    let begun = Instant::now();
    let count = |without: &[usize]| Plan::draw(seed, without).parts.len();
    let mut chunk = count(&best.0).div_ceil(2);
    while chunk > 0 {
        let mut has_shrunk = false;
        let kept: Vec<usize> =
            Plan::draw(seed, &best.0).parts.iter().map(|(number, _)| *number).collect();
        for left_out in kept.chunks(chunk) {
            if begun.elapsed() > TIME_MAX {
                return best;
            }
            let without: Vec<usize> = best.0.iter().chain(left_out).copied().collect();
            if let Some(failure) = fails(seed, &without) {
                best = (without, failure);
                has_shrunk = true;
            }
        }
        if !has_shrunk || chunk > 1 {
            chunk /= 2;
        }
    }
    best.0.sort_unstable();
    best
}

/// Returns how a plan fails, if it does. One without a worker or without a job is none.
fn fails(seed: u64, without: &[usize]) -> Option<String> {
    let plan = Plan::draw(seed, without);
    if plan.workers().next().is_none() || plan.jobs().next().is_none() {
        return None;
    }
    run::run(&plan, false).failure
}
