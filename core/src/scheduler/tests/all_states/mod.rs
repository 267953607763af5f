//! Every state that a small pool can come to, one after the other, instead of a choice at random.
//!
//! Each model has two workers and up to three tasks at once, the engine's real code, spans of a few
//! ticks, and some kinds of faults; from each state all that may happen next is tried. After each call all
//! invariants are counted anew; in each state answers that are late, doubled or foreign are refused and
//! change nothing, no task waits beside a worker with room, and where faults stop, all tasks end within
//! a bound. Numbers of tasks and links do not count (see `canon`), so a model is as large as its states,
//! however many tasks follow one another.
//!
//! Each model says with how many tasks at once all of its states are looked at, which its test asserts; with more
//! tasks, `STATES` (100,000) is how many are. Nine have more than that with one task already.
//! `cargo test --release -p chargehand-core all_states -- --nocapture` prints how many there are.

mod canon;
mod search;

use std::time::Duration;

use crate::backoff::{BackoffPolicy, Jitter};
use crate::{
    Class, Config, Hedge, Instant, Key, Lane, Offer, QueueId, QueueOptions, QueueSet, Rate, Route,
    TaskOptions, Useless, Verdict,
};
use search::{Model, Other, TICK};

const STATES: usize = 100_000;

const ONE: Offer = Offer::new(1);
/// Runs one, and holds another one ahead.
const AHEAD: Offer = Offer::new(1).window(2).trusted();
const PLAIN: TaskOptions = TaskOptions::new();
const BULK: TaskOptions = PLAIN.lane(Lane::Bulk);

/// Heartbeats are off, and so is what waits for long.
fn config() -> Config {
    let mut config = Config::new(1);
    config.attempts_max = 2;
    config.resends_max = 2;
    config.retries_max = 1;
    config.strikes_max = 2;
    config.failures_max = 2;
    config.elsewhere_wait = TICK;
    config.retry_delay = TICK;
    config.attempt_timeout = TICK * 2;
    config.connect_timeout = TICK;
    config.heartbeat_interval = Duration::MAX;
    config.absent_max = Duration::MAX;
    config.stable_after = Duration::MAX;
    config.backoff = BackoffPolicy::new().base(TICK).factor(2).cap(TICK * 2).jitter(Jitter::None);
    config
}

fn model(name: &'static str) -> Model {
    Model {
        name,
        config: config(),
        queues: &[],
        routes: [Route::Dial, Route::Dial],
        offers: &[ONE],
        tasks: &[PLAIN],
        tasks_max: 3,
        verdicts: &[Verdict::Done],
        useless: &[],
        others: &[],
        polls_all: true,
        complete_with: 1,
    }
}

/// Searches a model, which must come by all of `wanted`.
fn search(model: &Model, wanted: &[&str]) {
    let states = std::env::var("STATES").map_or(STATES, |text| text.parse().expect("a number"));
    for tasks_max in 1..model.tasks_max {
        let must_be_all = tasks_max <= model.complete_with;
        if must_be_all || states > STATES {
            let fewer = Model { tasks_max, ..model.clone() };
            let is_all = fewer.search(states.max(STATES)).is_all;
            assert!(is_all || !must_be_all, "{}: not all with {tasks_max} tasks", model.name);
        }
    }
    let must_be_all = model.tasks_max <= model.complete_with;
    let found = model.search(if must_be_all { states.max(STATES) } else { states });
    assert!(found.is_all || !must_be_all, "{}: more than {states} states", model.name);
    let missing: std::vec::Vec<_> = wanted.iter().filter(|&it| !found.seen.contains(it)).collect();
    assert!(missing.is_empty(), "{}: never came by {missing:?}", model.name);
}

#[test]
fn links_that_break_lose_no_task() {
    let mut model = model("links that break");
    model.complete_with = 2;
    model.others = &[Other::Break, Other::Refuse];
    model.config.attempt_timeout = Duration::MAX;
    search(&model, &["done", "exhausted", "sent again", "never connected"]);
}

#[test]
fn attempts_that_are_late_end_and_are_tried_elsewhere() {
    let mut model = model("late attempts");
    model.complete_with = 2;
    model.offers = &[AHEAD];
    model.tasks_max = 2;
    search(&model, &["done", "exhausted", "struck out", "looked at", "withdrawn"]);
}

#[test]
fn tasks_that_fail_rest_and_are_tried_again() {
    let mut model = model("failures");
    model.config.attempt_timeout = Duration::MAX;
    model.verdicts = &[Verdict::Done, Verdict::Failed, Verdict::Returned];
    model.tasks_max = 2;
    search(&model, &["done", "failed", "bounced", "suspended"]);
}

#[test]
fn answers_of_no_use_end_or_go_elsewhere() {
    let mut model = model("answers of no use");
    model.config.attempt_timeout = Duration::MAX;
    model.useless =
        &[Useless::Unusable, Useless::Final, Useless::Permanent, Useless::RetryAfter(TICK)];
    model.tasks_max = 2;
    search(&model, &["done", "failed", "exhausted", "suspended"]);
}

#[test]
fn workers_that_cannot_now_get_nothing_for_a_while_and_harm_no_task() {
    let mut model = model("not now");
    model.config.attempt_timeout = Duration::MAX;
    model.config.resends_max = 2;
    model.offers = &[AHEAD];
    model.useless = &[Useless::Throttled(TICK)];
    model.tasks_max = 2;
    search(&model, &["done", "bounced"]);
}

#[test]
fn tasks_are_cancelled_wherever_they_are() {
    let mut model = model("cancelling");
    model.complete_with = 2;
    model.offers = &[AHEAD];
    model.others = &[Other::Cancel, Other::Break];
    model.config.attempt_timeout = Duration::MAX;
    search(&model, &["done", "cancelled", "withdrawn"]);
}

#[test]
fn names_that_clash_and_workers_that_stop_cost_no_attempt() {
    let mut model = model("names and stops");
    model.routes = [Route::Await, Route::Await];
    model.others = &[Other::Stop, Other::Drain, Other::Add];
    model.config.attempt_timeout = Duration::MAX;
    model.tasks_max = 2;
    search(&model, &["done", "bounced", "closed as drained", "gone"]);
}

#[test]
fn workers_that_dial_in_again_too_soon_are_delayed() {
    let mut model = model("dialling in too soon");
    model.routes = [Route::Await, Route::Dial];
    model.others = &[Other::Break, Other::Stop];
    model.config.attempt_timeout = Duration::MAX;
    model.config.stable_after = TICK * 2;
    model.tasks_max = 1;
    search(&model, &["done", "exhausted", "sent again"]);
}

#[test]
fn workers_come_and_go() {
    let mut model = model("adding and removing");
    model.others = &[Other::Add, Other::Remove, Other::Break];
    model.config.attempt_timeout = Duration::MAX;
    model.tasks_max = 2;
    search(&model, &["done", "exhausted", "closed as drained", "gone"]);
}

#[test]
fn a_pool_that_shuts_ends_every_task() {
    let mut model = model("shutting");
    model.others = &[Other::Shut, Other::Break, Other::Drain];
    search(&model, &["done", "aborted", "exhausted", "closed at the end", "gone"]);
}

#[test]
fn silent_links_are_asked_and_then_closed() {
    let mut model = model("silence");
    model.complete_with = 2;
    model.config.attempt_timeout = Duration::MAX;
    model.config.heartbeat_interval = TICK * 2;
    model.config.heartbeat_timeout = TICK;
    model.others = &[Other::Hear];
    model.tasks_max = 2;
    search(&model, &["done", "pinged", "silent", "exhausted"]);
}

#[test]
fn links_that_only_move_are_left_alone() {
    let mut model = model("moving");
    model.complete_with = 0;
    model.others = &[Other::Move];
    model.tasks_max = 2;
    search(&model, &["done", "looked at", "struck out"]);
}

#[test]
fn busy_workers_get_nothing() {
    let mut model = model("busy workers");
    model.complete_with = 2;
    model.config.attempt_timeout = Duration::MAX;
    model.others = &[Other::Busy, Other::Break, Other::Cancel];
    model.tasks_max = 2;
    search(&model, &["done", "cancelled", "exhausted"]);
}

#[test]
fn tasks_with_times_of_their_own_end_in_time() {
    const OWN: TaskOptions = PLAIN
        .deadline(Instant::from_millis(2))
        .attempt_timeout(TICK)
        .retry_delay(BackoffPolicy::new().base(TICK).cap(TICK).jitter(Jitter::None));
    let mut model = model("times of their own");
    model.complete_with = 0;
    model.tasks = &[PLAIN, OWN];
    model.tasks_max = 2;
    model.verdicts = &[Verdict::Done, Verdict::Failed];
    search(&model, &["done", "failed", "timed out"]);
}

/// Has a grace of its own, and is another process or the same one.
const KEEPS: Offer = Offer::new(2).keeps(TICK);
const RESUMES: Offer = KEEPS.resumes();

#[test]
fn workers_that_come_back_keep_what_they_name_and_lose_the_rest() {
    let mut model = model("coming back");
    model.config.grace = TICK * 2;
    model.config.attempt_timeout = Duration::MAX;
    model.offers = &[KEEPS, RESUMES];
    model.routes = [Route::Dial, Route::Await];
    model.others = &[Other::Away, Other::Refuse];
    model.tasks_max = 2;
    search(&model, &["done", "exhausted", "bounced", "sent again"]);
}

#[test]
fn what_workers_hold_that_are_away_is_cancelled_late_or_cut_short() {
    const OWN: TaskOptions = PLAIN.deadline(Instant::from_millis(2)).attempt_timeout(TICK);
    let mut model = model("away");
    model.complete_with = 0;
    model.config.grace = TICK * 2;
    model.tasks = &[PLAIN, OWN];
    model.offers = &[KEEPS, RESUMES];
    model.routes = [Route::Await, Route::Await];
    model.others = &[Other::Away, Other::Cancel, Other::Remove, Other::Drain, Other::Shut];
    model.tasks_max = 2;
    search(&model, &["done", "cancelled", "aborted", "timed out", "withdrawn", "gone"]);
}

#[test]
fn progress_gives_attempts_time_and_none_without_end() {
    const LONG: TaskOptions = PLAIN.attempt_max(Duration::from_millis(3));
    let mut model = model("progress");
    model.tasks = &[PLAIN, LONG];
    model.offers = &[AHEAD];
    model.others = &[Other::Progress, Other::Break];
    model.tasks_max = 2;
    search(&model, &["done", "exhausted", "looked at", "struck out"]);
}

#[test]
fn queues_share_wait_and_stop_and_lose_no_task() {
    const QUEUES: &[QueueOptions] = &[
        QueueOptions::new().class(Class::Low).in_flight_max(1),
        QueueOptions::new().class(Class::Urgent),
    ];
    const OTHER: TaskOptions = PLAIN.queue(QueueId::new(1));
    let mut model = model("queues");
    model.config.class_share_min = 25;
    model.config.attempt_timeout = Duration::MAX;
    model.queues = QUEUES;
    model.tasks = &[PLAIN, OTHER];
    model.offers = &[AHEAD];
    model.others = &[Other::Pause, Other::Break];
    search(&model, &["done", "exhausted", "sent again"]);
}

#[test]
fn a_rate_holds_tasks_back_and_lets_each_of_them_go() {
    const QUEUES: &[QueueOptions] = &[QueueOptions::new().rate(Rate::per(4, TICK))];
    let mut model = model("a rate");
    model.config.attempt_timeout = Duration::MAX;
    model.queues = QUEUES;
    model.tasks_max = 2;
    model.others = &[Other::Cancel];
    model.verdicts = &[Verdict::Done, Verdict::Returned];
    search(&model, &["done", "cancelled", "bounced"]);
}

#[test]
fn keys_keep_tasks_in_order_whatever_becomes_of_those_before_them() {
    const KEYED: TaskOptions = PLAIN.key(Key::new(0));
    const TWICE: TaskOptions = BULK.key(Key::new(0).at_once(2));
    let mut model = model("keys");
    model.complete_with = 0;
    model.config.attempt_timeout = Duration::MAX;
    model.tasks = &[KEYED, TWICE];
    model.offers = &[AHEAD];
    model.verdicts = &[Verdict::Done, Verdict::Failed];
    model.others = &[Other::Cancel, Other::Break];
    search(&model, &["done", "failed", "cancelled", "exhausted", "withdrawn"]);
}

#[test]
fn tasks_go_only_to_those_that_serve_their_queue_and_wait_for_nobody_else() {
    const QUEUES: &[QueueOptions] = &[QueueOptions::new(), QueueOptions::new()];
    const SECOND: QueueId = QueueId::new(1);
    const OTHER: TaskOptions = PLAIN.queue(SECOND);
    const PICKY: Offer = Offer::new(1).serves(QueueSet::NONE.with(SECOND));
    const IDLE: Offer = Offer::new(1).serves(QueueSet::NONE);
    let mut model = model("served queues");
    model.complete_with = 0;
    model.config.attempt_timeout = Duration::MAX;
    model.queues = QUEUES;
    model.tasks = &[PLAIN, OTHER];
    model.offers = &[ONE, PICKY, IDLE];
    // A worker that does not serve what waits has to come back before it ends.
    model.config.backoff = BackoffPolicy::new().base(TICK).cap(TICK).jitter(Jitter::None);
    model.routes = [Route::Dial, Route::Await];
    model.verdicts = &[Verdict::Done, Verdict::Failed];
    model.others = &[Other::Break];
    model.tasks_max = 2;
    search(&model, &["done", "failed", "exhausted", "sent again", "suspended"]);
}

#[test]
fn a_rate_of_a_worker_holds_it_back_and_lets_each_task_go() {
    const SLOW: Offer = AHEAD.rate(Rate::per(2, TICK));
    let mut model = model("a worker's rate");
    model.complete_with = 0;
    model.config.attempt_timeout = Duration::MAX;
    model.offers = &[SLOW, AHEAD];
    model.useless = &[Useless::Throttled(TICK)];
    model.others = &[Other::Break];
    model.tasks_max = 2;
    search(&model, &["done", "bounced", "exhausted"]);
}

#[test]
fn keys_that_are_paused_get_nothing_and_lose_no_task() {
    const KEYED: TaskOptions = PLAIN.key(Key::new(0));
    const TWICE: TaskOptions = BULK.key(Key::new(0).at_once(2));
    let mut model = model("paused keys");
    model.config.attempt_timeout = Duration::MAX;
    model.tasks = &[KEYED, TWICE];
    model.offers = &[AHEAD];
    model.useless = &[Useless::KeyThrottled(TICK)];
    model.others = &[Other::Cancel, Other::Break];
    search(&model, &["done", "bounced", "cancelled", "exhausted", "withdrawn"]);
}

#[test]
fn a_pool_that_begins_with_queues_in_the_midst_loses_no_task() {
    const KEYED: TaskOptions = PLAIN.key(Key::new(0));
    let mut model = model("queues in the midst");
    model.complete_with = 0;
    model.config.attempt_timeout = Duration::MAX;
    model.tasks = &[PLAIN, KEYED];
    model.verdicts = &[Verdict::Done, Verdict::Failed];
    model.others = &[Other::Pause, Other::Break, Other::Shut];
    model.tasks_max = 2;
    search(&model, &["done", "failed", "exhausted", "aborted"]);
}

#[test]
fn lanes_take_turns() {
    let mut model = model("lanes");
    model.tasks = &[PLAIN, BULK];
    model.offers = &[ONE, AHEAD];
    model.others = &[Other::Break];
    model.config.attempt_timeout = Duration::MAX;
    search(&model, &["done", "exhausted"]);
}

#[test]
fn a_caller_may_be_slow_to_poll() {
    let mut model = model("a slow caller");
    model.complete_with = 0;
    model.polls_all = false;
    model.others = &[Other::Break, Other::Cancel];
    model.tasks_max = 2;
    search(&model, &["done", "exhausted", "cancelled", "withdrawn", "struck out"]);
}

#[test]
fn all_faults_together() {
    let mut model = model("all faults");
    model.complete_with = 0;
    model.routes = [Route::Dial, Route::Await];
    model.offers = &[ONE, AHEAD];
    model.verdicts = &[Verdict::Done, Verdict::Failed, Verdict::Returned];
    model.useless = &[Useless::Unusable, Useless::Permanent];
    model.others = &[
        Other::Cancel,
        Other::Refuse,
        Other::Break,
        Other::Stop,
        Other::Drain,
        Other::Busy,
        Other::Remove,
        Other::Add,
        Other::Shut,
    ];
    search(&model, &["done", "failed", "cancelled", "sent again", "withdrawn", "gone"]);
}

/// A model whose tasks are sent to a second worker after a tick, where that has room.
fn hedged(name: &'static str) -> Model {
    const HEDGED: TaskOptions = PLAIN.hedge(Hedge::after(TICK));
    let mut model = model(name);
    model.tasks = &[HEDGED];
    // One slot of the three is for second attempts.
    model.config.hedges_max = 1;
    (model.config.hedge_budget.saved_max, model.config.hedge_budget.per_thousand) = (1, 1000);
    (model.config.attempts_max, model.config.resends_max) = (3, 3);
    model
}

#[test]
fn two_attempts_of_a_task_end_in_one_outcome_whatever_becomes_of_them() {
    let mut model = hedged("two attempts of a task");
    model.tasks_max = 2;
    model.verdicts = &[Verdict::Done, Verdict::Failed, Verdict::Returned];
    model.others = &[Other::Cancel, Other::Break, Other::Drain, Other::Shut];
    let wanted = ["done", "failed", "bounced", "exhausted", "cancelled", "aborted", "withdrawn"];
    search(&model, &wanted);
}

#[test]
fn two_tasks_of_two_attempts_do_not_mix_them_up() {
    let mut model = hedged("two tasks of two attempts");
    model.offers = &[AHEAD];
    model.verdicts = &[Verdict::Done, Verdict::Returned];
    model.useless = &[Useless::Throttled(TICK)];
    model.others = &[Other::Cancel, Other::Break];
    search(&model, &["done", "exhausted", "cancelled", "withdrawn", "sent again"]);
}

#[test]
fn an_attempt_that_is_kept_is_one_of_two() {
    const KEEPS: Offer = ONE.keeps(Duration::from_secs(1));
    const RESUMES: Offer = KEEPS.resumes();
    let mut model = hedged("an attempt that is kept is one of two");
    model.tasks_max = 2;
    model.config.grace = TICK * 2;
    model.offers = &[KEEPS, RESUMES];
    model.others = &[Other::Away, Other::Refuse, Other::Cancel];
    search(&model, &["done", "exhausted", "cancelled", "withdrawn"]);
}
