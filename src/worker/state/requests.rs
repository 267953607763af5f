//! The requests of one link: they wait, run, are cancelled, answered or given back.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::copy::copied;
use chargehand_core::session::RunId;
use chargehand_core::{Instant, TaskId, Verdict};

use super::{Around, Phase, ProtocolState, Step, Stepped};
use crate::handler::{Handler, Origin};
use crate::link::reason::DisconnectReason;
use crate::worker::clock::Now;
use crate::worker::memory::Memory;
use crate::worker::runner::{Begun, Owner, Runner};

/// Each request makes up for this many of them: it may be cancelled, and followed by a ping.
const IDLE_MESSAGES_PER_REQUEST: usize = 2;
pub(super) enum RequestState {
    None,
    Waiting(Box<Waiting>),
    /// Which run, and how many bytes its request had.
    Running(u32, usize),
}

/// A request that waits for room.
pub(super) struct Waiting {
    body: Vec<u8>,
    attempt: u16,
    timeout: Option<Duration>,
    since: Instant,
    #[cfg(feature = "tracing")]
    trace: Option<chargehand_core::message::TraceContext>,
}

impl ProtocolState {
    #[inline]
    pub(super) fn on_request<H: Handler>(
        &mut self,
        task: TaskId,
        attempt: u16,
        timeout: Option<Duration>,
        body: &[u8],
        around: &mut Around<'_, H>,
    ) -> Stepped {
        let slot = self.session.request(task, attempt).map_err(DisconnectReason::from)?;
        self.usage.asked = true;
        self.idle_messages = self.idle_messages.saturating_sub(IDLE_MESSAGES_PER_REQUEST);
        self.leave_at = Instant::FAR_FUTURE;
        if self.jobs.len() <= slot.index() {
            self.jobs.resize_with(slot.index() + 1, || RequestState::None);
        }
        // What comes again may have taken a process down: answers are to leave before it begins. What waits
        // begins in this way, whether there is room or not (see `Engine::start_waiting`).
        let is_new = attempt == 1;
        if is_new && around.runner.has_room() && around.runner.waiting.is_empty() {
            let timeout = timeout.or(self.timeout);
            return Ok(match self.start(slot, attempt, timeout, body, around) {
                Some(verdict) => Step::Answer(slot, verdict),
                None => Step::None,
            });
        }
        let (timeout, since) = (timeout.or(self.timeout), around.clock.now());
        let waiting = Waiting {
            body: copied(body),
            attempt,
            timeout,
            since,
            #[cfg(feature = "tracing")]
            trace: self.trace.take(),
        };
        self.keep_waiting(slot, waiting, around);
        Ok(Step::None)
    }

    /// Keeps a request until there is room for it.
    fn keep_waiting<H: Handler>(
        &mut self,
        slot: RunId,
        waiting: Waiting,
        around: &mut Around<'_, H>,
    ) {
        around.runner.memory.take(&mut self.held, waiting.body.len());
        self.jobs[slot.index()] = RequestState::Waiting(Box::new(waiting));
        self.pending.push_back(slot);
        if !core::mem::replace(&mut self.queued, true) {
            around.runner.waiting.push_back(around.place);
        }
    }

    #[inline]
    fn start<H: Handler>(
        &mut self,
        slot: RunId,
        attempt: u16,
        timeout: Option<Duration>,
        body: &[u8],
        around: &mut Around<'_, H>,
    ) -> Option<Verdict> {
        let owner = Owner { place: around.place, slot };
        #[cfg(feature = "tracing")]
        let traced = self.trace.take().zip(around.settings.propagator.as_ref());
        let origin = Origin::new(attempt, timeout, &self.manager, &around.settings.name);
        #[cfg(feature = "tracing")]
        let origin = origin.traced(traced.map(|(context, propagator)| {
            let names = (&*self.manager, &*around.settings.name);
            Box::new(crate::traces::Traced::remote(propagator, context, attempt, names))
        }));
        match around.runner.start(around.ready, owner, origin, body) {
            Begun::Ended(verdict) => Some(verdict),
            Begun::Running(run) => {
                if self.takes_times {
                    around.runner.note_begin(run, around.clock.now());
                }
                self.jobs[slot.index()] = RequestState::Running(run, body.len());
                around.runner.memory.take(&mut self.held, body.len());
                None
            }
        }
    }

    /// Starts the oldest request that waits, as [`crate::worker::link::Connection::start_waiting`] says.
    pub(in crate::worker) fn start_waiting<H: Handler>(
        &mut self,
        around: &mut Around<'_, H>,
    ) -> Option<(RunId, Verdict)> {
        self.queued = false;
        let mut started = None;
        while let Some(slot) = self.pending.pop_front() {
            if !self.session.contains(slot) {
                continue; // Cancelled while it waited.
            }
            let job = core::mem::replace(&mut self.jobs[slot.index()], RequestState::None);
            if let RequestState::Waiting(waiting) = job {
                let Waiting { body, attempt, timeout, since, .. } = *waiting;
                #[cfg(feature = "tracing")]
                {
                    self.trace = waiting.trace;
                }
                let waited = around.clock.now().saturating_since(since);
                let timeout = timeout.map(|timeout| timeout.saturating_sub(waited));
                around.runner.memory.give(&mut self.held, body.len());
                let verdict = self.start(slot, attempt, timeout, &body, around);
                started = verdict.map(|verdict| (slot, verdict));
                break;
            }
        }
        if !self.pending.is_empty() {
            // To the back: the links take turns.
            self.queued = true;
            around.runner.waiting.push_back(around.place);
        }
        started
    }

    /// Lists the link, to be polled again once there is more memory.
    pub(in crate::worker) fn pause<H: Handler>(&mut self, around: &mut Around<'_, H>) {
        if !core::mem::replace(&mut self.is_paused, true) {
            around.runner.memory.pause(around.place);
        }
    }

    /// Starts nothing that waits until there is more memory.
    pub(in crate::worker) fn stall<H: Handler>(&mut self, around: &mut Around<'_, H>) {
        self.queued = false;
        self.is_stalled = true;
        self.pause(around);
    }

    /// Starts what waits in its turn again.
    pub(in crate::worker) fn start_again<H: Handler>(&mut self, around: &mut Around<'_, H>) {
        self.is_stalled = false;
        if !self.pending.is_empty() && !core::mem::replace(&mut self.queued, true) {
            around.runner.waiting.push_back(around.place);
        }
    }

    pub(super) fn on_cancel<H: Handler>(
        &mut self,
        task: TaskId,
        attempt: u16,
        around: &mut Around<'_, H>,
    ) -> Stepped {
        self.count_idle(around.clock.now())?;
        let Some(slot) = self.session.cancel(task, attempt) else {
            // The answer crossed it.
            self.sent.forget(task, attempt, &mut around.runner.memory);
            return Ok(Step::None);
        };
        match self.jobs.get_mut(slot.index()).map(|job| core::mem::replace(job, RequestState::None))
        {
            Some(RequestState::Running(run, bytes)) => {
                around.runner.memory.give(&mut self.held, bytes);
                around.runner.cancel(run);
            }
            Some(RequestState::Waiting(waiting)) => {
                around.runner.memory.give(&mut self.held, waiting.body.len());
                self.forget_cancelled();
            }
            Some(RequestState::None) | None => {}
        }
        self.on_ended(around.clock);
        Ok(Step::None)
    }

    /// Keeps what was cancelled while it waited from piling up behind one long handler.
    fn forget_cancelled(&mut self) {
        if self.pending.len() > 2 * self.session.window() {
            let session = &self.session;
            self.pending.retain(|&slot| session.contains(slot));
        }
    }

    /// Ends an attempt whose handler ended, and returns it unless it was cancelled before.
    #[inline]
    pub(in crate::worker) fn on_answered(
        &mut self,
        slot: RunId,
        clock: &mut dyn Now,
        memory: &mut Memory,
    ) -> Option<(TaskId, u16)> {
        let attempt = self.session.complete(slot)?;
        // Mostly it never ran on: its handler ended at once.
        if let Some(job @ RequestState::Running(..)) = self.jobs.get_mut(slot.index()) {
            if let RequestState::Running(_, bytes) = core::mem::replace(job, RequestState::None) {
                memory.give(&mut self.held, bytes);
            }
        }
        self.on_ended(clock);
        Some(attempt)
    }

    /// Wants nothing more. Returns what has not begun and is to be given back: nothing in the JSON
    /// dialect, which has no word for that.
    pub(in crate::worker) fn on_drain<H: Handler>(
        &mut self,
        place: u32,
        clock: &mut dyn Now,
        runner: &mut Runner<H>,
    ) -> Vec<(TaskId, u16)> {
        self.session.drain();
        let mut returned = Vec::new();
        if self.speech.is_native() {
            self.phase = Phase::GivingBack;
            for slot in core::mem::take(&mut self.pending) {
                let Some(RequestState::Waiting(waiting)) = self.jobs.get(slot.index()) else {
                    continue;
                };
                // None: it was cancelled, and what waits in its place has a slot of its own.
                let Some(attempt) = self.session.complete(slot) else { continue };
                runner.memory.give(&mut self.held, waiting.body.len());
                self.jobs[slot.index()] = RequestState::None;
                returned.push(attempt);
            }
            self.forget_waiting(place, runner);
        }
        self.on_ended(clock);
        returned
    }

    /// Gives back what comes, from now on until all that came is read.
    pub(in crate::worker) fn give_back_for_now(&mut self) {
        if self.phase == Phase::Up {
            self.phase = Phase::GivingBack;
        }
    }

    /// Takes requests again, unless the worker stops.
    pub(in crate::worker) fn take_again(&mut self) {
        if self.phase == Phase::GivingBack && !self.session.is_draining() {
            self.phase = Phase::Up;
        }
    }

    pub(super) fn on_ended(&mut self, clock: &mut dyn Now) {
        if self.session.is_drained() {
            let wait = self.speech.leave_after();
            self.leave_at = clock.now().saturating_add(wait);
        }
    }

    pub(in crate::worker) fn drop_jobs<H: Handler>(&mut self, place: u32, runner: &mut Runner<H>) {
        self.pending.clear();
        for job in core::mem::take(&mut self.jobs) {
            match job {
                RequestState::None => {}
                RequestState::Waiting(waiting) => {
                    runner.memory.give(&mut self.held, waiting.body.len());
                }
                RequestState::Running(run, bytes) => {
                    runner.memory.give(&mut self.held, bytes);
                    runner.cancel(run);
                }
            }
        }
        self.forget_sent(&mut runner.memory);
        runner.memory.end_all(place);
        if core::mem::take(&mut self.is_paused) {
            runner.memory.forget(place);
        }
        self.forget_waiting(place, runner);
    }

    fn forget_waiting<H: Handler>(&mut self, place: u32, runner: &mut Runner<H>) {
        if core::mem::take(&mut self.queued) {
            runner.waiting.retain(|&waiting| waiting != place);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::future::{Pending, pending};

    use super::*;
    use crate::handler::Raw;
    use crate::worker::dialect::Speech;

    struct Stopped;

    impl Now for Stopped {
        fn now(&mut self) -> Instant {
            Instant::EPOCH
        }
    }

    #[test]
    fn cancels_behind_a_handler_that_hangs_do_not_pile_up() {
        fn hang(_: Vec<u8>) -> Pending<Result<Vec<u8>, String>> {
            pending()
        }
        let worker = crate::worker::Worker::raw((), hang);
        let settings = &worker.parts.settings;
        let mut runner = Runner::new(Raw::new(hang), settings, Memory::new(1 << 20, 1 << 10));
        let mut around = Around {
            place: 3,
            clock: &mut Stopped,
            runner: &mut runner,
            ready: &worker.parts.ready,
            settings: &worker.parts.settings,
            reads_on: false,
        };
        let mut state = ProtocolState::new(Speech::Native, Instant::EPOCH);
        state.on_welcome(Duration::from_secs(1), 4, around.settings).unwrap();
        let task = |slot| TaskId::from_parts(slot, 0);
        state.on_request(task(0), 1, None, &[], &mut around).unwrap();
        let mut longest = 0;
        for slot in 1..2000 {
            state.on_request(task(slot), 1, None, &[], &mut around).unwrap();
            longest = longest.max(state.pending.len());
            state.on_cancel(task(slot), 1, &mut around).unwrap();
        }
        assert!(longest > 2, "some did wait");
        assert!(longest <= 2 * 4 + 1, "{longest}");
        assert_eq!(around.runner.waiting, [3], "once, however many wait");
        state.drop_jobs(3, around.runner);
        assert!(around.runner.waiting.is_empty());
        assert!(around.runner.has_room());
    }
}
