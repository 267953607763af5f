//! All workers of a pool: who each is, and where its link is.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use async_channel::Sender;
use chargehand_core::{Instant, Link, TaskId, WorkerId};

use super::handshake::Greeting;
use super::link::Conn;
use crate::error::WorkerError;
use crate::link::erased::{Kind, Reach};
use crate::link::party::Party;
use crate::link::ready::{Entry, ReadySet};
use crate::link::reason::DisconnectReason;
use crate::link::token::Token;
use crate::options::WorkerOptions;

/// All workers, by slot.
pub(crate) struct Peers<K: Kind> {
    pub(super) slots: Vec<Option<Peer<K>>>,
    /// Workers that dialled in, by name.
    names: BTreeMap<Arc<str>, WorkerId>,
    /// Slots of links with something to flush.
    pub(crate) dirty: Vec<u32>,
    /// Slots of workers in this process with something to do, each once.
    pub(crate) at_work: Vec<u32>,
    /// How many workers in this process there were.
    in_process_count: u32,
    /// The windows of all links that are up, together.
    window_total: usize,
}

/// One worker.
pub(crate) struct Peer<K: Kind> {
    pub(super) id: WorkerId,
    pub(crate) label: Arc<str>,
    pub(crate) entry: Entry,
    pub(crate) reach: Reach<K>,
    pub(crate) options: WorkerOptions,
    /// It takes trace contexts.
    #[cfg(feature = "tracing")]
    pub(super) takes_traces: bool,
    /// The queues that it was said to serve for its next link and that the pool has not.
    pub(super) unknown_queues: Vec<Arc<str>>,
    pub(crate) link: LinkState<K>,
    pub(crate) last_error: Option<DisconnectReason>,
    /// Whom its transport has proven it to be, when its link was made last.
    pub(crate) identity: Option<Arc<str>>,
    /// Whom its link counts for, while it is up and the worker had dialled in.
    pub(crate) party: Option<Party>,
    /// Whose link it is or was last: differs from one start of a worker to the next.
    pub(crate) token: Option<u64>,
    /// Tasks that it had done when its link came up.
    pub(super) done_before: u64,
    pub(crate) up_since: Instant,
    window: u32,
    /// How many tasks it runs at once.
    pub(super) runs: u32,
    pub(crate) is_at_work: bool,
    /// It is in this process, and the latest look at it was one of a manager that was itself away.
    pub(crate) is_pardoned: bool,
    remover: Option<Sender<Result<(), WorkerError>>>,
}

/// A worker's link.
#[derive(Default)]
pub(crate) enum LinkState<K: Kind> {
    #[default]
    Idle,
    /// The connector is at it.
    Dialling(Link),
    /// The transport is up, the handshake is not done.
    Greeting(Link, Box<K::Wire>, Greeting),
    Up(Link, Box<Conn<K>>),
    /// Up, in this process: nothing is in between.
    InProcess(Link),
}

impl<K: Kind> Peer<K> {
    pub(crate) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    /// Returns how many tasks the worker runs at once, if it may hold more, which then wait there.
    pub(crate) fn waiting_behind(&self) -> Option<u32> {
        (self.window > self.runs).then_some(self.runs)
    }

    /// Returns how many of so many tasks in its window the worker runs at once, while it has a link.
    #[cfg(feature = "std")]
    pub(crate) fn runs_of(&self, window: u32) -> Option<u32> {
        match self.link {
            LinkState::Up(..) => Some(self.waiting_behind().unwrap_or(window)),
            // All that it holds run.
            LinkState::InProcess(_) => Some(window),
            _ => None,
        }
    }

    /// Returns whether it has this link.
    pub(super) fn is_up_on(&self, link: Link) -> bool {
        matches!(&self.link, LinkState::Up(up, _) if *up == link)
    }

    /// Returns when the request of a task left its link late, if it did.
    pub(crate) fn left_at(&self, task: TaskId) -> Option<Instant> {
        match &self.link {
            LinkState::Up(_, conn) => conn.left_at(task),
            _ => None,
        }
    }

    /// Returns its id and its link's window, which is 0 while that is not up.
    #[cfg(feature = "testing")]
    pub(crate) fn place(&self) -> (WorkerId, u32) {
        (self.id, self.window)
    }

    /// Notes why the link is not up. Returns the label.
    pub(super) fn failed(&mut self, reason: &DisconnectReason) -> Arc<str> {
        self.last_error = Some(reason.clone());
        self.label()
    }
}

impl<K: Kind> Peers<K> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            names: BTreeMap::new(),
            dirty: Vec::new(),
            at_work: Vec::new(),
            in_process_count: 0,
            window_total: 0,
        }
    }

    /// Returns a worker that the scheduler names.
    pub(crate) fn get_mut(&mut self, worker: WorkerId) -> &mut Peer<K> {
        let peer = self.slots[worker.slot() as usize].as_mut();
        let peer = peer.expect("a worker is in the table until the scheduler says it is gone");
        assert!(peer.id == worker);
        peer
    }

    /// Returns all of them.
    #[cfg(feature = "testing")]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Peer<K>> {
        self.slots.iter().flatten()
    }

    pub(super) fn get(&self, worker: WorkerId) -> &Peer<K> {
        let peer = self.slots[worker.slot() as usize].as_ref();
        let peer = peer.expect("a worker is in the table until the scheduler says it is gone");
        assert!(peer.id == worker);
        peer
    }

    /// Returns the label of a worker that the scheduler names.
    pub(crate) fn label_of(&self, worker: WorkerId) -> Arc<str> {
        self.get(worker).label()
    }

    /// Whether a worker is still in the table.
    pub(crate) fn is_worker(&self, worker: WorkerId) -> bool {
        let slot = self.slots.get(worker.slot() as usize);
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|peer| peer.id == worker))
    }

    pub(crate) fn named(&self, name: &str) -> Option<WorkerId> {
        self.names.get(name).copied()
    }

    /// Refuses a name that a worker has who has proven that it is its own, where this party has not.
    pub(crate) fn check_owner(&self, name: &str, party: &Party) -> Result<(), DisconnectReason> {
        let Some(worker) = self.names.get(name) else { return Ok(()) };
        let peer = self.slots[worker.slot() as usize].as_ref();
        let Some(owner) = peer.and_then(|peer| peer.identity.as_ref()) else { return Ok(()) };
        match party.identity() {
            Some(identity) if identity == *owner => Ok(()),
            identity => Err(DisconnectReason::NotTheirs {
                name: name.into(),
                owner: (**owner).into(),
                identity: identity.map(|identity| (*identity).into()),
            }),
        }
    }

    /// Returns the workers that have dialled in and are up, whom each counts for, and its link.
    pub(crate) fn dialled_in(&self) -> impl Iterator<Item = (&Peer<K>, &Party, Link)> {
        self.slots.iter().flatten().filter_map(|peer| match (&peer.party, &peer.link) {
            (Some(party), LinkState::Up(link, _)) => Some((peer, party, *link)),
            _ => None,
        })
    }

    pub(crate) fn window_total(&self) -> usize {
        self.window_total
    }

    pub(crate) fn set_window(&mut self, worker: WorkerId, window: u32) {
        let peer = self.get_mut(worker);
        let before = mem::replace(&mut peer.window, window);
        self.window_total = self.window_total + window as usize - before as usize;
    }

    /// Notes that a worker in this process has something to do.
    pub(crate) fn put_to_work(&mut self, slot: u32) {
        let Some(peer) = self.at(slot) else { return };
        if !mem::replace(&mut peer.is_at_work, true) {
            self.at_work.push(slot);
        }
    }

    /// Returns how many places for workers there are, those that are free included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the worker of a slot, if there is one.
    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut Peer<K>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Names the next worker in this process.
    pub(super) fn next_in_process(&mut self) -> Arc<str> {
        self.in_process_count += 1;
        format!("in-process {}", self.in_process_count).into()
    }

    pub(crate) fn await_gone(&mut self, worker: WorkerId, reply: Sender<Result<(), WorkerError>>) {
        self.get_mut(worker).remover = Some(reply);
    }

    pub(crate) fn insert(
        &mut self,
        id: WorkerId,
        label: Arc<str>,
        reach: Reach<K>,
        options: WorkerOptions,
        ready: &ReadySet,
    ) {
        let slot = id.slot() as usize;
        if matches!(reach, Reach::Await) {
            self.names.insert(Arc::clone(&label), id);
        }
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let entry = ready.entry(Token::Link(id.slot()).into());
        let peer = Peer {
            id,
            label,
            entry,
            reach,
            options,
            #[cfg(feature = "tracing")]
            takes_traces: false,
            unknown_queues: Vec::new(),
            link: LinkState::Idle,
            last_error: None,
            identity: None,
            party: None,
            token: None,
            done_before: 0,
            up_since: Instant::EPOCH,
            window: 0,
            runs: 1,
            is_at_work: false,
            is_pardoned: false,
            remover: None,
        };
        assert!(self.slots[slot].replace(peer).is_none());
    }

    /// Removes a worker and tells whoever waits for that. Returns its label.
    pub(crate) fn remove(&mut self, worker: WorkerId) -> Arc<str> {
        self.set_window(worker, 0);
        let peer = self.slots[worker.slot() as usize].take().expect("set_window found it");
        if matches!(peer.reach, Reach::Await) {
            self.names.remove(&peer.label);
        }
        if let Some(remover) = peer.remover {
            let _ = remover.try_send(Ok(()));
        }
        peer.label
    }
}

/// Returns the id of a worker that there is at the start, by how many were added before it.
pub(crate) fn id_at_start(index: usize) -> WorkerId {
    WorkerId::from_parts(u32::try_from(index).expect("fewer workers than 2^32"), 0)
}
