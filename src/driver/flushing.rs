//! What was sent on links leaves: after a turn, or before it is the others'.

use core::mem;
use core::task::Context;

use chargehand_core::io::Timer;

use super::Driver;
use super::peers::{LinkState, Peer};
use crate::link::erased::Kind;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Writes what is to be sent on a link. Returns whether there was anything.
    fn flush(&mut self, slot: u32) -> bool {
        let mut any = false;
        loop {
            let Some(peer) = self.peers.at(slot) else { return any };
            let LinkState::Up(link, conn) = &mut peer.link else { return any };
            if !conn.dirty {
                return any;
            }
            any = true;
            let link = *link;
            let cx = &mut Context::from_waker(peer.entry.waker());
            match conn.flush(cx, self.now, &self.tasks) {
                Ok(()) => return any,
                Err(error) => self.not_sent(link, error),
            }
        }
    }

    /// Writes what is to be sent on a link, before it is the others' turn.
    pub(super) fn flush_now(&mut self, slot: u32) {
        // Mostly it is the only one. Elsewhere in the list it costs another look.
        if self.peers.dirty.last() == Some(&slot) {
            self.peers.dirty.pop();
        }
        self.flush(slot);
    }

    /// Flushes every link that was sent to since the last time.
    pub(crate) fn flush_all(&mut self) {
        if !self.peers.dirty.is_empty() {
            self.flush_dirty();
        }
    }

    fn flush_dirty(&mut self) {
        let mut dirty = mem::take(&mut self.peers.dirty);
        for slot in dirty.drain(..) {
            if self.flush(slot) {
                self.await_answer(slot);
            }
        }
        assert!(self.peers.dirty.is_empty(), "only a turn sends");
        self.peers.dirty = dirty;
    }

    /// Notes that a link may have an answer at once to what was flushed, if it expects one.
    fn await_answer(&mut self, slot: u32) {
        let Some(Peer { link: LinkState::Up(_, conn), .. }) = self.peers.at(slot) else { return };
        if !conn.dirty {
            self.read_on.offer(slot, &mut *conn.wire);
        }
    }
}
