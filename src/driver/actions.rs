//! Carrying out what the scheduler decides.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::mem;
use core::num::NonZeroU32;
use core::task::Context;
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::{Action, Event, Link, Outcome, Reason, TaskId, Verdict};

use super::dialect::Speech;
use super::handshake::whole_millis;
use super::link::{Part, Quota, ReadProgress, SendError};
use super::liveness::Overdue;
use super::outgoing::Outgoing;
use super::peers::LinkState;
use super::task::{TaskPayload, Whose};
use super::untaken::charged_bytes;
use super::{ALL_QUEUES, Driver};
use crate::error::TaskError;
use crate::events::PoolEvent;
use crate::handler::in_process::AnyHands;
use crate::link::closing::Outbox;
use crate::link::erased::{AnyConnector, Kind, Reach};
use crate::link::reason::DisconnectReason;
use crate::mailbox::calls::Submit;
use crate::mailbox::result::TaskResult;
use crate::options::Window;
use crate::planted::planted;

/// How much is read of a link before it is judged. Where there is more, that is done later.
const LOOK_MESSAGES: usize = 4096;
const LOOK_BYTES: usize = 1 << 20;
/// So much later than it asked for is this future polled late: it was held up itself, and links are
/// judged in the next poll.
const LATE: Duration = Duration::from_millis(100);
/// How long a verdict is put off for that. A sleep, however short, lets the runtime see to its sockets.
const ONE_TURN: Duration = Duration::from_millis(10);

impl<T: Timer, K: Kind> Driver<T, K> {
    #[expect(clippy::inline_always, reason = "4 % of a range: decision 0010")]
    #[inline(always)]
    pub(crate) fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { link, task, attempt } => {
                if attempt > 1 {
                    self.tell_retried(link, task, attempt);
                }
                let millis =
                    if self.has_own_times { self.own_millis(link, task, attempt) } else { None };
                self.send(link, Outgoing::Request { task, attempt, millis });
                if self.tells_starts {
                    self.tell_started(link, task, attempt);
                }
            }
            Action::Finish { task, outcome, attempts } => {
                self.meter.on_finish(task, outcome, attempts, self.now);
                #[cfg(feature = "tracing")]
                if !self.traces.is_empty() {
                    self.end_last_attempt(task, outcome);
                }
                self.on_finish(task, outcome, attempts);
            }
            action => self.carry_out_other(action),
        }
    }

    /// Returns how many milliseconds an attempt that begins now has, where not as many as workers were told
    /// in their Welcome.
    fn own_millis(&mut self, link: Link, task: TaskId, attempt: u16) -> Option<NonZeroU32> {
        let millis = self.millis_of(task);
        #[cfg(feature = "tracing")]
        let millis = self.begin_attempt(link, (task, attempt), millis);
        #[cfg(not(feature = "tracing"))]
        let _ = (link, attempt);
        millis
    }

    fn millis_of(&mut self, task: TaskId) -> Option<NonZeroU32> {
        let left = self.scheduler.deadline(task).saturating_since(self.now);
        let span = self.scheduler.attempt_timeout(task).min(left);
        if span == self.scheduler.config().attempt_timeout {
            return None;
        }
        NonZeroU32::new(whole_millis(span).max(1))
    }

    /// Carries out what is not hot.
    fn carry_out_other(&mut self, action: Action) {
        match action {
            Action::Send { .. } | Action::Finish { .. } => unreachable!("`carry_out` has done it"),
            Action::Connect { link } => {
                let peer = self.peers.get_mut(link.worker());
                if let Reach::InProcess(_) = &peer.reach {
                    // Without either, one at a time, as with a worker elsewhere.
                    let window = match peer.options.window.or(self.limits.in_flight) {
                        Some(Window::Fixed(count)) => count,
                        // Nothing is on the way, and it runs all that it holds.
                        _ => 1,
                    };
                    return self.in_process_up(link, window);
                }
                peer.link = LinkState::Dialling(link);
                peer.entry.wake();
            }
            Action::Disconnect { link, reason } => self.on_disconnect(link, reason),
            Action::Withdraw { link, task, attempt } => {
                #[cfg(feature = "tracing")]
                if !self.traces.is_empty() {
                    self.end_withdrawn(task, attempt);
                }
                self.withdraw(link, task, attempt);
            }
            Action::Look { link, overdue } => self.look(link, overdue),
            Action::Ping { link } => self.on_ping(link),
            Action::Suspend { worker, until } => {
                let span = until.saturating_since(self.now);
                let peer = self.peers.get_mut(worker).label();
                self.events.tell(|| PoolEvent::Suspended { worker, peer, span });
            }
            Action::Gone { worker } => {
                self.meter.on_gone(worker.slot());
                let peer = self.peers.remove(worker);
                self.events.tell(|| PoolEvent::Gone { worker, peer });
            }
        }
    }

    /// Sends now if the link is up: one that broke a moment ago is lost to the scheduler soon.
    pub(crate) fn send(&mut self, link: Link, message: Outgoing) {
        let peer = self.peers.get_mut(link.worker());
        let (up, conn) = match &mut peer.link {
            LinkState::Up(up, conn) => (*up, conn),
            LinkState::InProcess(up) => {
                assert!(*up == link, "the scheduler knows which link is up");
                return self.hand_over(link, message);
            }
            _ => return,
        };
        assert!(up == link, "the scheduler knows which link is up");
        let was_dirty = conn.dirty;
        if let (Speech::Json(json), Outgoing::Request { .. }) = (&mut conn.speech, message) {
            json.note_asked(self.now);
        }
        let cx = &mut Context::from_waker(peer.entry.waker());
        match conn.send(cx, message, &self.tasks) {
            Ok(()) if was_dirty || !conn.dirty => {}
            Ok(()) => self.peers.dirty.push(link.worker().slot()),
            Err(error) => self.not_sent(link, error),
        }
    }

    /// Ends what could not be sent: the link, or that one task.
    pub(crate) fn not_sent(&mut self, link: Link, error: SendError) {
        match error {
            SendError::Over(reason) => self.hear_out(link, reason),
            SendError::Unfit { task, .. } if self.second_at(link, task).is_some() => {
                // It fits the worker that has the first attempt, which may be done there.
                let attempt = self.second_at(link, task).expect("just seen");
                let verdict = Verdict::Returned;
                let event = Event::Replied { link, task, attempt, verdict };
                self.settled &= self.scheduler.handle_event(self.now, event).is_err();
            }
            // Stale: its caller has just given it up.
            SendError::Unfit { task, why } => {
                if self.scheduler.cancel(self.now, task).is_ok() {
                    self.settled = false;
                    self.unfit.push((task, why));
                }
            }
        }
    }

    /// Returns the number of a task's second attempt, if a link's worker has it.
    fn second_at(&self, link: Link, task: TaskId) -> Option<u16> {
        let (worker, attempt) = self.scheduler.second_holder(task)?;
        (worker == link.worker()).then_some(attempt)
    }

    /// Ends a link that nothing can be sent on any more, once what lies in its wire is read: the worker may
    /// have answered before, and said why it leaves.
    fn hear_out(&mut self, link: Link, reason: DisconnectReason) {
        if let LinkState::Up(_, conn) = &mut self.peers.get_mut(link.worker()).link {
            conn.give_up();
        }
        let quota = &mut Quota { messages: LOOK_MESSAGES, bytes: LOOK_BYTES, reads_on: false };
        self.read(link.worker().slot(), quota);
        // Stale: it was over for what was read.
        self.lose(link, reason);
    }

    fn withdraw(&mut self, link: Link, task: TaskId, attempt: u16) {
        self.meter.on_withdrawn(link.worker().slot(), task, self.now);
        if self.unfit.iter().any(|(unfit, _)| *unfit == task) {
            return; // The worker never got it.
        }
        if !planted("a worker is not told to drop a task") {
            self.send(link, Outgoing::Cancel { task, attempt });
        }
        let LinkState::Up(_, conn) = &mut self.peers.get_mut(link.worker()).link else { return };
        let Speech::Json(json) = &mut conn.speech else { return };
        if json.withdraw(task, attempt) {
            // Stale: the scheduler gives the link up by itself.
            let _ = self.scheduler.handle_event(self.now, Event::Busy { link });
            self.check_overdue(link);
        }
    }

    /// Looks at a link that is about to be judged: what lies in its socket came in time, and bytes on
    /// their way speak for it.
    fn look(&mut self, link: Link, overdue: Option<TaskId>) {
        let slot = link.worker().slot();
        let is_late = self.now.saturating_since(self.due_by) > LATE;
        if matches!(self.peers.get_mut(link.worker()).link, LinkState::InProcess(_)) {
            return self.look_in_process(link, is_late);
        }
        let answers = |driver: &mut Self| match &driver.peers.get_mut(link.worker()).link {
            LinkState::Up(up, conn) if *up == link => Some(conn.answers()),
            _ => None,
        };
        let answers_before = answers(self);
        let quota = &mut Quota { messages: LOOK_MESSAGES, bytes: LOOK_BYTES, reads_on: false };
        // After an answer another attempt may be the oldest: that one is looked at anew.
        let has_more = self.read(slot, quota) == ReadProgress::More
            || overdue.is_some() && answers(self) != answers_before;
        if overdue.is_some_and(|task| self.scheduler.deadline(task) <= self.now) {
            // Its caller's time is up. That is nobody's fault, and nothing puts it off: the task just ends.
            return;
        }
        let overdue = overdue.map(|task| self.overdue(link, task));
        let limits = (self.limits.progress_rate_min, self.scheduler.config().heartbeat_timeout);
        let LinkState::Up(up, conn) = &mut self.peers.get_mut(link.worker()).link else { return };
        if *up != link {
            return;
        }
        if conn.is_paused() {
            return self.look_at_paused(link);
        }
        // A runtime that was held up knows only after its next turn what has come.
        let was_pardoned = mem::replace(&mut conn.life.is_pardoned, is_late);
        let is_pardoned = is_late && !was_pardoned;
        let (is_alive, put_off) = if has_more || is_pardoned {
            (conn.take_ping(), Some(self.now.saturating_add(ONE_TURN)))
        } else {
            conn.look(self.now, limits, overdue)
        };
        // An attempt that is not put off is judged, however alive its link is.
        if put_off.is_none() && (overdue.is_some() || !is_alive) {
            if let Some(reason) = self.why_at_once(link, overdue) {
                return self.lose(link, reason);
            }
        }
        // Stale: the link broke at this read.
        if is_alive {
            let _ = self.scheduler.handle_event(self.now, Event::Heard { link });
        }
        if let Some(until) = put_off {
            let _ = self.scheduler.handle_event(self.now, Event::Moving { link, until });
        }
    }

    /// As [`look`](Self::look), for a worker in this process: its handlers run when this future does, so
    /// what kept that kept them.
    fn look_in_process(&mut self, link: Link, is_late: bool) {
        self.peers.put_to_work(link.worker().slot());
        self.work_in_process();
        let peer = self.peers.get_mut(link.worker());
        let was_pardoned = mem::replace(&mut peer.is_pardoned, is_late);
        if is_late && !was_pardoned {
            let until = self.now.saturating_add(ONE_TURN);
            // Stale: it is about to leave the pool.
            let _ = self.scheduler.handle_event(self.now, Event::Moving { link, until });
        }
    }

    /// Speaks for a link that we do not read for lack of memory: what its worker says is behind that.
    /// The worker hears from us meanwhile, whose answers do not leave.
    fn look_at_paused(&mut self, link: Link) {
        let until = self.now.saturating_add(self.scheduler.config().heartbeat_interval);
        let heard = self.scheduler.handle_event(self.now, Event::Heard { link });
        let moving = self.scheduler.handle_event(self.now, Event::Moving { link, until });
        if heard.is_ok() && moving.is_ok() {
            self.on_ping(link);
        }
    }

    fn overdue(&mut self, link: Link, task: TaskId) -> Overdue {
        let worker = link.worker();
        let held = self.scheduler.worker_stats(worker).map_or(0, |stats| stats.in_flight);
        let peer = self.peers.get_mut(worker);
        let (runs, left) = (peer.waiting_behind(), peer.left_at(task));
        let attempt_timeout = self.scheduler.attempt_timeout(task);
        let config = self.scheduler.config();
        let (heartbeat_interval, is_strike) =
            (config.heartbeat_interval, attempt_timeout >= config.attempt_timeout);
        Overdue { task, held, runs, is_strike, left, attempt_timeout, heartbeat_interval }
    }

    /// Returns why a link is to end before the scheduler's verdict on it, which would end it as well:
    /// requests wait that never left. The scheduler does not know of those, and would blame them.
    fn why_at_once(&mut self, link: Link, overdue: Option<Overdue>) -> Option<DisconnectReason> {
        let config = self.scheduler.config();
        let strikes = self.scheduler.worker_stats(link.worker()).map_or(0, |stats| stats.strikes);
        let LinkState::Up(_, conn) = &self.peers.get_mut(link.worker()).link else { return None };
        conn.unsent().next()?;
        match overdue {
            None => conn.awaits_pong().then(|| DisconnectReason::silent(&config)),
            // Not the first of them, perhaps: one with times of its own is judged by those.
            Some(overdue) if conn.unsent().any(|task| task == overdue.task) => {
                Some(DisconnectReason::Stuck)
            }
            Some(Overdue { is_strike, .. }) => (is_strike
                && strikes + 1 >= config.strikes_max.into())
            .then_some(DisconnectReason::Strikes(config.strikes_max)),
        }
    }

    fn on_ping(&mut self, link: Link) {
        let lately = self.scheduler.config().heartbeat_interval / 2;
        match &mut self.peers.get_mut(link.worker()).link {
            LinkState::Up(_, conn) if !conn.speech.is_native() => {}
            LinkState::Up(_, conn) => {
                // One that has left in the middle of a message says as much.
                let since = if conn.is_arriving() { lately } else { Duration::ZERO };
                let is_new = conn.life.take_due_ping(self.now, since);
                conn.note_ping();
                if is_new {
                    self.send(link, Outgoing::Ping);
                }
                return;
            }
            _ => return self.send(link, Outgoing::Ping),
        }
        // That dialect has no ping. Its attempts' deadline is what finds a dead peer.
        let _ = self.scheduler.handle_event(self.now, Event::Heard { link });
        self.check_overdue(link);
    }

    /// Lets a worker hear of us while a message of its arrives in parts. The scheduler hears of those
    /// parts, and pings only now and then; but a worker whose message has left as far as it can see has
    /// nothing else that tells it that we live.
    pub(super) fn ping_meanwhile(&mut self, link: Link) {
        let interval = self.scheduler.config().heartbeat_interval;
        let LinkState::Up(_, conn) = &mut self.peers.get_mut(link.worker()).link else { return };
        if conn.speech.is_native() && conn.life.take_due_ping(self.now, interval) {
            self.send(link, Outgoing::Ping);
        }
    }

    fn check_overdue(&mut self, link: Link) {
        let timeout = self.scheduler.config().attempt_timeout;
        let LinkState::Up(_, conn) = &self.peers.get_mut(link.worker()).link else { return };
        let Speech::Json(json) = &conn.speech else { return };
        if let Err(reason) = json.check_overdue(self.now, timeout) {
            self.lose(link, reason);
        }
    }

    fn on_disconnect(&mut self, link: Link, reason: Reason) {
        let worker = link.worker();
        let why = DisconnectReason::of(reason, &self.scheduler.config());
        let Some(peer) = self.end_link(link, &why) else { return };
        match reason {
            Reason::ConnectTimeout => self.tell_refused(worker, why),
            Reason::Silent | Reason::Strikes => self.tell_lost(worker, why),
            Reason::Drained | Reason::Stopped => {
                self.events.tell(|| PoolEvent::Closed { worker, peer, reason: why });
            }
        }
    }

    /// Ends a link that the scheduler has given up already. Returns whose it was, if there is one.
    pub(crate) fn end_link(&mut self, link: Link, reason: &DisconnectReason) -> Option<Arc<str>> {
        let worker = link.worker();
        self.note_use(worker);
        self.note_parting(worker);
        let peer = self.peers.get_mut(worker);
        let wire = match mem::take(&mut peer.link) {
            LinkState::Idle => return None,
            LinkState::Dialling(_) => {
                if let Reach::Dial(connector) = &mut peer.reach {
                    connector.give_up();
                }
                None
            }
            LinkState::InProcess(_) => {
                if let Reach::InProcess(hands) = &mut peer.reach {
                    hands.withdraw_all();
                }
                None
            }
            LinkState::Greeting(_, wire, _) => Some((wire, Part::default())),
            LinkState::Up(_, conn) => Some(conn.into_wire()),
        };
        self.answers.arrivals.queue.forget(worker.slot());
        let label = peer.label();
        if !planted("a window stays after its link") {
            self.peers.set_window(worker, 0);
        }
        if let Some((wire, part)) = wire {
            self.part(wire, part, reason);
        }
        Some(label)
    }

    /// Closes a wire in good order, with a last word where there is one to say.
    pub(crate) fn part(&mut self, wire: Box<K::Wire>, part: Part, reason: &DisconnectReason) {
        let leaving = (wire, Outbox::new(), part);
        self.closing.close(leaving, reason, self.now, &self.ready, &mut drop);
    }

    fn tell_retried(&mut self, link: Link, task: TaskId, attempt: u16) {
        let height = self.height_of(task);
        let peer = self.peers.get_mut(link.worker()).label();
        if self.scheduler.second_holder(task) == Some((link.worker(), attempt)) {
            self.meter.on_hedged(task, self.now);
            return self.events.tell(|| PoolEvent::Hedged { task, height, attempt, peer });
        }
        self.events.tell(|| PoolEvent::Retried { task, height, attempt, peer });
    }

    #[inline]
    fn on_finish(&mut self, task: TaskId, outcome: Outcome, attempts: u16) {
        let payload = &mut self.tasks[task.slot() as usize].payload;
        match *payload {
            TaskPayload::Height { height, job, .. } if outcome == Outcome::Done => {
                *payload = TaskPayload::None;
                self.jobs.done(job, height, task, &mut self.answers, &self.tasks);
            }
            TaskPayload::Request { whose: Whose::Call { call, .. }, .. }
                if outcome == Outcome::Done
                    && self.keys.is_empty()
                    && self.answers.peek(task).charged_bytes() == 0 =>
            {
                *payload = TaskPayload::None;
                self.answer_call(call, task);
            }
            _ => self.on_other_finish(task, outcome, attempts),
        }
    }

    fn on_other_finish(&mut self, task: TaskId, outcome: Outcome, attempts: u16) {
        let mut result: TaskResult = match outcome {
            Outcome::Done => Ok(self.answers.take(task)),
            other => {
                let error = self.no_answer(task, other, attempts);
                self.note_end(self.height_of(task), &error);
                Err(error.into())
            }
        };
        match mem::take(&mut self.tasks[task.slot() as usize].payload) {
            TaskPayload::Height { height, job, .. } => {
                self.on_height(job, height.to_index(), result);
            }
            TaskPayload::Request { body, whose: Whose::Item { place, job } } => {
                let index = self.jobs.leave_place(job, place);
                match result {
                    Ok(answer) => self.jobs.done_with(job, (index, body), answer, &self.tasks),
                    Err(_) => self.on_height(job, index, result),
                }
            }
            TaskPayload::Request { body, whose: Whose::Call { call, check } } => {
                let bytes = charged_bytes(&result);
                let is_shared = !self.keys.is_empty() && self.keys.has_followers(task);
                let is_held_back = bytes > 0 && !is_shared && self.is_to_wait(call, bytes);
                if !self.keys.is_empty() {
                    let followers = self.keys.end(task);
                    self.end_followers(&followers, &mut result);
                }
                if is_held_back {
                    drop(result);
                    return self.hold_back(Submit::again(body, call, check), bytes);
                }
                self.end_call(call, result);
                if !self.held_back.is_empty() {
                    self.submitted = ALL_QUEUES;
                }
            }
            TaskPayload::None => unreachable!("a task has a payload until it is finished"),
        }
    }

    /// Returns why a task has no answer.
    fn no_answer(&mut self, task: TaskId, outcome: Outcome, attempts: u16) -> TaskError {
        if outcome != Outcome::Failed && !self.misfits.is_empty() {
            if let Some(why) = self.misfits.take(task) {
                if matches!(outcome, Outcome::Exhausted | Outcome::Bounced) {
                    return TaskError::Answer(why);
                }
            }
        }
        match outcome {
            Outcome::Done => unreachable!("the caller takes the answer"),
            Outcome::Failed => {
                let failure = self.answers.take(task).into_failure();
                self.misfits.take(task).map_or(TaskError::Failed(failure), TaskError::Answer)
            }
            Outcome::Exhausted => TaskError::Exhausted { attempts: attempts.into() },
            Outcome::Bounced => TaskError::Bounced { sends: attempts.into() },
            Outcome::Cancelled => match self.unfit.iter().position(|(unfit, _)| *unfit == task) {
                Some(index) => TaskError::Request(self.unfit.swap_remove(index).1),
                None => TaskError::Cancelled,
            },
            Outcome::Aborted => TaskError::Aborted,
            Outcome::TimedOut => TaskError::TimedOut,
        }
    }
}
