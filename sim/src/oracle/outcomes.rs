//! Which outcomes a caller may get, by what was seen of the request until then.

use std::time::Duration;

use chargehand::{Failure, TaskError};

use super::{Answered, Oracle, Reply, Request, Sending, UNSEEN};

impl Oracle {
    /// A caller has the outcome of a request.
    pub(crate) fn on_outcome(&mut self, id: u64, at: Duration, outcome: &Result<Reply, TaskError>) {
        let is_ending = self.is_ending;
        let Some(request) = self.requests.get_mut(&id).filter(|request| request.is_accepted) else {
            return self.found(|| format!("an outcome of {id}, which nobody asked for"));
        };
        request.outcomes += 1;
        if request.outcomes > 1 {
            self.counts.doubled += 1;
            return self.found(|| format!("request {id}: a second outcome, {outcome:?}"));
        }
        self.counts.ended += 1;
        let leaders = self.leaders(id);
        self.end_unique(id);
        if matches!(outcome, Err(TaskError::TimedOut)) {
            for &leader in &leaders {
                self.make_room(leader);
            }
        }
        let late = self.latest(&leaders);
        if late.is_some_and(|late| at > late) {
            self.found(|| format!("request {id}: an outcome at {at:?}, due {late:?}: {outcome:?}"));
        }
        let wrong = match outcome {
            Ok(reply) => self.wrong_answer(id, &leaders, reply),
            Err(error) => self.wrong_error(&leaders, at, error, is_ending),
        };
        if let Some(wrong) = wrong {
            self.found(|| format!("request {id}: {wrong}"));
        }
    }

    /// Returns by when it must have its outcome, if there is such a time.
    fn latest(&self, leaders: &[u64]) -> Option<Duration> {
        let due = leaders.iter().map(|leader| {
            let request = &self.requests[leader];
            let deadline = request.deadline.filter(|_| request.is_accepted)?;
            Some(request.accepted_at + deadline + self.rules.lateness)
        });
        due.collect::<Option<Vec<Duration>>>()?.into_iter().max()
    }

    /// Says what is wrong with an answer, if anything is.
    fn wrong_answer(
        &mut self,
        id: u64,
        leaders: &[u64],
        (of, serial, _): &Reply,
    ) -> Option<String> {
        self.count("done");
        // Its own worker may say what it likes.
        let is_lie = |leader: &&u64| self.requests[*leader].lies.contains(&(*of, *serial));
        if let Some(leader) = leaders.iter().find(is_lie).copied() {
            self.requests.get_mut(&leader).expect("it was asked").is_done = true;
            return None;
        }
        if !leaders.contains(of) {
            return Some(format!("got the answer to {of}"));
        }
        // What was answered is one task, however many have that.
        self.requests.get_mut(of).expect("it was asked").is_done = true;
        if *of != id {
            self.count("outcome of another call");
        }
        let request = &self.requests[of];
        let Some(sending) = usize::try_from(*serial).ok().and_then(|at| request.sendings.get(at))
        else {
            // Of the pool's own process.
            return (*serial != UNSEEN).then(|| format!("got the answer of sending {serial}"));
        };
        if sending.cancelled.is_some() {
            return Some(format!("the answer of attempt {}, given up", sending.attempt));
        }
        if let Some(answered) = self.is_older(id, sending.answered.map(|(_, at)| at)) {
            return Some(format!("an answer of {answered:?}, before it was asked"));
        }
        let is_later = |other: &&Sending| {
            (other.epoch, other.task) == (sending.epoch, sending.task)
                && other.attempt > sending.attempt
        };
        let later = request.sendings.iter().find(|other| !request.is_hedged && is_later(other))?;
        Some(format!("the answer of attempt {}, after {}", sending.attempt, later.attempt))
    }

    /// Says what is wrong with an outcome that is none, if anything is: it must be one of any of those whose outcome
    /// it may be.
    fn wrong_error(
        &mut self,
        leaders: &[u64],
        at: Duration,
        error: &TaskError,
        is_ending: bool,
    ) -> Option<String> {
        self.count(match error {
            TaskError::Failed(_) => "failed",
            TaskError::Answer(_) => "no usable answer",
            TaskError::Exhausted { .. } => "exhausted",
            TaskError::Bounced { .. } => "bounced",
            TaskError::TimedOut => "timed out",
            TaskError::Aborted => "aborted",
            TaskError::Stopping => "refused by a pool that stops",
            TaskError::Closed => "the manager died",
            _ => "another error",
        });
        if leaders.iter().any(|&leader| self.is_fair(leader, at, error, is_ending)) {
            return None;
        }
        let request = &self.requests[&leaders[0]];
        let tried = request.failures + request.unusable;
        if let TaskError::Exhausted { attempts } = error {
            self.counts.wrongly_exhausted += 1;
            let lost = self.losses(request, at, *attempts as usize);
            let sendings = &request.sendings;
            return Some(format!(
                "exhausted at {at:?}, and {lost} attempts were lost: {sendings:?}"
            ));
        }
        Some(format!("{error}, after {tried} answers"))
    }

    /// Returns whether a request may have ended so.
    fn is_fair(&self, id: u64, at: Duration, error: &TaskError, is_ending: bool) -> bool {
        let request = &self.requests[&id];
        let retries = u32::from(request.retries.unwrap_or(self.rules.retries_max));
        let tried = request.failures + request.unusable;
        match error {
            TaskError::Failed(failure) => {
                // Where there is a budget for the retries of all, one task may have none.
                let is_spent = self.rules.failures_min.is_some_and(|least| self.failures >= least);
                request.failures > 0 && (tried > retries || is_spent || is_last(failure))
            }
            TaskError::Answer(_) => request.unusable > 0,
            TaskError::Exhausted { attempts } => {
                let lost = self.losses(request, at, *attempts as usize);
                lost >= usize::from(self.rules.attempts_max)
            }
            TaskError::Bounced { sends } => *sends >= self.rules.resends_max.into(),
            TaskError::TimedOut => {
                request.deadline.is_some_and(|span| at >= request.accepted_at + span)
            }
            TaskError::Aborted | TaskError::Stopping | TaskError::Closed => is_ending,
            _ => false,
        }
    }

    /// Returns how many of the latest task's `attempts` may have begun and had no answer that was of use.
    fn losses(&self, request: &Request, at: Duration, attempts: usize) -> usize {
        let latest = request.sendings.last().map(|latest| (latest.epoch, latest.task));
        let is_of_it = |sending: &&Sending| Some((sending.epoch, sending.task)) == latest;
        let of_it: Vec<&Sending> = request.sendings.iter().filter(is_of_it).collect();
        // No wire shows what was tried in the pool's own process, be it all attempts or one of them.
        let unseen = attempts.saturating_sub(of_it.len());
        let unseen = if self.rules.is_held_up_beside { unseen } else { 0 };
        unseen + of_it.into_iter().filter(|sending| self.may_count(sending, at)).count()
    }

    fn may_count(&self, sending: &Sending, at: Duration) -> bool {
        if !sending.may_have_begun && !sending.has_begun {
            return false;
        }
        // It has all of its time from when it is on the wire, which may have had no room for it before.
        let is_late = |at: Duration| at >= sending.sent + self.rules.attempt_timeout;
        match (sending.answered, sending.cancelled) {
            (Some((Answered::Unusable, _)), _) => true,
            // One that came when its time was over may be read as the link is closed.
            (Some((_, at)), _) | (None, Some(at)) => sending.is_left || is_late(at),
            (None, None) => {
                let link = self.links.get(&(sending.worker.clone(), sending.link));
                !link.is_some_and(|link| link.is_polite) || is_late(at)
            }
        }
    }
}

/// Whether a failure says that it is of no use to try again.
fn is_last(failure: &Failure) -> bool {
    failure.is_permanent()
}
