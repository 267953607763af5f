//! The table at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::PoolStats;

use crate::block::grouped;
use crate::check::Verdict;

/// How many tasks each worker got that had been sent before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resent(Arc<Mutex<HashMap<Arc<str>, u64>>>);

impl Resent {
    pub(crate) fn count(&self, peer: &Arc<str>) {
        let mut counts = self.0.lock().expect("nothing panics with it");
        *counts.entry(Arc::clone(peer)).or_default() += 1;
    }

    fn of(&self, peer: &str) -> u64 {
        self.0.lock().expect("nothing panics with it").get(peer).copied().unwrap_or_default()
    }
}

/// What there is to say at the end.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) verdict: &'a Verdict,
    pub(crate) stats: &'a PoolStats,
    /// What local workers are, by what the pool calls them.
    pub(crate) labels: &'a HashMap<String, &'static str>,
    pub(crate) resent: &'a Resent,
    pub(crate) elapsed: Duration,
}

impl Report<'_> {
    pub(crate) fn print(&self) {
        let Self { verdict, elapsed, .. } = self;
        self.print_workers();
        print_heights(verdict, self.stats.tasks.resent);
        // For people: its precision does not matter.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rate = (verdict.now() as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
        if verdict.before > 0 {
            let (before, now) = (grouped(verdict.before), grouped(verdict.now()));
            println!("of these, {before} were done before, and this run took {now}");
        }
        println!("{}; {:.2} s, {} tasks/s", links(verdict), elapsed.as_secs_f64(), grouped(rate));
        print_judgement(verdict);
    }

    fn print_workers(&self) {
        println!(
            "{:<46} {:>9} {:>6} {:>8} {:>10}",
            "worker", "done", "lost", "re-sent", "reconnects"
        );
        for worker in &self.stats.workers {
            let label = self.labels.get(&*worker.peer).map(|label| format!(" ({label})"));
            println!(
                "{:<46} {:>9} {:>6} {:>8} {:>10}",
                format!("{}{}", worker.peer, label.unwrap_or_default()),
                grouped(worker.stats.done),
                grouped(worker.stats.lost),
                grouped(self.resent.of(&worker.peer)),
                worker.stats.links.saturating_sub(1)
            );
        }
    }
}

/// Prints what there is to say where nothing was left to do.
pub(crate) fn print_done_before(verdict: &Verdict) {
    println!("nothing is left to do: everything was done before");
    print_heights(verdict, 0);
    println!("{}", links(verdict));
    print_judgement(verdict);
}

fn print_heights(verdict: &Verdict, resent: u64) {
    println!(
        "heights {}: done {}, failed {}, lost {}, doubled {}; sent again {}",
        grouped(verdict.heights),
        grouped(verdict.done),
        grouped(verdict.failed),
        grouped(verdict.lost),
        grouped(verdict.doubled),
        grouped(resent),
    );
}

fn links(verdict: &Verdict) -> String {
    format!(
        "links {} of {} good, {} transactions",
        grouped(verdict.links_good),
        grouped(verdict.links),
        grouped(verdict.transactions),
    )
}

fn print_judgement(verdict: &Verdict) {
    if let Some(failure) = &verdict.failure {
        println!("the first failure: {failure}");
    }
    if verdict.mistaken > 0 {
        println!("{} answers were another height's block", grouped(verdict.mistaken));
    }
    println!("{}", if verdict.is_good() { "GOOD: nothing lost, nothing doubled" } else { "BAD" });
}
