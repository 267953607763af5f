//! Carrying out what the scheduler decides.

use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use core::mem;
use core::task::Context;
use core::time::Duration;

use chargehand_core::io::{Dialect, Timer};
use chargehand_core::message::Code;
use chargehand_core::{Action, Event, Link, Outcome, Reason, TaskId};

use super::closing::Farewell;
use super::link::{Outgoing, Progress, Quota, SendError};
use super::untaken::is_charged;
use super::workers::Line;
use super::{Driver, Payload, Whose};
use crate::error::TaskError;
use crate::events::PoolEvent;
use crate::handler::in_process::AnyHands;
use crate::link::erased::{AnyConnector, AnyWire, Kind, Reach};
use crate::mailbox::TaskResult;
use crate::mailbox::calls::Submit;

/// How much is read of a link before it is judged. Where there is more, that is done later.
const LOOK_MESSAGES: usize = 4096;
const LOOK_BYTES: usize = 1 << 20;
/// So much later than it asked for is this future polled late: it was held up itself, and links are
/// judged in the next poll.
const LATE: Duration = Duration::from_millis(100);
/// How long a verdict is put off for that. A sleep, however short, lets the runtime see to its sockets.
const ONE_TURN: Duration = Duration::from_millis(10);

impl<T: Timer, K: Kind> Driver<T, K> {
    #[inline]
    pub(crate) fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { link, task, attempt } => {
                if attempt > 1 {
                    self.tell_retried(link, task, attempt);
                }
                self.send(link, Outgoing::Request { task, attempt });
            }
            Action::Finish { task, outcome, attempts } => self.on_finish(task, outcome, attempts),
            action => self.carry_out_other(action),
        }
    }

    /// Carries out what is not hot.
    #[cold]
    fn carry_out_other(&mut self, action: Action) {
        match action {
            Action::Send { .. } | Action::Finish { .. } => unreachable!("`carry_out` has done it"),
            Action::Connect { link } => {
                let peer = self.peers.get_mut(link.worker());
                if let Reach::InProcess(hands) = &peer.reach {
                    let window = hands.window();
                    return self.in_process_up(link, window);
                }
                peer.line = Line::Dialling(link);
                peer.entry.wake();
            }
            Action::Disconnect { link, reason } => self.on_disconnect(link, reason),
            Action::Withdraw { link, task, attempt } => self.withdraw(link, task, attempt),
            Action::Look { link, overdue } => self.look(link, overdue),
            Action::Ping { link } => self.on_ping(link),
            Action::Rest { worker, until } => {
                let span = until.saturating_since(self.now);
                let peer = self.peers.get_mut(worker).label();
                self.events.tell(|| PoolEvent::Rested { worker, peer, span });
            }
            Action::Gone { worker } => {
                let peer = self.peers.remove(worker);
                self.events.tell(|| PoolEvent::Gone { worker, peer });
            }
        }
    }

    /// Sends now if the link is up: one that broke a moment ago is lost to the scheduler soon.
    pub(crate) fn send(&mut self, link: Link, message: Outgoing) {
        let peer = self.peers.get_mut(link.worker());
        let (up, conn) = match &mut peer.line {
            Line::Up(up, conn) => (*up, conn),
            Line::InProcess(up) => {
                assert!(*up == link, "the scheduler knows which link is up");
                return self.hand_over(link, message);
            }
            _ => return,
        };
        assert!(up == link, "the scheduler knows which link is up");
        let was_dirty = conn.dirty;
        #[cfg(feature = "json")]
        if let Outgoing::Request { .. } = message {
            conn.json.asked = self.now;
        }
        let cx = &mut Context::from_waker(peer.entry.waker());
        match conn.send(cx, message, &self.tasks) {
            Ok(()) if was_dirty || !conn.dirty => {}
            Ok(()) => self.peers.dirty.push(link.worker().slot()),
            Err(error) => self.not_sent(link, error),
        }
    }

    /// Ends what could not be sent: the link, or that one task.
    #[cold]
    pub(crate) fn not_sent(&mut self, link: Link, error: SendError) {
        match error {
            SendError::Over(ending) => self.lose(link, ending),
            // Stale: its caller has just given it up.
            SendError::Unfit { task, why } => {
                if self.scheduler.cancel(self.now, task).is_ok() {
                    self.settled = false;
                    self.unfit.push((task, why));
                }
            }
        }
    }

    fn withdraw(&mut self, link: Link, task: TaskId, attempt: u16) {
        if self.unfit.iter().any(|(unfit, _)| *unfit == task) {
            return; // The worker never got it.
        }
        self.send(link, Outgoing::Cancel { task, attempt });
        #[cfg(feature = "json")]
        if let Line::Up(_, conn) = &mut self.peers.get_mut(link.worker()).line {
            if conn.json.withdraw(task, attempt) {
                // Stale: the scheduler gives the link up by itself.
                let _ = self.scheduler.handle_event(self.now, Event::Busy { link });
                self.check_overdue(link);
            }
        }
    }

    /// Looks at a link that is about to be judged: what lies in its socket came in time, and bytes on
    /// their way speak for it.
    fn look(&mut self, link: Link, overdue: bool) {
        let slot = link.worker().slot();
        if matches!(self.peers.get_mut(link.worker()).line, Line::InProcess(_)) {
            return;
        }
        let is_late = self.now.saturating_since(self.due_by) > LATE;
        let quota = &mut Quota { messages: LOOK_MESSAGES, bytes: LOOK_BYTES, reads_on: false };
        let has_more = self.read(slot, quota) == Progress::More;
        let Line::Up(up, conn) = &mut self.peers.get_mut(link.worker()).line else { return };
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
            let held =
                self.scheduler.worker_stats(link.worker()).map_or(0, |stats| stats.in_flight);
            let config = self.scheduler.config();
            let overdue = overdue.then_some((held, config.attempt_timeout));
            let limits = (self.limits.progress_rate_min, config.heartbeat_timeout);
            conn.look(self.now, limits, overdue)
        };
        // Stale: the link broke at this read.
        if is_alive {
            let _ = self.scheduler.handle_event(self.now, Event::Heard { link });
        }
        if let Some(until) = put_off {
            let _ = self.scheduler.handle_event(self.now, Event::Moving { link, until });
        }
    }

    /// Speaks for a link that we do not read for lack of memory: what its worker says is behind that.
    /// The worker hears from us meanwhile, whose answers do not leave.
    #[cold]
    fn look_at_paused(&mut self, link: Link) {
        let until = self.now.saturating_add(self.scheduler.config().heartbeat_interval);
        let heard = self.scheduler.handle_event(self.now, Event::Heard { link });
        let moving = self.scheduler.handle_event(self.now, Event::Moving { link, until });
        if heard.is_ok() && moving.is_ok() {
            self.on_ping(link);
        }
    }

    fn on_ping(&mut self, link: Link) {
        match &mut self.peers.get_mut(link.worker()).line {
            Line::Up(_, conn) if conn.wire.dialect() == Dialect::Json => {}
            Line::Up(_, conn) => {
                conn.note_ping();
                return self.send(link, Outgoing::Ping);
            }
            _ => return self.send(link, Outgoing::Ping),
        }
        // That dialect has no ping. Its attempts' deadline is what finds a dead peer.
        let _ = self.scheduler.handle_event(self.now, Event::Heard { link });
        #[cfg(feature = "json")]
        self.check_overdue(link);
    }

    #[cfg(feature = "json")]
    fn check_overdue(&mut self, link: Link) {
        let timeout = self.scheduler.config().attempt_timeout;
        let Line::Up(_, conn) = &self.peers.get_mut(link.worker()).line else { return };
        if let Err(ending) = conn.json.check_overdue(self.now, timeout) {
            self.lose(link, ending);
        }
    }

    fn on_disconnect(&mut self, link: Link, reason: Reason) {
        let (code, why) = match reason {
            Reason::ConnectTimeout => {
                (Code::Timeout, "connecting took longer than connect_timeout")
            }
            Reason::Silent => {
                (Code::Timeout, "silent for heartbeat_interval, then no answer to a ping")
            }
            Reason::Strikes => {
                (Code::Timeout, "too many tasks in a row took longer than attempt_timeout")
            }
            Reason::Drained => (Code::Stopped, "drained"),
            Reason::Stopped => (Code::Stopped, "the manager stops"),
        };
        let farewell = Some(Farewell { code, text: why.to_owned() });
        let Some(peer) = self.end_link(link, farewell) else { return };
        let (worker, why) = (link.worker(), why.to_owned());
        match reason {
            Reason::ConnectTimeout => self.tell_refused(worker, why),
            Reason::Silent | Reason::Strikes => self.tell_lost(worker, why),
            Reason::Drained | Reason::Stopped => {
                self.events.tell(|| PoolEvent::Closed { worker, peer, why });
            }
        }
    }

    /// Ends a link that the scheduler has given up already. Returns whose it was, if there is one.
    pub(crate) fn end_link(&mut self, link: Link, farewell: Option<Farewell>) -> Option<Arc<str>> {
        let worker = link.worker();
        self.note_use(worker);
        let peer = self.peers.get_mut(worker);
        let wire = match mem::take(&mut peer.line) {
            Line::Idle => return None,
            Line::Dialling(_) => {
                if let Reach::Dial(connector) = &mut peer.reach {
                    connector.give_up();
                }
                None
            }
            Line::InProcess(_) => {
                if let Reach::InProcess(hands) = &mut peer.reach {
                    hands.withdraw_all();
                }
                None
            }
            Line::Greeting(_, wire, _) => Some((wire, None)),
            Line::Up(_, conn) => Some(conn.into_wire()),
        };
        self.answers.arrivals.queue.forget(worker.slot());
        let label = peer.label();
        self.peers.set_window(worker, 0);
        if let Some((wire, charge)) = wire {
            self.closing.close(wire, farewell, charge, self.now, &self.ready);
        }
        Some(label)
    }

    #[cold]
    fn tell_retried(&mut self, link: Link, task: TaskId, attempt: u16) {
        let height = match self.tasks[task.slot() as usize].payload {
            Payload::Height { height, .. } => Some(height.into()),
            Payload::Request { whose: Whose::Item { place, job }, .. } => {
                Some(self.jobs.index_of(job, place).into())
            }
            _ => None,
        };
        let peer = self.peers.get_mut(link.worker()).label();
        self.events.tell(|| PoolEvent::Retried { task, height, attempt, peer });
    }

    #[inline]
    fn on_finish(&mut self, task: TaskId, outcome: Outcome, attempts: u16) {
        let payload = &mut self.tasks[task.slot() as usize].payload;
        match *payload {
            Payload::Height { height, job } if outcome == Outcome::Done => {
                *payload = Payload::None;
                self.jobs.done(job, height, task, &mut self.answers, &self.tasks);
            }
            _ => self.on_other_finish(task, outcome, attempts),
        }
    }

    #[inline(never)]
    fn on_other_finish(&mut self, task: TaskId, outcome: Outcome, attempts: u16) {
        let result: TaskResult = match outcome {
            Outcome::Done => Ok(self.answers.take(task)),
            other => Err(self.no_answer(task, other, attempts)),
        };
        match mem::take(&mut self.tasks[task.slot() as usize].payload) {
            Payload::Height { height, job } => self.on_height(job, height.to_index(), result),
            Payload::Request { body, whose: Whose::Item { place, job } } => {
                let index = self.jobs.leave_place(job, place);
                match result {
                    Ok(answer) => self.jobs.done_with(job, (index, body), answer, &self.tasks),
                    Err(_) => self.on_height(job, index, result),
                }
            }
            Payload::Request { body, whose: Whose::Call { call, check } } => {
                if is_charged(&result) && self.is_to_wait(call) {
                    drop(result);
                    return self.hold_back(Submit::again(body, call, check));
                }
                self.end_call(call, result);
                self.submitted |= !self.held_back.is_empty();
            }
            Payload::None => unreachable!("a task has a payload until it is finished"),
        }
    }

    /// Returns why a task has no answer.
    #[cold]
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
                let text = self.answers.take(task).into_text();
                self.misfits.take(task).map_or(TaskError::Failed(text), TaskError::Answer)
            }
            Outcome::Exhausted => TaskError::Exhausted { attempts: attempts.into() },
            Outcome::Bounced => TaskError::Bounced { sends: attempts.into() },
            Outcome::Cancelled => match self.unfit.iter().position(|(unfit, _)| *unfit == task) {
                Some(index) => TaskError::Request(self.unfit.swap_remove(index).1),
                None => TaskError::Cancelled,
            },
            Outcome::Aborted => TaskError::Aborted,
        }
    }
}
