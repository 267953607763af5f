//! When answers leave.

use core::future::{Ready, ready};
use core::task::{Context, Poll, ready as ready_or_return};

use chargehand_core::io::Listen;

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Handled(u64),
    /// Something left on the link that was accepted so many others later.
    Flushed(usize),
}

type Log = Arc<Mutex<Vec<Step>>>;

/// A wire that notes its flushes, and that knows nothing of what comes next.
struct Noting {
    inner: MemoryWire,
    link: usize,
    has_sent: bool,
    log: Log,
}

impl Wire for Noting {
    type Error = MemoryError;

    fn peer(&self) -> &str {
        self.inner.peer()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, MemoryError>> {
        self.inner.poll_recv(cx)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), MemoryError>> {
        self.has_sent = true;
        self.inner.poll_send(cx, head, body)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        if core::mem::take(&mut self.has_sent) {
            self.log.lock().unwrap().push(Step::Flushed(self.link));
        }
        self.inner.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        self.inner.poll_close(cx)
    }
}

struct NotingListener {
    inner: MemoryListener,
    accepted: usize,
    log: Log,
}

impl Listen for NotingListener {
    type Wire = Noting;
    type Error = MemoryError;
    type Accepting = Ready<Result<Noting, MemoryError>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        let accepting = ready_or_return!(self.inner.poll_accept(cx))?;
        let inner = accepting.into_inner()?;
        let link = self.accepted;
        self.accepted += 1;
        let log = Arc::clone(&self.log);
        Poll::Ready(Ok(ready(Ok(Noting { inner, link, has_sent: false, log }))))
    }
}

#[test]
fn the_answers_of_a_link_leave_together_and_before_the_next_link_is_polled() {
    let log = Log::default();
    let (connector, inner) = pair(64);
    let listener = NotingListener { inner, accepted: 0, log: Arc::clone(&log) };
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
