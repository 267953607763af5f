//! The pieces by themselves, each doing one thing over and over: for `cargo bench`, and for counting
//! instructions.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use chargehand::core::ledger::Ledger;
use chargehand::core::message::{Extensions, HEAD_BYTES_MAX, Message};
use chargehand::core::prefix::{HEADER_BYTES, PrefixDecoder, encode_header};
use chargehand::core::{
    Action, Backoff, BackoffPolicy, Config, Event, Heap, Instant, Link, Offer, Route, Scheduler,
    TaskId, Verdict, json,
};

use crate::one_thread;

/// Does its thing so many times.
pub type Cycles = Box<dyn FnMut(u32)>;

/// One piece: its name, and what makes it ready to run.
pub struct Piece {
    /// What it is called in tables.
    pub name: &'static str,
    /// Makes it ready. The first cycles may be dearer than those to come.
    pub make: fn() -> Cycles,
}

/// Cycles after which every worker has had its turn.
const WARM_UP: u32 = 20_000;

/// All pieces. The scheduler's are named by workers and queued tasks, and come first.
pub const PIECES: &[Piece] = &[
    Piece { name: "scheduler/4/10", make: || scheduler(4, 10) },
    Piece { name: "scheduler/1000/10", make: || scheduler(1_000, 10) },
    Piece { name: "scheduler/10000/10", make: || scheduler(10_000, 10) },
    Piece { name: "scheduler/100000/10", make: || scheduler(100_000, 10) },
    Piece { name: "scheduler/4/1000000", make: || scheduler(4, 1_000_000) },
    Piece { name: "scheduler/10000/1000000", make: || scheduler(10_000, 1_000_000) },
    Piece { name: "ledger/in order", make: ledger_in_order },
    Piece { name: "ledger/scattered", make: ledger_scattered },
    Piece { name: "message/request", make: message_request },
    Piece { name: "message/response", make: message_response },
    Piece { name: "json/request", make: json_request },
    Piece { name: "json/response", make: json_response },
    Piece { name: "framing", make: framing },
    Piece { name: "backoff", make: backoff },
    Piece { name: "pool/range", make: || Box::new(one_thread::range()) },
    Piece { name: "pool/range, measured", make: || Box::new(one_thread::measured_range()) },
    Piece { name: "pool/call", make: || Box::new(one_thread::call()) },
    Piece { name: "pool/call of a list", make: || Box::new(one_thread::call_list()) },
];

/// Runs a piece so many times after it has warmed up.
///
/// # Panics
/// If there is no such piece.
pub(crate) fn count(name: &str, cycles: u32) {
    let piece = PIECES.iter().find(|piece| piece.name == name).expect("a piece of that name");
    let mut run = (piece.make)();
    run(WARM_UP);
    counted(&mut run, cycles);
}

/// What is counted: see [`crate::commands::instructions`], which knows its name.
#[inline(never)]
fn counted(run: &mut Cycles, cycles: u32) {
    run(cycles);
}

/// One task: submitted, sent, answered and finished.
fn scheduler(workers: u32, queued: u32) -> Cycles {
    let mut pool = BusyPool::new(workers, queued, 64);
    Box::new(move |cycles| pool.cycle(cycles))
}

/// One height: taken and done, with 64 under way, each done in its turn.
fn ledger_in_order() -> Cycles {
    let mut ledger = Ledger::growing(0..=u64::MAX, 1024);
    let mut taken: VecDeque<u64> = VecDeque::new();
    Box::new(move |cycles| {
        for _ in 0..cycles {
            while taken.len() < 64 {
                taken.extend(ledger.take_next().expect("there is room"));
            }
            let height = taken.pop_front().expect("some are under way");
            assert!(ledger.complete(black_box(height)).expect("there is room"));
        }
    })
}

/// One height: taken and done, with 256 under way, done in no order.
fn ledger_scattered() -> Cycles {
    let mut ledger = Ledger::growing(0..=u64::MAX, 1024);
    let mut taken = Vec::new();
    let mut random = 1_u64;
    Box::new(move |cycles| {
        for _ in 0..cycles {
            while taken.len() < 256 {
                taken.extend(ledger.take_next().expect("there is room"));
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let height = taken.swap_remove((random >> 56) as usize);
            assert!(ledger.complete(black_box(height)).expect("there is room"));
        }
    })
}

/// A request's head, there and back.
fn message_request() -> Cycles {
    message(|task| Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] })
}

/// An answer's head, there and back.
fn message_response() -> Cycles {
    message(|task| Message::Response { task, attempt: 1, verdict: Verdict::Done, body: &[] })
}

fn message(make: fn(TaskId) -> Message<'static>) -> Cycles {
    let mut tasks = Scheduler::new(Heap::with_capacity(300, 1), Config::new(1)).expect("valid");
    let tasks: Vec<_> =
        (0..300).map(|_| tasks.submit(Instant::EPOCH).expect("there is room")).collect();
    let mut head = [0; HEAD_BYTES_MAX];
    let mut next = 0;
    Box::new(move |cycles| {
        for _ in 0..cycles {
            next = (next + 1) % tasks.len();
            let bytes = make(tasks[next]).encode(&mut head);
            black_box(Message::decode(black_box(bytes)).expect("it was encoded just now"));
        }
    })
}

/// A request of the Go package, there and back.
fn json_request() -> Cycles {
    let mut out = Vec::new();
    let mut height = 1 << 40;
    Box::new(move |cycles| {
        for _ in 0..cycles {
            height += 1;
            out.clear();
            json::Request { height }.encode(&mut out);
            black_box(json::Request::decode(black_box(&out)).expect("it was encoded just now"));
        }
    })
}

/// An answer of the Go package, there and back.
fn json_response() -> Cycles {
    let mut out = Vec::new();
    let mut height = 1 << 40;
    Box::new(move |cycles| {
        for _ in 0..cycles {
            height += 1;
            out.clear();
            json::Response::done(height).encode(&mut out);
            black_box(json::Response::decode(black_box(&out)).expect("it was encoded just now"));
        }
    })
}

/// One frame of 12 bytes out of a read of 64.
fn framing() -> Cycles {
    const BODY: [u8; 12] = *b"twelve bytes";
    let mut stream = Vec::new();
    for _ in 0..64 {
        let header = encode_header(BODY.len(), 1 << 20).expect("it is short");
        stream.extend_from_slice(&header);
        stream.extend_from_slice(&BODY);
    }
    let mut decoder = PrefixDecoder::growing(4096, 1 << 20);
    assert_eq!(stream.len(), 64 * (HEADER_BYTES + BODY.len()));
    Box::new(move |cycles| {
        let mut left = cycles;
        while left > 0 {
            decoder.spare()[..stream.len()].copy_from_slice(black_box(&stream));
            decoder.advance(stream.len());
            while let Some(frame) = decoder.next_frame().expect("it is short") {
                black_box(frame);
                left = left.saturating_sub(1);
            }
        }
    })
}

/// The delay before one attempt to connect.
fn backoff() -> Cycles {
    let mut backoff = Backoff::new(BackoffPolicy::new(), 1);
    Box::new(move |cycles| {
        for _ in 0..cycles {
            if backoff.attempts() > 20 {
                backoff.reset();
            }
            backoff.attempt();
            black_box(backoff.delay());
        }
    })
}

/// How many attempts are under way at most, however many workers there are.
const IN_FLIGHT_MAX: u32 = 4096;

/// A scheduler in the middle of its work: every worker is connected, most windows are full, and
/// some tasks wait.
#[derive(Debug)]
struct BusyPool {
    scheduler: Scheduler<Heap>,
    now: Instant,
    in_flight: Attempts,
}

/// What is under way, the oldest first: a ring that costs next to nothing, since what is counted is
/// the scheduler.
#[derive(Debug)]
struct Attempts {
    ring: Box<[(Link, TaskId, u16)]>,
    first: usize,
    end: usize,
}

impl Attempts {
    /// Makes room for `max` of them, and fills it with one that means nothing.
    fn new(max: u32, empty: (Link, TaskId, u16)) -> Self {
        let ring = vec![empty; (max as usize).next_power_of_two()].into_boxed_slice();
        Self { ring, first: 0, end: 0 }
    }

    #[inline]
    fn push(&mut self, attempt: (Link, TaskId, u16)) {
        let last = self.ring.len() - 1;
        self.ring[self.end & last] = attempt;
        self.end += 1;
    }

    /// Takes the oldest; there must be one.
    #[inline]
    fn pop(&mut self) -> (Link, TaskId, u16) {
        let last = self.ring.len() - 1;
        let oldest = self.ring[self.first & last];
        self.first += 1;
        oldest
    }
}

impl BusyPool {
    /// Makes a pool of `workers`, with `queued` tasks on top of those under way.
    fn new(workers: u32, queued: u32, window: u32) -> Self {
        let under_way = workers.saturating_mul(window).min(IN_FLIGHT_MAX);
        let storage = Heap::with_capacity(under_way + queued + 1, workers);
        let mut config = Config::new(1);
        // Full windows from the start: how they grow is not what is measured.
        config.trust_initial = u32::MAX;
        let mut scheduler = Scheduler::new(storage, config).expect("the default is valid");
        let now = Instant::EPOCH;
        for _ in 0..workers {
            scheduler.add_worker(now, Route::Dial).expect("there is room");
        }
        // Few of many workers are busy where not all windows can be full: then nothing waits.
        let window = if workers.saturating_mul(window) > under_way {
            under_way.div_ceil(workers)
        } else {
            window
        };
        let mut any = None;
        while let Some(action) = scheduler.poll_action() {
            let Action::Connect { link } = action else { panic!("only connects are due") };
            scheduler
                .handle_event(now, Event::Connected { link, offer: Offer::new(window) })
                .expect("it asked for it");
            any = Some(link);
        }
        let empty = (any.expect("there are workers"), TaskId::from_parts(0, 0), 0);
        let in_flight = Attempts::new(workers.saturating_mul(window), empty);
        let mut pool = Self { scheduler, now, in_flight };
        for _ in 0..under_way + queued {
            pool.scheduler.submit(pool.now).expect("there is room");
        }
        pool.act();
        pool
    }

    /// Takes `count` tasks through: the oldest attempt is answered, finished, and makes room for a
    /// task that waits; a new task takes that one's place in the queue.
    fn cycle(&mut self, count: u32) {
        for _ in 0..count {
            self.now = self.now.saturating_add(Duration::from_nanos(100));
            let (link, task, attempt) = self.in_flight.pop();
            let event = Event::Replied { link, task, attempt, verdict: Verdict::Done };
            self.scheduler.handle_event(self.now, event).expect("it is under way");
            self.act();
            self.scheduler.submit(self.now).expect("one has just finished");
        }
    }

    #[expect(clippy::inline_always, reason = "it is the scheduler that is counted, not a call")]
    #[inline(always)]
    fn act(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Send { link, task, attempt } => {
                    self.in_flight.push((link, task, attempt));
                }
                Action::Finish { .. } => {}
                other => panic!("not expected here: {other:?}"),
            }
        }
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_scheduler_keeps_its_invariants_and_its_numbers() {
        for (workers, queued) in [(4, 10), (100, 10), (4, 10_000)] {
            let mut pool = BusyPool::new(workers, queued, 64);
            let before = pool.scheduler.stats();
            pool.cycle(20_000);
            pool.scheduler.check();
            let after = pool.scheduler.stats();
            assert_eq!(after.done, 20_000);
            assert_eq!(after.in_flight, before.in_flight);
            assert_eq!(after.waiting, before.waiting);
        }
    }

    #[test]
    fn every_piece_runs() {
        for piece in PIECES {
            // The set-up of the largest is for the optimiser.
            if !piece.name.ends_with("000000") && !piece.name.contains("100000") {
                (piece.make)()(1000);
            }
        }
    }
}
