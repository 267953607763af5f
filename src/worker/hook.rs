//! Who is told of what happens to a worker.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::events::WorkerEvent;
use crate::trace;
use crate::unwind::caught;

/// Tells of events: the user's function, and whoever traces.
#[derive(Default)]
pub(super) struct Hook {
    /// The worker's name.
    pub(super) name: Arc<str>,
    pub(super) function: Option<Box<dyn Fn(&WorkerEvent) + Send>>,
}

impl Hook {
    pub(super) fn call(&self, event: impl FnOnce() -> WorkerEvent) {
        if self.function.is_none() && !trace::IS_ON {
            return;
        }
        let event = event();
        trace::worker_event(&self.name, &event);
        if let Some(function) = &self.function {
            // The user's own affair: it must not take the links down.
            let _ = caught(|| function(&event));
        }
    }
}
