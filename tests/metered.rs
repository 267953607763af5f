//! Many busy links on a runtime with cooperative scheduling, like tokio's: once a task has used up its budget
//! of operations in a poll, everything reports pending, and the task is woken again. Polls beyond the budget
//! are wasted.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use chargehand::core::Verdict;
use chargehand::core::io::{Connect, Exposure, Wire};
use chargehand::core::message::{HEAD_BYTES_MAX, Message, Role};
use chargehand::testing::ManualTimer;
use chargehand::{Driver, Pool};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

const LINKS: usize = 1000;
const HEIGHTS: u64 = 20_000;
/// Tokio's budget per poll.
const OPERATIONS_PER_POLL: u32 = 128;

thread_local! {
    /// The remaining budget of this poll.
    static METER: Cell<u32> = const { Cell::new(0) };
    static IN_VAIN: Cell<u64> = const { Cell::new(0) };
    /// Bytes read in this poll.
    static READ: Cell<usize> = const { Cell::new(0) };
    static NEARNESS: Cell<Nearness> = const { Cell::new(Nearness::Far) };
}

/// What the wires return from `expects_next`.
#[derive(Clone, Copy, Debug)]
enum Nearness {
    /// Nothing.
    Far,
    /// An answer right after a request has been sent, which does arrive.
    Near,
    /// The same, but it does not arrive.
    Hopeful,
}

/// Takes one operation off the poll's budget.
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

/// The manager's end of a link to a worker that answers immediately.
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
        READ.set(READ.get() + self.answer.len());
        Poll::Ready(Ok(Some(&self.answer)))
    }

    fn expects_next(&mut self) -> bool {
        match NEARNESS.get() {
            Nearness::Far => false,
            Nearness::Near => self.answers.is_empty(),
            Nearness::Hopeful => true,
        }
    }

    fn poll_send(
        &mut self,
        _: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), Infallible>> {
        let request = [head, body].concat();
        if let Ok(Message::Request { task, attempt, body, .. }) = Message::decode(&request) {
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

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// Makes a pool with the given number of links, each with one task in flight.
fn pool(links: usize) -> (Pool, Driver<ManualTimer>) {
    let mut builder = Pool::builder(ManualTimer::new()).workers_max(1024);
    for _ in 0..links {
        builder = builder.connect(Echoes);
    }
    builder.build().expect("limits in range")
}

/// Whether a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Woken {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Makes calls with bodies of the given length, polling only what was woken. Returns the largest number of
/// bytes read in a single poll of the driver.
fn call_until_done(links: usize, calls: u64, bytes: usize) -> usize {
    let (pool, driver) = pool(links);
    let mut callers: FuturesUnordered<_> = (0..200_u64)
        .map(|caller| {
            // By reference: dropping a handle would wake the driver.
            let pool = &pool;
            async move {
                for call in 0..calls {
                    let mut body = (caller * 100 + call).to_le_bytes().to_vec();
                    body.resize(bytes, 7);
                    assert_eq!(pool.call_raw(body.clone()).await, Ok(body));
                }
            }
        })
        .collect();
    let mut driver = pin!(driver);
    let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    let wakers = woken.clone().map(Waker::from);
    wakers.iter().for_each(Waker::wake_by_ref);
    let mut most = 0;
    while !callers.is_empty() {
        METER.set(OPERATIONS_PER_POLL);
        let (driver_woken, callers_woken) = (woken[0].take(), woken[1].take());
        assert!(driver_woken || callers_woken, "all sleep, with {links} links");
        if driver_woken {
            READ.set(0);
            let cx = &mut Context::from_waker(&wakers[0]);
            assert!(driver.as_mut().poll(cx).is_pending());
            most = most.max(READ.get());
        }
        if callers_woken {
            let cx = &mut Context::from_waker(&wakers[1]);
            while let Poll::Ready(Some(())) = Pin::new(&mut callers).poll_next(cx) {}
        }
    }
    most
}

#[test]
fn no_wake_is_lost_while_more_links_are_ready_than_one_poll_serves() {
    // Numbers of links that one poll can serve, that take two polls, and that take many.
    for nearness in [Nearness::Far, Nearness::Near, Nearness::Hopeful] {
        NEARNESS.set(nearness);
        for links in [1, 47, 48, 49, 64, 96, 97, 500] {
            call_until_done(links, 20, 8);
        }
    }
}

#[test]
fn long_answers_are_handed_over_a_few_at_a_time_and_no_wake_is_lost() {
    const BYTES: usize = 20_000;
    for nearness in [Nearness::Far, Nearness::Near, Nearness::Hopeful] {
        NEARNESS.set(nearness);
        for links in [1, 3, 4, 5, 49, 97] {
            let most = call_until_done(links, 5, BYTES);
            assert!(most < (64 << 10) + BYTES + 20, "{most} bytes in one poll, with {links} links");
            assert!(links < 4 || most > 3 * BYTES, "{most} bytes in one poll, with {links} links");
        }
    }
}

/// Processes a range one task at a time, polling only what was woken. Returns how many times the driver was
/// polled.
fn polls_for(heights: u64) -> u64 {
    let (pool, driver) = pool(1);
    let mut driver = pin!(driver);
    let mut outcomes = pool.process::<u64>(0..=heights - 1);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    waker.wake_by_ref();
    let (mut done, mut polls) = (0, 0);
    while done < heights {
        assert!(woken.take(), "the driver sleeps with {done} heights done");
        polls += 1;
        METER.set(OPERATIONS_PER_POLL);
        assert!(driver.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(Some((height, answer))) = Pin::new(&mut outcomes.next()).poll(cx) {
            assert_eq!(answer, Ok(height));
            done += 1;
        }
    }
    polls
}

/// Makes calls one after the other, polling only what was woken. Returns how many times the driver was polled.
fn polls_for_calls(calls: u64) -> u64 {
    let (pool, driver) = pool(1);
    let mut driver = pin!(driver);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    waker.wake_by_ref();
    let mut polls = 0;
    for number in 0..calls {
        let mut call = pin!(pool.call::<u64, u64>(&number));
        let cx = &mut Context::from_waker(Waker::noop());
        while call.as_mut().poll(cx).map(|answer| assert_eq!(answer, Ok(number))).is_pending() {
            assert!(woken.take(), "the driver sleeps, and call {number} is not done");
            polls += 1;
            METER.set(OPERATIONS_PER_POLL);
            assert!(driver.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }
    polls
}

#[test]
fn a_call_is_answered_in_the_poll_that_sends_it_if_its_answer_is_there() {
    const CALLS: u64 = 1000;
    NEARNESS.set(Nearness::Far);
    let far = polls_for_calls(CALLS);
    NEARNESS.set(Nearness::Hopeful);
    let near = polls_for_calls(CALLS);
    assert!(far >= 2 * CALLS, "{far} polls");
    assert!((CALLS..CALLS + 50).contains(&near), "{near} polls");
}

#[test]
fn an_answer_that_is_there_once_the_request_has_left_is_taken_in_the_same_poll() {
    const HEIGHTS: u64 = 1000;
    NEARNESS.set(Nearness::Far);
    let far = polls_for(HEIGHTS);
    NEARNESS.set(Nearness::Near);
    let near = polls_for(HEIGHTS);
    assert!(far >= HEIGHTS, "{far} polls");
    // After a few heights the driver yields to whoever waits for them.
    assert!((HEIGHTS / 3..HEIGHTS / 3 + 50).contains(&near), "{near} polls");
}

#[test]
fn a_driver_polls_hardly_anything_in_vain() {
    let (pool, driver) = pool(LINKS);
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
    // At least one read and one flush per height.
    let in_vain = IN_VAIN.get();
    assert!(in_vain < HEIGHTS / 10, "{in_vain} polls in vain for {HEIGHTS} heights");
}
