//! What a scripted worker does with each request.

use std::any::type_name;
use std::fmt;
use std::rc::Rc;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use chargehand_core::TaskId;

use super::dice::{Delay, Dice};
use super::site::number;
use crate::failure::Failure;

/// What a scripted worker does with a request, once the time that the request takes is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Answers, as the script says.
    Answer,
    /// Fails with this text.
    Fail(String),
    /// Fails with this, and what it advises: to try again later or never, or that it cannot
    /// [now](crate::Throttled). A Go worker fails with its text.
    Advise(Failure),
    /// Says nothing, until the manager withdraws the request or the link is gone. It still answers
    /// pings.
    Hang,
    /// Answers, but this much later, even if the manager has withdrawn the request by then. Where
    /// its link is gone, it does not.
    Late(Duration),
    /// Answers twice.
    Twice,
    /// Answers with these bytes, whether they are an answer or not.
    Bytes(Vec<u8>),
    /// Answers a task that it was never asked, which no honest worker does. A Go worker answers the
    /// height above.
    Lie,
    /// Answers the task that another worker of its world was asked last, which is not its own. A Go
    /// worker, which is told no task, answers its own.
    Steal,
    /// Says each time so much has passed that one more part is done, and never answers: as a handler does that
    /// goes round in circles. A Go worker hangs.
    Pretend(Duration),
    /// Says so often at once how far it is, and then answers. A Go worker just answers.
    Flood(u32),
    /// Sends a frame that is no message.
    Garbage,
    /// Closes the link instead of an answer. Its process lives, and may be dialled again.
    Close,
    /// Its process dies: all its links are gone, and it stays away until it is
    /// [revived](super::WorkerHandle::revives).
    Die,
    /// Its process dies, and is back after that long.
    Restart(Duration),
}

/// A request as a scripted worker's rules see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// Counts this worker's requests from 1 on, over all its lives.
    pub number: u64,
    /// The number of this sending among all of the task's, from 1 on.
    pub attempt: u16,
    /// Which task it is: what a manager and its workers call it. `None` where a Go worker is asked,
    /// which is not told.
    pub task: Option<TaskId>,
    /// The time since the world began.
    pub at: Duration,
    /// What is asked: of a Go worker, the JSON message.
    pub body: &'a [u8],
    /// What a Go worker is asked for.
    pub(super) go_height: Option<i64>,
}

impl Request<'_> {
    /// Returns the height that is asked for; `None` where the request is not a postcard `u64`, or the
    /// height is below zero.
    pub fn height(&self) -> Option<u64> {
        match self.go_height {
            Some(height) => height.try_into().ok(),
            None => number(self.body),
        }
    }

    /// Returns the height that is asked for as an `i64`: of a Go worker, and where the request is a
    /// postcard `i64`. The two encodings cannot be told apart.
    pub fn signed_height(&self) -> Option<i64> {
        self.go_height.or_else(|| number(self.body))
    }
}

/// What a scripted worker is, and what it does with each request.
///
/// Without anything set, it answers each request with the request itself, at once, one at a time.
/// Of the rules about what it does instead, the first one that fits a request holds.
///
/// ```
/// # use std::time::Duration;
/// use chargehand::testing::{Act, Script};
///
/// let script = Script::new()
///     .answers(|height: u64| format!("block {height}"))
///     .takes(Duration::from_millis(20)..=Duration::from_millis(80))
///     .height(17, Act::Die)
///     .percent(2, Act::Fail("busy".to_owned()));
/// # let _ = script;
/// ```
#[derive(Clone)]
#[must_use = "a script does nothing until `World::worker`"]
pub struct Script {
    pub(super) name: Option<String>,
    pub(super) concurrency: u16,
    pub(super) takes: Delay,
    pub(super) one_per: Duration,
    pub(super) dials_in: bool,
    pub(super) calls_itself: Option<String>,
    pub(super) offers: Option<u16>,
    answer: Option<Rc<dyn Fn(&Request<'_>) -> Vec<u8>>>,
    began: Option<Rc<dyn Fn(&Request<'_>)>>,
    rules: Vec<(When, Act)>,
}

#[derive(Clone)]
enum When {
    Fits(Rc<dyn Fn(&Request<'_>) -> bool>),
    Percent(u64),
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// Makes a worker that answers each request with itself, at once, one at a time.
    pub fn new() -> Self {
        Self {
            name: None,
            concurrency: 1,
            takes: Delay::default(),
            one_per: Duration::ZERO,
            dials_in: false,
            calls_itself: None,
            offers: None,
            answer: None,
            began: None,
            rules: Vec::new(),
        }
    }

    /// Sets its name in the trace, in the pool's events and in its Hello. At most 64 bytes and no
    /// control character, and each name once in a world; default `worker-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how many requests it works on at once; it says so in its Hello. At least 1; default 1.
    ///
    /// # Panics
    /// Panics where it is 0.
    pub fn concurrency(mut self, concurrency: u16) -> Self {
        assert!(concurrency > 0, "a worker works on one request at least");
        self.concurrency = concurrency;
        self
    }

    /// Sets how long each request takes: a span, or a range of spans to draw one from, by the
    /// world's seed. Default zero.
    pub fn takes(mut self, delay: impl Into<Delay>) -> Self {
        self.takes = delay.into();
        self
    }

    /// Sets the pace of what is behind the worker, a node with a limit say: it begins at most one
    /// request in each `span`, whatever the concurrency. Default zero, for no limit.
    pub fn one_per(mut self, span: Duration) -> Self {
        self.one_per = span;
        self
    }

    /// Lets the worker dial the world's first pool, instead of being dialled, and again a second
    /// after each link that ends.
    pub fn dials_in(mut self) -> Self {
        self.dials_in = true;
        self
    }

    /// Sets what it answers: request and answer are in postcard's encoding. Default: the request.
    ///
    /// In the world it panics where a request is not a `Q`: a test with another type is a mistake.
    pub fn answers<Q, A>(mut self, answer: impl Fn(Q) -> A + 'static) -> Self
    where
        Q: DeserializeOwned,
        A: Serialize,
    {
        self.answer = Some(Rc::new(move |request| {
            let body = request.body;
            let Ok((request, [])) = postcard::take_from_bytes(body) else {
                let takes = type_name::<Q>();
                panic!("a scripted worker answers {takes}, and this request is not one: {body:?}");
            };
            postcard::to_stdvec(&answer(request)).expect("the answer can be encoded")
        }));
        self
    }

    /// Sets what it answers, as [`answers`](Self::answers) does, from the request as rules see it: its
    /// task and attempt, say, so that a test can tell whose answer it got.
    pub fn replies<A: Serialize>(mut self, reply: impl Fn(&Request<'_>) -> A + 'static) -> Self {
        self.answer = Some(Rc::new(move |request| {
            postcard::to_stdvec(&reply(request)).expect("the answer can be encoded")
        }));
        self
    }

    /// Calls `began` with each request as its work begins: when it gets one of the places that
    /// [`concurrency`](Self::concurrency) says there are.
    pub fn on_begin(mut self, began: impl Fn(&Request<'_>) + 'static) -> Self {
        self.began = Some(Rc::new(began));
        self
    }

    /// Sets what it calls itself in its Hello, where that is not its name: the name of another worker,
    /// say.
    pub fn calls_itself(mut self, name: impl Into<String>) -> Self {
        self.calls_itself = Some(name.into());
        self
    }

    /// Sets how many requests it says in its Hello that it works on at once, whatever it does.
    pub fn offers(mut self, concurrency: u16) -> Self {
        self.offers = Some(concurrency);
        self
    }

    /// Does `act` with every request for which `fits` says so.
    pub fn when(mut self, fits: impl Fn(&Request<'_>) -> bool + 'static, act: Act) -> Self {
        self.rules.push((When::Fits(Rc::new(fits)), act));
        self
    }

    /// Does `act` with its `number`th request, counted from 1 over all its lives.
    ///
    /// # Panics
    /// Panics where `number` is 0.
    pub fn nth(self, number: u64, act: Act) -> Self {
        assert!(number > 0, "requests are counted from 1 on");
        self.when(move |request| request.number == number, act)
    }

    /// Does `act` whenever it is asked for `height`: a request that is that postcard `u64`.
    pub fn height(self, height: u64, act: Act) -> Self {
        self.when(move |request| request.height() == Some(height), act)
    }

    /// Does `act` with that many of a hundred requests, drawn by the world's seed.
    ///
    /// # Panics
    /// Panics where it is more than 100.
    pub fn percent(mut self, percent: u8, act: Act) -> Self {
        assert!(percent <= 100, "{percent} of a hundred requests");
        self.rules.push((When::Percent(percent.into()), act));
        self
    }

    /// Does `act` with every request.
    pub fn always(self, act: Act) -> Self {
        self.when(|_| true, act)
    }

    /// Returns what is to be done with a request. Draws as many numbers whatever rule fits, so
    /// that a rule more or less does not change what the others do.
    pub(super) fn act(&self, request: &Request<'_>, dice: &mut Dice) -> Act {
        let mut chosen = None;
        for (when, act) in &self.rules {
            let fits = match when {
                When::Fits(fits) => fits(request),
                When::Percent(percent) => dice.below(100) < *percent,
            };
            if fits && chosen.is_none() {
                chosen = Some(act.clone());
            }
        }
        chosen.unwrap_or(Act::Answer)
    }

    pub(super) fn answer(&self, request: &Request<'_>) -> Vec<u8> {
        match &self.answer {
            Some(answer) => answer(request),
            None => request.body.to_vec(),
        }
    }

    pub(super) fn begin(&self, request: &Request<'_>) {
        if let Some(began) = &self.began {
            began(request);
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("takes", &self.takes)
            .field("one_per", &self.one_per)
            .field("dials_in", &self.dials_in)
            .field("acts", &self.rules.iter().map(|(_, act)| act).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
