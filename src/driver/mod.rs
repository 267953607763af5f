//! The pool's one future: it polls what was woken, feeds the scheduler and carries out its actions.
//!
//! Nothing is spawned. One poll does a bounded amount of work:
//!
//! 1. read the clock, leave the waker and take the list of what is ready (`ready.rs`), if there is any;
//! 2. for each ready source: read a bounded number of messages into the
//!    scheduler, carry out what follows, write once (`workers.rs`, `link/`; newcomers in `accept.rs`);
//! 3. take what handles left (`inbox.rs`), let ranges put heights in (`ranges/`);
//! 4. carry out the rest, hand outcomes over, look for answers that are there already;
//! 5. go on with the handlers of this process that were woken (`in_process.rs`), and carry out what
//!    follows;
//! 6. call back those who asked for that;
//! 7. sleep until the next deadline.

mod accept;
mod actions;
mod answers;
#[cfg(feature = "testing")]
mod check;
mod crowd;
mod dialect;
#[cfg(feature = "std")]
pub(crate) mod explain;
mod fanout;
mod flushing;
mod handshake;
mod hosts;
mod in_process;
mod inbox;
#[cfg(feature = "json")]
mod json;
mod keys;
mod link;
mod liveness;
#[cfg(feature = "std")]
mod meter;
mod outgoing;
mod peers;
mod progress;
mod ranges;
mod served;
mod setup;
mod starts;
mod stats;
mod task;
#[cfg(feature = "tracing")]
mod traces;
mod type_check;
#[cfg(not(feature = "std"))]
mod unmetered;
mod untaken;
mod watch;
mod workers;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use async_channel::Sender;
#[cfg(all(test, feature = "testing"))]
use chargehand_core::Config;
use chargehand_core::io::Timer;
use chargehand_core::{Instant, TaskId};

use self::accept::Joining;
use self::answers::Answers;
use self::fanout::Fanout;
use self::handshake::ManagerTerms;
use self::keys::TaskKeys;
use self::link::{Part, Quota};
#[cfg(feature = "std")]
use self::meter::Meter;
use self::peers::Peers;
pub(crate) use self::peers::id_at_start;
use self::ranges::Jobs;
pub(crate) use self::setup::{Ring, Setup};
use self::starts::Watches;
use self::task::TaskEntry;
use self::type_check::Misfits;
#[cfg(not(feature = "std"))]
use self::unmetered::Meter;
use crate::events::PoolEvent;
use crate::handler::in_process::{Attempt, Ended};
use crate::limits::Limits;
use crate::link::alarm::Alarm;
use crate::link::closing::ClosingTable;
use crate::link::erased::{Kind, Threaded};
use crate::link::quota::{MESSAGES_ALONE, messages_each};
use crate::link::read_on::ReadOn;
use crate::link::ready::{Entry, ReadySet, SOURCES_PER_POLL};
use crate::link::token::Token;
use crate::link::watch::Watch;
use crate::mailbox::callback::Due;
use crate::mailbox::calls::{CallId, Special, Submit};
use crate::mailbox::result::TaskResult;
use crate::mailbox::{Ends, wake_all};
use crate::payload::Answer;
use crate::planted::planted;
#[cfg(feature = "record")]
use crate::record::Scheduler;
use crate::stats::{PoolStats, WorkerInfo};
use crate::unwind::unwound;

/// How many scheduler actions one poll carries out before it yields.
const ACTIONS_PER_POLL: usize = 16_384;
/// How many bytes of messages one poll reads before it hands over what came; one more message may
/// go past that. So long answers are freed, and their memory used again, before more of them come.
const BYTES_PER_POLL: usize = 64 << 10;

/// A bit for each queue that there may be.
const ALL_QUEUES: u64 = u64::MAX;

/// How many outcomes of calls wait for the end of a turn. Other threads should not wait for long.
const OUTCOMES_HELD: usize = 64;

/// The core's scheduler; with the feature `record` in a shell that can write down what it is told.
#[cfg(not(feature = "record"))]
type Scheduler = chargehand_core::Scheduler<chargehand_core::Heap>;

/// The future that drives a pool. It completes when the pool is stopped, or when every handle is
/// dropped and what was accepted is done, or `drain_timeout` later.
///
/// Spawn it, select on it or block on it. Dropping it closes all links at once and answers every
/// task with [`TaskError::Closed`](crate::TaskError::Closed).
#[must_use = "a pool does nothing until its driver is polled"]
#[allow(clippy::struct_excessive_bools, reason = "each is about something else")]
pub struct Driver<T: Timer, K: Kind = Threaded> {
    timer: T,
    now: Instant,
    alarm: Alarm<T>,
    /// When the alarm was to go off.
    due_by: Instant,
    ready: ReadySet,
    batch: Vec<u32>,
    doorbell: Entry,
    /// Something but tasks was left in the inbox or the control channel.
    rung: bool,
    /// In which queues of the inbox there may be submitted tasks, a bit for each.
    submitted: u64,
    scheduler: Scheduler,
    /// What the scheduler's tasks are, by slot.
    tasks: Box<[TaskEntry]>,
    answers: Answers,
    /// Tasks whose request cannot be sent, and why, on their way to their outcome.
    unfit: Vec<(TaskId, String)>,
    misfits: Misfits,
    peers: Peers<K>,
    read_on: ReadOn,
    joining: Joining<K>,
    closing: ClosingTable<K::Wire, Part>,
    watch: Watch,
    jobs: Jobs,
    /// How far ahead of its stream a range goes, where it does not say so itself.
    counted_max: usize,
    ends: Ends<K>,
    /// By the place of a call, the slot of its task, if it is one.
    accepted: Vec<u32>,
    /// By the place of a call, how it is done, where not as the pool says.
    specials: BTreeMap<usize, Special>,
    /// Keys that are in use.
    keys: TaskKeys,
    watches: Watches,
    progress: progress::Told,
    /// What a worker that is back still holds and is to drop. Empty but for the moment.
    unwanted: Vec<(TaskId, u16)>,
    /// There are some of either.
    has_asides: bool,
    /// Somebody wants to know when a worker takes a task.
    wants_starts: bool,
    /// That, or it is measured.
    tells_starts: bool,
    /// Some task had times of its own: the scheduler is asked for those of each that is sent.
    has_own_times: bool,
    /// When the first call that is queued is over.
    queue_due: Instant,
    /// Outcomes of calls on their way out, and whom to wake for them. Empty but for the moment.
    outcomes: Vec<(CallId, TaskResult)>,
    wakers: VecDeque<Waker>,
    /// Callbacks on their way out. Empty but within a poll.
    callbacks: VecDeque<Due>,
    /// Submitted tasks on their way into the scheduler. Empty but for the moment.
    batch_in: VecDeque<Submit>,
    /// Calls that nobody has asked the outcome of, while there is no room for that, and how many bytes
    /// it had: see `untaken.rs`.
    held_back: VecDeque<(Submit, usize)>,
    /// The latest task was a submitted one: so that neither these nor ranges keep the others out.
    ranges_first: bool,
    /// How many tasks of ranges the scheduler was told that there are besides those that it has.
    #[cfg(feature = "choice")]
    backlog: u64,
    opening: Arc<ManagerTerms>,
    limits: Limits,
    events: Fanout,
    meter: Meter,
    /// Each with whether outcomes are to be taken, too.
    idlers: Vec<(Sender<()>, bool)>,
    /// Why does what wait? For when there is nothing left to do.
    #[cfg(feature = "std")]
    questions: Vec<explain::Question>,
    stoppers: Vec<Sender<PoolStats>>,
    /// Attempts whose tasks belong to a trace.
    #[cfg(feature = "tracing")]
    traces: traces::Traces,
    /// The workers as the pool stopped, by slot.
    parting: Vec<WorkerInfo>,
    /// Everything that has happened in this poll is carried out.
    settled: bool,
    /// How many more actions this poll may carry out.
    budget: usize,
    /// What handlers in this process ended with, on its way to the scheduler.
    ended: Vec<Ended>,
    /// Second attempts in this process, and the numbers that their workers gave them.
    second_runs: Vec<(Attempt, u32)>,
    finished: bool,
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns the scheduler's policies.
    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn config(&self) -> Config {
        self.scheduler.config()
    }

    /// Returns what tells this run of the manager from others.
    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn token(&self) -> u64 {
        self.limits.token
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        assert!(!self.finished, "polled after completion");
        self.now = self.timer.now();
        self.budget = ACTIONS_PER_POLL;
        self.settled = false;
        self.scheduler.handle_timeout(self.now);
        let mut quota = Quota { messages: MESSAGES_ALONE, bytes: BYTES_PER_POLL, reads_on: true };
        self.serve_listed(cx, &mut quota);
        self.on_due();
        self.take_in();
        self.settle();
        if !self.read_on.is_empty() {
            self.look_for_answers(&mut quota);
        }
        if self.work_in_process() {
            self.settle();
            self.read_on.clear();
            self.work_later();
        }
        #[cfg(feature = "tracing")]
        if !self.traces.is_empty() {
            self.end_attempts();
        }
        if self.answers.arrivals.queue.has_news() {
            self.read_on_with_room();
        }
        if !self.callbacks.is_empty() {
            self.call_back();
        }
        if !self.idlers.is_empty() {
            self.tell_waiters();
        }
        #[cfg(feature = "std")]
        if !self.questions.is_empty() && self.settled {
            self.answer_questions();
        }
        if self.scheduler.is_drained() && self.closing.is_empty() {
            self.finish();
            return Poll::Ready(());
        }
        self.set_alarm();
        Poll::Pending
    }

    /// Serves what is in the ready list.
    fn serve_listed(&mut self, cx: &mut Context<'_>, quota: &mut Quota) {
        let mut batch = mem::take(&mut self.batch);
        let more = self.ready.take(cx.waker(), SOURCES_PER_POLL, &mut batch);
        quota.messages = messages_each(&batch);
        quota.reads_on = self.read_on.begin(batch.len());
        let mut tokens = batch.drain(..);
        for token in tokens.by_ref() {
            self.on_ready(token.into(), quota);
            if quota.bytes == 0 {
                break;
            }
        }
        let more = self.ready.give_back(tokens) || more;
        self.batch = batch;
        if more {
            cx.waker().wake_by_ref();
        }
    }

    fn on_ready(&mut self, token: Token, quota: &mut Quota) {
        self.settled = false;
        match token {
            Token::Doorbell => {
                self.doorbell.clear();
                self.rung |= self.ends.post.is_rung();
                self.submitted = ALL_QUEUES;
                // What was taken may be what they wait for.
                self.answers.arrivals.queue.note_news();
                if self.jobs.are_short() {
                    self.jobs.look_again();
                }
            }
            Token::Link(slot) => self.on_peer(slot, quota),
            token => self.on_other(token),
        }
    }

    /// Goes on with what is not hot.
    fn on_other(&mut self, token: Token) {
        match token {
            Token::Doorbell | Token::Link(_) => unreachable!("`on_ready` has served it"),
            Token::Alarm => self.alarm.on_wake(),
            Token::Listener(index) => self.on_listener(index),
            Token::Newcomer(index) => self.on_handshake(index),
            Token::Closing(index) => self.closing.on_ready(index, &mut drop),
            Token::Run(_) => unreachable!("handlers in this process are listed by their workers"),
        }
    }

    /// Ends what has outlived its time, but for what the scheduler watches itself.
    fn on_due(&mut self) {
        if self.queue_due <= self.now && !planted("a queued call has no deadline") {
            self.queue_due = self.ends.post.expire(self.now, &mut self.wakers, &mut self.callbacks);
            self.tidy_asides();
        }
        if !self.joining.is_quiet() {
            self.drop_late_handshakes();
        }
        if !self.closing.is_empty() {
            self.closing.drop_due(self.now, &mut drop);
        }
        if self.watch.due() <= self.now {
            self.look_at_trusts();
        }
        if self.progress.due <= self.now {
            self.hear_in_process();
        }
    }

    /// Carries out the rest, writes, and hands outcomes over.
    fn settle(&mut self) {
        loop {
            if !self.settled {
                self.turn();
            }
            // This may lose a link, whose tasks then go elsewhere.
            self.flush_all();
            // What the streams took meanwhile makes room for more heights.
            if self.deliver() {
                self.settled = false;
            }
            if self.settled {
                return;
            }
            if self.budget <= 1 {
                self.doorbell.wake();
                return;
            }
        }
    }

    /// Fills the scheduler with what waits outside, and carries out its actions.
    fn turn(&mut self) {
        self.carry_out_all();
        self.settle_calls();
    }

    fn carry_out_all(&mut self) {
        let mut is_first = true;
        // What is carried out may make room for more.
        while self.admit() || mem::take(&mut is_first) {
            is_first = false;
            while let Some(action) = self.scheduler.poll_action() {
                self.carry_out(action);
                self.budget -= 1;
                if self.budget == 0 {
                    // Others want the thread, too. The rest comes in the next poll.
                    self.budget = 1;
                    self.doorbell.wake();
                    return;
                }
            }
        }
        self.settled = true;
    }

    /// Ends a call with its answer, which goes straight to where it waits for its caller: decision 0010.
    #[inline]
    fn answer_call(&mut self, call: CallId, task: TaskId) {
        // What `push` adds is put together on the stack first.
        self.outcomes.resize_with(self.outcomes.len() + 1, || (call, Ok(Answer::EMPTY)));
        if let Some((_, Ok(answer))) = self.outcomes.last_mut() {
            self.answers.swap(task, answer);
        }
        self.note_outcome(call);
        if !self.held_back.is_empty() {
            self.submitted = ALL_QUEUES;
        }
    }

    /// Ends a call, at the end of this turn or once many have ended.
    fn end_call(&mut self, call: CallId, result: TaskResult) {
        self.outcomes.push((call, result));
        self.note_outcome(call);
    }

    #[inline]
    fn note_outcome(&mut self, call: CallId) {
        if self.has_asides {
            self.end_asides(call);
        }
        if self.outcomes.len() >= OUTCOMES_HELD {
            self.settle_calls();
        }
    }

    /// Leaves the outcomes of calls for their callers.
    fn settle_calls(&mut self) {
        if !self.outcomes.is_empty() {
            self.ends.post.settle(&mut self.outcomes, &mut self.wakers, &mut self.callbacks);
        }
    }

    /// Runs callbacks: the user's code, once everything else in the poll is done, so that links do not wait
    /// for it.
    fn call_back(&mut self) {
        while let Some(due) = self.callbacks.pop_front() {
            if let Err(text) = unwound(|| due.call()) {
                self.events.tell(|| PoolEvent::CallbackPanicked { text });
            }
        }
    }

    /// Has the links polled that waited for room, as far as there is some now.
    fn read_on_with_room(&mut self) {
        for slot in self.answers.arrivals.take_news() {
            if let Some(peer) = self.peers.at(slot) {
                peer.entry.wake();
            }
        }
    }

    fn set_alarm(&mut self) {
        let mut next = self.scheduler.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        if !self.joining.is_quiet() {
            next = next.min(self.joining.next_due().unwrap_or(next));
        }
        next = next.min(self.queue_due).min(self.watch.due()).min(self.progress.due);
        if !self.closing.is_empty() {
            next = next.min(self.closing.next_due().unwrap_or(next));
        }
        self.due_by = next;
        if !planted("the alarm is not set while a link closes") || self.closing.is_empty() {
            self.alarm.set(&self.timer, next);
        }
    }

    fn tell_waiters(&mut self) {
        // A pool that is never idle is not to keep those who gave up.
        self.idlers.retain(|(waiter, _)| !waiter.is_closed());
        let post = &self.ends.post;
        let is_idle = self.scheduler.is_idle() && self.jobs.is_idle() && self.held_back.is_empty();
        if is_idle && post.queued() == 0 {
            let awaits = self.idlers.iter().any(|(_, taken)| *taken);
            post.await_taken(awaits);
            let are_taken = awaits && post.are_all_taken();
            self.idlers.retain(|(waiter, taken)| {
                let is_over = are_taken || !taken;
                if is_over {
                    let _ = waiter.try_send(());
                }
                !is_over
            });
        }
        post.await_taken(self.idlers.iter().any(|(_, taken)| *taken));
    }

    /// Answers whoever waits for the end, and leaves nobody waiting for anything else.
    fn finish(&mut self) {
        self.finished = true;
        let mut workers = mem::take(&mut self.parting);
        for worker in &mut workers {
            // One that was away when the pool stopped held something then.
            worker.stats.in_flight = 0;
        }
        let stats = PoolStats { workers, ..self.stats() };
        self.let_go();
        for stopper in mem::take(&mut self.stoppers) {
            let _ = stopper.try_send(stats.clone());
        }
    }

    /// Answers what is still to be answered with "closed".
    fn let_go(&mut self) {
        self.ends.control.close();
        while self.ends.control.try_recv().is_ok() {}
        // Left if a waker panicked.
        wake_all(&mut self.wakers);
        self.settle_calls();
        let (mail, submits) = self.ends.post.close(&mut self.wakers, &mut self.callbacks);
        drop(submits);
        self.call_back();
        self.held_back.clear();
        for mut job in mail.jobs {
            job.giver.end();
        }
        self.jobs.end_all();
        for entry in &mut self.tasks {
            *entry = TaskEntry::default();
        }
        self.answers.clear();
        self.keys.clear();
        self.idlers.clear();
        #[cfg(feature = "std")]
        self.questions.clear();
        self.watches.clear();
    }
}

/// Nothing in it is pinned in place.
impl<T: Timer, K: Kind> Unpin for Driver<T, K> {}

impl<T: Timer, K: Kind> Future for Driver<T, K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.poll_once(cx);
        #[cfg(feature = "record")]
        if let Some(why) = self.scheduler.hand_over() {
            self.events.tell(|| PoolEvent::Unrecorded { why });
        }
        polled
    }
}

impl<T: Timer, K: Kind> Drop for Driver<T, K> {
    fn drop(&mut self) {
        if !self.finished {
            self.deliver();
            self.let_go();
        }
    }
}

impl<T: Timer, K: Kind> fmt::Debug for Driver<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("stats", &self.scheduler.stats()).finish_non_exhaustive()
    }
}
