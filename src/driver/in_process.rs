//! Workers in this process: their handlers run here, within the driver's own future.

use core::mem;
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::{Event, EventError, Link, Offer, TaskId};

use super::outgoing::Outgoing;
use super::peers::LinkState;
use super::task::TaskPayload;
use super::type_check::AnswerSink;
use super::{Driver, Scheduler};
use crate::handler::in_process::{About, AnyHands, Attempt, Ended};
use crate::link::erased::{Kind, Reach};
use crate::link::schema::Wanted;
use crate::payload::Asked;

/// How many handlers of one such worker are polled in one poll of the driver.
const POLLS_PER_WORKER: usize = 256;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// There is nothing to dial: the link is up as soon as it is asked for.
    pub(crate) fn in_process_up(&mut self, link: Link, window: u16) {
        let offer = Offer::new(window.into()).trusted();
        let offer = self.offer_of(link.worker(), offer, &Wanted::default());
        let event = Event::Connected { link, offer };
        self.scheduler.handle_event(self.now, event).expect("the scheduler waits for this link");
        self.set_up(link, LinkState::InProcess(link), window.into());
        self.meter.on_link(link.worker().slot(), window.into(), window.into());
    }

    /// Does for a worker in this process what a message does elsewhere.
    pub(crate) fn hand_over(&mut self, link: Link, message: Outgoing) {
        let Reach::InProcess(hands) = &mut self.peers.get_mut(link.worker()).reach else {
            unreachable!("its line is in this process")
        };
        match message {
            Outgoing::Request { task, attempt, millis } => {
                let entry = &mut self.tasks[task.slot() as usize];
                let asked = match &entry.payload {
                    TaskPayload::Height { height, .. } => Asked::Height(*height),
                    TaskPayload::Request { body, .. } => Asked::Body(body.as_slice()),
                    TaskPayload::None => unreachable!("the scheduler sends live tasks only"),
                };
                let timeout = millis.map(|millis| Duration::from_millis(millis.get().into()));
                let limits = &self.limits.decode;
                let run = hands.take(Attempt { task, attempt }, timeout, asked, limits);
                #[cfg(feature = "tracing")]
                if let Some(traced) = self.traces.handing.take() {
                    hands.trace(run, traced);
                }
                if attempt > 1 && is_second(&self.scheduler, link, task, attempt) {
                    self.note_second(Attempt { task, attempt }, run);
                } else {
                    entry.run = run;
                }
                self.peers.put_to_work(link.worker().slot());
            }
            Outgoing::Cancel { task, attempt } => {
                let attempt = Attempt { task, attempt };
                let second = self.second_runs.iter().find(|(second, _)| *second == attempt);
                let run = second.map_or(self.tasks[task.slot() as usize].run, |&(_, run)| run);
                hands.withdraw(run, attempt);
            }
            // It lives as long as we do. A handler that hangs is found by its attempt's deadline.
            Outgoing::Ping => {
                let _ = self.scheduler.handle_event(self.now, Event::Heard { link });
            }
        }
    }

    /// Keeps the number of a second attempt's run. Those that are over are thrown out first.
    fn note_second(&mut self, attempt: Attempt, run: u32) {
        let scheduler = &self.scheduler;
        self.second_runs.retain(|(Attempt { task, attempt }, _)| {
            let holders = [scheduler.holder(*task), scheduler.second_holder(*task)];
            holders.into_iter().flatten().any(|(_, live)| live == *attempt)
        });
        self.second_runs.push((attempt, run));
    }

    /// Goes on with the handlers that were woken. Returns whether any has ended.
    ///
    /// Once in a poll, and after everything else in it: handlers that are always ready, or that use
    /// up what a runtime allows a task in one poll, cannot keep links from being served.
    pub(crate) fn work_in_process(&mut self) -> bool {
        !self.peers.at_work.is_empty() && self.work()
    }

    fn work(&mut self) -> bool {
        let mut at_work = mem::take(&mut self.peers.at_work);
        let mut ended = mem::take(&mut self.ended);
        let mut any = false;
        for slot in at_work.drain(..) {
            let Some(peer) = self.peers.at(slot) else { continue };
            peer.is_at_work = false;
            let (LinkState::InProcess(link), Reach::InProcess(hands)) =
                (&peer.link, &mut peer.reach)
            else {
                continue;
            };
            let about = About {
                timeout: Some(self.scheduler.config().attempt_timeout),
                manager: &self.limits.name,
                worker: &peer.label,
                now: self.now,
            };
            if hands.work(peer.entry.waker(), about, POLLS_PER_WORKER, &mut ended) {
                peer.entry.wake();
            }
            self.progress.due = self.progress.due.min(hands.said_at().unwrap_or(self.progress.due));
            let link = *link;
            any |= !ended.is_empty();
            for end in ended.drain(..) {
                self.on_ended(link, end);
            }
        }
        self.peers.at_work = at_work;
        self.ended = ended;
        self.settled &= !any;
        any
    }

    fn on_ended(&mut self, link: Link, ended: Ended) {
        let Ended { attempt: Attempt { task, attempt }, verdict, answer } = ended;
        let peer = self.peers.slots[link.worker().slot() as usize].as_ref();
        let mut sink = AnswerSink {
            link,
            now: self.now,
            scheduler: &mut self.scheduler,
            answers: &mut self.answers,
            misfits: &mut self.misfits,
            tasks: &self.tasks,
            jobs: &self.jobs,
            decode_limits: &self.limits.decode,
            meter: &mut self.meter,
            #[cfg(feature = "tracing")]
            traces: &mut self.traces,
            peer: &peer.expect("it was just at work").label,
            said: &mut self.progress.said,
            unwanted: &mut self.unwanted,
        };
        match sink.reply_with(task, attempt, verdict, answer) {
            // Stale: the scheduler has just given the link up, and its action is to come.
            Ok(()) | Err(EventError::Stale) => {}
            Err(EventError::Foreign) => unreachable!("it was asked for this attempt"),
        }
    }

    /// Comes back to what was handed over after this poll's work.
    pub(crate) fn work_later(&mut self) {
        for index in 0..self.peers.at_work.len() {
            let slot = self.peers.at_work[index];
            if let Some(peer) = self.peers.at(slot) {
                peer.entry.wake();
            }
        }
    }
}

/// Whether an attempt is sent beside another one of its task.
fn is_second(scheduler: &Scheduler, link: Link, task: TaskId, attempt: u16) -> bool {
    scheduler.second_holder(task) == Some((link.worker(), attempt))
}
