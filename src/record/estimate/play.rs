//! What was told, played against a scheduler with other policies, on a clock of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::{
    Action, ConfigError, Event, Heap, Instant, Lane, Link, Loss, Outcome, QueueId, Route,
    Scheduler, TaskId, WorkerId,
};

use super::told::{End, Other, Sample, Told, nanos};
use super::{Figures, Setup};
use crate::seed::mixed;

/// At most this share (1/4) of what all workers hold waits in the scheduler, as it is with ranges of a pool.
const WAITING_SHARE: usize = 4;
const WAITING_MIN: usize = 2;
/// An attempt of a worker of which nothing is known takes that.
const UNKNOWN: Duration = Duration::from_millis(1);
/// How many steps are made for each task and worker at most, so that it ends whatever the policies are.
const STEPS_MAX: u64 = 10_000;

/// What happens, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Join(usize),
    Arrive(usize),
    /// Of a worker and its visit.
    Leave(usize, usize),
    Remove(usize),
    Busy(usize, bool),
    Other(usize),
    Submit(usize),
    Cancel(usize),
    /// A worker's link is up, after it was asked for. By the number of that.
    Connected(usize, u64),
    /// A worker has done an attempt, by the number of that.
    Answer(usize, u64),
    Look,
}

#[derive(Debug, Default)]
struct Player {
    id: Option<WorkerId>,
    link: Option<Link>,
    visit: Option<usize>,
    /// The link that is being made, and its number.
    connecting: Option<(Link, u64)>,
    window: usize,
    runs: usize,
    held: VecDeque<Holding>,
}

#[derive(Debug)]
struct Holding {
    number: u64,
    task: TaskId,
    attempt: u16,
    sample: Option<Sample>,
}

struct Play<'a> {
    setup: &'a Setup,
    told: &'a Told,
    scheduler: Scheduler<Heap>,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, What)>>,
    number: u64,
    players: Vec<Player>,
    by_id: BTreeMap<WorkerId, usize>,
    /// Heights and requests of ranges and maps that have not been submitted, in their order.
    bulk: VecDeque<usize>,
    open: BTreeMap<TaskId, (usize, Instant, bool)>,
    figures: Figures,
    outcomes: BTreeMap<u8, u64>,
    begun: Option<Instant>,
    ended: Instant,
}

pub(super) fn play(setup: &Setup, told: &Told) -> Result<Figures, ConfigError> {
    let storage = Heap::with_capacity(setup.slots, setup.workers_max);
    let scheduler = match &setup.queues {
        None => Scheduler::new(storage, setup.config)?,
        Some(queues) => Scheduler::with_queues(storage, setup.config, queues)?,
    };
    let mut play = Play {
        setup,
        told,
        scheduler,
        now: Instant::EPOCH,
        events: BinaryHeap::new(),
        number: 0,
        players: told.workers.iter().map(|_| Player::default()).collect(),
        by_id: BTreeMap::new(),
        bulk: VecDeque::new(),
        open: BTreeMap::new(),
        figures: Figures::new(),
        outcomes: BTreeMap::new(),
        begun: None,
        ended: Instant::EPOCH,
    };
    play.set_the_scene();
    play.run();
    Ok(play.over())
}

impl Play<'_> {
    fn at(&mut self, when: Instant, what: What) {
        self.number += 1;
        self.events.push(Reverse((when, self.number, what)));
    }

    fn set_the_scene(&mut self) {
        let told = self.told;
        for (index, member) in told.workers.iter().enumerate() {
            self.at(member.at, What::Join(index));
            for (place, visit) in member.visits.iter().enumerate() {
                if member.route == Route::Await {
                    self.at(visit.from, What::Arrive(index));
                }
                if let Some(to) = visit.to {
                    self.at(to, What::Leave(index, place));
                }
            }
            for &(when, is_busy) in &member.busy {
                self.at(when, What::Busy(index, is_busy));
            }
            if let Some(when) = member.removed {
                self.at(when, What::Remove(index));
            }
        }
        for (index, &(when, what)) in told.others.iter().enumerate() {
            // Whoever stopped the pool when all was done would do so later.
            if !matches!(what, Other::Drain(_)) {
                self.at(when, What::Other(index));
            }
        }
        for (index, task) in told.tasks.iter().enumerate() {
            if task.options.is_some_and(|options| options.lane == Lane::Bulk) {
                self.bulk.push_back(index);
                if !task.is_pulled {
                    self.at(task.at, What::Look);
                }
            } else {
                self.at(task.at, What::Submit(index));
            }
        }
    }

    fn run(&mut self) {
        let steps_max = (self.told.tasks.len() as u64 + 1) * STEPS_MAX;
        for _ in 0..steps_max {
            if self.figures.tasks == self.told.tasks.len() as u64 && self.scheduler.is_idle() {
                break;
            }
            let next = self.events.peek().map(|Reverse((when, ..))| *when);
            let due = self.scheduler.poll_timeout();
            let Some(now) = next.into_iter().chain(due).min() else { break };
            self.now = self.now.max(now);
            self.scheduler.handle_timeout(self.now);
            while let Some(&Reverse((when, _, what))) = self.events.peek() {
                if when > self.now {
                    break;
                }
                self.events.pop();
                self.happen(what);
            }
            self.settle();
        }
    }

    /// Carries out all that there is to do, and puts more in as there is room.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.scheduler.poll_action() {
                self.carry_out(action);
            }
            if !self.pull() {
                return;
            }
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Look => {}
            What::Join(index) => self.join(index),
            What::Arrive(index) => self.arrive(index),
            What::Leave(index, place) => self.leave(index, place),
            What::Remove(index) => {
                if let Some(id) = self.players[index].id {
                    let _ = self.scheduler.remove_worker(self.now, id);
                }
            }
            What::Busy(index, is_busy) => {
                if let Some(link) = self.players[index].link {
                    let event = if is_busy { Event::Busy { link } } else { Event::Ready { link } };
                    let _ = self.scheduler.handle_event(self.now, event);
                }
            }
            What::Other(index) => self.other(self.told.others[index].1),
            What::Submit(index) => drop(self.submit(index)),
            What::Cancel(index) => {
                let open = self.open.iter().find(|(_, (other, ..))| *other == index);
                if let Some((&task, _)) = open {
                    let _ = self.scheduler.cancel(self.now, task);
                }
            }
            What::Connected(index, number) => self.connected(index, number),
            What::Answer(index, number) => self.answer(index, number),
        }
    }

    fn other(&mut self, other: Other) {
        match other {
            Other::Pause(queue, is_paused) => self.pause(queue, is_paused),
            Other::Drain(within) => {
                self.scheduler.drain(self.now, self.now.saturating_add(within));
            }
        }
    }

    fn pause(&mut self, queue: QueueId, is_paused: bool) {
        // There are as many queues as there were.
        let _ = if is_paused {
            self.scheduler.pause(self.now, queue)
        } else {
            self.scheduler.resume(self.now, queue)
        };
    }

    /// Submits what comes next of ranges and maps, as far as they would. Returns whether there was any.
    fn pull(&mut self) -> bool {
        let windows: usize = self.players.iter().map(|it| it.window).sum();
        let most = (windows / WAITING_SHARE).max(WAITING_MIN);
        let mut any = false;
        while let Some(&index) = self.bulk.front() {
            let task = &self.told.tasks[index];
            let is_there = task.is_pulled || task.at <= self.now;
            let has_room = (self.scheduler.waiting(Lane::Bulk) as usize) < most;
            if !is_there || !has_room || !self.submit(index) {
                break;
            }
            self.bulk.pop_front();
            any = true;
        }
        self.scheduler.set_backlog(self.bulk.len() as u64);
        any
    }

    fn submit(&mut self, index: usize) -> bool {
        let task = &self.told.tasks[index];
        let mut options = self.setup.options(task.options.unwrap_or_default());
        if options.deadline != Instant::FAR_FUTURE {
            // As long after it came as then.
            options.deadline = self.now.saturating_add(options.deadline.saturating_since(task.at));
        }
        let Ok(id) = self.scheduler.submit_with(self.now, options) else {
            if task.options.is_none_or(|options| options.lane == Lane::Single) {
                // It waits outside, as then, until there is room.
                self.at(self.now.saturating_add(UNKNOWN), What::Submit(index));
            }
            return false;
        };
        self.begun.get_or_insert(self.now);
        self.figures.tasks += 1;
        self.open.insert(id, (index, self.now, false));
        if let Some(after) = task.cancelled {
            self.at(self.now.saturating_add(after), What::Cancel(index));
        }
        true
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect { link } => self.connect(link),
            Action::Disconnect { link, .. } => self.part(link),
            Action::Send { link, task, attempt } => self.take(link, task, attempt),
            Action::Withdraw { link, task, attempt } => self.withdraw(link, task, attempt),
            Action::Ping { link } => {
                let _ = self.scheduler.handle_event(self.now, Event::Heard { link });
            }
            Action::Gone { worker } => {
                if let Some(index) = self.by_id.remove(&worker) {
                    self.players[index] = Player::default();
                }
            }
            Action::Finish { task, outcome, .. } => self.finish(task, outcome),
            _ => {}
        }
    }

    fn finish(&mut self, task: TaskId, outcome: Outcome) {
        self.ended = self.now;
        *self.outcomes.entry(outcome as u8).or_default() += 1;
        if let Some((_, came, _)) = self.open.remove(&task) {
            self.figures.task_time.record(nanos(self.now.saturating_since(came)));
        }
    }

    fn over(mut self) -> Figures {
        self.figures.span = self.ended.saturating_since(self.begun.unwrap_or(self.ended));
        self.figures.tasks = self.told.tasks.len() as u64;
        self.figures.count(&self.outcomes);
        self.figures
    }
}

/// Workers and their links.
impl Play<'_> {
    fn join(&mut self, index: usize) {
        let added = self.scheduler.add_worker(self.now, self.told.workers[index].route);
        if let Ok(id) = added {
            self.players[index].id = Some(id);
            self.by_id.insert(id, index);
        }
    }

    /// A worker dials in.
    fn arrive(&mut self, index: usize) {
        if self.players[index].id.is_none() {
            self.join(index);
        }
        let (Some(id), Some(place)) = (self.players[index].id, self.visit_at(index)) else {
            return;
        };
        let offer = self.setup.offer(self.told.workers[index].visits[place].offer);
        let accepted = self.scheduler.accept(self.now, id, offer, Instant::EPOCH);
        if let Ok(accepted) = accepted {
            self.up(index, accepted.link, place);
        }
    }

    /// Returns in which visit a worker is there now.
    fn visit_at(&self, index: usize) -> Option<usize> {
        let visits = &self.told.workers[index].visits;
        visits.iter().rposition(|it| it.from <= self.now && it.to.is_none_or(|to| to > self.now))
    }

    fn up(&mut self, index: usize, link: Link, place: usize) {
        let offer = self.setup.offer(self.told.workers[index].visits[place].offer);
        let player = &mut self.players[index];
        (player.link, player.visit, player.connecting) = (Some(link), Some(place), None);
        player.runs = offer.runs.max(1) as usize;
        player.window = offer.window.max(1) as usize;
        player.held.clear();
    }

    /// A worker is dialled: it answers as soon as it is there, if that is soon enough.
    fn connect(&mut self, link: Link) {
        let Some(&index) = self.by_id.get(&link.worker()) else { return };
        let patience = self.now.saturating_add(self.setup.config.connect_timeout);
        let visits = &self.told.workers[index].visits;
        let coming = visits.iter().find(|it| it.to.is_none_or(|to| to > self.now));
        match coming.map(|it| it.from.max(self.now)).filter(|from| *from < patience) {
            Some(from) => {
                self.at(from, What::Connected(index, self.number + 1));
                self.players[index].connecting = Some((link, self.number));
            }
            None => {
                let _ = self.scheduler.handle_event(self.now, Event::Refused { link });
            }
        }
    }

    fn connected(&mut self, index: usize, number: u64) {
        let Some((link, _)) = self.players[index].connecting.filter(|it| it.1 == number) else {
            return;
        };
        let Some(place) = self.visit_at(index) else { return };
        let offer = self.setup.offer(self.told.workers[index].visits[place].offer);
        if self.scheduler.handle_event(self.now, Event::Connected { link, offer }).is_ok() {
            self.up(index, link, place);
        }
    }

    fn leave(&mut self, index: usize, place: usize) {
        let player = &mut self.players[index];
        if player.visit != Some(place) {
            return;
        }
        if let Some(link) = player.link.take() {
            (player.window, player.visit) = (0, None);
            player.held.clear();
            let event = Event::Lost { link, how: Loss::Broken };
            let _ = self.scheduler.handle_event(self.now, event);
        }
    }

    /// The pool ends a link.
    fn part(&mut self, link: Link) {
        let Some(&index) = self.by_id.get(&link.worker()) else { return };
        let player = &mut self.players[index];
        if player.link == Some(link) {
            (player.link, player.visit, player.window) = (None, None, 0);
            player.held.clear();
        }
        player.connecting = None;
        // One that dials in comes back at once, as long as it is there.
        if self.told.workers[index].route == Route::Await && self.visit_at(index).is_some() {
            let soon = self.now.saturating_add(self.setup.config.elsewhere_wait.max(UNKNOWN));
            self.at(soon, What::Arrive(index));
        }
    }
}

/// Attempts.
impl Play<'_> {
    fn take(&mut self, link: Link, task: TaskId, attempt: u16) {
        self.figures.sent += 1;
        if let Some((_, came, was_sent)) = self.open.get_mut(&task) {
            if !core::mem::replace(was_sent, true) {
                self.figures.queue_wait.record(nanos(self.now.saturating_since(*came)));
            }
        }
        let Some(&index) = self.by_id.get(&link.worker()) else { return };
        self.number += 1;
        let number = self.number;
        self.players[index].held.push_back(Holding { number, task, attempt, sample: None });
        self.begin_next(index);
    }

    /// Begins what has its turn at a worker.
    fn begin_next(&mut self, index: usize) {
        let runs = self.players[index].runs;
        for place in 0..self.players[index].held.len().min(runs) {
            let Holding { number, sample, .. } = self.players[index].held[place];
            if sample.is_some() {
                continue;
            }
            let sample = self.draw(index, number);
            self.players[index].held[place].sample = Some(sample);
            if !matches!(sample.end, End::Never) {
                self.at(self.now.saturating_add(sample.took), What::Answer(index, number));
            }
        }
    }

    /// Draws what an attempt takes and comes to.
    fn draw(&self, index: usize, number: u64) -> Sample {
        let own = &self.told.workers[index].samples;
        // Of all workers, where nothing is known of this one.
        let all = self.told.workers.iter().map(|it| &it.samples);
        let samples = if own.is_empty() { all.max_by_key(|it| it.len()) } else { Some(own) };
        let random = mixed(self.setup.config.seed ^ mixed(number));
        let drawn = samples.and_then(|samples| {
            let count = samples.len() as u64;
            samples.get(usize::try_from(random.checked_rem(count)?).ok()?)
        });
        let unknown = End::Replied(chargehand_core::Verdict::Done);
        drawn.copied().unwrap_or(Sample { took: UNKNOWN, end: unknown })
    }

    fn withdraw(&mut self, link: Link, task: TaskId, attempt: u16) {
        let Some(&index) = self.by_id.get(&link.worker()) else { return };
        let held = &mut self.players[index].held;
        held.retain(|it| (it.task, it.attempt) != (task, attempt));
        self.begin_next(index);
    }

    fn answer(&mut self, index: usize, number: u64) {
        let player = &mut self.players[index];
        let Some(place) = player.held.iter().position(|it| it.number == number) else { return };
        let (Some(link), Some(it)) = (player.link, player.held.remove(place)) else { return };
        let Holding { task, attempt, sample, .. } = it;
        let event = match sample.map(|sample| sample.end) {
            Some(End::Replied(verdict)) => Event::Replied { link, task, attempt, verdict },
            Some(End::Useless(why)) => Event::Useless { link, task, attempt, why },
            Some(End::Never) | None => return,
        };
        // Stale: it was given up just now.
        let _ = self.scheduler.handle_event(self.now, event);
        self.begin_next(index);
    }
}
