//! Who is told of what happens in a pool.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::events::{EventFeed, PoolEvent};
use crate::trace;

/// Gives every event to every listener, and never waits for one.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// Whose events they are.
    manager: Arc<str>,
    listeners: Vec<EventFeed>,
    /// What every listener is told at first.
    first: Option<PoolEvent>,
}

impl Fanout {
    pub(crate) fn new(manager: &Arc<str>) -> Self {
        Self { manager: Arc::clone(manager), listeners: Vec::new(), first: None }
    }

    /// Tells of something now, and whoever listens later.
    pub(crate) fn keep(&mut self, event: PoolEvent) {
        self.tell(|| event.clone());
        self.first = Some(event);
    }

    pub(crate) fn add(&mut self, mut listener: EventFeed) {
        if let Some(event) = &self.first {
            // It is empty. Its reader may be gone, which the next event tells.
            listener.tell(event);
        }
        self.listeners.push(listener);
    }

    /// Returns whether anybody wants to know of every task.
    pub(crate) fn wants_tasks(&self) -> bool {
        self.listeners.iter().any(|listener| listener.wants_tasks)
    }

    /// Tells what `event` makes of one task to those who want to know of every one.
    pub(crate) fn tell_of_task(&mut self, event: impl FnOnce() -> PoolEvent) {
        if self.wants_tasks() {
            let event = event();
            trace::pool_event(&self.manager, &event);
            self.listeners.retain_mut(|listener| !listener.wants_tasks || listener.tell(&event));
        }
    }

    /// Tells what `event` makes; nothing is made while nobody listens.
    pub(crate) fn tell(&mut self, event: impl FnOnce() -> PoolEvent) {
        if self.listeners.is_empty() && !trace::IS_ON {
            return;
        }
        let event = event();
        trace::pool_event(&self.manager, &event);
        self.listeners.retain_mut(|listener| listener.tell(&event));
    }
}
