//! Where a configuration comes from.

use std::sync::Arc;

use crate::TlsError;

/// A configuration of rustls', or what gives the one of the moment.
#[derive(Clone)]
pub(crate) enum Configured<C> {
    Fixed(Arc<C>),
    /// Asked for each connection.
    #[cfg_attr(not(feature = "members"), expect(dead_code, reason = "only members change"))]
    Asked(Arc<dyn Fn() -> Result<Arc<C>, TlsError> + Send + Sync>),
}

impl<C> Configured<C> {
    /// Returns the configuration for one connection, or why there can be none now.
    pub(crate) fn get(&self) -> Result<Arc<C>, TlsError> {
        match self {
            Self::Fixed(config) => Ok(Arc::clone(config)),
            Self::Asked(ask) => ask(),
        }
    }
}
