//! What became of each task, as somebody sees it who knows the wires, the workers and the callers, and
//! nothing of the pool's inside.

use std::collections::BTreeMap;
use std::time::Duration;

use chargehand::core::message::{Aside, Code, Message};
use chargehand::core::{TaskId, Verdict};
use chargehand::testing::{Passing, Step};

mod away;
mod keys;
mod outcomes;
mod unique;

use crate::served::Service;

/// What a worker answers: which request it is to, which of its sendings, and something that has a length.
pub(crate) type Reply = (u64, u64, String);

/// The number of a sending that was not seen: one in the pool's own process.
pub(crate) const UNSEEN: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    links: BTreeMap<(String, u64), Link>,
    /// By worker, what links held that are over: it may come back with that.
    left: BTreeMap<String, Vec<Held>>,
    requests: BTreeMap<u64, Request>,
    /// Which of the manager's lives it is.
    pub(crate) epoch: u32,
    pub(crate) service: Service,
    /// How many answers were read that a budget of retries counts: by all managers, for outcomes of one that died
    /// may be taken later.
    failures: u32,
    /// How many things happened whose order matters.
    order: u64,
    /// The pool was told to stop, or its process died.
    pub(crate) is_ending: bool,
    rules: Rules,
    /// What must never be, as it was found.
    wrong: Option<String>,
    pub(crate) counts: Counts,
}

/// What the pool was told, as far as outcomes depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) attempts_max: u16,
    pub(crate) resends_max: u16,
    pub(crate) retries_max: u16,
    pub(crate) attempt_timeout: Duration,
    /// How many failures there are at least before a budget of retries is used up, if there is one: each takes
    /// a token, and with half of them left none is tried again.
    pub(crate) failures_min: Option<u32>,
    /// There is a worker in the pool's own process, which is held up whenever that is: again and again,
    /// and it has no time to do anything.
    pub(crate) is_held_up_beside: bool,
    /// How late an outcome with a deadline may be: as long as nobody polled the manager.
    pub(crate) lateness: Duration,
    /// With so few open tasks each is taken at once; none where memory is short, for then they may be put off.
    pub(crate) room: usize,
}

/// What was seen in a run, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Messages put on wires and read from them, and ends of wires.
    pub(crate) passings: u64,
    pub(crate) accepted: u64,
    pub(crate) ended: u64,
    pub(crate) doubled: u64,
    pub(crate) wrongly_exhausted: u64,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Link {
    /// How many the worker said that it runs at once.
    runs: usize,
    /// What the manager has sent and has no answer to, in order.
    held: Vec<Held>,
    /// The worker said that it goes, or the manager that the link is over.
    is_polite: bool,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    id: u64,
    at: usize,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
struct Request {
    sendings: Vec<Sending>,
    /// How many of them there were when it began in the pool's own process, which is no sending.
    before_here: usize,
    is_accepted: bool,
    caller: Caller,
    outcomes: u32,
    /// The one that was an answer.
    is_done: bool,
    failures: u32,
    unusable: u32,
    /// What its own workers answered as if it were another request's: which, and of which sending.
    lies: Vec<(u64, u64)>,
    retries: Option<u16>,
    deadline: Option<Duration>,
    accepted_at: Duration,
    /// Its key, where one task of that goes at a time.
    key: Option<u64>,
    /// What is known of it where others may have its outcome.
    unique: Option<unique::Unique>,
    /// It began in the pool's own process.
    has_begun_here: bool,
    /// It may be sent to two workers at once.
    is_hedged: bool,
    /// One of two answered, and the other has no place at its worker any more.
    is_settled: bool,
}

/// Who asked for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Caller {
    #[default]
    Waits,
    /// Does not ask for its outcome, which may come all the same.
    LetGo,
    /// Dropped it, which the pool is told.
    Gone,
}

#[derive(Debug)]
struct Sending {
    epoch: u32,
    worker: String,
    link: u64,
    task: TaskId,
    attempt: u16,
    sent: Duration,
    /// It was among as many of the oldest there as the worker runs at once.
    may_have_begun: bool,
    /// Its work was seen to begin.
    has_begun: bool,
    cancelled: Option<Duration>,
    /// Its link ended before it had an answer.
    is_left: bool,
    /// An answer was read, what it was, and when.
    answered: Option<(Answered, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Useful,
    Returned,
    /// Of another type, or to another request: its own worker lies.
    Unusable,
}

/// Whether a failure says that its worker cannot now: see docs/PROTOCOL.md.
fn is_throttled(body: &[u8]) -> bool {
    matches!(body, [0xff, flags, ..] if flags & 4 != 0)
}

/// Whether it says that of the task's key.
fn is_of_key(body: &[u8]) -> bool {
    matches!(body, [0xff, flags, ..] if flags & 0b1100 == 0b1100)
}

/// Returns the number that a request begins with.
pub(crate) fn id_of(body: &[u8]) -> Option<u64> {
    postcard::take_from_bytes(body).ok().map(|(id, _)| id)
}

impl Oracle {
    pub(crate) fn new(rules: Rules, service: Service) -> Self {
        Self { service, rules, ..Self::default() }
    }

    fn next(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.kinds.entry(what).or_default() += 1;
    }

    pub(crate) fn found(&mut self, wrong: impl FnOnce() -> String) {
        self.wrong.get_or_insert_with(wrong);
    }

    pub(crate) fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// Another manager goes on from now on.
    pub(crate) fn begin_epoch(&mut self) {
        self.epoch += 1;
    }

    pub(crate) fn on_passing(&mut self, passing: &Passing<'_>) {
        self.counts.passings += 1;
        let name = (passing.worker.to_owned(), passing.link);
        match (passing.step, Message::decode(passing.frame)) {
            (Step::ManagerSent, Ok(Message::Request { task, attempt, body, .. })) => {
                let id = id_of(body).unwrap_or(u64::MAX);
                self.on_sent(name, passing.at, (task, attempt), id);
            }
            (Step::ManagerSent, Ok(Message::Cancel { task, attempt })) => {
                if let Some(held) = self.take_held(&name, (task, attempt)) {
                    self.sending(held).cancelled = Some(passing.at);
                }
            }
            (Step::ManagerSent, Ok(Message::Goodbye { .. })) => self.link(name).is_over = true,
            (Step::ManagerGot, Ok(Message::Hello(hello))) => {
                self.link(name).runs = usize::from(hello.window.max(1));
            }
            (Step::ManagerGot, Ok(Message::Response { task, attempt, verdict, body })) => {
                self.on_answer(name, passing.at, (task, attempt), (verdict, body));
            }
            (
                Step::ManagerGot,
                Ok(Message::Drain | Message::Goodbye { code: Code::Stopped | Code::Displaced, .. }),
            ) => {
                self.link(name).is_polite = true;
            }
            (Step::ManagerGot, Err(_)) => self.on_other(name, passing.frame),
            (Step::ManagerLeft, _) => self.leave(name),
            _ => {}
        }
    }

    /// Takes in a frame that is no [`Message`].
    fn on_other(&mut self, name: (String, u64), frame: &[u8]) {
        match Aside::decode(frame) {
            Ok(Aside::Progress(_)) => self.count("progress read"),
            Ok(Aside::Took(_)) => self.count("time of a handler read"),
            Ok(Aside::Holding(holding)) => self.on_holding(&name, holding),
            Err(_) => {
                self.count("garbage read");
                // Garbage ends the link, and what it held may be done in the pool's own process before the wire is
                // seen to end.
                self.link(name).is_over = true;
            }
        }
    }

    fn link(&mut self, name: (String, u64)) -> &mut Link {
        self.links.entry(name).or_default()
    }

    fn sending(&mut self, held: Held) -> &mut Sending {
        let request = self.requests.get_mut(&held.id).expect("it was sent");
        &mut request.sendings[held.at]
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is made for this")]
    fn on_sent(&mut self, name: (String, u64), at: Duration, what: (TaskId, u16), id: u64) {
        let (epoch, (task, attempt), rules) = (self.epoch, what, self.rules);
        let request = self.requests.entry(id).or_default();
        let is_same = |sending: &&Sending| sending.epoch == epoch && sending.task == task;
        let latest = request.sendings.iter().filter(is_same).map(|sending| sending.attempt).max();
        // Of two at once the first may wait for its wire while the second leaves.
        let is_known = request.sendings.iter().filter(is_same).any(|it| it.attempt == attempt);
        let is_old = if request.is_hedged { is_known } else { latest >= Some(attempt) };
        let retries = request.retries.unwrap_or(rules.retries_max).max(1);
        let most =
            u32::from(rules.attempts_max) + u32::from(rules.resends_max) + u32::from(retries);
        if is_old {
            self.found(|| format!("request {id}: attempt {attempt} after {latest:?}"));
        } else if u32::from(attempt) > most {
            self.found(|| format!("request {id}: attempt {attempt}, above {most} in all"));
        }
        if latest.is_some() {
            self.count("sent again");
        }
        let request = &self.requests[&id];
        let is_live = |sending: &Sending| {
            sending.answered.is_none() && sending.cancelled.is_none() && !sending.is_left
        };
        if request.sendings.iter().any(|sending| is_same(&sending) && is_live(sending)) {
            self.count("sent to a second worker");
        }
        self.check_withdrawn(&name, (epoch, task));
        self.check_key(at, id);
        self.check_unique(id);
        self.check_pause(at, id, self.requests[&id].key);
        self.check_service(&name.0, at, id);
        let request = self.requests.entry(id).or_default();
        // Asked once more, since there was no memory for its answer: that is another task, with a place at its worker.
        request.is_settled &= latest.is_some();
        request.sendings.push(Sending {
            epoch,
            worker: name.0.clone(),
            link: name.1,
            task,
            attempt,
            sent: at,
            may_have_begun: false,
            has_begun: false,
            cancelled: None,
            is_left: false,
            answered: None,
        });
        let held = Held { id, at: request.sendings.len() - 1 };
        self.link(name.clone()).held.push(held);
        self.mark_begun(&name);
    }

    /// What a link still holds whose task is tried again elsewhere was given up, and its worker is told so
    /// before it gets anything else: messages do not overtake each other.
    fn check_withdrawn(&mut self, name: &(String, u64), of: (u32, TaskId)) {
        let Some(link) = self.links.get(name).filter(|link| !link.is_over) else { return };
        let given_up = link.held.iter().find(|held| {
            let is_live = |sending: &Sending| {
                sending.answered.is_none() && sending.cancelled.is_none() && !sending.is_left
            };
            let request = &self.requests[&held.id];
            let here = &request.sendings[held.at];
            let is_later = |other: &Sending| {
                (other.epoch, other.task) == (here.epoch, here.task) && other.attempt > here.attempt
            };
            let mut later = request.sendings.iter().filter(|other| is_later(other));
            // Of one that may be at two workers, a third one says so.
            let is_given_up = if request.is_hedged {
                later.filter(|other| is_live(other)).count() > 1
            } else {
                later.next().is_some()
            };
            (here.epoch, here.task) != of && is_given_up
        });
        if let Some(&Held { id, at }) = given_up {
            let attempt = self.requests[&id].sendings[at].attempt;
            self.found(|| {
                format!("request {id}: {} was not told to drop attempt {attempt}", name.0)
            });
        }
    }

    /// Notes that what has become one of the oldest may have begun. What has its outcome, or nobody to have one, holds
    /// no place at its worker any more, as far as a manager can know: the word of it may wait for its wire.
    fn mark_begun(&mut self, name: &(String, u64)) {
        let Some(link) = self.links.get(name) else { return };
        let is_open = |held: &&Held| {
            let request = &self.requests[&held.id];
            request.outcomes == 0 && request.caller != Caller::Gone && !request.is_settled
        };
        let mut places = link.runs.max(1);
        let mut oldest = Vec::new();
        for held in &link.held {
            let is_open = is_open(&held);
            // Others may wait for what its own caller does not.
            if is_open || self.may_be_for_others(held.id) {
                oldest.push(*held);
            }
            places -= usize::from(is_open);
            if places == 0 {
                break;
            }
        }
        for held in oldest {
            self.sending(held).may_have_begun = true;
        }
    }

    /// A request's own time is up, or its caller is gone, so what is behind it at its worker may begin.
    fn make_room(&mut self, id: u64) {
        let holds = |link: &Link| link.held.iter().any(|held| held.id == id);
        let holders = self.links.iter().filter(|(_, link)| holds(link));
        for name in holders.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.mark_begun(&name);
        }
    }

    fn take_held(&mut self, name: &(String, u64), what: (TaskId, u16)) -> Option<Held> {
        let link = self.links.get(name)?;
        let is_it = |held: &Held| {
            let sending = &self.requests[&held.id].sendings[held.at];
            (sending.task, sending.attempt) == what
        };
        let at = link.held.iter().position(is_it)?;
        let held = self.link(name.clone()).held.remove(at);
        self.mark_begun(name);
        Some(held)
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is made for this")]
    fn on_answer(
        &mut self,
        name: (String, u64),
        at: Duration,
        what: (TaskId, u16),
        (verdict, body): (Verdict, &[u8]),
    ) {
        if self.link(name.clone()).is_over {
            return self.count("answer read after the link was given up");
        }
        let Some(held) = self.take_held(&name, what) else {
            return self.count("answer to what was not asked, or is over");
        };
        let reply = postcard::from_bytes::<Reply>(body).ok().map(|(of, serial, _)| (of, serial));
        let is_own = reply.is_some_and(|(of, _)| of == held.id);
        let request = self.requests.get_mut(&held.id).expect("it was sent");
        let answered = match verdict {
            Verdict::Done if is_own => Answered::Useful,
            Verdict::Done => {
                request.unusable += 1;
                request.lies.extend(reply);
                Answered::Unusable
            }
            Verdict::Failed if is_throttled(body) => Answered::Returned,
            Verdict::Failed => {
                request.failures += 1;
                Answered::Useful
            }
            Verdict::Returned => Answered::Returned,
        };
        request.sendings[held.at].answered = Some((answered, at));
        let (key, sending) = (request.key, &request.sendings[held.at]);
        // One that may have been given up, and the word of it waits for its wire, says nothing; nor does one that
        // comes over a later link, where nobody may wait for it any more.
        let is_in_time = at < sending.sent + self.rules.attempt_timeout;
        let (is_taken, may_have_begun) = (is_in_time && !sending.is_left, sending.may_have_begun);
        let is_done = verdict == Verdict::Done && answered == Answered::Useful;
        request.is_settled |= request.is_hedged && is_done && is_taken;
        let is_settled = request.is_settled;
        if verdict == Verdict::Failed && is_of_key(body) && is_in_time && may_have_begun {
            self.on_key_throttled(held.id, key, at);
        }
        let is_counted = answered == Answered::Unusable || verdict == Verdict::Failed;
        self.failures += u32::from(is_counted);
        if is_settled {
            self.make_room(held.id);
        }
    }

    /// A worker begins a request. Returns which of its sendings that is.
    pub(crate) fn on_begin(&mut self, worker: &str, id: u64, what: (Option<TaskId>, u16)) -> u64 {
        let Some(at) = self.place_of(worker, id, what) else { return UNSEEN };
        let request = self.requests.get_mut(&id).expect("it has a place");
        request.sendings[at].has_begun = true;
        at as u64
    }

    /// Returns which of a request's sendings a worker means.
    pub(crate) fn place_of(
        &self,
        worker: &str,
        id: u64,
        (task, attempt): (Option<TaskId>, u16),
    ) -> Option<usize> {
        self.requests.get(&id)?.sendings.iter().rposition(|sending| {
            sending.worker == worker
                && sending.attempt == attempt
                && task.is_none_or(|task| task == sending.task)
        })
    }

    /// A request was accepted, or is to be one of a range or map.
    pub(crate) fn on_accepted(
        &mut self,
        id: u64,
        at: Duration,
        retries: Option<u16>,
        deadline: Option<Duration>,
    ) {
        let order = self.next();
        let request = self.requests.entry(id).or_default();
        if let Some(unique) = &mut request.unique {
            unique.accepted = Some(order);
        }
        request.is_accepted = true;
        request.accepted_at = at;
        (request.retries, request.deadline) = (retries, deadline);
        self.counts.accepted += 1;
    }

    /// Its caller is gone, so nobody has the outcome.
    pub(crate) fn on_dropped(&mut self, id: u64, at: Duration) {
        self.on_let_go(id);
        self.leave_others(id, at);
        self.requests.entry(id).or_default().caller = Caller::Gone;
        self.make_room(id);
    }

    /// Nobody asks for its outcome, which may come all the same.
    pub(crate) fn on_let_go(&mut self, id: u64) {
        self.requests.entry(id).or_default().caller = Caller::LetGo;
        self.count("dropped by its caller");
    }

    /// A range goes on with what is not done: what failed has another outcome.
    pub(crate) fn on_resumed(&mut self, ids: impl Iterator<Item = u64>) {
        for id in ids {
            let Some(request) = self.requests.get_mut(&id).filter(|request| !request.is_done)
            else {
                continue;
            };
            self.counts.ended -= u64::from(request.outcomes);
            (request.outcomes, request.failures, request.unusable) = (0, 0, 0);
            request.is_settled = false;
        }
    }

    /// Returns whether it has an outcome.
    pub(crate) fn has_ended(&self, id: u64) -> bool {
        self.requests.get(&id).is_some_and(|request| request.outcomes > 0)
    }

    /// Returns whether it was accepted and has no outcome yet.
    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.requests.get(&id).is_some_and(|request| request.is_accepted && request.outcomes == 0)
    }

    /// Returns whether a request has no outcome for certain, nor can have had one that its caller has not taken:
    /// nobody lets go of it, it has no end, and it was sent fewer times than it may be in vain.
    pub(crate) fn is_open_for_certain(&self, id: u64) -> bool {
        self.requests.get(&id).is_some_and(|request| {
            let is_endless = request.deadline.is_none() && request.caller == Caller::Waits;
            let latest = request.sendings.last();
            let is_back = latest.is_some_and(|latest| {
                latest.epoch == self.epoch
                    && matches!(latest.answered, Some((Answered::Returned, _)))
            });
            // By its number: one that its wire took along was not seen.
            let most = self.rules.resends_max.min(self.rules.attempts_max);
            let may_go_on = latest.is_some_and(|latest| latest.attempt < most);
            let is_seen = request.sendings.len() > request.before_here;
            is_endless && is_back && is_seen && request.outcomes == 0 && may_go_on
        })
    }

    /// What is left once nothing is under way: whoever has no outcome is lost.
    pub(crate) fn lost(&self) -> Vec<u64> {
        let is_lost = |request: &Request| {
            request.is_accepted && request.caller == Caller::Waits && request.outcomes == 0
        };
        self.requests.iter().filter(|(_, request)| is_lost(request)).map(|(id, _)| *id).collect()
    }

    /// Returns how many requests were answered, as their callers know.
    pub(crate) fn done(&self) -> u64 {
        self.requests.values().filter(|request| request.is_done).count() as u64
    }
}
