//! Whether what the workers' transports have proven still holds.

use chargehand_core::Link;
use chargehand_core::io::Timer;

use super::Driver;
use super::peers::LinkState;
use crate::events::PoolEvent;
use crate::link::erased::{AnyWire, Kind};
use crate::link::reason::DisconnectReason;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Looks at a link that has just come up, and has it looked at from now on.
    pub(super) fn watch(&mut self, link: Link) {
        self.watch.begin(self.now);
        self.look_at_trust(link.worker().slot());
    }

    /// Looks at those links whose turn it is.
    pub(super) fn look_at_trusts(&mut self) {
        let places = self.peers.len();
        for slot in self.watch.take_turn(self.now, places) {
            self.look_at_trust(u32::try_from(slot).expect("fewer workers than 2^32"));
        }
    }

    fn look_at_trust(&mut self, slot: u32) {
        let Some(peer) = self.peers.at(slot) else { return };
        let LinkState::Up(link, conn) = &mut peer.link else { return };
        let link = *link;
        match self.watch.judge(conn.wire.trust()) {
            Ok(news) => {
                for why in news {
                    self.events.tell(|| PoolEvent::Expiring { why });
                }
            }
            Err(why) => self.lose(link, DisconnectReason::NoLongerProven { why }),
        }
    }
}
