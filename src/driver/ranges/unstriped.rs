//! What stands for `strip.rs` where there is no `std`.

use super::job::Source;

#[derive(Debug, Default)]
pub(crate) struct Tally(());

#[expect(clippy::unused_self, reason = "as the one that notes something")]
impl Tally {
    #[inline]
    pub(super) fn note_failed(&mut self, _source: &Source, _height: u64) {}

    #[inline]
    pub(super) fn note_dropped(&mut self, _source: &Source, _height: u64) {}

    #[inline]
    pub(super) fn note_stop(&mut self, _next: Option<u64>) {}
}
