//! What outlives a run: `--state FILE`.
//!
//! A state says which heights are done, how long the output was then, and what the check needs to
//! know of them.

use chargehand::core::ledger::{Snapshot, Span};
use serde::{Deserialize, Serialize};

use crate::check::Tally;
use crate::lines::Mark;
use crate::saved;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Where the blocks come from, in words.
    pub(crate) source: String,
    pub(crate) output: Option<Mark>,
    pub(crate) tally: Tally,
    pub(crate) heights: Snapshot<Vec<Span>>,
}

impl saved::State for State {
    const NAME: &'static str = "chargehand-backfill-state ";
    const VERSION: u64 = 1;
    const OF: &'static str = "a backfill";
    const SUFFIX: &'static str = "backfill";
}
