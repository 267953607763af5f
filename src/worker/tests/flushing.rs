//! When answers leave.

use core::future::{poll_fn, ready};
use core::task::{Poll, Waker};

use super::meddled::{Meddle, MeddledListener};
use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Handled(u64),
    /// Something left on the link that was accepted after that many others.
    Flushed(usize),
}

type Log = Arc<Mutex<Vec<Step>>>;

/// Notes the flushes of a wire.
struct Noting {
    link: usize,
    has_sent: bool,
    log: Log,
}

impl Meddle for Noting {
    fn poll_take(&mut self, _: usize) -> Poll<Result<(), MemoryError>> {
        self.has_sent = true;
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self) {
        if core::mem::take(&mut self.has_sent) {
            self.log.lock().unwrap().push(Step::Flushed(self.link));
        }
    }
}

/// Makes a listener whose wires note their flushes.
fn noting(inner: MemoryListener, log: &Log) -> MeddledListener<impl FnMut() -> Noting> {
    let (log, mut links) = (Arc::clone(log), 0..);
    let make = move || {
        let link = links.next().expect("they do not end");
        Noting { link, has_sent: false, log: Arc::clone(&log) }
    };
    MeddledListener::new(inner, make)
}

#[test]
fn the_answers_of_a_link_leave_together_and_before_the_next_link_is_polled() {
    let log = Log::default();
    let (connector, inner) = pair(64);
    let listener = noting(inner, &log);
    let handled = Arc::clone(&log);
    let worker = Worker::new(ManualTimer::new(), move |number: u64| {
        handled.lock().unwrap().push(Step::Handled(number));
        ready(Ok::<_, String>(number))
    });
    beside(worker.serve(listener), async {
        let mut managers = [Manager::meet(&connector).await, Manager::meet(&connector).await];
        settle().await;
        log.lock().unwrap().clear();
        // Nothing in between lets the worker run.
        for (link, manager) in (0_u32..).zip(&mut managers) {
            for number in 10 * link..10 * link + 3 {
                manager.ask(number, number.into()).await;
            }
        }
        assert!(log.lock().unwrap().is_empty());
        settle().await;
        let [a, b] = [0, 10].map(|first| [0, 1, 2].map(|at| Step::Handled(first + at)));
        let expected = a.into_iter().chain([Step::Flushed(0)]);
        let expected: Vec<_> = expected.chain(b).chain([Step::Flushed(1)]).collect();
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

/// A worker whose handlers note that they begin, and end once the number that is their own is let go.
fn held(log: &Log, concurrency: u16) -> (Worker<ManualTimer, impl Handler>, Go) {
    let go = Go::default();
    let (handled, gate) = (Arc::clone(log), Arc::clone(&go));
    let worker = Worker::new(ManualTimer::new(), move |number: u64| {
        handled.lock().unwrap().push(Step::Handled(number));
        let gate = Arc::clone(&gate);
        poll_fn(move |cx| {
            let (free, waker) = &mut *gate.lock().unwrap();
            if number < *free {
                return Poll::Ready(Ok::<_, String>(number));
            }
            waker.push(cx.waker().clone());
            Poll::Pending
        })
    });
    (worker.concurrency(concurrency), go)
}

/// Below which number handlers end, and who waits for more.
type Go = Arc<Mutex<(u64, Vec<Waker>)>>;

fn let_go(go: &Go, below: u64) {
    let (free, wakers) = &mut *go.lock().unwrap();
    *free = below;
    wakers.drain(..).for_each(Waker::wake);
}

// What begins may take the process down, and what ended before must not look like the cause.
#[test]
fn answers_leave_before_what_waited_for_their_room_begins() {
    let log = Log::default();
    let (connector, inner) = pair(64);
    let listener = noting(inner, &log);
    let (worker, go) = held(&log, 2);
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(4, 1 << 20).await;
        for number in 0..4 {
            manager.ask(number, number.into()).await;
        }
        settle().await;
        log.lock().unwrap().clear();
        let_go(&go, 2);
        settle().await;
        let expected = [Step::Flushed(0), Step::Handled(2), Step::Handled(3)];
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

#[test]
fn answers_leave_before_what_has_just_come_begins() {
    let log = Log::default();
    let (connector, inner) = pair(64);
    let listener = noting(inner, &log);
    let (worker, go) = held(&log, 2);
    beside(worker.serve(listener), async {
        let mut managers = [Manager::meet(&connector).await, Manager::meet(&connector).await];
        managers[0].ask(0, 0).await;
        settle().await;
        log.lock().unwrap().clear();
        // In one poll of the worker, and the request first; on another link, too.
        managers[0].ask(1, 1).await;
        managers[1].ask(2, 2).await;
        let_go(&go, 1);
        settle().await;
        let expected = [Step::Flushed(0), Step::Handled(1), Step::Handled(2)];
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

#[test]
fn an_answer_given_at_once_leaves_before_the_next_that_waited_begins() {
    let log = Log::default();
    let (connector, inner) = pair(64);
    let listener = noting(inner, &log);
    let (worker, go) = held(&log, 1);
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(4, 1 << 20).await;
        for number in 0..3 {
            manager.ask(number, number.into()).await;
        }
        settle().await;
        log.lock().unwrap().clear();
        let_go(&go, 3);
        settle().await;
        let steps = [1, 2].map(|next| [Step::Flushed(0), Step::Handled(next)]);
        let expected = steps.into_iter().flatten().chain([Step::Flushed(0)]);
        assert_eq!(*log.lock().unwrap(), expected.collect::<Vec<_>>());
    });
}

#[test]
fn what_comes_again_begins_once_all_answers_before_it_have_left() {
    let log = Log::default();
    let (connector, inner) = pair(64);
    let listener = noting(inner, &log);
    let (worker, go) = held(&log, 4);
    let_go(&go, u64::MAX);
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        settle().await;
        log.lock().unwrap().clear();
        // In one poll of the worker, whose handlers end at once.
        for (number, attempt) in [(0, 1), (1, 1), (2, 2), (3, 1)] {
            let task = TaskId::from_parts(number, 0);
            let extensions = Extensions::NONE;
            let request = Message::Request { task, attempt, extensions, body: &[] };
            manager.send(&request, &postcard::to_allocvec(&u64::from(number)).unwrap()).await;
        }
        settle().await;
        let new = [Step::Handled(0), Step::Handled(1), Step::Flushed(0)];
        let again = [Step::Handled(2), Step::Flushed(0), Step::Handled(3), Step::Flushed(0)];
        let expected: Vec<_> = new.into_iter().chain(again).collect();
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

#[test]
fn what_a_manager_said_last_is_heard_though_an_answer_cannot_be_sent_any_more() {
    let log = Log::default();
    let (connector, listener) = pair(64);
    let (worker, go) = held(&log, 1);
    let told = Arc::<Mutex<Vec<WorkerEvent>>>::default();
    let ear = Arc::clone(&told);
    let worker = worker.on_event(move |event| ear.lock().unwrap().push(event.clone()));
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        manager.ask(0, 0).await;
        settle().await;
        // It answers before it reads, and nobody is there any more.
        manager.send(&Message::Goodbye { code: Code::Displaced, text: "a newer" }, &[]).await;
        drop(manager);
        let_go(&go, 1);
        settle().await;
        let told = told.lock().unwrap();
        let is_sent_away = |event: &WorkerEvent| matches!(event, WorkerEvent::SentAway { .. });
        assert!(told.iter().any(is_sent_away), "{told:?}");
    });
}
