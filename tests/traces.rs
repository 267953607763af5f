//! Spans of tasks, their attempts and their handlers, as a subscriber of `tracing` sees them, and which trace a handler
//! elsewhere is told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::testing::{Act, Script, Step, World};
use chargehand::traces::{Propagate, TraceContext};
use chargehand::{Context, Failure, Hedge, Pool, TaskOptions, Worker};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Span, Subscriber};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    is_over: bool,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Where a span is kept.
fn place(id: &Id) -> usize {
    usize::try_from(id.into_u64()).expect("a few") - 1
}

#[derive(Default)]
struct State {
    /// By id, from 1 on.
    spans: Vec<Seen>,
    handles: Vec<usize>,
    entered: Vec<u64>,
    /// In which span each event of a handler was.
    events: Vec<(Option<u64>, String)>,
}

/// Keeps all spans, and all events that are the handlers'.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<State>>);

impl Log {
    fn spans(&self, name: &str) -> Vec<(u64, Seen)> {
        let state = self.0.lock().unwrap();
        let all = (1..).zip(&state.spans).filter(|(_, span)| span.name == name);
        all.map(|(id, span)| (id, span.clone())).collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().unwrap();
        let contextual = state.entered.last().copied().filter(|_| span.is_contextual());
        let parent = span.parent().map(Id::into_u64).or(contextual);
        let mut seen = Seen { name: span.metadata().name(), parent, ..Seen::default() };
        span.record(&mut seen);
        state.spans.push(seen);
        state.handles.push(1);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut self.0.lock().unwrap().spans[place(id)]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen::default();
        event.record(&mut seen);
        let mut state = self.0.lock().unwrap();
        let within = state.entered.last().copied();
        if let Some(said) = seen.fields.remove("said") {
            state.events.push((within, said));
        }
    }

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let last = self.0.lock().unwrap().entered.pop();
        assert_eq!(
            last,
            Some(id.into_u64()),
            "spans are left in the order in which they are entered"
        );
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.lock().unwrap().handles[place(id)] += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut state = self.0.lock().unwrap();
        let at = place(&id);
        state.handles[at] -= 1;
        let is_over = state.handles[at] == 0;
        state.spans[at].is_over |= is_over;
        is_over
    }
}

/// Contexts that are made of the ids of spans, and which span was made the child of which.
#[derive(Clone, Default)]
struct Ids(Arc<Mutex<Vec<(u64, u64)>>>);

impl Propagate for Ids {
    fn context_of(&self, span: &Span) -> Option<TraceContext> {
        TraceContext::new([7; 16], span.id()?.into_u64().to_be_bytes(), 1).ok()
    }

    fn adopt(&self, span: &Span, parent: &TraceContext) {
        let child = span.id().unwrap().into_u64();
        self.0.lock().unwrap().push((child, u64::from_be_bytes(parent.parent_id())));
    }
}

async fn fetch(cx: Context, height: u64) -> Result<String, Failure> {
    tracing::info!(said = height);
    if cx.attempt() == 1 && height % 2 == 1 {
        return Err(Failure::new("not yet"));
    }
    Ok(cx.trace().map_or_else(String::new, |trace| trace.to_string()))
}

/// A worker behind a wire, and a pool that knows it.
fn pool_and_worker(world: &World, sent: &Ids, taken: Option<&Ids>) -> Pool {
    let (timer, taken) = (world.timer(), taken.cloned());
    world.host("w1", move || {
        let worker = Worker::new(timer.clone(), fetch).concurrency(1);
        match &taken {
            Some(ids) => worker.propagate(ids.clone()),
            None => worker,
        }
    });
    world.pool(|builder| builder.propagate(sent.clone()).configure(|config| config.retries_max = 2))
}

#[test]
fn each_attempt_is_a_span_of_its_submission_and_its_handler_one_of_the_attempt() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let world = World::new(1);
        let ids = Ids::default();
        let pool = pool_and_worker(&world, &ids, Some(&ids));
        let told = world.run(pool.traced().call::<String, _>(&3_u64)).unwrap();
        world.advance(Duration::from_secs(1));

        let submits = log.spans("submit");
        assert_eq!(submits.len(), 1);
        assert!(submits[0].1.is_over, "it ends with the task");
        let attempts = log.spans("attempt");
        let outcomes: Vec<_> =
            attempts.iter().map(|(_, span)| span.fields["outcome"].as_str()).collect();
        assert_eq!(outcomes, ["failed", "done"]);
        for ((_, attempt), number) in attempts.iter().zip(["1", "2"]) {
            assert_eq!(attempt.parent, Some(submits[0].0));
            assert_eq!(attempt.fields["attempt"], number);
            assert_eq!(attempt.fields["otel.kind"], "client");
            assert!(attempt.is_over);
        }
        assert_eq!(attempts[0].1.fields["error.type"], "failed");
        assert!(!attempts[1].1.fields.contains_key("error.type"));
        let handles = log.spans("handle");
        let adopted = ids.0.lock().unwrap().clone();
        let expected: Vec<_> = handles
            .iter()
            .zip(&attempts)
            .map(|((child, _), (parent, _))| (*child, *parent))
            .collect();
        assert_eq!(adopted, expected, "each handler belongs to its attempt");
        let within: Vec<_> = log.0.lock().unwrap().events.iter().map(|(span, _)| *span).collect();
        assert_eq!(within, [Some(handles[0].0), Some(handles[1].0)], "handlers run in theirs");
        let parent = told.parse::<TraceContext>().unwrap().parent_id();
        assert_eq!(u64::from_be_bytes(parent), attempts[1].0, "the handler knows its trace");
    });
}

#[test]
fn what_is_not_traced_makes_no_span_and_a_worker_that_takes_none_is_told_none() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let world = World::new(1);
        let (sent, taken) = (Ids::default(), Ids::default());
        let pool = pool_and_worker(&world, &sent, Some(&taken));
        let told = world.run(pool.call::<String, _>(&2_u64)).unwrap();
        assert_eq!((told.as_str(), log.0.lock().unwrap().spans.len()), ("", 0));

        let other = World::new(2);
        let pool = pool_and_worker(&other, &sent, None);
        let lengths = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lengths);
        other.watch(move |passing| {
            // A request, of a height.
            if passing.step == Step::ManagerSent && passing.frame.first() == Some(&2) {
                seen.lock().unwrap().push(passing.frame.len());
            }
        });
        let told = other.run(pool.traced().call::<String, _>(&2_u64)).unwrap();
        assert_eq!(told, "");
        assert_eq!(log.spans("attempt").len(), 1, "the manager has its own spans all the same");
        assert!(log.spans("handle").is_empty());
        let lengths = lengths.lock().unwrap();
        assert_eq!(lengths.len(), 1);
        assert!(lengths[0] < 25, "no context was sent: {} bytes", lengths[0]);
    });
}

#[test]
fn ranges_are_traced_as_a_whole_and_handlers_in_the_process_itself_too() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let world = World::new(1);
        let pool = world.pool(|builder| builder.in_process(2, fetch));
        let report = world.run(pool.traced().for_each::<String>(1..=4, |_, outcome| drop(outcome)));
        assert_eq!((report.done, report.failed), (4, 0));
        world.advance(Duration::from_secs(1));
        let (submits, attempts, handles) =
            (log.spans("submit"), log.spans("attempt"), log.spans("handle"));
        assert_eq!(
            (submits.len(), attempts.len(), handles.len()),
            (1, 6, 6),
            "two are tried twice"
        );
        assert!(submits[0].1.is_over);
        for ((id, attempt), (_, handle)) in attempts.iter().zip(&handles) {
            assert_eq!(attempt.parent, Some(submits[0].0));
            assert_eq!(handle.parent, Some(*id));
            assert_eq!(handle.fields["outcome"], attempt.fields["outcome"]);
        }
        let heights: Vec<_> =
            attempts.iter().map(|(_, span)| span.fields["height"].as_str()).collect();
        assert_eq!(heights.iter().filter(|height| **height == "3").count(), 2, "{heights:?}");
    });
}

#[test]
fn of_two_attempts_at_once_each_has_its_span_to_its_end_and_the_later_one_is_withdrawn() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let world = World::new(1);
        for _ in 0..2 {
            let late = Act::Late(20 * SECOND);
            world.worker(Script::new().takes(SECOND).when(|it| it.attempt == 1, late));
        }
        let pool = world.pool(|builder| builder);
        let hedged = pool.with(TaskOptions::new().hedge(Hedge::after(2 * SECOND))).traced();
        let call = world.spawn(async move { hedged.call::<u64, _>(&3_u64).await });
        let outcomes = || -> Vec<_> {
            let attempts = log.spans("attempt").into_iter();
            attempts.map(|(_, span)| span.fields.get("outcome").cloned()).collect()
        };
        world.advance(SECOND * 5 / 2);
        assert_eq!(outcomes(), [None, None], "both are under way");
        assert_eq!(world.run(call), Ok(3));
        world.advance(SECOND);
        assert_eq!(outcomes(), [Some("withdrawn".to_owned()), Some("done".to_owned())]);
        let attempts = log.spans("attempt");
        let submit = log.spans("submit")[0].0;
        for ((_, span), number) in attempts.iter().zip(["1", "2"]) {
            assert_eq!((span.parent, span.is_over), (Some(submit), true));
            assert_eq!(span.fields["attempt"], number);
        }
        assert!(log.spans("submit")[0].1.is_over);
    });
}

#[test]
fn an_attempt_that_fails_beside_another_ends_by_that_and_the_other_by_what_it_comes_to() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let world = World::new(1);
        for _ in 0..2 {
            let slow = Act::Late(20 * SECOND);
            let fails = Act::Fail("no".to_owned());
            let script = Script::new().takes(SECOND).when(|it| it.attempt == 1, slow);
            world.worker(script.when(|it| it.attempt == 2, fails));
        }
        let pool = world.pool(|builder| builder.configure(|config| config.retries_max = 3));
        let hedged = pool.with(TaskOptions::new().hedge(Hedge::after(2 * SECOND))).traced();
        let call = world.spawn(async move { hedged.call::<u64, _>(&3_u64).await });
        assert_eq!(world.run(call), Ok(3));
        world.advance(SECOND);
        let attempts = log.spans("attempt");
        let outcomes: Vec<_> =
            attempts.iter().map(|(_, span)| span.fields["outcome"].as_str()).collect();
        assert!(outcomes.contains(&"failed"), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|it| **it == "done").count(), 1, "{outcomes:?}");
        assert!(attempts.iter().all(|(_, span)| span.is_over));
        let failed = attempts.iter().find(|(_, span)| span.fields["outcome"] == "failed");
        assert_eq!(failed.map(|(_, span)| span.fields["attempt"].as_str()), Some("2"));
    });
}
