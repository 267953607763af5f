//! What this end makes of certificates that TLS has found to be good.

use std::sync::Arc;

use rustls::CommonState;

use crate::BoxError;

type Identify = dyn Fn(&CommonState) -> Result<Option<Box<str>>, BoxError> + Send + Sync;
type Watch = dyn Fn(&CommonState, &mut u64) -> Result<Option<Box<str>>, BoxError> + Send + Sync;

/// Whom a session proves the other end to be, and whether that still holds later.
#[derive(Clone)]
pub(crate) struct Rules {
    identify: Arc<Identify>,
    /// Gives what this end's user is to be told of it, if anything. It may keep a number for each session, zero at
    /// first. `None` where `identify` is asked again.
    watch: Option<Arc<Watch>>,
}

impl Rules {
    pub(crate) fn new<F>(identify: F) -> Self
    where
        F: Fn(&CommonState) -> Result<Option<Box<str>>, BoxError> + Send + Sync + 'static,
    {
        Self { identify: Arc::new(identify), watch: None }
    }

    /// Sets what is asked of a session that is up.
    #[cfg(feature = "members")]
    pub(crate) fn watched<F>(self, watch: F) -> Self
    where
        F: Fn(&CommonState, &mut u64) -> Result<Option<Box<str>>, BoxError> + Send + Sync + 'static,
    {
        Self { watch: Some(Arc::new(watch)), ..self }
    }

    /// Returns whom a session proves the other end to be, or why it is refused.
    pub(crate) fn identify(&self, session: &CommonState) -> Result<Option<Box<str>>, BoxError> {
        (self.identify)(session)
    }

    /// Returns what to tell of a session that goes on, or why it ends. `identity` is whom it has proven.
    pub(crate) fn watch(
        &self,
        session: &CommonState,
        identity: Option<&str>,
        noted: &mut u64,
    ) -> Result<Option<Box<str>>, BoxError> {
        if let Some(watch) = &self.watch {
            return watch(session, noted);
        }
        match self.identify(session)? {
            now if now.as_deref() == identity => Ok(None),
            now => Err(format!("it is {now:?} by now, and was {identity:?}").into()),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(|_| Ok(None))
    }
}
