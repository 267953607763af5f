//! What stands for `meter.rs` and `strip.rs` where there is no `std`: a pool in firmware measures nothing.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::{Instant, Link, Outcome, TaskId};

use super::Driver;
use crate::error::TaskError;
use crate::link::erased::Kind;

#[derive(Debug, Default)]
pub(crate) struct Meter(());

#[expect(clippy::unused_self, reason = "as those that measure")]
impl Meter {
    #[inline]
    pub(crate) fn on_taken(&mut self, _task: TaskId, _now: Instant) {}

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn on_sent(&mut self, _link: Link, _task: TaskId, _attempt: u16, _now: Instant) {}

    #[inline]
    pub(crate) fn on_hedged(&mut self, _task: TaskId, _now: Instant) {}

    #[inline]
    pub(crate) fn on_failure(&mut self, _task: TaskId, _now: Instant) {}

    #[inline]
    pub(crate) fn on_withdrawn(&mut self, _worker: u32, _task: TaskId, _now: Instant) {}

    #[inline]
    pub(crate) fn on_finish(&mut self, _task: TaskId, _: Outcome, _attempts: u16, _now: Instant) {}

    #[inline]
    pub(crate) fn on_link(&mut self, _worker: u32, _runs: u32, _window: u32) {}

    #[inline]
    pub(crate) fn on_took(&mut self, _task: TaskId, _took: Duration) {}

    #[inline]
    pub(crate) fn on_gone(&mut self, _worker: u32) {}

    #[inline]
    pub(crate) fn note_failure(
        &mut self,
        _now: Instant,
        _text: impl FnOnce() -> String,
        _about: impl FnOnce() -> (Option<i128>, Option<Arc<str>>),
    ) {
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    #[expect(clippy::unused_self, reason = "as the one that measures")]
    #[inline]
    pub(super) fn note_end(&mut self, _height: Option<i128>, _error: &TaskError) {}
}
