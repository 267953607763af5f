//! What outlives a run: `--state FILE`.
//!
//! A state says which heights are done, how long the output was then, and what the check needs to
//! know of them. It is replaced as a whole, so that there is an old or a new one at any time, and
//! what it names is on the disk before it is.

mod file;
mod format;
mod saver;

use chargehand::core::ledger::{Snapshot, Span};
use serde::{Deserialize, Serialize};

pub(crate) use self::file::StateFile;
pub(crate) use self::saver::Saver;
use crate::check::Tally;
use crate::output::Mark;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Where the blocks come from, in words.
    pub(crate) source: String,
    pub(crate) output: Option<Mark>,
    pub(crate) tally: Tally,
    pub(crate) heights: Snapshot<Vec<Span>>,
}
