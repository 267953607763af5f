//! Links that are over, and what their workers go on with over the next one.

use chargehand::core::message::Holding;

use super::{Held, Oracle};

impl Oracle {
    /// A link is over, whatever it held.
    pub(super) fn leave(&mut self, name: (String, u64)) {
        let worker = name.0.clone();
        let held = std::mem::take(&mut self.link(name).held);
        if !held.is_empty() {
            self.count("link ended that held tasks");
        }
        for held in &held {
            self.sending(*held).is_left = true;
        }
        self.left.entry(worker).or_default().extend(held);
    }

    /// A worker says over a new link what it still has of its last one. That was given up by then, and may be seen
    /// to end only later, where its last word waits for its wire.
    pub(super) fn on_holding(&mut self, name: &(String, u64), holding: Holding<'_>) {
        let earlier = (name.0.clone(), 0)..name.clone();
        for earlier in
            self.links.range(earlier).map(|(earlier, _)| earlier.clone()).collect::<Vec<_>>()
        {
            self.link(earlier.clone()).is_over = true;
            self.leave(earlier);
        }
        let left = self.left.remove(&name.0).unwrap_or_default();
        for what in holding.iter() {
            let is_it = |held: &&Held| {
                let sending = &self.requests[&held.id].sendings[held.at];
                (sending.task, sending.attempt) == what && sending.epoch == self.epoch
            };
            if let Some(held) = left.iter().find(is_it).copied() {
                self.link(name.clone()).held.push(held);
                self.count("work that went on over another link");
            }
        }
        self.mark_begun(name);
    }
}
