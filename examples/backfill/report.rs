//! The table at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::PoolStats;

use crate::check::Verdict;
use crate::console::Console;
use crate::numbers::grouped;

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
    /// What child workers are, by what the pool calls them.
    pub(crate) labels: &'a HashMap<String, &'static str>,
    pub(crate) resent: &'a Resent,
    pub(crate) elapsed: Duration,
    pub(crate) console: &'a Console,
}

impl Report<'_> {
    pub(crate) fn print(&self) {
        let Self { verdict, elapsed, console, .. } = self;
        self.print_workers();
        print_heights(console, verdict, self.stats.tasks.resent);
        // For people: its precision does not matter.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rate = (verdict.now() as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
        if verdict.before > 0 {
            let (before, now) = (grouped(verdict.before), grouped(verdict.now()));
            console.print(&format!("of these, {before} were done before, and this run took {now}"));
        }
        let (links, seconds) = (links(verdict), elapsed.as_secs_f64());
        console.print(&format!("{links}; {seconds:.2} s, {} tasks/s", grouped(rate)));
        print_judgement(console, verdict);
    }

    fn print_workers(&self) {
        // Attempts, and connections: "lost" is said of heights.
        self.print_row(["worker", "done", "cut off", "re-sent", "reconnects"].map(str::to_owned));
        for worker in &self.stats.workers {
            let label = self.labels.get(&*worker.peer).map(|label| format!(" ({label})"));
            self.print_row([
                format!("{}{}", worker.peer, label.unwrap_or_default()),
                grouped(worker.stats.done),
                grouped(worker.stats.lost),
                grouped(self.resent.of(&worker.peer)),
                worker.stats.links.saturating_sub(1).to_string(),
            ]);
        }
    }

    fn print_row(&self, [worker, done, cut_off, resent, reconnects]: [String; 5]) {
        self.console
            .print(&format!("{worker:<46} {done:>9} {cut_off:>7} {resent:>8} {reconnects:>10}"));
    }
}

/// Prints what there is to say where nothing was left to do.
pub(crate) fn print_done_before(console: &Console, verdict: &Verdict) {
    console.print("nothing is left to do: everything was done before");
    print_heights(console, verdict, 0);
    console.print(&links(verdict));
    print_judgement(console, verdict);
}

fn print_heights(console: &Console, verdict: &Verdict, resent: u64) {
    console.print(&format!(
        "heights {}: done {}, failed {}, lost {}, doubled {}; sent again {}",
        grouped(verdict.heights),
        grouped(verdict.done),
        grouped(verdict.failed),
        grouped(verdict.lost),
        grouped(verdict.doubled),
        grouped(resent),
    ));
    if verdict.unseen > 0 {
        console.print(&format!(
            "of these, {} were done by workers of the Go package, which answer no blocks: {} links \
             are not checked",
            grouped(verdict.unseen),
            grouped(verdict.links_unseen),
        ));
    }
}

fn links(verdict: &Verdict) -> String {
    format!(
        "links {} of {} good, {} transactions",
        grouped(verdict.links_good),
        grouped(verdict.links - verdict.links_unseen),
        grouped(verdict.transactions),
    )
}

fn print_judgement(console: &Console, verdict: &Verdict) {
    if let Some(failure) = &verdict.failure {
        console.print(&format!("the first failure: {failure}"));
    }
    if verdict.mistaken > 0 {
        let mistaken = grouped(verdict.mistaken);
        console.print(&format!("{mistaken} answers were another height's block"));
    }
    let is_good = verdict.is_good();
    console.print(if is_good { "GOOD: nothing lost, nothing doubled" } else { "BAD" });
}
