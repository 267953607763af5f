//! Many busy links on a runtime that meters its tasks, as tokio does: past so many operations in one
//! poll it says that nothing is ready, and wakes the task again. What is polled then is polled in vain.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use chargehand::Pool;
use chargehand::core::Verdict;
use chargehand::core::io::{Connect, Wire};
use chargehand::core::message::{HEAD_BYTES_MAX, Message, Role};
use chargehand::testing::ManualTimer;

const LINKS: usize = 1000;
const HEIGHTS: u64 = 20_000;
/// As tokio has it.
const OPERATIONS_PER_POLL: u32 = 128;

thread_local! {
    /// What is left for this poll.
    static METER: Cell<u32> = const { Cell::new(0) };
    static IN_VAIN: Cell<u64> = const { Cell::new(0) };
}

/// Takes an operation from what the poll may do.
fn metered(cx: &Context<'_>) -> Poll<()> {
    let left = METER.get();
    if left == 0 {
        IN_VAIN.set(IN_VAIN.get() + 1);
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    METER.set(left - 1);
    Poll::Ready(())
}

/// The manager's end of a link whose worker answers at once.
struct Echo {
    answers: VecDeque<Vec<u8>>,
    answer: Vec<u8>,
    waker: Option<Waker>,
}

impl Echo {
    fn new() -> Self {
        let hello = Message::hello(Role::Worker, 1, 7, "echo");
        let hello = hello.encode(&mut [0; HEAD_BYTES_MAX]).to_vec();
        Self { answers: VecDeque::from([hello]), answer: Vec::new(), waker: None }
    }
}

impl Wire for Echo {
    type Error = Infallible;

    fn peer(&self) -> &'static str {
        "echo"
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, Infallible>> {
        if self.answers.is_empty() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if metered(cx).is_pending() {
            return Poll::Pending;
        }
        self.answer = self.answers.pop_front().expect("it was looked at just now");
        Poll::Ready(Ok(Some(&self.answer)))
    }

    fn poll_send(
        &mut self,
        _: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), Infallible>> {
        let request = [head, body].concat();
        if let Ok(Message::Request { task, attempt, body }) = Message::decode(&request) {
            let answer = Message::Response { task, attempt, verdict: Verdict::Done, body };
            let head = answer.encode(&mut [0; HEAD_BYTES_MAX]).to_vec();
            self.answers.push_back([head.as_slice(), body].concat());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if metered(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(waker) = self.waker.take_if(|_| !self.answers.is_empty()) {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

struct Echoes;

impl Connect for Echoes {
    type Wire = Echo;
    type Error = Infallible;
    type Connecting = Ready<Result<Echo, Infallible>>;

    fn connect(&mut self) -> Self::Connecting {
        ready(Ok(Echo::new()))
    }

    fn peer(&self) -> &'static str {
        "echo"
    }
}

#[test]
fn a_driver_polls_hardly_anything_in_vain() {
    let mut builder = Pool::builder(ManualTimer::new()).workers_max(1024);
    for _ in 0..LINKS {
        builder = builder.connect(Echoes);
    }
    let (pool, driver) = builder.build().expect("limits in range");
    let mut driver = pin!(driver);
    let mut outcomes = pool.process::<u64>(0..=HEIGHTS - 1);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut done = 0;
    let mut polls = 0;
    while done < HEIGHTS {
        polls += 1;
        assert!(polls < HEIGHTS, "each poll of the driver does something");
        METER.set(OPERATIONS_PER_POLL);
        assert!(driver.as_mut().poll(cx).is_pending());
        while let Poll::Ready(Some((height, answer))) = Pin::new(&mut outcomes.next()).poll(cx) {
            assert_eq!(answer, Ok(height));
            done += 1;
        }
    }
    // Each height is read once and flushed once, at least.
    let in_vain = IN_VAIN.get();
    assert!(in_vain < HEIGHTS / 10, "{in_vain} polls in vain for {HEIGHTS} heights");
}
