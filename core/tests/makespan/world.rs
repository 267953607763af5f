//! A pool with its workers on virtual time: how long a range takes, and who gets how much of it.
//!
//! Each worker has a queue, runs so many tasks at once, and answers over a link that is late. The range
//! is put in as a driver does: only so many tasks wait in the scheduler, the rest is not known to it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use chargehand_core::{
    Action, Config, Event, Heap, Hedge, Instant, Lane, Link, Offer, Outcome, Route, Scheduler,
    TaskId, TaskOptions, Verdict,
};

pub(crate) const MILLI: u64 = 1_000_000;

/// One worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// One way, in nanoseconds.
    pub(crate) latency: u64,
    /// How many hundredths of a task's usual time it takes.
    pub(crate) percent: u64,
    /// From when on it takes how many.
    pub(crate) later: Option<(u64, u64)>,
    pub(crate) runs: u32,
    /// It fails each task, and takes so long for that.
    pub(crate) fails_in: Option<u64>,
    /// But for one in so many; 0 is none.
    pub(crate) does_one_in: u64,
}

impl Spec {
    pub(crate) const fn new() -> Self {
        Self {
            latency: MILLI / 20,
            percent: 100,
            later: None,
            runs: 1,
            fails_in: None,
            does_one_in: 0,
        }
    }

    fn fails(&self, index: u64) -> bool {
        let does = self.does_one_in > 0 && index % self.does_one_in == 0;
        self.fails_in.is_some() && !does
    }
}

/// What a range came to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// In nanoseconds.
    pub(crate) makespan: u64,
    /// By worker.
    pub(crate) sent: Vec<u64>,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// Attempts that were taken back.
    pub(crate) withdrawn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    index: u64,
    task: (u32, u32),
    number: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Arrives(usize, Attempt),
    Withdrawn(usize, Attempt),
    Ends(usize, Attempt),
    Answered(usize, Attempt),
}

struct Worker {
    spec: Spec,
    link: Link,
    queue: VecDeque<Attempt>,
    running: Vec<Attempt>,
    sent: u64,
}

/// Runs a range of so many tasks, the time of each by its index in nanoseconds.
pub(crate) struct Range<'a> {
    pub(crate) config: Config,
    pub(crate) specs: &'a [Spec],
    pub(crate) offer: &'a dyn Fn(&Spec) -> Offer,
    pub(crate) tasks: u64,
    pub(crate) takes: &'a dyn Fn(u64) -> u64,
    /// Whether what takes longer than most is sent to a second worker.
    pub(crate) is_hedged: bool,
}

struct Pool<'a> {
    range: &'a Range<'a>,
    scheduler: Scheduler<Heap>,
    workers: Vec<Worker>,
    indices: Vec<u64>,
    events: BinaryHeap<Reverse<(u64, u64, Happens)>>,
    count: u64,
    now: u64,
    next: u64,
    waiting_max: u32,
    report: Report,
}

impl Range<'_> {
    /// Runs it to its end.
    ///
    /// # Panics
    /// If nothing happens any more before that.
    pub(crate) fn run(&self) -> Report {
        let count = u32::try_from(self.specs.len()).unwrap();
        let windows: u32 = self.specs.iter().map(|spec| (self.offer)(spec).window.min(1024)).sum();
        let waiting_max = (windows / 4).max(2);
        let slots = windows + waiting_max + 64 + self.config.hedges_max;
        let mut scheduler = Scheduler::new(Heap::with_capacity(slots, count), self.config).unwrap();
        let start = Instant::EPOCH;
        let mut workers = Vec::new();
        for &spec in self.specs {
            let worker = scheduler.add_worker(start, Route::Await).unwrap();
            let offer = (self.offer)(&spec);
            let link = scheduler.accept(start, worker, offer, start).unwrap().link;
            let (queue, running) = (VecDeque::new(), Vec::new());
            workers.push(Worker { spec, link, queue, running, sent: 0 });
        }
        let report = Report { makespan: 0, sent: Vec::new(), done: 0, failed: 0, withdrawn: 0 };
        let mut pool = Pool {
            range: self,
            scheduler,
            workers,
            indices: vec![0; slots as usize],
            events: BinaryHeap::new(),
            count: 0,
            now: 0,
            next: 0,
            waiting_max,
            report,
        };
        pool.run();
        pool.report
    }
}

impl Pool<'_> {
    fn run(&mut self) {
        self.turn();
        while self.report.done + self.report.failed < self.range.tasks {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let timer = self.scheduler.poll_timeout().map(Instant::as_nanos);
            let at = event.into_iter().chain(timer).min().expect("something happens");
            self.now = self.now.max(at);
            self.scheduler.handle_timeout(self.instant());
            while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
                let Reverse((_, _, what)) = self.events.pop().unwrap();
                self.happen(what);
            }
            self.turn();
        }
        self.report.makespan = self.now;
        self.report.sent = self.workers.iter().map(|worker| worker.sent).collect();
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn later(&mut self, span: u64, what: Happens) {
        self.count += 1;
        self.events.push(Reverse((self.now + span, self.count, what)));
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Arrives(at, attempt) => {
                self.workers[at].queue.push_back(attempt);
                self.begin(at);
            }
            Happens::Withdrawn(at, attempt) => {
                let worker = &mut self.workers[at];
                worker.queue.retain(|&other| other != attempt);
                worker.running.retain(|&other| other != attempt);
                self.begin(at);
            }
            Happens::Ends(at, attempt) => {
                let worker = &mut self.workers[at];
                let Some(place) = worker.running.iter().position(|&other| other == attempt) else {
                    return;
                };
                worker.running.swap_remove(place);
                let latency = worker.spec.latency;
                self.later(latency, Happens::Answered(at, attempt));
                self.begin(at);
            }
            Happens::Answered(at, attempt) => {
                let worker = &self.workers[at];
                let fails = worker.spec.fails(attempt.index);
                let verdict = if fails { Verdict::Failed } else { Verdict::Done };
                let (link, now) = (worker.link, self.instant());
                let task = TaskId::from_parts(attempt.task.0, attempt.task.1);
                let attempt = attempt.number;
                let event = Event::Replied { link, task, attempt, verdict };
                // Stale where it was taken back.
                let _ = self.scheduler.handle_event(now, event);
            }
        }
    }

    fn begin(&mut self, at: usize) {
        loop {
            let now = self.now;
            let worker = &mut self.workers[at];
            if worker.running.len() >= worker.spec.runs as usize {
                return;
            }
            let Some(attempt) = worker.queue.pop_front() else { return };
            worker.running.push(attempt);
            let spec = worker.spec;
            let percent = match spec.later {
                Some((from, percent)) if now >= from => percent,
                _ => spec.percent,
            };
            let usual = (self.range.takes)(attempt.index) * percent / 100;
            let fails_in = spec.fails_in.filter(|_| spec.fails(attempt.index));
            self.later(fails_in.unwrap_or(usual), Happens::Ends(at, attempt));
        }
    }

    /// Puts in what there is room for, and carries out what follows.
    fn turn(&mut self) {
        loop {
            let now = self.instant();
            while self.next < self.range.tasks
                && self.scheduler.waiting(Lane::Bulk) < self.waiting_max
                && !self.scheduler.is_full()
            {
                let hedge = if self.range.is_hedged { Hedge::after_p95() } else { Hedge::never() };
                let options = TaskOptions::new().lane(Lane::Bulk).hedge(hedge);
                let task = self.scheduler.submit_with(now, options).unwrap();
                self.indices[task.slot() as usize] = self.next;
                self.next += 1;
            }
            self.scheduler.set_backlog(self.range.tasks - self.next);
            let Some(action) = self.scheduler.poll_action() else { return };
            self.carry_out(action);
        }
    }

    fn place_of(&self, link: Link) -> usize {
        self.workers.iter().position(|worker| worker.link == link).expect("no link is lost")
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { link, task, attempt } => {
                let at = link.worker().slot() as usize;
                let at = self
                    .workers
                    .iter()
                    .position(|worker| worker.link.worker().slot() as usize == at)
                    .unwrap();
                let index = self.indices[task.slot() as usize];
                let attempt =
                    Attempt { index, task: (task.slot(), task.generation()), number: attempt };
                self.workers[at].sent += 1;
                self.later(self.workers[at].spec.latency, Happens::Arrives(at, attempt));
            }
            Action::Withdraw { link, task, attempt } => {
                let at = self.place_of(link);
                let index = self.indices[task.slot() as usize];
                let attempt =
                    Attempt { index, task: (task.slot(), task.generation()), number: attempt };
                self.report.withdrawn += 1;
                self.later(self.workers[at].spec.latency, Happens::Withdrawn(at, attempt));
            }
            Action::Finish { outcome, .. } => match outcome {
                Outcome::Done => self.report.done += 1,
                _ => self.report.failed += 1,
            },
            Action::Ping { link } => {
                let now = self.instant();
                let _ = self.scheduler.handle_event(now, Event::Heard { link });
            }
            _ => {}
        }
    }
}
