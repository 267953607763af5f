//! Links that are on their way out: what is still to leave, a last word, an orderly end, all in bounded
//! time.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::Dialect;
use chargehand_core::message::{HEAD_BYTES_MAX, Message};

use super::erased::AnyWire;
use super::expiring::Timed;
use super::ready::{Entry, ReadySet};
use super::reason::DisconnectReason;
use super::token::Token;

/// How long a link may take to end in an orderly way.
pub(crate) const CLOSE_SPAN: Duration = Duration::from_secs(2);

/// Messages that the wire has no room for yet: their heads and bodies, in order.
pub(crate) type Outbox = VecDeque<(Vec<u8>, Vec<u8>)>;

/// Wires that are being closed, each with what it has of the budget in bytes, of type `C`.
pub(crate) struct ClosingTable<W: ?Sized, C>(Timed<Closing<W, C>>);

struct Closing<W: ?Sized, C> {
    entry: Entry,
    outbox: Outbox,
    charge: C,
    wire: Box<W>,
}

impl<W: AnyWire + ?Sized, C> ClosingTable<W, C> {
    /// Makes room for `count_max` at once. One more cuts the oldest short.
    pub(crate) fn new(count_max: usize) -> Self {
        Self(Timed::new(count_max, CLOSE_SPAN))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.0.next_due()
    }

    /// Closes a wire in good order, after what is in its outbox and a Goodbye with the reason, where there
    /// is one to say and a word for it. What is over by then gives its charge to `release`.
    pub(crate) fn close(
        &mut self,
        leaving: (Box<W>, Outbox, C),
        reason: &DisconnectReason,
        now: Instant,
        ready: &ReadySet,
        release: &mut dyn FnMut(C),
    ) {
        let (wire, mut outbox, charge) = leaving;
        if self.0.is_full() {
            self.0.remove_oldest().map(|oldest| oldest.charge).into_iter().for_each(&mut *release);
        }
        let told = reason.told().filter(|_| wire.dialect() == Dialect::Native);
        if let Some(code) = told {
            let mut head = [0; HEAD_BYTES_MAX];
            let message = Message::Goodbye { code, text: &reason.to_string() };
            outbox.push_back((message.encode(&mut head).to_vec(), Vec::new()));
        }
        let index = self.0.insert(now, |index| {
            let entry = ready.entry(Token::Closing(index).into());
            Closing { entry, outbox, charge, wire }
        });
        self.on_ready(index, release);
    }

    /// Goes on with one that was woken.
    pub(crate) fn on_ready(&mut self, index: u32, release: &mut dyn FnMut(C)) {
        let Some(closing) = self.0.get_mut(index) else { return };
        closing.entry.clear();
        if closing.poll().is_ready() {
            self.0.remove(index).map(|closed| closed.charge).into_iter().for_each(release);
        }
    }

    /// Drops those that took too long.
    pub(crate) fn drop_due(&mut self, now: Instant, release: &mut dyn FnMut(C)) {
        while let Some(closing) = self.0.remove_due(now) {
            release(closing.charge);
        }
    }
}

impl<W: AnyWire + ?Sized, C> Closing<W, C> {
    fn poll(&mut self) -> Poll<()> {
        let cx = &mut Context::from_waker(self.entry.waker());
        while let Some((head, body)) = self.outbox.front() {
            match self.wire.poll_send(cx, head, body) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => drop(self.outbox.pop_front()),
            }
        }
        // Whether it ended well or badly makes no difference any more.
        self.wire.poll_close(cx).map(|_| ())
    }
}
