//! One run after the other, each a function of its seed: for the test, and for the simulator.

use std::collections::BTreeMap;

use chargehand_core::{Config, Heap, Inline, Storage};

use super::pair::{Dice, Pair, random_config};
use super::rng::Rng;

const STEPS: u64 = 400;
/// What a link comes to only after long.
const WORKING_STEPS: u64 = 500;

/// What random calls must come by, each at least once over all runs.
pub(crate) const RARE: &[&str] = &[
    // Why a task waits with nothing left to do, as `Waits::name` calls it.
    "rests",
    "key",
    "paused",
    "queue_in_flight",
    "queue_rate",
    "no_worker",
    "away",
    "none_serves",
    "not_served",
    "key_paused",
    "no_room",
    "suspect",
    "elsewhere",
    "held_back",
    "a busy worker asked to drain",
    "a new task waits for a better worker",
    "a new task waited for a better worker in vain",
    "a pause was too short to be one",
    "a ring of workers was turned",
    "a worker that was off the others rests",
    "a worker was back after a trial",
    "too many rest for one more that is off the others",
    "no retry was left of all",
    "a window grew",
    "a window shrank",
    "a window was emptied to look",
    "taken back for a worker that is done sooner",
    "a delayed worker got its first task",
    "a worker said not now",
    "a worker with a new rate owed more than a burst of that",
    "a worker said not now while it got nothing anyway",
    "a delayed worker is busy",
    "a suspect was sent",
    "a task was given back before it began",
    "a worker dialled in too soon",
    "a worker was excused",
    "a worker took its leave",
    "an absent worker made room",
    "an answer of no use ended its task",
    "a permanent failure ended a task with retries left",
    "task rests as long as its handler says",
    "task with times of its own rests as long as its handler says",
    "an answer of no use is tried elsewhere",
    "an older attempt was judged first",
    "an older attempt with times of its own was judged first",
    "bounced",
    "lost with a link that nobody is blamed for",
    "a link broke whose worker was on its way out",
    "lost with its link before it could begin",
    "taken back before it could begin",
    "timed out before it could begin",
    "waits for another worker than its last",
    "wards take turns",
    "went back to its last worker after a wait",
    "went back to its last worker, the only one",
    "a busy worker is ready again",
    "a draining worker is busy",
    "a grace ended",
    "a ping was answered",
    "a suspended worker got something done",
    "a suspended worker is busy",
    "a silent link was closed",
    "a worker is busy",
    "a worker came back with a smaller window",
    "a worker displaced its own link and kept what that held",
    "a worker kept what it held",
    "a worker that was away is another one",
    "a worker that was away is back",
    "a worker that was back did not say what it has",
    "accept refused",
    "add a worker when full",
    "add a worker while draining",
    "an absent worker was forgotten",
    "answer for a future task",
    "answer for a slot past the end",
    "answer for a task given back",
    "answer for an attempt never made",
    "answer for an older attempt",
    "answer for an older task",
    "answer for another worker's task",
    "answer twice or after cancel",
    "answer with a wrapped generation",
    "an attempt of this very link was named",
    "an attempt was late while its worker was away",
    "an attempt went on over another link",
    "an attempt with times of its own was late while its worker was away",
    "an attempt had all the time that progress can give",
    "attempt timed out",
    "attempts were put off",
    "an attempt that was put off timed out",
    "an attempt ended by its task's own shorter time",
    "an attempt timed out by its task's own time",
    "backoff grows past a link that did nothing",
    "backoff reset by a good link",
    "cancel in flight",
    "cancel of a finished task",
    "cancel of an id that is over or never was",
    "cancel while queued",
    "clock stepped back",
    "closed as drained",
    "closed at the end of a drain",
    "closed for strikes",
    "connect timed out",
    "displaced a closing link",
    "displaced a link of use",
    "displaced a link that held tasks",
    "drain aborted a queued task",
    "drain aborted an attempt",
    "event of a link that is over",
    "ended by its task's own time before it could begin",
    "ended with nobody to be told",
    "exhausted",
    "lost after the drain's deadline",
    "lost several attempts at once",
    "nothing new of an attempt",
    "one that made progress had begun, whatever was struck",
    "progress gave an attempt more time",
    "progress that gives no time",
    "remove a busy worker",
    "remove a closing worker",
    "remove a connecting worker",
    "remove a worker without a link",
    "rest ended by itself",
    "suspended",
    "suspended and released as the last one",
    "submit when full",
    "submit while draining",
    "task retried after a failure",
    "task tried again more often than the pool's tasks are",
    "task tried again less often than the pool's tasks are",
    "the last worker is not suspended",
    "task rests as long as it says itself",
    "timed out with an attempt under way",
    "timed out without an attempt under way",
    "what a worker that is back did not name was sent again",
    "withdrawn after its link was over",
    "a class got its least share before one that is more urgent",
    "a pause of a queue that is none",
    "a paused queue had something to send",
    "a queue had as many in flight as it may",
    "a queue sent as fast as it may",
    "a queue was full and the pool was not",
    "a task ended that waited for its key",
    "a task got its key",
    "a task waits for its key",
    "queues were begun in the midst",
    "several tasks got their key at once",
    "submit to a queue that is none",
    "submit with a key that is none",
    "a worker serves some queues only",
    "a worker displaced its own link and serves others",
    "one set of queues too many",
    "released as the last one of its queue",
    "a rate holds over links",
    "a worker was sent as many as it may",
    "a worker's rate was halved",
    "a key was paused",
    "a task without a key rests alone",
    "a task of a paused key rests before it was sent",
    "a task that came back rests for its key",
    "a task stands in line again once its key may go on",
    "a second attempt was sent",
    "a second attempt was first",
    "a first attempt was first",
    "one of two attempts failed",
    "one of two attempts came back",
    "one of two attempts was late or of no use",
    "one of two attempts was lost",
    "the other attempt was at a worker that is away",
    "the other attempt was withdrawn",
    "a task is not hedged since it could end by that",
    "no slot for a second attempt",
    "no budget for a second attempt",
    "the rest of the budget is for those that are stuck",
    "a queue may not send a second attempt",
    "a second attempt would take too long",
    "answer for a second attempt of another worker",
];

/// What a run came to.
pub(crate) struct Run {
    /// How many calls and actions were made by both and compared, each with a check of every invariant.
    pub(crate) events: u64,
    /// What came by of what must, and how often.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

/// Makes the run of a seed.
///
/// # Panics
/// Where the engine and the model differ, or an invariant does not hold.
pub(crate) fn run_seed(seed: u64) -> Run {
    let mut run = by_load(seed);
    // Dice of their own, so that the runs of a seed stay what they were.
    if seed.is_multiple_of(2) {
        let judged = by_answers(seed);
        run.events += judged.events;
        for (what, times) in judged.seen {
            *run.seen.entry(what).or_insert(0) += times;
        }
    }
    if seed % 2 == 1 {
        let hedged = by_second(seed);
        run.events += hedged.events;
        for (what, times) in hedged.seen {
            *run.seen.entry(what).or_insert(0) += times;
        }
    }
    run
}

/// Makes a run whose tasks are sent to two workers at once, some of them.
fn by_second(seed: u64) -> Run {
    let mut dice = Rng::new(seed ^ 0x0002_ed9e);
    let extra = dice.percent(50).then(|| Rng::new(seed ^ 0x0c40_1ce0));
    if dice.percent(5) {
        let storage = Heap::with_capacity(30, 5);
        let config = |rng: &mut Rng| Config::new(rng.next());
        return working(seed, Dice { extra, hedging: Some(dice) }, config, storage, (30, 5));
    }
    match dice.below(4) {
        0 => run(seed, Inline::<3, 2>::new(), (3, 2), Dice { extra, hedging: Some(dice) }),
        1 => run(seed, Inline::<6, 5>::new(), (6, 5), Dice { extra, hedging: Some(dice) }),
        2 => run(seed, Heap::with_capacity(8, 3), (8, 3), Dice { extra, hedging: Some(dice) }),
        _ => run(seed, Heap::with_capacity(12, 4), (12, 4), Dice { extra, hedging: Some(dice) }),
    }
}

/// Makes a run whose workers do their work, of which hardly any fails.
fn working<S: Storage>(
    seed: u64,
    dice: Dice,
    config: impl FnOnce(&mut Rng) -> Config,
    storage: S,
    size: (usize, usize),
) -> Run {
    let hint = format!("CHARGEHAND_SEED={seed}");
    let mut pair = Pair::with(hint, Rng::new(seed), config, dice, storage, size);
    pair.work_on(WORKING_STEPS);
    pair.shut_down();
    Run { events: pair.compared(), seen: pair.seen() }
}

/// Makes a run whose workers are chosen by what their answers have shown.
fn by_answers(seed: u64) -> Run {
    let mut extra = Rng::new(seed ^ 0x0c40_1ce0);
    if extra.percent(2) {
        let workers = if extra.percent(50) { 3 } else { 12 };
        let storage = Heap::with_capacity(30, workers);
        let size = (30, workers as usize);
        let config = |rng: &mut Rng| Config::new(rng.next());
        return working(seed, Dice { extra: Some(extra), hedging: None }, config, storage, size);
    }
    match extra.below(4) {
        0 => run(seed, Inline::<3, 2>::new(), (3, 2), Dice { extra: Some(extra), hedging: None }),
        1 => run(
            seed,
            Heap::with_capacity(12, 4),
            (12, 4),
            Dice { extra: Some(extra), hedging: None },
        ),
        2 => run(
            seed,
            Heap::with_capacity(30, 6),
            (30, 6),
            Dice { extra: Some(extra), hedging: None },
        ),
        _ => run(
            seed,
            Heap::with_capacity(20, 14),
            (20, 14),
            Dice { extra: Some(extra), hedging: None },
        ),
    }
}

fn by_load(seed: u64) -> Run {
    const NONE: Dice = Dice { extra: None, hedging: None };
    match seed % 6 {
        0 => run(seed, Inline::<1, 1>::new(), (1, 1), NONE),
        1 => run(seed, Inline::<3, 2>::new(), (3, 2), NONE),
        2 => run(seed, Inline::<6, 5>::new(), (6, 5), NONE),
        3 => run(seed, Heap::with_capacity(4, 3), (4, 3), NONE),
        4 => run(seed, Heap::with_capacity(6, 2), (6, 2), NONE),
        _ => run(seed, Heap::with_capacity(12, 4), (12, 4), NONE),
    }
}

fn run<S: Storage>(seed: u64, storage: S, size: (usize, usize), dice: Dice) -> Run {
    let hint = format!("CHARGEHAND_SEED={seed}");
    let mut pair = Pair::with(hint, Rng::new(seed), random_config, dice, storage, size);
    if size.1 > 12 {
        pair.gather();
    }
    for _ in 0..STEPS {
        pair.step();
    }
    pair.shut_down();
    Run { events: pair.compared(), seen: pair.seen() }
}
