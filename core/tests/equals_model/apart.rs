//! Drawing from numbers of their own, for what came later: so all else of a seed stays as it was.

use super::rng::Rng;

impl Rng {
    /// Numbers of their own, which are others for each `salt`. Takes none of these.
    pub(crate) fn apart(&self, salt: u64) -> Self {
        Self::new(self.clone().next() ^ salt)
    }
}
