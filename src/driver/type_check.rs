//! Answers that the caller cannot use: they are checked against its type before they count, and the task
//! is tried elsewhere before anybody is blamed.
//!
//! A worker whose answers do not decode is suspended like one whose handlers fail. If another worker's answer
//! to the same task does not decode either, manager and workers disagree on the type: the task ends with
//! that error, and the first worker is excused.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chargehand_core::message::{Progress, Took};
use chargehand_core::{Event, EventError, Instant, Link, TaskId, Useless, Verdict};

use super::Scheduler;
use super::answers::Answers;
#[cfg(feature = "std")]
use super::meter::Meter;
use super::ranges::Jobs;
use super::task::{ProgressNote, TaskEntry, TaskPayload, Whose};
#[cfg(not(feature = "std"))]
use super::unmetered::Meter;
use crate::budget::SMALL_BYTES_MAX;
use crate::failure::{advice, text_of};
use crate::payload::{Answer, DecodeLimits};

/// Tasks that had an answer of no use and have no outcome yet. Mostly there is none.
#[derive(Debug, Default)]
pub(crate) struct Misfits(Vec<Misfit>);

#[derive(Debug)]
struct Misfit {
    task: TaskId,
    /// Where the first such answer came from.
    link: Link,
    why: String,
    /// Another worker's was of no use either, or there was no other.
    is_final: bool,
}

impl Misfits {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, task: TaskId) -> Option<usize> {
        self.0.iter().position(|misfit| misfit.task == task)
    }

    /// Forgets a task that has its outcome. Returns why its answers were of no use, if that is what the
    /// outcome came from.
    pub(crate) fn take(&mut self, task: TaskId) -> Option<String> {
        let misfit = self.0.swap_remove(self.get(task)?);
        let end = if misfit.is_final { "" } else { ", and no other answer came" };
        Some(format!("{}{end}", misfit.why))
    }
}

/// Where a link's answers go.
pub(crate) struct AnswerSink<'a> {
    pub(crate) link: Link,
    pub(crate) now: Instant,
    pub(crate) scheduler: &'a mut Scheduler,
    pub(crate) answers: &'a mut Answers,
    pub(crate) misfits: &'a mut Misfits,
    pub(crate) tasks: &'a [TaskEntry],
    pub(crate) jobs: &'a Jobs,
    pub(crate) decode_limits: &'a DecodeLimits,
    pub(crate) meter: &'a mut Meter,
    #[cfg(feature = "tracing")]
    pub(crate) traces: &'a mut super::traces::Traces,
    /// What the worker is called.
    pub(crate) peer: &'a Arc<str>,
    /// What is to be told of how far attempts are.
    pub(crate) said: &'a mut Vec<ProgressNote>,
    /// What the worker is to drop.
    pub(crate) unwanted: &'a mut Vec<(TaskId, u16)>,
}

impl AnswerSink<'_> {
    /// Tells the scheduler that a worker that is back still has an attempt.
    pub(crate) fn kept(&mut self, task: TaskId, attempt: u16) -> Result<(), EventError> {
        let event = Event::Kept { link: self.link, task, attempt };
        let result = self.scheduler.handle_event(self.now, event);
        if result == Err(EventError::Stale) {
            self.unwanted.push((task, attempt));
            return Ok(());
        }
        result
    }

    /// Tells the scheduler that a worker that is back has named all that it has.
    pub(crate) fn listed(&mut self) {
        // Stale: the scheduler has just given the link up, and its action is to come.
        let _ = self.scheduler.handle_event(self.now, Event::Listed { link: self.link });
    }

    /// Tells the scheduler how far an attempt is, and keeps that for whoever wants to know.
    pub(crate) fn progress(&mut self, progress: Progress) -> Result<(), EventError> {
        let (link, Progress { task, attempt, done, .. }) = (self.link, progress);
        self.scheduler.handle_event(self.now, Event::Progress { link, task, attempt, done })?;
        self.said.push(ProgressNote { link, progress });
        Ok(())
    }

    /// Has it measured how long an attempt took, if that is under way on this link.
    pub(crate) fn took(&mut self, took: Took) {
        if self.scheduler.holder(took.task) == Some((self.link.worker(), took.attempt)) {
            self.meter.on_took(took.task, took.span());
        }
    }

    /// Tells the scheduler of an answer, and keeps it if it is part of an outcome.
    #[inline]
    pub(crate) fn reply(
        &mut self,
        task: TaskId,
        attempt: u16,
        verdict: Verdict,
        body: &[u8],
    ) -> Result<(), EventError> {
        if verdict != Verdict::Done {
            return self.reply_other(task, attempt, verdict, body);
        }
        if body.len() > SMALL_BYTES_MAX {
            return self.reply_long(task, attempt, body);
        }
        if let Err(why) = self.check(task, body) {
            return self.refuse(task, attempt, why);
        }
        let event = Event::Replied { link: self.link, task, attempt, verdict: Verdict::Done };
        self.scheduler.handle_event(self.now, event)?;
        self.answers.keep_bytes(self.scheduler, task, Verdict::Done, body);
        if !self.misfits.is_empty() {
            let _ = self.misfits.take(task);
        }
        Ok(())
    }

    /// As [`reply`](Self::reply), for what is no answer.
    fn reply_other(
        &mut self,
        task: TaskId,
        attempt: u16,
        verdict: Verdict,
        body: &[u8],
    ) -> Result<(), EventError> {
        if verdict == Verdict::Failed {
            if let Some(advice) = advice(body) {
                return self.reply_advised(task, attempt, advice, body);
            }
        }
        let event = Event::Replied { link: self.link, task, attempt, verdict };
        self.scheduler.handle_event(self.now, event)?;
        self.note(task, verdict, || text_of(body).into());
        self.answers.keep_bytes(self.scheduler, task, verdict, body);
        Ok(())
    }

    /// As [`reply`](Self::reply), for an answer that is worth decoding once only: if what the check
    /// makes of it may be kept, it takes the place of the bytes.
    fn reply_long(&mut self, task: TaskId, attempt: u16, body: &[u8]) -> Result<(), EventError> {
        let value = match self
            .check_of(task)
            .map_or(Ok(None), |check| check.value(body, self.decode_limits))
        {
            Ok(value) => value,
            Err(why) => return self.refuse(task, attempt, why),
        };
        let verdict = Verdict::Done;
        let event = Event::Replied { link: self.link, task, attempt, verdict };
        self.scheduler.handle_event(self.now, event)?;
        match value {
            Some(mut value) => {
                value.hold(self.answers.arrivals.answers.charge(body.len()));
                self.answers.keep(self.scheduler, task, verdict, Answer::Value(value));
            }
            None => self.answers.keep_bytes(self.scheduler, task, verdict, body),
        }
        if !self.misfits.is_empty() {
            let _ = self.misfits.take(task);
        }
        Ok(())
    }

    /// As [`reply`](Self::reply), for what a handler in this process returned.
    pub(crate) fn reply_with(
        &mut self,
        task: TaskId,
        attempt: u16,
        verdict: Verdict,
        answer: Answer,
    ) -> Result<(), EventError> {
        if let (Verdict::Done, Answer::Value(value)) = (verdict, &answer) {
            let fits = match self.check_of(task) {
                Some(check) => check.value_fits(value, self.decode_limits),
                None => Ok(()),
            };
            if let Err(why) = fits {
                return self.refuse(task, attempt, why);
            }
        }
        if let (Verdict::Failed, Answer::Bytes(body)) = (verdict, &answer) {
            if let Some(advice) = advice(body.as_slice()) {
                return self.reply_advised(task, attempt, advice, body.as_slice());
            }
        }
        let event = Event::Replied { link: self.link, task, attempt, verdict };
        self.scheduler.handle_event(self.now, event)?;
        self.note(task, verdict, || match &answer {
            Answer::Bytes(body) => text_of(body.as_slice()).into(),
            Answer::Value(_) => String::new(),
        });
        self.answers.keep(self.scheduler, task, verdict, answer);
        if verdict == Verdict::Done && !self.misfits.is_empty() {
            let _ = self.misfits.take(task);
        }
        Ok(())
    }

    /// As [`reply`](Self::reply), for a failure that says whether to try again, or when.
    fn reply_advised(
        &mut self,
        task: TaskId,
        attempt: u16,
        why: Useless,
        body: &[u8],
    ) -> Result<(), EventError> {
        let event = Event::Useless { link: self.link, task, attempt, why };
        self.scheduler.handle_event(self.now, event)?;
        if let Useless::Throttled(_) | Useless::KeyThrottled(_) = why {
            self.note(task, Verdict::Returned, String::new);
            // No outcome has it, and if this was one too often, that says so itself.
            return Ok(());
        }
        self.note(task, Verdict::Failed, || text_of(body).into());
        self.answers.keep_bytes(self.scheduler, task, Verdict::Failed, body);
        if why == Useless::Permanent {
            // What it says is the outcome, and not that an earlier answer was of no use.
            let _ = self.misfits.take(task);
        }
        Ok(())
    }

    /// Has it measured how an attempt ended.
    #[inline]
    fn note(&mut self, task: TaskId, verdict: Verdict, text: impl FnOnce() -> String) {
        let worker = self.link.worker().slot();
        match verdict {
            // That is noted as it is handed on.
            Verdict::Done => {}
            Verdict::Returned => self.meter.on_withdrawn(worker, task, self.now),
            Verdict::Failed => {
                #[cfg(feature = "tracing")]
                if !self.traces.is_empty() {
                    self.traces.on_failure(task, self.link);
                }
                let Self { meter, tasks, jobs, peer, now, .. } = self;
                let payload = &tasks[task.slot() as usize].payload;
                meter.on_failure(task, *now);
                meter
                    .note_failure(*now, text, || (jobs.height_of(payload), Some(Arc::clone(peer))));
            }
        }
    }

    #[inline]
    fn check(&self, task: TaskId, body: &[u8]) -> Result<(), String> {
        self.check_of(task).map_or(Ok(()), |check| check.bytes(body, self.decode_limits))
    }

    /// Returns what a task's answer is held against. What is over has nothing.
    #[inline]
    fn check_of(&self, task: TaskId) -> Option<crate::payload::Check> {
        let entry = self.tasks.get(task.slot() as usize)?;
        if entry.generation != task.generation() {
            return None;
        }
        match &entry.payload {
            TaskPayload::Height { check, .. }
            | TaskPayload::Request { whose: Whose::Call { check, .. }, .. } => Some(*check),
            TaskPayload::Request { whose: Whose::Item { job, .. }, .. } => {
                Some(self.jobs.check_of(*job))
            }
            TaskPayload::None => None,
        }
    }

    /// Takes in an answer of no use.
    fn refuse(&mut self, task: TaskId, attempt: u16, why: String) -> Result<(), EventError> {
        let link = self.link;
        let stats = self.scheduler.stats();
        let others = stats.workers_up - stats.workers_suspended > 1;
        let known = self.misfits.get(task);
        // Once it is known that they disagree, it stays so when the task is tried again.
        let is_new = |at: usize| {
            let misfit = &self.misfits.0[at];
            misfit.is_final || misfit.link.worker() != link.worker()
        };
        let is_final = known.map_or(!others, is_new);
        let why_useless = if is_final { Useless::Final } else { Useless::Unusable };
        let event = Event::Useless { link, task, attempt, why: why_useless };
        self.scheduler.handle_event(self.now, event)?;
        self.note(task, Verdict::Failed, || format!("the answer is of no use: {why}"));
        let text = if is_final && known.is_some() {
            format!("{why}; two workers' answers were alike, so manager and workers disagree on it")
        } else {
            why
        };
        if is_final {
            // The outcome, if it is one, is a failure's.
            self.answers.keep_bytes(self.scheduler, task, Verdict::Failed, &[]);
        }
        match known {
            Some(at) => {
                let first = self.misfits.0[at].link;
                if is_final && !self.misfits.0[at].is_final {
                    // Stale: its link is over, and nothing is held against it any more.
                    let event = Event::Excused { link: first };
                    let _ = self.scheduler.handle_event(self.now, event);
                }
                let misfit = &mut self.misfits.0[at];
                (misfit.why, misfit.is_final) = (text, misfit.is_final || is_final);
            }
            None => self.misfits.0.push(Misfit { task, link, why: text, is_final }),
        }
        Ok(())
    }
}
