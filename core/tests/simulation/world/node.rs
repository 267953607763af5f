//! A simulated worker: what it answers, and in which ways it is broken just now.

use chargehand_core::{Link, Offer, Route, TaskId, WorkerId};

use crate::rng::Rng;

/// How a worker behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    /// Often takes longer than an attempt may.
    Slow,
    /// Answers pings, and no task.
    Hang,
    /// Gets and says nothing, though its link is up.
    Silent,
    /// Every task fails.
    Failing,
    /// Often dies of a task.
    Crashing,
    /// Often gives a task back before it begins.
    Unwilling,
    /// Answers everything twice.
    Doubling,
    /// Answers what it was never asked.
    Lying,
    /// Refuses connects.
    Refusing,
    /// Lets connects hang.
    BlackHole,
}

const MOODS: [Mood; 11] = [
    Mood::Honest,
    Mood::Slow,
    Mood::Hang,
    Mood::Silent,
    Mood::Failing,
    Mood::Crashing,
    Mood::Unwilling,
    Mood::Doubling,
    Mood::Lying,
    Mood::Refusing,
    Mood::BlackHole,
];

/// What a worker does with a task that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Nothing,
    Dies,
    GivesBack,
    Works { done: bool, millis: u64, twice: bool },
    Lies { task: TaskId, attempt: u16 },
}

/// One worker process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) route: Route,
    pub(crate) mood: Mood,
    /// The process runs.
    pub(crate) runs: bool,
    /// Its name in the pool, while it is a member.
    pub(crate) id: Option<WorkerId>,
    /// The newest connection that it knows of.
    pub(crate) link: Option<Link>,
    pub(crate) offer: Offer,
    /// How many processes there were, and which of them the pool knows under which name.
    pub(crate) life: u32,
    pub(crate) known: Option<(u32, WorkerId)>,
    /// What this process still has that keeps its work without a link.
    pub(crate) held: Vec<Held>,
}

/// An attempt under way, or answered and not told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) task: TaskId,
    pub(crate) attempt: u16,
    /// Whether it is done, once it has ended.
    pub(crate) answer: Option<bool>,
}

impl Node {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            route: rng.pick(&[Route::Dial, Route::Await]),
            mood: Mood::Honest,
            runs: true,
            id: None,
            link: None,
            offer: Offer::new(rng.pick(&[1, 2, 4])).window(rng.pick(&[1, 1, 2, 4])),
            life: 0,
            known: None,
            held: Vec::new(),
        }
    }

    /// Whether it goes on with its work when its link breaks.
    pub(crate) fn keeps(&self) -> bool {
        !self.offer.keeps.is_zero()
    }

    /// What it offers on a new link: it is the same process as before, or another one.
    pub(crate) fn offers(&self) -> Offer {
        let is_same = self.id.is_some_and(|id| self.known == Some((self.life, id)));
        if is_same && self.keeps() { self.offer.resumes() } else { self.offer }
    }

    /// Its process ends.
    pub(crate) fn die(&mut self) {
        self.runs = false;
        self.life += 1;
        self.held.clear();
    }

    /// Forgets an attempt that is answered or no longer wanted.
    pub(crate) fn forget(&mut self, task: TaskId, attempt: u16) {
        self.held.retain(|held| (held.task, held.attempt) != (task, attempt));
    }

    /// Honest half of the time.
    pub(crate) fn change_mood(&mut self, rng: &mut Rng) {
        self.mood = if rng.percent(50) { Mood::Honest } else { rng.pick(&MOODS) };
    }

    /// Whether anything gets through to it on that link.
    pub(crate) fn gets(&self, link: Link) -> bool {
        self.runs && self.link == Some(link) && self.mood != Mood::Silent
    }

    pub(crate) fn on_task(&self, task: TaskId, attempt: u16, rng: &mut Rng) -> Does {
        let millis = rng.below(4);
        let works = Does::Works { done: !rng.percent(3), millis, twice: false };
        match self.mood {
            Mood::Slow => {
                let millis = 10 + rng.below(80);
                Does::Works { done: true, millis, twice: false }
            }
            Mood::Hang | Mood::Silent => Does::Nothing,
            Mood::Failing => Does::Works { done: false, millis: 0, twice: false },
            Mood::Crashing if rng.percent(40) => Does::Dies,
            Mood::Unwilling if rng.percent(70) => Does::GivesBack,
            Mood::Doubling => Does::Works { done: true, millis, twice: true },
            Mood::Lying if rng.percent(50) => lie(task, attempt, rng),
            _ => works,
        }
    }
}

fn lie(task: TaskId, attempt: u16, rng: &mut Rng) -> Does {
    let (slot, generation) = (task.slot(), task.generation());
    match rng.below(4) {
        0 => Does::Lies { task: TaskId::from_parts(u32::MAX, generation), attempt },
        1 => Does::Lies { task: TaskId::from_parts(slot, generation.wrapping_add(1)), attempt },
        2 => Does::Lies { task: TaskId::from_parts(slot ^ 1, generation), attempt },
        _ => Does::Lies { task, attempt: attempt + 1 },
    }
}
