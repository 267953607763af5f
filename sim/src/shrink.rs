//! As little of a plan as still fails.

use std::time::{Duration, Instant};

use crate::plan::{HONEST, Plan};
use crate::run;

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Returns which parts of a failing seed's plan may be left out, and how the rest fails.
pub(crate) fn shrink(seed: u64, is_plain: bool, failure: String) -> (Vec<usize>, String) {
    shrink_by(seed, failure, |plan| run::run(&plan.plain(is_plain), false).failure)
}

/// As [`shrink`], for whatever `fails` says how it does.
fn shrink_by(
    seed: u64,
    failure: String,
    fails: impl Fn(Plan) -> Option<String>,
) -> (Vec<usize>, String) {
    let mut best = (Vec::new(), failure);
    let begun = Instant::now();
    let mut chunk = Plan::draw(seed, &[]).parts.len().div_ceil(2);
    while chunk > 0 {
        let mut has_shrunk = false;
        let plan = Plan::draw(seed, &best.0);
        // Without the honest worker a run may fail that would be right to.
        let numbers = plan.parts.iter().map(|(number, _)| *number);
        let kept: Vec<usize> = numbers.filter(|number| *number != HONEST).collect();
        for left_out in kept.chunks(chunk) {
            if begun.elapsed() > TIME_MAX {
                return best;
            }
            let without: Vec<usize> = best.0.iter().chain(left_out).copied().collect();
            let plan = Plan::draw(seed, &without);
            // One that asks for nothing fails at nothing.
            if plan.jobs().next().is_none() {
                continue;
            }
            if let Some(failure) = fails(plan) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_plan_has_its_honest_worker_and_asks_for_something() {
        for seed in 0..200 {
            let (without, _) = shrink_by(seed, String::new(), |_| Some(String::new()));
            let plan = Plan::draw(seed, &without);
            assert!(plan.workers().any(|(number, _)| number == HONEST), "seed {seed}: {without:?}");
            assert!(plan.jobs().next().is_some(), "seed {seed}: {without:?}");
            assert_eq!(plan.parts.len(), 2, "seed {seed}: {without:?}");
        }
    }
}
