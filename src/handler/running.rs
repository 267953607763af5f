//! Handlers under way: futures side by side, each with a waker of its own, and every
//! panic caught where there is `std`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::link::ready::{Entry, ReadySet};
use crate::link::token::Token;
use crate::unwind::caught;

/// Runs of futures `F`, each of which belongs to an `O`.
pub(crate) struct Runs<F, O> {
    /// The room of each run is used again, with its waker and its allocation.
    rooms: Vec<FutureRoom<F, O>>,
    free: Vec<u32>,
}

struct FutureRoom<F, O> {
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
    pub(crate) fn take_room(&mut self, ready: &ReadySet) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.rooms.len()).expect("as many as a u16 can count");
            let entry = ready.entry(Token::Run(index).into());
            self.rooms.push(FutureRoom { entry, future: Box::pin(None), owner: None });
            index
        })
    }

    /// Notes whose run it is.
    pub(crate) fn own(&mut self, index: u32, owner: O) {
        self.rooms[index as usize].owner = Some(owner);
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

    /// Returns what wakes a run, and whose it is, if anybody's.
    pub(crate) fn waker_of(&self, index: u32) -> Option<(&Waker, &O)> {
        let room = self.rooms.get(index as usize)?;
        Some((room.entry.waker(), room.owner.as_ref()?))
    }

    /// Returns whose run it is, if anybody's.
    pub(crate) fn owner(&self, index: u32) -> Option<&O> {
        self.rooms.get(index as usize)?.owner.as_ref()
    }

    pub(crate) fn owner_mut(&mut self, index: u32) -> Option<&mut O> {
        self.rooms.get_mut(index as usize)?.owner.as_mut()
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
    /// Polls a run. Once it has ended, its room is free, and what `finish` made of its output is returned.
    ///
    /// [Clear](Self::clear) it first if it was woken. A new one need not be: if the room was woken
    /// for an earlier run, it is listed still and polled again.
    ///
    /// First `begin` may put the run's future into its place, or end it with a failure's text. `finish` gets
    /// the output or such a text. Both get the owner, if there is one yet or still. A panic in either, or in
    /// the future, is a failure as well, of which `finish` is told.
    #[inline]
    pub(crate) fn poll<R>(
        &mut self,
        index: u32,
        begin: impl FnOnce(Option<&mut O>, Pin<&mut Option<F>>) -> Result<(), String>,
        mut finish: impl FnMut(Result<F::Output, String>, Option<&mut O>) -> R,
    ) -> Option<R> {
        let FutureRoom { entry, future, owner } = self.rooms.get_mut(index as usize)?;
        let mut cx = Context::from_waker(entry.waker());
        // Not returned through `caught`, where it would be moved through memory once more: decision 0010.
        let mut result = None;
        let end = caught(|| {
            if let Err(text) = begin(owner.as_mut(), future.as_mut()) {
                result = Some(finish(Err(text), owner.as_mut()));
            } else if let Some(running) = future.as_mut().as_pin_mut() {
                let Poll::Ready(output) = running.poll(&mut cx) else { return };
                result = Some(finish(Ok(output), owner.as_mut()));
                // Here already, so that panics are looked for once and not three times.
                *owner = None;
                future.set(None);
            }
            // Nothing there: a wake that was meant for an earlier run.
        });
        if let (Err(text), None) = (end, &result) {
            result = Some(finish(Err(text), owner.as_mut()));
        }
        if result.is_some() {
            self.release(index);
        }
        result
    }
}

impl<F, O> FutureRoom<F, O> {
    #[inline]
    fn clear(&mut self) {
        // A destructor of the user's may panic as well, and nobody is left to be told.
        if self.owner.is_some() {
            let _ = caught(|| self.owner = None);
        }
        if self.future.is_some() {
            let _ = caught(|| self.future.set(None));
        }
    }
}

impl<F, O> Drop for Runs<F, O> {
    fn drop(&mut self) {
        self.rooms.iter_mut().for_each(FutureRoom::clear);
    }
}
