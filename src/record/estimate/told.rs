//! What a record tells: when tasks came, when workers were there, and how long each took.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::{
    Action, Event, Instant, Lane, Link, Offer, Outcome, QueueId, Reason, Route, TaskId,
    TaskOptions, Useless, Verdict, WorkerId,
};

use super::Figures;
use crate::record::entry::Entry;

/// All of it, in the order of the record.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) tasks: Vec<Task>,
    pub(super) workers: Vec<Member>,
    /// What else was done to the pool.
    pub(super) others: Vec<(Instant, Other)>,
    figures: Figures,
    first: Option<Instant>,
    last: Instant,
    outcomes: BTreeMap<u8, u64>,
    // Of the moment.
    open: BTreeMap<TaskId, usize>,
    members: BTreeMap<WorkerId, usize>,
    held: BTreeMap<WorkerId, VecDeque<Held>>,
    /// When there was room for more last.
    room_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) at: Instant,
    pub(super) options: Option<TaskOptions>,
    /// It came as soon as there was room for it, and would have come at any other time.
    pub(super) is_pulled: bool,
    /// How long after that it was cancelled.
    pub(super) cancelled: Option<Duration>,
    was_sent: bool,
}

/// A worker, as long as it had one id.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) at: Instant,
    pub(super) route: Route,
    pub(super) removed: Option<Instant>,
    pub(super) visits: Vec<Visit>,
    /// What its attempts took and came to.
    pub(super) samples: Vec<Sample>,
    /// When it said that it is busy, and that it is not.
    pub(super) busy: Vec<(Instant, bool)>,
}

/// A time in which a worker could be reached.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) from: Instant,
    /// When it went; with the record's end nothing did.
    pub(super) to: Option<Instant>,
    pub(super) offer: Offer,
}

/// What an attempt took, and came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) took: Duration,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Replied(Verdict),
    Useless(Useless),
    /// It had no answer until the pool gave it up.
    Never,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Other {
    Pause(QueueId, bool),
    /// So long after that it is over.
    Drain(Duration),
}

#[derive(Debug)]
struct Held {
    task: TaskId,
    attempt: u16,
    /// When it had its turn there.
    began: Option<Instant>,
}

impl Told {
    pub(super) fn new() -> Self {
        Self {
            tasks: Vec::new(),
            workers: Vec::new(),
            others: Vec::new(),
            figures: Figures::new(),
            first: None,
            last: Instant::EPOCH,
            outcomes: BTreeMap::new(),
            open: BTreeMap::new(),
            members: BTreeMap::new(),
            held: BTreeMap::new(),
            room_at: None,
        }
    }

    pub(super) fn take(&mut self, now: Instant, entry: &Entry) {
        match *entry {
            Entry::Submit { gave: Ok(id), .. } => self.on_task(now, id, None),
            Entry::SubmitWith { gave: Ok(id), options, .. } => {
                self.on_task(now, id, Some(options));
            }
            Entry::Cancel { task, gave: Ok(()), .. } => {
                if let Some(&index) = self.open.get(&task) {
                    let task = &mut self.tasks[index];
                    task.cancelled = Some(now.saturating_since(task.at));
                }
            }
            Entry::AddWorker { route, gave: Ok(id), .. } => {
                let (visits, samples, busy) = (Vec::new(), Vec::new(), Vec::new());
                self.members.insert(id, self.workers.len());
                let removed = None;
                self.workers.push(Member { at: now, route, removed, visits, samples, busy });
            }
            Entry::RemoveWorker { worker, gave: Ok(()), .. } => {
                if let Some(member) = self.member(worker) {
                    member.removed = Some(now);
                }
            }
            Entry::Accept { worker, offer, gave: Ok(_), .. } => self.on_up(now, worker, offer),
            Entry::HandleEvent { event, gave: Ok(()), .. } => self.on_event(now, event),
            Entry::PollAction { gave: Some(action) } => self.on_action(now, action),
            Entry::Pause { queue, gave: Ok(()), .. } => {
                self.others.push((now, Other::Pause(queue, true)));
            }
            Entry::Resume { queue, gave: Ok(()), .. } => {
                self.others.push((now, Other::Pause(queue, false)));
            }
            Entry::Drain { deadline, .. } => {
                self.others.push((now, Other::Drain(deadline.saturating_since(now))));
            }
            _ => {}
        }
    }

    /// All is told.
    pub(super) fn end(&mut self) {
        self.figures.tasks = self.tasks.len() as u64;
        self.figures.span = self.last.saturating_since(self.first.unwrap_or(self.last));
        self.figures.count(&self.outcomes);
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures.clone()
    }

    fn on_task(&mut self, now: Instant, id: TaskId, options: Option<TaskOptions>) {
        self.first.get_or_insert(now);
        self.open.insert(id, self.tasks.len());
        // Ranges and maps are asked for more as soon as there is room, in the same moment.
        let is_bulk = options.is_some_and(|options| options.lane == Lane::Bulk);
        let is_pulled = is_bulk && self.room_at == Some(now);
        let (cancelled, was_sent) = (None, false);
        self.tasks.push(Task { at: now, options, is_pulled, cancelled, was_sent });
    }

    fn member(&mut self, id: WorkerId) -> Option<&mut Member> {
        self.workers.get_mut(*self.members.get(&id)?)
    }

    fn on_up(&mut self, now: Instant, worker: WorkerId, offer: Offer) {
        self.room_at = Some(now);
        self.held.remove(&worker);
        if let Some(member) = self.member(worker) {
            member.visits.push(Visit { from: now, to: None, offer });
        }
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected { link, offer } => self.on_up(now, link.worker(), offer),
            Event::Lost { link, .. } => self.on_down(now, link),
            Event::Replied { link, task, attempt, verdict } => {
                self.on_answer(now, link, (task, attempt), End::Replied(verdict));
            }
            Event::Useless { link, task, attempt, why } => {
                self.on_answer(now, link, (task, attempt), End::Useless(why));
            }
            Event::Busy { link } | Event::Ready { link } => {
                let is_busy = matches!(event, Event::Busy { .. });
                if let Some(member) = self.member(link.worker()) {
                    member.busy.push((now, is_busy));
                }
            }
            _ => {}
        }
    }

    fn on_action(&mut self, now: Instant, action: Action) {
        match action {
            Action::Send { link, task, attempt } => self.on_sent(now, link, task, attempt),
            Action::Withdraw { link, task, attempt } => {
                let is_cancelled = self
                    .open
                    .get(&task)
                    .is_some_and(|&index| self.tasks[index].cancelled.is_some());
                let began = self.put_down(now, link, (task, attempt));
                if let (Some(began), false) = (began, is_cancelled) {
                    let took = now.saturating_since(began);
                    self.sample(link, Sample { took, end: End::Never });
                }
            }
            // Its peer said nothing any more, and that is not ours.
            Action::Disconnect { link, reason: Reason::Silent } => self.on_down(now, link),
            Action::Disconnect { link, .. } => drop(self.held.remove(&link.worker())),
            Action::Finish { task, outcome, .. } => self.on_finish(now, task, outcome),
            _ => {}
        }
    }

    fn on_down(&mut self, now: Instant, link: Link) {
        self.held.remove(&link.worker());
        if let Some(visit) = self.member(link.worker()).and_then(|it| it.visits.last_mut()) {
            visit.to = Some(now);
        }
    }

    fn on_sent(&mut self, now: Instant, link: Link, task: TaskId, attempt: u16) {
        self.figures.sent += 1;
        if let Some(&index) = self.open.get(&task) {
            let of = &mut self.tasks[index];
            if !core::mem::replace(&mut of.was_sent, true) {
                self.figures.queue_wait.record(nanos(now.saturating_since(of.at)));
            }
        }
        let held = self.held.entry(link.worker()).or_default();
        held.push_back(Held { task, attempt, began: None });
        self.begin_next(now, link.worker());
    }

    /// Gives the next one its turn, as far as its worker runs so many at once.
    fn begin_next(&mut self, now: Instant, worker: WorkerId) {
        let runs = self.member(worker).and_then(|it| Some(it.visits.last()?.offer.runs));
        let Some(held) = self.held.get_mut(&worker) else { return };
        for it in held.iter_mut().take(runs.unwrap_or(1).max(1) as usize) {
            it.began.get_or_insert(now);
        }
    }

    /// Takes an attempt from its worker, and returns when it began there, if it did, and nothing if it was not there.
    fn put_down(&mut self, now: Instant, link: Link, attempt: (TaskId, u16)) -> Option<Instant> {
        let held = self.held.get_mut(&link.worker())?;
        let place = held.iter().position(|it| (it.task, it.attempt) == attempt)?;
        let began = held.remove(place)?.began;
        self.begin_next(now, link.worker());
        began
    }

    fn on_answer(&mut self, now: Instant, link: Link, attempt: (TaskId, u16), end: End) {
        self.room_at = Some(now);
        // One that did not wait for its turn took no time that is known.
        if let Some(began) = self.put_down(now, link, attempt) {
            self.sample(link, Sample { took: now.saturating_since(began), end });
        }
    }

    fn sample(&mut self, link: Link, sample: Sample) {
        if let Some(member) = self.member(link.worker()) {
            member.samples.push(sample);
        }
    }

    fn on_finish(&mut self, now: Instant, task: TaskId, outcome: Outcome) {
        (self.room_at, self.last) = (Some(now), now);
        *self.outcomes.entry(outcome as u8).or_default() += 1;
        if let Some(index) = self.open.remove(&task) {
            let time = now.saturating_since(self.tasks[index].at);
            self.figures.task_time.record(nanos(time));
        }
    }
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
