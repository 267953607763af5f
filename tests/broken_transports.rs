//! The conformance suite finds what it is there for: transports and clocks that break one rule each,
//! and are whole otherwise.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use chargehand::core::Instant;
use chargehand::core::io::{BytesMoved, Connect, Exposure, Listen, Timer, Wire};
use chargehand::memory::{MemoryConnector, MemoryError, MemoryListener, MemoryWire, pair};
use chargehand::smol::Smol;
use chargehand::testing::conformance::{Case, Pair, cases};

/// How long a case may take. A sound pair takes less than half a second for the longest.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for what may be a flaw that makes a case hang.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// What a pair does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Every tenth message is not given out.
    Loses,
    /// Every tenth message is sent twice.
    Doubles,
    /// What is longer than a buffer is given out in two messages.
    Splits,
    /// The body's first byte is lost where there is a head.
    Mangles,
    /// Who waits for a message is never woken.
    Forgets,
    /// What there is no room for is kept, however much that is.
    Hoards,
    /// Pending, and taken all the same.
    TakesAnyway,
    /// A flush says that everything has left, and the last message has not.
    Withholds,
    /// The end that closes tells nobody.
    ClosesSilently,
    /// The end that is dropped lives on.
    Lingers,
    /// A message past the limit is cut to it.
    Cuts,
    /// A limit that was set once stays.
    KeepsLimit,
    /// It counts the other way.
    Regresses,
    /// Connecting to where nobody is never ends.
    NeverRefuses,
    Nameless,
    /// A sleep is over before its time.
    WakesEarly,
    /// A sleep wakes who polled it first.
    WakesFirst,
}

trait Broken: Send + Sync + 'static {
    const FLAW: Flaw;
}

/// A pair with one flaw, in memory and on smol.
struct With<B>(PhantomData<B>);

impl<B: Broken> Pair for With<B> {
    type Timer = Clock<B>;
    type Listener = BadListener<B>;
    type Connector = BadConnector<B>;

    fn timer() -> Clock<B> {
        Clock { inner: Smol::new(), flaw: PhantomData }
    }

    fn run<F: Future>(case: F) -> F::Output {
        smol::block_on(case)
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }

    fn place() -> (Self::Listener, Self::Connector) {
        let (connector, listener) = pair(64);
        let listener = BadListener { inner: listener, flaw: PhantomData };
        (listener, BadConnector { inner: connector, flaw: PhantomData })
    }
}

struct Clock<B> {
    inner: Smol,
    flaw: PhantomData<B>,
}

impl<B> Clone for Clock<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner, flaw: PhantomData }
    }
}

impl<B: Broken> Timer for Clock<B> {
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let now = self.inner.now();
        let at = match B::FLAW {
            Flaw::WakesEarly => now.saturating_add(at.saturating_since(now) / 2),
            _ => at,
        };
        let mut sleep = Box::pin(self.inner.sleep_until(at));
        let mut first: Option<Waker> = None;
        Box::pin(std::future::poll_fn(move |cx| match B::FLAW {
            Flaw::WakesFirst => {
                let waker = first.get_or_insert_with(|| cx.waker().clone()).clone();
                sleep.as_mut().poll(&mut Context::from_waker(&waker))
            }
            _ => sleep.as_mut().poll(cx),
        }))
    }
}

struct BadListener<B> {
    inner: MemoryListener,
    flaw: PhantomData<B>,
}

impl<B: Broken> Listen for BadListener<B> {
    type Wire = BadWire<B>;
    type Error = MemoryError;
    type Accepting = std::future::Ready<Result<BadWire<B>, MemoryError>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        let accepting = ready!(self.inner.poll_accept(cx))?;
        let wire = accepting.into_inner();
        Poll::Ready(Ok(std::future::ready(wire.map(BadWire::new))))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

struct BadConnector<B> {
    inner: MemoryConnector,
    flaw: PhantomData<B>,
}

impl<B> Clone for BadConnector<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), flaw: PhantomData }
    }
}

impl<B: Broken> Connect for BadConnector<B> {
    type Wire = BadWire<B>;
    type Error = MemoryError;
    type Connecting = Pin<Box<dyn Future<Output = Result<BadWire<B>, MemoryError>> + Send>>;

    fn connect(&mut self) -> Self::Connecting {
        let connecting = self.inner.connect();
        Box::pin(async {
            let wire = connecting.await;
            if wire.is_err() && B::FLAW == Flaw::NeverRefuses {
                std::future::pending::<()>().await;
            }
            wire.map(BadWire::new)
        })
    }

    fn peer(&self) -> &str {
        self.inner.peer()
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

struct BadWire<B> {
    /// `None` once it is dropped.
    inner: Option<MemoryWire>,
    received: u64,
    sent: u64,
    message: Vec<u8>,
    /// What is to be given out next.
    rest: Option<Vec<u8>>,
    limit: usize,
    held: VecDeque<Vec<u8>>,
    lingers: bool,
    flaw: PhantomData<fn() -> B>,
}

/// Where ends live on that should be gone.
static LINGERING: Mutex<Vec<MemoryWire>> = Mutex::new(Vec::new());

impl<B: Broken> BadWire<B> {
    fn new(inner: MemoryWire) -> Self {
        Self {
            inner: Some(inner),
            received: 0,
            sent: 0,
            message: Vec::new(),
            rest: None,
            limit: usize::MAX,
            held: VecDeque::new(),
            lingers: B::FLAW == Flaw::Lingers,
            flaw: PhantomData,
        }
    }
}

impl<B> BadWire<B> {
    fn inner(&mut self) -> &mut MemoryWire {
        self.inner.as_mut().expect("it is not dropped")
    }

    /// Sends what is held, but for the last `kept` of it.
    fn poll_held(&mut self, cx: &mut Context<'_>, kept: usize) -> Poll<Result<(), MemoryError>> {
        while self.held.len() > kept {
            let message = self.held.pop_front().expect("there is one");
            let sent = self.inner().poll_send(cx, &message, &[]);
            if sent.is_pending() {
                self.held.push_front(message);
            }
            ready!(sent)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<B> Drop for BadWire<B> {
    fn drop(&mut self) {
        if self.lingers {
            LINGERING.lock().expect("no panic with it").extend(self.inner.take());
        }
    }
}

impl<B: Broken> Wire for BadWire<B> {
    type Error = MemoryError;

    fn peer(&self) -> &str {
        if B::FLAW == Flaw::Nameless { "" } else { "memory" }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, MemoryError>> {
        if let Some(rest) = self.rest.take() {
            self.message = rest;
            return Poll::Ready(Ok(Some(&self.message)));
        }
        loop {
            let mut deaf = Context::from_waker(Waker::noop());
            let cx = if B::FLAW == Flaw::Forgets { &mut deaf } else { &mut *cx };
            let received = ready!(self.inner().poll_recv(cx))?.map(<[u8]>::to_vec);
            let Some(mut message) = received else { return Poll::Ready(Ok(None)) };
            self.received += 1;
            match B::FLAW {
                Flaw::Loses if self.received.is_multiple_of(10) => continue,
                Flaw::Splits if message.len() > 4096 => self.rest = Some(message.split_off(4096)),
                Flaw::Cuts => message.truncate(self.limit),
                _ => {}
            }
            self.message = message;
            return Poll::Ready(Ok(Some(&self.message)));
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), MemoryError>> {
        let message = [head, body].concat();
        match B::FLAW {
            Flaw::Hoards | Flaw::Withholds => {
                self.held.push_back(message);
                return Poll::Ready(Ok(()));
            }
            Flaw::Mangles if head.len() > 2 => {
                return self.inner().poll_send(cx, head, &body[1.min(body.len())..]);
            }
            Flaw::Doubles if self.sent % 10 == 9 => {
                ready!(self.inner().poll_send(cx, head, body))?;
            }
            Flaw::TakesAnyway => {
                if self.poll_held(cx, 0)?.is_pending() {
                    return Poll::Pending;
                }
                let sent = self.inner().poll_send(cx, head, body);
                if sent.is_pending() {
                    self.held.push_back(message);
                }
                return sent;
            }
            _ => {}
        }
        ready!(self.inner().poll_send(cx, head, body))?;
        self.sent += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        let kept = usize::from(B::FLAW == Flaw::Withholds);
        ready!(self.poll_held(cx, kept))?;
        self.inner().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MemoryError>> {
        ready!(self.poll_held(cx, 0))?;
        if B::FLAW == Flaw::ClosesSilently {
            return Poll::Ready(Ok(()));
        }
        self.inner().poll_close(cx)
    }

    fn progress(&self) -> BytesMoved {
        match B::FLAW {
            Flaw::Regresses => BytesMoved { received: u64::MAX - self.received, sent: 0 },
            _ => BytesMoved::default(),
        }
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        match B::FLAW {
            Flaw::Cuts => self.limit = bytes_max,
            Flaw::KeepsLimit => self.inner().limit_incoming(bytes_max.min(64)),
            _ => self.inner().limit_incoming(bytes_max),
        }
    }
}

/// Makes a pair with that flaw.
macro_rules! with {
    ($flaw:ident) => {{
        struct It;
        impl Broken for It {
            const FLAW: Flaw = Flaw::$flaw;
        }
        With(PhantomData::<It>)
    }};
}

fn case<P: Pair>(pair: P, name: &str) -> Case {
    let case = cases_of(pair).into_iter().find(|case| case.name() == name);
    case.unwrap_or_else(|| panic!("no case {name}"))
}

fn cases_of<P: Pair>(_: P) -> Vec<Case> {
    cases::<P>()
}

/// Makes a test of each flaw: that the suite finds it by this case, and says so in these words.
macro_rules! flaws {
    ($($test:ident: $flaw:ident is found by $case:literal, $words:literal;)+) => {
        $(#[test]
        fn $test() {
            let failed = case(with!($flaw), $case).check(SHORT_PATIENCE);
            let text = failed.expect_err("the suite finds nothing wrong with it");
            assert!(text.starts_with($case), "{text}");
            assert!(text.contains($words), "{text}");
        })+
    };
}

flaws! {
    a_transport_that_loses_messages:
        Loses is found by "wires::messages_arrive_whole_and_in_order_both_ways_at_once", "message 9";
    a_transport_that_doubles_messages:
        Doubles is found by "wires::messages_arrive_whole_and_in_order_both_ways_at_once", "message";
    a_transport_that_splits_messages:
        Splits is found by "wires::messages_arrive_whole_and_in_order_both_ways_at_once", "4096";
    a_transport_that_mangles_messages:
        Mangles is found by "wires::messages_arrive_whole_and_in_order_both_ways_at_once", "message";
    a_transport_that_forgets_who_waits:
        Forgets is found by "wires::a_peer_that_waits_is_woken_by_what_was_flushed", "not over";
    a_transport_that_holds_without_bounds:
        Hoards is found by
        "wires::a_sender_waits_for_a_peer_that_does_not_read_and_then_goes_on", "no end";
    a_transport_that_takes_what_it_says_it_has_no_room_for:
        TakesAnyway is found by
        "wires::a_sender_waits_for_a_peer_that_does_not_read_and_then_goes_on", "came otherwise";
    a_transport_whose_flush_withholds:
        Withholds is found by "wires::a_peer_that_waits_is_woken_by_what_was_flushed", "not over";
    a_transport_that_closes_silently:
        ClosesSilently is found by
        "wires::what_was_sent_before_a_close_arrives_and_then_the_end", "not over";
    a_transport_whose_ends_linger:
        Lingers is found by "wires::the_end_of_a_wire_that_is_dropped_is_seen", "not over";
    a_transport_that_cuts_at_the_limit:
        Cuts is found by "wires::a_message_past_the_limit_is_never_given_out_in_part", "neither";
    a_transport_whose_limit_is_not_raised:
        KeepsLimit is found by
        "wires::a_limit_that_is_raised_holds_for_what_is_there_already", "the wire is well";
    a_transport_that_counts_the_other_way:
        Regresses is found by "wires::progress_grows_with_what_is_carried", "received was";
    a_transport_that_refuses_nobody:
        NeverRefuses is found by "wires::where_nobody_listens_to_connect_is_an_error", "not over";
    a_transport_without_names:
        Nameless is found by "wires::both_ends_have_names", "without a name";
    a_clock_whose_sleeps_end_early:
        WakesEarly is found by "timers::a_sleep_ends_at_its_time_and_not_before", "too early";
    a_clock_that_wakes_who_has_gone:
        WakesFirst is found by "timers::a_sleep_wakes_who_polled_it_last", "not over";
}

/// And that it is the flaws which are found: without one, the same code passes.
#[test]
fn a_pair_without_a_flaw_passes() {
    let all = cases_of(with!(None));
    assert!(all.len() > 40, "{}", all.len());
    for case in all {
        let is_of_the_pair_alone =
            ["timers::", "wires::"].iter().any(|m| case.name().starts_with(m));
        if is_of_the_pair_alone {
            case.check(PATIENCE).unwrap();
        }
    }
}

/// What breaks the transport breaks pools on it, too.
#[test]
fn a_pool_on_a_transport_that_forgets_who_waits_gets_nothing_done() {
    let case = case(with!(Forgets), "load::every_height_of_a_range_has_its_answer");
    assert!(case.check(SHORT_PATIENCE).unwrap_err().contains("not over"));
}
