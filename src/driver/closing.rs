//! Links that are on their way out: a last word, a flush, an orderly end, all in bounded time.

use alloc::boxed::Box;
use alloc::string::String;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::Dialect;
use chargehand_core::message::{Code, HEAD_BYTES_MAX, Message};

use super::Token;
use crate::budget::Charge;
use crate::link::erased::{AnyWire, Kind};
use crate::link::expiring::Timed;
use crate::link::ready::{Entry, ReadySet};

/// How long a link may take to end in an orderly way.
const SPAN: Duration = Duration::from_secs(2);
/// How many may be at it at once; a further one cuts the oldest short.
const COUNT_MAX: usize = 256;

/// Why a link ends, for the peer.
#[derive(Clone, Debug)]
pub(crate) struct Farewell {
    pub(crate) code: Code,
    pub(crate) text: String,
}

pub(crate) struct ClosingTable<K: Kind>(Timed<Closing<K>>);

struct Closing<K: Kind> {
    wire: Box<K::Wire>,
    entry: Entry,
    farewell: Option<Farewell>,
    /// What the wire still holds of a message that was arriving.
    _charge: Option<Charge>,
}

impl<K: Kind> ClosingTable<K> {
    pub(crate) fn new() -> Self {
        Self(Timed::new(COUNT_MAX, SPAN))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cold]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.0.next_due()
    }

    /// Ends a link, with a last word where its dialect has one.
    pub(crate) fn close(
        &mut self,
        wire: Box<K::Wire>,
        farewell: Option<Farewell>,
        charge: Option<Charge>,
        now: Instant,
        ready: &ReadySet,
    ) {
        if self.0.is_full() {
            self.0.remove_oldest();
        }
        let farewell = farewell.filter(|_| wire.dialect() == Dialect::Native);
        let index = self.0.insert(now, |index| {
            let entry = ready.entry(Token::Closing(index).into());
            Closing { wire, entry, farewell, _charge: charge }
        });
        self.on_ready(index);
    }

    pub(crate) fn on_ready(&mut self, index: u32) {
        let Some(closing) = self.0.get_mut(index) else { return };
        closing.entry.clear();
        if closing.poll().is_ready() {
            self.0.remove(index);
        }
    }

    #[cold]
    pub(crate) fn drop_due(&mut self, now: Instant) {
        while self.0.remove_due(now).is_some() {}
    }
}

impl<K: Kind> Closing<K> {
    fn poll(&mut self) -> Poll<()> {
        let cx = &mut Context::from_waker(self.entry.waker());
        if let Some(Farewell { code, text }) = &self.farewell {
            let mut head = [0; HEAD_BYTES_MAX];
            let message = Message::Goodbye { code: *code, text };
            match self.wire.poll_send(cx, message.encode(&mut head), &[]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => self.farewell = None,
            }
        }
        // Whether it ended well or badly makes no difference any more.
        self.wire.poll_close(cx).map(|_| ())
    }
}
