//! The budget of retries (decision 0035). A task that is done costs nothing here: what it gives back is looked
//! up where the next one fails.

use super::tasks::SchedulerMut;
use crate::config::Policy;
use crate::event::Outcome;

/// What is left.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Tokens {
    /// In thousandths.
    left: u64,
    /// How many tasks were done when that was counted.
    done: u64,
}

impl Tokens {
    pub(super) const fn new(policy: &Policy) -> Self {
        let left = match policy.retry_budget {
            Some(budget) => budget.tokens as u64 * 1000,
            None => 0,
        };
        Self { left, done: 0 }
    }
}

impl SchedulerMut<'_> {
    /// Counts a failure, and returns whether its task may be tried again.
    pub(super) fn may_retry(&mut self) -> bool {
        let Some(budget) = self.state.policy.retry_budget else { return true };
        let most = u64::from(budget.tokens) * 1000;
        let done = self.state.stats.outcomes[Outcome::Done as usize];
        let tokens = &mut self.state.tokens;
        let given = (done - tokens.done).saturating_mul(budget.per_done.into());
        tokens.done = done;
        tokens.left = tokens.left.saturating_add(given).min(most).saturating_sub(1000);
        tokens.left > most / 2
    }
}
