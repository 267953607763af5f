//! What stands for `strip.rs` where there is no `std`.

use super::job::Supply;

#[derive(Debug, Default)]
pub(crate) struct RangeNotes(());

#[expect(clippy::unused_self, reason = "as the one that notes something")]
impl RangeNotes {
    #[inline]
    pub(super) fn note_failed(&mut self, _source: &Supply, _height: u64) {}

    #[inline]
    pub(super) fn note_dropped(&mut self, _source: &Supply, _height: u64) {}

    #[inline]
    pub(super) fn note_stop(&mut self, _next: Option<u64>) {}
}
