//! Where a port is between two links.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::port::Port;

/// Where a port is between two links.
pub(crate) struct Home<S>(Mutex<Slot<S>>);

pub(crate) struct Slot<S> {
    pub(crate) lent: Lent<S>,
    /// A link that the other end opened while another one was there.
    pub(crate) newer: Option<(u16, Vec<u8>)>,
    pub(crate) waker: Option<Waker>,
}

pub(crate) enum Lent<S> {
    No(Box<Port<S>>),
    Yes,
    Broken,
}

impl<S> Home<S> {
    pub(crate) fn new(port: Port<S>) -> Self {
        Self(Mutex::new(Slot { lent: Lent::No(Box::new(port)), newer: None, waker: None }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Slot<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put_back(&self, mut port: Port<S>, newer: Option<(u16, Vec<u8>)>) {
        let waker = {
            let mut slot = self.lock();
            if port.is_broken {
                slot.lent = Lent::Broken;
            } else {
                port.discard_unsent();
                slot.lent = Lent::No(Box::new(port));
            }
            slot.newer = newer;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<S> Slot<S> {
    pub(crate) fn take(&mut self) -> Option<Box<Port<S>>> {
        match mem::replace(&mut self.lent, Lent::Yes) {
            Lent::No(port) => Some(port),
            other => {
                self.lent = other;
                None
            }
        }
    }
}
