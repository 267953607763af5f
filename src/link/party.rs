//! Whom something counts for.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt::{self, Display};
use core::net::IpAddr;

/// Who somebody is to whoever counts: the identity that it has proven, or else the host that it comes
/// from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// Nothing tells it from others.
    Anybody,
    Host(Box<str>),
    Identity(Arc<str>),
}

impl Party {
    /// Returns who it is with this proven identity, if there is one, and from this host, if that is known.
    pub(crate) fn new(identity: Option<&str>, host: Option<&str>) -> Self {
        match identity {
            Some(identity) => Self::Identity(identity.into()),
            None => Self::at(host),
        }
    }

    pub(crate) fn at(host: Option<&str>) -> Self {
        host.map_or(Self::Anybody, |host| Self::Host(host.into()))
    }

    pub(crate) fn is_proven(&self) -> bool {
        matches!(self, Self::Identity(_))
    }

    pub(crate) fn identity(&self) -> Option<Arc<str>> {
        match self {
            Self::Identity(identity) => Some(Arc::clone(identity)),
            Self::Anybody | Self::Host(_) => None,
        }
    }

    /// Whether it is a process of this machine, of which there may be many that mean no harm.
    pub(crate) fn is_loopback(&self) -> bool {
        matches!(self, Self::Host(host) if host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
    }
}

impl Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("a peer of no known host"),
            Self::Host(host) => f.write_str(host),
            Self::Identity(identity) => write!(f, "{identity:?}"),
        }
    }
}
