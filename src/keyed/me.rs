//! What this side of a keyed link is.

use alloc::sync::Arc;
use core::fmt;

use chargehand_core::io::Exposure;
use chargehand_core::keyed::{ExchangeError, Member, NONCE_BYTES};
use chargehand_core::message::Role;

use crate::link::reason::BoxError;

/// What this side says of itself, and its source of nonces.
#[derive(Clone)]
pub(super) struct Me {
    pub(super) role: Role,
    pub(super) name: Arc<str>,
    pub(super) seals: bool,
    pub(super) nonces: Arc<dyn Fn() -> Result<[u8; NONCE_BYTES], BoxError> + Send + Sync>,
}

impl Me {
    pub(super) fn new(
        role: Role,
        name: &str,
        nonces: impl Fn() -> Result<[u8; NONCE_BYTES], BoxError> + Send + Sync + 'static,
    ) -> Result<Self, ExchangeError> {
        Member::new(role, name)?;
        Ok(Self { role, name: name.into(), seals: true, nonces: Arc::new(nonces) })
    }

    pub(super) fn member(&self) -> Member<'_> {
        let member = Member::new(self.role, &self.name).expect("it was checked");
        if self.seals { member.sealed() } else { member }
    }

    /// Who has the key is known, and nobody else reads along or puts words in, if it is sealed.
    pub(super) fn exposure(&self, inner: Exposure) -> Exposure {
        match inner {
            Exposure::Open | Exposure::Waived if self.seals => Exposure::Protected,
            inner => inner,
        }
    }
}

impl fmt::Debug for Me {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Me")
            .field("role", &self.role)
            .field("name", &self.name)
            .field("seals", &self.seals)
            .finish_non_exhaustive()
    }
}
