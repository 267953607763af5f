//! The driver's scheduler where what it is told may be recorded.

use std::boxed::Box;
use std::io::{self, Write};
use std::ops::Deref;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::{
    Accepted, Action, Config, ConfigError, Event, EventError, Heap, Instant, NoQueue, Offer,
    QueueId, QueueOptions, Route, Stale, SubmitError, TaskId, TaskOptions, Verdict, WorkerId,
    WorkersFull,
};

use super::entry::{Entry, FORMAT, Head, Sum, Title, VERSION, line_of};
use super::flight::{FlightRecorder, Recorder};

/// Where a record goes.
pub(crate) enum Output {
    /// Of all calls.
    Lines(Box<dyn Write + Send>),
    /// Of the latest ones.
    Flight(FlightRecorder),
}

/// The core's scheduler, all of whose calls that change it are recorded. Whatever only looks at it is its own.
pub(crate) struct Scheduler {
    inner: chargehand_core::Scheduler<Heap>,
    tape: Option<Tape>,
}

enum Tape {
    Lines(LineTape),
    Flight(Box<Recorder>),
}

struct LineTape {
    output: Box<dyn Write + Send>,
    sum: Sum,
}

impl LineTape {
    fn write(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let line = line_of(line)?;
        self.sum.add(&line);
        self.output.write_all(&line)
    }
}

impl Scheduler {
    #[expect(clippy::large_types_passed_by_value, reason = "as core's own, in whose place it is")]
    pub(crate) fn new(storage: Heap, config: Config) -> Result<Self, ConfigError> {
        Ok(Self { inner: chargehand_core::Scheduler::new(storage, config)?, tape: None })
    }

    #[expect(clippy::large_types_passed_by_value, reason = "as core's own, in whose place it is")]
    pub(crate) fn with_queues(
        storage: Heap,
        config: Config,
        queues: &[QueueOptions],
    ) -> Result<Self, ConfigError> {
        let inner = chargehand_core::Scheduler::with_queues(storage, config, queues)?;
        Ok(Self { inner, tape: None })
    }

    /// Records all calls from now on, which are the first ones.
    pub(crate) fn record(
        &mut self,
        output: Output,
        slots: u32,
        workers_max: u32,
        queues: Option<Vec<QueueOptions>>,
    ) {
        let title = Title { format: FORMAT.into(), version: VERSION };
        let head = Head { title, slots, workers_max, queues, config: self.inner.config() };
        match output {
            Output::Lines(output) => {
                let mut tape = LineTape { output, sum: Sum::new() };
                self.tape = tape.write(&head).is_ok().then_some(Tape::Lines(tape));
            }
            Output::Flight(recorder) => {
                let recorder = Recorder::begin(recorder, head, &self.inner);
                self.tape = Some(Tape::Flight(Box::new(recorder)));
            }
        }
    }

    #[inline]
    fn note(&mut self, entry: impl FnOnce() -> Entry) {
        let written = match &mut self.tape {
            None => Ok(()),
            Some(Tape::Flight(recorder)) => {
                recorder.note(&entry(), &self.inner);
                Ok(())
            }
            Some(Tape::Lines(tape)) => tape.write(&entry()),
        };
        // The pool has other work than its record. What is there breaks off, and says so when it is read.
        if written.is_err() {
            self.tape = None;
        }
    }

    /// Hands over what was recorded in a poll of the driver. Returns why there is no more from now on, once.
    pub(crate) fn hand_over(&mut self) -> Option<String> {
        match &mut self.tape {
            Some(Tape::Flight(recorder)) => recorder.hand_over(&self.inner),
            _ => None,
        }
    }

    pub(crate) fn submit(&mut self, now: Instant) -> Result<TaskId, SubmitError> {
        let gave = self.inner.submit(now);
        self.note(|| Entry::Submit { now, gave });
        gave
    }

    // Inlined where nothing is recorded, like the two others that each task goes through: as core's own, which pass nothing
    // through memory then (decision 0010). Without: 5 % more instructions a height while nothing is recorded.
    #[expect(clippy::inline_always, reason = "as core's own, in whose place it is")]
    #[inline(always)]
    pub(crate) fn submit_with(
        &mut self,
        now: Instant,
        options: TaskOptions,
    ) -> Result<TaskId, SubmitError> {
        if self.tape.is_none() {
            return self.inner.submit_with(now, options);
        }
        self.submit_recorded(now, options)
    }

    fn submit_recorded(
        &mut self,
        now: Instant,
        options: TaskOptions,
    ) -> Result<TaskId, SubmitError> {
        let gave = self.inner.submit_with(now, options);
        if let (Some(Tape::Flight(recorder)), Ok(_)) = (&mut self.tape, gave) {
            if recorder.note_taken(now, &options, &self.inner) {
                return gave;
            }
        }
        self.note(|| Entry::SubmitWith { now, options, gave });
        gave
    }

    pub(crate) fn cancel(&mut self, now: Instant, task: TaskId) -> Result<(), Stale> {
        let gave = self.inner.cancel(now, task);
        self.note(|| Entry::Cancel { now, task, gave });
        gave
    }

    pub(crate) fn add_worker(
        &mut self,
        now: Instant,
        route: Route,
    ) -> Result<WorkerId, WorkersFull> {
        let gave = self.inner.add_worker(now, route);
        self.note(|| Entry::AddWorker { now, route, gave });
        gave
    }

    pub(crate) fn remove_worker(&mut self, now: Instant, worker: WorkerId) -> Result<(), Stale> {
        let gave = self.inner.remove_worker(now, worker);
        self.note(|| Entry::RemoveWorker { now, worker, gave });
        gave
    }

    pub(crate) fn accept(
        &mut self,
        now: Instant,
        worker: WorkerId,
        offer: Offer,
        not_before: Instant,
    ) -> Result<Accepted, Stale> {
        let gave = self.inner.accept(now, worker, offer, not_before);
        self.note(|| Entry::Accept { now, worker, offer, not_before, gave });
        gave
    }

    pub(crate) fn evict_absent(&mut self, now: Instant) -> Option<WorkerId> {
        let gave = self.inner.evict_absent(now);
        self.note(|| Entry::EvictAbsent { now, gave });
        gave
    }

    #[expect(clippy::inline_always, reason = "as core's own, in whose place it is")]
    #[inline(always)]
    pub(crate) fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), EventError> {
        if self.tape.is_none() {
            return self.inner.handle_event(now, event);
        }
        self.handle_recorded(now, event)
    }

    fn handle_recorded(&mut self, now: Instant, event: Event) -> Result<(), EventError> {
        let done = self.done_by(event);
        let gave = self.inner.handle_event(now, event);
        if let (Some(Tape::Flight(recorder)), Some(slot), Ok(())) = (&mut self.tape, done, gave) {
            if recorder.note_done(now, slot, &self.inner) {
                return gave;
            }
        }
        self.note(|| Entry::HandleEvent { now, event, gave });
        gave
    }

    /// Returns the slot of the task that an event is the answer of, where a flight record needs to know no more.
    #[inline]
    fn done_by(&self, event: Event) -> Option<u32> {
        let Some(Tape::Flight(_)) = self.tape else { return None };
        let Event::Replied { link, task, attempt, verdict: Verdict::Done } = event else {
            return None;
        };
        let slot = task.slot();
        (self.inner.in_flight_at(slot) == Some((link, task, attempt))).then_some(slot)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.inner.handle_timeout(now);
        self.note(|| Entry::HandleTimeout { now });
    }

    #[expect(clippy::inline_always, reason = "as core's own, in whose place it is")]
    #[inline(always)]
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        match &mut self.tape {
            None => {}
            // What it gives follows from all that was before it.
            Some(Tape::Flight(recorder)) => recorder.note_poll(),
            Some(Tape::Lines(_)) => return self.poll_in_lines(),
        }
        self.inner.poll_action()
    }

    #[cold]
    fn poll_in_lines(&mut self) -> Option<Action> {
        let gave = self.inner.poll_action();
        self.note(|| Entry::PollAction { gave });
        gave
    }

    pub(crate) fn pause(&mut self, now: Instant, queue: QueueId) -> Result<(), NoQueue> {
        let gave = self.inner.pause(now, queue);
        self.note(|| Entry::Pause { now, queue, gave });
        gave
    }

    pub(crate) fn resume(&mut self, now: Instant, queue: QueueId) -> Result<(), NoQueue> {
        let gave = self.inner.resume(now, queue);
        self.note(|| Entry::Resume { now, queue, gave });
        gave
    }

    pub(crate) fn drain(&mut self, now: Instant, deadline: Instant) {
        self.inner.drain(now, deadline);
        self.note(|| Entry::Drain { now, deadline });
    }

    #[cfg(feature = "choice")]
    pub(crate) fn set_backlog(&mut self, count: u64) {
        self.inner.set_backlog(count);
        self.note(|| Entry::SetBacklog { count });
    }

    // These take it as `&mut`, and change nothing.

    pub(crate) fn attempt_timeout(&mut self, task: TaskId) -> Duration {
        self.inner.attempt_timeout(task)
    }

    pub(crate) fn deadline(&mut self, task: TaskId) -> Instant {
        self.inner.deadline(task)
    }
}

impl Deref for Scheduler {
    type Target = chargehand_core::Scheduler<Heap>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        match &mut self.tape {
            None => {}
            Some(Tape::Flight(recorder)) => recorder.finish(&self.inner),
            Some(Tape::Lines(tape)) => {
                let end = Entry::End { sum: tape.sum.0 };
                // Nobody is left to tell of an error; the record breaks off then.
                let _ = tape.write(&end).and_then(|()| tape.output.flush());
            }
        }
    }
}
