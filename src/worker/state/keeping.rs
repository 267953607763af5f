//! What a link held that broke, until its manager is back or the grace is over.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use chargehand_core::copy::copied;

use chargehand_core::message::HELD_BYTES_MAX;
use chargehand_core::session::{RunId, Session};
use chargehand_core::{Instant, TaskId, Verdict};

use super::ProtocolState;
use super::requests::RequestState;
use crate::handler::Handler;
use crate::worker::clock::Now;
use crate::worker::memory::Memory;
use crate::worker::runner::{Owner, Runner};

/// What goes on without a link.
#[derive(Debug, Default)]
pub(in crate::worker) struct Kept {
    jobs: Vec<KeptJob>,
    /// How many bytes of the worker's budget they are.
    held: usize,
}

#[derive(Debug)]
struct KeptJob {
    /// Where it runs, by which it is known until it is back.
    slot: Option<RunId>,
    task: TaskId,
    attempt: u16,
    work: KeptWork,
}

#[derive(Debug)]
enum KeptWork {
    /// Which run, and how many bytes its request had.
    Running(u32, usize),
    Answered(Verdict, Vec<u8>),
}

/// An answer that was ready before its manager was back.
#[derive(Debug)]
pub(in crate::worker) struct ReadyAnswer {
    pub(in crate::worker) slot: RunId,
    pub(in crate::worker) verdict: Verdict,
    pub(in crate::worker) body: Vec<u8>,
}

/// The latest answers on a link that may go on after it: what was on its way when it broke.
#[derive(Debug, Default)]
pub(super) struct SentAnswers {
    answers: VecDeque<SentAnswer>,
    /// How many bytes of the worker's budget they are.
    held: usize,
}

#[derive(Debug)]
struct SentAnswer {
    task: TaskId,
    attempt: u16,
    verdict: Verdict,
    body: Vec<u8>,
}

impl SentAnswers {
    /// Forgets the oldest ones until there are no more than so many, in so many bytes.
    fn bound(&mut self, count_max: usize, bytes_max: usize, memory: &mut Memory) {
        while self.answers.len() > count_max || self.held > bytes_max {
            let Some(oldest) = self.answers.pop_front() else { return };
            memory.give(&mut self.held, oldest.body.len());
        }
    }

    /// Forgets an answer that its manager has, for it says that it wants none.
    pub(super) fn forget(&mut self, task: TaskId, attempt: u16, memory: &mut Memory) {
        let is_it = |sent: &SentAnswer| (sent.task, sent.attempt) == (task, attempt);
        if let Some(sent) = self.answers.iter().position(is_it) {
            let sent = self.answers.remove(sent).expect("it was just found");
            memory.give(&mut self.held, sent.body.len());
        }
    }
}

impl Kept {
    pub(in crate::worker) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Keeps the answer of a run that has ended.
    pub(in crate::worker) fn answer(
        &mut self,
        slot: RunId,
        verdict: Verdict,
        body: &[u8],
        memory: &mut Memory,
    ) {
        let Some(job) = self.jobs.iter_mut().find(|job| job.slot == Some(slot)) else { return };
        if let KeptWork::Running(_, bytes) = job.work {
            memory.give(&mut self.held, bytes);
            memory.take(&mut self.held, body.len());
            job.work = KeptWork::Answered(verdict, copied(body));
        }
    }

    /// Ends what runs, and forgets what was answered.
    pub(in crate::worker) fn drop_jobs<H: Handler>(mut self, runner: &mut Runner<H>) {
        for job in &self.jobs {
            if let KeptWork::Running(run, _) = job.work {
                runner.cancel(run);
            }
        }
        let all = self.held;
        runner.memory.give(&mut self.held, all);
    }
}

impl ProtocolState {
    /// Keeps an answer that leaves on a link which may go on after it, while its manager may not have it.
    ///
    /// A manager has no more attempts under way here than its window. Those that run here are some of them, so
    /// of the answers that were sent, the latest as many as there is room beside those are not there for
    /// certain; any before them are, or it could not have sent as many requests.
    pub(in crate::worker) fn remember(
        &mut self,
        (task, attempt): (TaskId, u16),
        verdict: Verdict,
        body: &[u8],
        bytes_max: usize,
        memory: &mut Memory,
    ) {
        if self.claim.is_none() || body.len() > bytes_max {
            return;
        }
        memory.take(&mut self.sent.held, body.len());
        self.sent.answers.push_back(SentAnswer { task, attempt, verdict, body: copied(body) });
        let count_max = usize::from(self.window).saturating_sub(self.session.running());
        self.sent.bound(count_max, bytes_max, memory);
    }

    /// Keeps an answer of an earlier link that could not be said on this one either.
    pub(in crate::worker) fn put_back(
        &mut self,
        slot: RunId,
        verdict: Verdict,
        body: Vec<u8>,
        clock: &mut dyn Now,
        memory: &mut Memory,
    ) {
        let Some((task, attempt)) = self.on_answered(slot, clock, memory) else { return };
        memory.take(&mut self.sent.held, body.len());
        self.sent.answers.push_back(SentAnswer { task, attempt, verdict, body });
    }

    /// Forgets all of these.
    pub(super) fn forget_sent(&mut self, memory: &mut Memory) {
        self.sent.bound(0, 0, memory);
    }

    /// Takes out what runs, and what may not have arrived, which belongs to `place` from now on.
    pub(in crate::worker) fn keep_jobs<H: Handler>(
        &mut self,
        place: u32,
        runner: &mut Runner<H>,
    ) -> Kept {
        let mut kept = Kept { held: mem::take(&mut self.sent.held), ..Kept::default() };
        // First, as they were said first: what is said again is kept by the same rule, which keeps the latest.
        for sent in mem::take(&mut self.sent.answers) {
            let SentAnswer { task, attempt, verdict, body } = sent;
            let work = KeptWork::Answered(verdict, body);
            kept.jobs.push(KeptJob { slot: None, task, attempt, work });
        }
        for job in &mut self.jobs {
            let RequestState::Running(run, bytes) = *job else { continue };
            let Some(slot) = runner.give_away(run, place) else { continue };
            let Some((task, attempt)) = self.session.attempt(slot) else { continue };
            *job = RequestState::None;
            runner.memory.give(&mut self.held, bytes);
            runner.memory.take(&mut kept.held, bytes);
            let (slot, work) = (Some(slot), KeptWork::Running(run, bytes));
            kept.jobs.push(KeptJob { slot, task, attempt, work });
        }
        kept
    }

    /// Goes on with what an earlier link held, on this one, which is fresh. Returns all attempts, and the answers
    /// that are ready. There is room for them beside the window: the manager may not know of all any more.
    pub(in crate::worker) fn adopt<H: Handler>(
        &mut self,
        place: u32,
        mut kept: Kept,
        now: Instant,
        runner: &mut Runner<H>,
    ) -> (Vec<(TaskId, u16)>, Vec<ReadyAnswer>) {
        let most = self.answer_bytes_max / HELD_BYTES_MAX;
        let count = u16::try_from(kept.jobs.len().min(most)).unwrap_or(u16::MAX);
        let window = u16::try_from(self.session.window()).unwrap_or(u16::MAX);
        self.session = Session::with_window(window.saturating_add(count));
        let (mut held, mut answers) = (Vec::new(), Vec::new());
        let jobs = mem::take(&mut kept.jobs);
        let skipped = jobs.len() - usize::from(count);
        for (at, KeptJob { task, attempt, work, .. }) in jobs.into_iter().enumerate() {
            let slot = if at >= skipped { self.session.request(task, attempt).ok() } else { None };
            match (slot, work) {
                (Some(slot), KeptWork::Running(run, bytes)) => {
                    runner.take_over(run, Owner { place, slot }, now);
                    runner.memory.give(&mut kept.held, bytes);
                    runner.memory.take(&mut self.held, bytes);
                    if self.jobs.len() <= slot.index() {
                        self.jobs.resize_with(slot.index() + 1, || RequestState::None);
                    }
                    self.jobs[slot.index()] = RequestState::Running(run, bytes);
                }
                (Some(slot), KeptWork::Answered(verdict, body)) => {
                    answers.push(ReadyAnswer { slot, verdict, body });
                }
                (None, KeptWork::Running(run, _)) => runner.cancel(run),
                (None, KeptWork::Answered(..)) => {}
            }
            if slot.is_some() {
                held.push((task, attempt));
            }
        }
        let rest = kept.held;
        runner.memory.give(&mut kept.held, rest);
        (held, answers)
    }
}
