//! Handlers under way: futures side by side, each with a waker of its own, and every
//! panic caught where there is `std`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::link::ready::{Entry, ReadySet};
use crate::link::token::Token;
use crate::unwind::caught;

/// Runs of futures `F`, each of which belongs to an `O`.
pub(crate) struct Runs<F, O> {
    /// The room of each run is used again, with its waker and its allocation.
    rooms: Vec<Room<F, O>>,
    free: Vec<u32>,
}

struct Room<F, O> {
    entry: Entry,
    future: Pin<Box<Option<F>>>,
    /// `None` while nobody wants the result any more.
    owner: Option<O>,
}

impl<F, O> Runs<F, O> {
    pub(crate) const fn new() -> Self {
        Self { rooms: Vec::new(), free: Vec::new() }
    }

    /// Returns how many rooms are taken.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len() - self.free.len()
    }

    /// Takes a room, and returns its index, under which its token in `ready` names it.
    #[inline]
    pub(crate) fn insert(&mut self, ready: &ReadySet, owner: O, future: Option<F>) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.rooms.len()).expect("as many as a u16 can count");
            let entry = ready.entry(Token::Run(index).into());
            self.rooms.push(Room { entry, future: Box::pin(None), owner: None });
            index
        });
        let room = &mut self.rooms[index as usize];
        room.future.set(future);
        room.owner = Some(owner);
        index
    }

    /// Notes that the run is to be polled without a wake. Returns whether that is news.
    pub(crate) fn mark(&self, index: u32) -> bool {
        self.rooms[index as usize].entry.mark()
    }

    /// Forgets that a run was woken. Call it before it is polled for that.
    pub(crate) fn clear(&self, index: u32) {
        if let Some(room) = self.rooms.get(index as usize) {
            room.entry.clear();
        }
    }

    /// Returns whose run it is, if anybody's.
    pub(crate) fn owner(&self, index: u32) -> Option<&O> {
        self.rooms.get(index as usize)?.owner.as_ref()
    }

    /// Lets a run go on that nobody wants the result of.
    pub(crate) fn disown(&mut self, index: u32) {
        self.rooms[index as usize].owner = None;
    }

    /// Ends a run, and gives its room away.
    #[inline]
    pub(crate) fn release(&mut self, index: u32) {
        self.rooms[index as usize].clear();
        self.free.push(index);
    }

    /// Ends all runs that belong to somebody.
    pub(crate) fn release_owned(&mut self) {
        for index in 0..self.rooms.len() {
            if self.rooms[index].owner.is_some() {
                self.release(u32::try_from(index).expect("indices are u32"));
            }
        }
    }
}

impl<F: Future, O> Runs<F, O> {
    /// Polls a run. Once it has ended, its room is free, and its owner and result are returned: the
    /// error is the text of a failure.
    ///
    /// [Clear](Self::clear) it first if it was woken. A new one need not be: if the room was woken
    /// for an earlier run, it is listed still and polled again.
    ///
    /// First `begin` may make the run's future, or end it with a failure. `finish` makes the result
    /// of the future's output. A panic in either, or in the future, is a failure as well.
    #[inline]
    pub(crate) fn poll<R>(
        &mut self,
        index: u32,
        begin: impl FnOnce(&mut O) -> Result<Option<F>, String>,
        finish: impl FnOnce(F::Output) -> R,
    ) -> Option<(Option<O>, Result<R, String>)> {
        let Room { entry, future, owner } = self.rooms.get_mut(index as usize)?;
        let mut cx = Context::from_waker(entry.waker());
        let polled = caught(|| {
            let begun = owner.as_mut().map_or(Ok(None), begin)?;
            if begun.is_some() {
                future.set(begun);
            }
            // None: a wake that was meant for an earlier run.
            let Some(future) = future.as_mut().as_pin_mut() else { return Ok(Poll::Pending) };
            Ok(future.poll(&mut cx).map(finish))
        });
        let result = match polled.and_then(|polled| polled) {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(text) => Err(text),
        };
        let owner = owner.take();
        self.release(index);
        Some((owner, result))
    }
}

impl<F, O> Room<F, O> {
    #[inline]
    fn clear(&mut self) {
        // A destructor of the user's may panic as well, and nobody is left to be told.
        if mem::needs_drop::<O>() && self.owner.is_some() {
            let _ = caught(|| self.owner = None);
        }
        self.owner = None;
        if mem::needs_drop::<F>() {
            let _ = caught(|| self.future.set(None));
        }
        self.future.set(None);
    }
}

impl<F, O> Drop for Runs<F, O> {
    fn drop(&mut self) {
        self.rooms.iter_mut().for_each(Room::clear);
    }
}
