//! The budgets in bytes of a pool and of a worker: what each holds of what its peers and callers send.
//!
//! There are no fixed shares: a holder may take more as long as it holds less than what is left. So a
//! single large holder leaves half of the budget to the others, two leave a third, and short messages
//! always find room beside long ones.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use event_listener::Event;

use crate::link::lock::{AtomicBool, AtomicUsize, Ordering};
use crate::link::party::Party;
use crate::planted::planted;

/// The longest body or message that is not counted: as long as what is counted anyway (tasks, links,
/// outcomes), each of which has one at most.
pub(crate) const SMALL_BYTES_MAX: usize = 1024;
/// The longest message that may come before there is a look at the budget, while there is plenty: a body of
/// 64 KiB with all that stands before it. A look costs more than a read: the wire gives its buffer back
/// before it, since it may have to wait.
pub(crate) const PLENTY_BYTES: usize = (64 << 10) + SMALL_BYTES_MAX;

/// What may come unasked on all links together: one part in so many of what is shared. It is set aside for as
/// long as the links last, whatever comes.
const UNASKED_PARTS: usize = 8;
/// And each link gets one part in so many of what is left of that: so there is always something left.
const UNASKED_LINKS: usize = 16;

/// Returns how long a message may be that comes unasked on a link, where so much of `max` is set aside for
/// others.
pub(crate) fn unasked_share(max: usize, set_aside: usize) -> usize {
    let left = (max / UNASKED_PARTS).saturating_sub(set_aside);
    (left / UNASKED_LINKS).clamp(SMALL_BYTES_MAX, PLENTY_BYTES)
}

/// Returns what has to be set aside for a share: what is small is not counted.
pub(crate) fn set_aside_for(share: usize) -> usize {
    if share > SMALL_BYTES_MAX { share } else { 0 }
}

/// How many messages of the longest kind are held in reserve, for what has to go on when nothing is left:
/// a request, the answer that somebody waits for, the message that is arriving, and its answer while that
/// is read.
pub(crate) const RESERVE_MESSAGES: usize = 4;
/// How many of those may be in use before the one that arrives.
const USED_BEFORE_LAST: isize = 2;

/// What a pool has left of its `memory_max`. Shared by the driver and all who wait for what it holds.
#[derive(Debug)]
pub(crate) struct Budget {
    /// All but the reserve.
    max: usize,
    /// The longest message.
    message_max: usize,
    used: AtomicUsize,
    /// What is kept for messages that come unasked.
    set_aside: AtomicUsize,
    /// Somebody waits for more.
    is_awaited: AtomicBool,
    /// Tells callers that wait with a task of room for it.
    pub(crate) room: Event,
    /// Wakes the driver.
    doorbell: Waker,
}

/// A part of what is held, all for one purpose.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) budget: Arc<Budget>,
    used: AtomicUsize,
}

/// Some bytes of an account, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Budget {
    /// Makes a budget of `bytes_max`, of which [`RESERVE_MESSAGES`] times `message_max` are the reserve.
    pub(crate) fn new(bytes_max: usize, message_max: usize, doorbell: Waker) -> Arc<Self> {
        Arc::new(Self {
            max: bytes_max.saturating_sub(message_max.saturating_mul(RESERVE_MESSAGES)),
            message_max,
            used: AtomicUsize::new(0),
            set_aside: AtomicUsize::new(0),
            is_awaited: AtomicBool::new(false),
            room: Event::new(),
            doorbell,
        })
    }

    /// Returns how much is left without the reserve: below zero, so much of that is in use. What is set
    /// aside is not left.
    pub(crate) fn left(&self) -> isize {
        let set_aside = self.set_aside.load(Ordering::SeqCst);
        signed(self.max) - signed(set_aside) - signed(self.used.load(Ordering::SeqCst))
    }

    /// Sets something aside for the messages that come unasked on a link.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let bytes = unasked_share(self.max, self.set_aside.load(Ordering::SeqCst));
        self.set_aside.fetch_add(set_aside_for(bytes), Ordering::SeqCst);
        Share { budget: Arc::clone(self), bytes }
    }

    /// Returns whether every message above [`SMALL_BYTES_MAX`] is to be held against the budget.
    #[inline]
    fn is_tight(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max / 2
    }

    /// Has the driver, and callers that wait for room, woken once there is more. Look again before
    /// you wait.
    pub(crate) fn await_more(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.tell();
        }
    }

    fn tell(&self) {
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            self.room.notify(usize::MAX);
            self.doorbell.wake_by_ref();
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Returns how much is kept for messages that come unasked.
    #[cfg(feature = "testing")]
    pub(crate) fn set_aside(&self) -> usize {
        self.set_aside.load(Ordering::SeqCst)
    }

    /// Returns how many bytes may be held in all, the reserve included.
    #[cfg(feature = "std")]
    pub(crate) fn bytes_max(&self) -> usize {
        self.max.saturating_add(self.message_max.saturating_mul(RESERVE_MESSAGES))
    }
}

impl Account {
    pub(crate) fn new(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget: Arc::clone(budget), used: AtomicUsize::new(0) })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Returns whether it would still leave to others as much as it holds, with `bytes` more.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let used = self.used().saturating_add(bytes);
        signed(used) <= self.budget.left().saturating_sub_unsigned(bytes)
    }

    /// Returns whether it may take `bytes` from the reserve: it holds nothing, and the budget is not
    /// overdrawn.
    pub(crate) fn may_begin_with(&self, bytes: usize) -> bool {
        self.used() == 0 && bytes <= self.budget.message_max && self.budget.left() >= 0
    }

    /// Returns whether it has more than it leaves to others.
    pub(crate) fn is_full(&self) -> bool {
        self.used() > 0 && !self.has_room_for(0)
    }

    /// Takes `bytes`, whether they are left or not.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.budget.used.fetch_add(bytes, Ordering::SeqCst);
        self.used.fetch_add(bytes, Ordering::SeqCst);
        Charge { account: Arc::clone(self), bytes }
    }
}

/// What one message may take that comes unasked on a link, until that ends.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Returns how long a message may be that nobody asks for now.
    #[inline]
    pub(crate) fn allowance(&self) -> usize {
        if self.budget.is_tight() { SMALL_BYTES_MAX } else { self.bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let bytes = set_aside_for(self.bytes);
        self.budget.set_aside.fetch_sub(bytes, Ordering::SeqCst);
        self.budget.give(0);
    }
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Is of another account of the same budget from now on.
    pub(crate) fn move_to(&mut self, account: &Arc<Account>) {
        account.used.fetch_add(self.bytes, Ordering::SeqCst);
        self.account.used.fetch_sub(self.bytes, Ordering::SeqCst);
        self.account = Arc::clone(account);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if !planted("bytes are not given back") {
            self.account.budget.give(self.bytes);
        }
    }
}

/// Links whose next message waits for room, in order.
///
/// A message is admitted when what it needs is left. When less is left, the one that has waited longest
/// gets the reserve, one at a time, so messages of any length get through eventually.
#[derive(Debug, Default)]
pub(crate) struct ArrivalQueue {
    /// Each with how many bytes it needs.
    waiting: VecDeque<(u32, usize)>,
    /// Whose message has the reserve, and how many bytes of it.
    in_reserve: Option<(u32, usize)>,
    /// There may be room for those that wait.
    has_news: bool,
}

impl ArrivalQueue {
    /// Returns whether a link may take `bytes` more, with `left` left and a reserve of twice `message_max`
    /// beside that, where whoever it counts for has `held` of what arrives. If not, it waits.
    pub(crate) fn admit(
        &mut self,
        link: u32,
        held: usize,
        bytes: usize,
        left: isize,
        message_max: usize,
    ) -> bool {
        let left = self.left_outside(left);
        if let Some((_, reserved)) = self.in_reserve.as_mut().filter(|holder| holder.0 == link) {
            *reserved = reserved.saturating_add(bytes);
        } else if !fits(bytes, held, left) {
            let is_next = self.waiting.front().is_none_or(|&(next, _)| next == link);
            if !is_next || !self.may_use_reserve(left, message_max) {
                match self.waiting.iter_mut().find(|waiting| waiting.0 == link) {
                    Some(waiting) => waiting.1 = bytes,
                    None => self.waiting.push_back((link, bytes)),
                }
                return false;
            }
            self.in_reserve = Some((link, bytes));
        }
        self.waiting.retain(|waiting| waiting.0 != link);
        true
    }

    /// Returns what is left beside the message that has the reserve, whatever that has taken.
    fn left_outside(&self, left: isize) -> isize {
        left.saturating_add(self.in_reserve.map_or(0, |(_, bytes)| signed(bytes)))
    }

    fn may_use_reserve(&self, left: isize, message_max: usize) -> bool {
        self.in_reserve.is_none() && left >= -signed(message_max).saturating_mul(USED_BEFORE_LAST)
    }

    /// Notes that a link's message has come, or never will.
    pub(crate) fn forget(&mut self, link: u32) {
        self.waiting.retain(|waiting| waiting.0 != link);
        self.in_reserve.take_if(|holder| holder.0 == link);
        self.note_news();
    }

    /// Notes that there may be more room.
    pub(crate) fn note_news(&mut self) {
        self.has_news = !self.waiting.is_empty();
    }

    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.has_news
    }

    /// Returns the links that there is room for now, if they are asked again in this order. `held_by` is what
    /// whoever a link counts for has of what arrives.
    pub(crate) fn take_news(
        &mut self,
        left: isize,
        message_max: usize,
        held_by: impl Fn(u32) -> usize,
    ) -> Vec<u32> {
        self.has_news = false;
        let mut left = self.left_outside(left);
        let mut reserve = self.may_use_reserve(left, message_max);
        let has_room = |&(link, bytes): &(u32, usize)| {
            // The reserve is for the first that nothing else is left for.
            let admitted = fits(bytes, held_by(link), left) || core::mem::take(&mut reserve);
            if admitted {
                left -= signed(bytes);
            } else {
                reserve = false;
            }
            admitted.then_some(link)
        };
        self.waiting.iter().filter_map(has_room).collect()
    }
}

/// Returns whether as much is left over, and as much as whoever it is for has then.
fn fits(bytes: usize, held: usize, left: isize) -> bool {
    signed(bytes.saturating_mul(2).saturating_add(held)) <= left
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// What arrives on a pool's links, and where it goes.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) queue: ArrivalQueue,
    /// Messages that are arriving.
    arriving: Arc<Account>,
    /// Those of each party that has a share of its own, and how many links it has.
    parties: BTreeMap<Party, (usize, Arc<Account>)>,
    /// Whom a link counts for, by its slot.
    links: Vec<Option<(Party, Arc<Account>)>>,
    /// Answers on their way to their tasks, and those of calls until somebody takes them.
    pub(crate) answers: Arc<Account>,
}

impl Arrivals {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            queue: ArrivalQueue::default(),
            arriving: Account::new(budget),
            parties: BTreeMap::new(),
            links: Vec::new(),
            answers: Account::new(budget),
        }
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.answers.budget
    }

    /// Has what arrives on a link count for a party from now on, which has to leave to others as much as it
    /// has: whoever sends long messages slowly leaves half of the budget to all others.
    pub(crate) fn begin(&mut self, link: u32, party: &Party) {
        self.forget(link);
        let budget = Arc::clone(self.budget());
        let new = || (0, Account::new(&budget));
        let (links, account) = self.parties.entry(party.clone()).or_insert_with(new);
        *links += 1;
        let holder = Some((party.clone(), Arc::clone(account)));
        let index = link as usize;
        if index >= self.links.len() {
            self.links.resize_with(index + 1, || None);
        }
        self.links[index] = holder;
    }

    /// Notes that a link is over, or counts for nobody any more.
    pub(crate) fn forget(&mut self, link: u32) {
        let Some((party, _)) = self.links.get_mut(link as usize).and_then(Option::take) else {
            return;
        };
        let (links, _) = self.parties.get_mut(&party).expect("it has a link");
        *links -= 1;
        if *links == 0 {
            self.parties.remove(&party);
        }
    }

    /// Returns the account of whoever a link counts for, where that has a share of its own.
    fn holder(&self, link: u32) -> Option<&Arc<Account>> {
        self.links.get(link as usize)?.as_ref().map(|(_, account)| account)
    }

    /// Charges a link that holds `charge` for a message of `bytes`, or makes it wait.
    pub(crate) fn admit(&mut self, link: u32, charge: &mut Option<Charge>, bytes: usize) -> bool {
        let budget = Arc::clone(self.budget());
        let more = bytes.saturating_sub(charge.as_ref().map_or(0, Charge::bytes));
        let holder = Arc::clone(self.holder(link).unwrap_or(&self.arriving));
        let has_share = !Arc::ptr_eq(&holder, &self.arriving);
        let held = || if has_share { holder.used() } else { 0 };
        let mut may = || self.queue.admit(link, held(), more, budget.left(), budget.message_max);
        if !may() {
            budget.await_more();
            // Some may have come back just before.
            if !may() {
                return false;
            }
        }
        *charge = Some(holder.charge(bytes));
        true
    }

    /// Notes that a link's message has come, and what it came in is used again.
    pub(crate) fn end(&mut self, link: u32, charge: &mut Option<Charge>) {
        *charge = None;
        // It may have been let in by an allowance that was raised while it waited.
        self.queue.forget(link);
    }

    /// Returns the links to be polled again, since there is room for their messages.
    pub(crate) fn take_news(&mut self) -> Vec<u32> {
        let budget = Arc::clone(self.budget());
        // Whatever comes back from now on is news again.
        budget.await_more();
        let links = &self.links;
        let held_by = |link: u32| match links.get(link as usize) {
            Some(Some((_, account))) => account.used(),
            _ => 0,
        };
        self.queue.take_news(budget.left(), budget.message_max, held_by)
    }
}

#[cfg(test)]
#[path = "budget/tests.rs"] // The tests of concurrency include this file from elsewhere.
mod tests;
