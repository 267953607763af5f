//! Whether what the other end of a connection has proven still holds.

use crate::io::{Accept, Dial};

/// What has become of the other end's proof of who it is, while the connection is up: a certificate
/// expires, and a member is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Trust<'a> {
    /// It holds, as far as anybody knows.
    #[default]
    Holds,
    /// It holds for now, and this is to be told to whoever looks after this end: what will end
    /// when, and what to do.
    Ends(&'a str),
    /// It holds no longer, for this reason: end the connection.
    Ended(&'a str),
}

/// How to ask a stream what its other end has proven: for whoever makes a [`Wire`](crate::io::Wire) of it.
#[derive(Debug)]
pub struct Proof<S> {
    /// Whom it has proven to be: [`Dial::identity`].
    pub identity: fn(&S) -> Option<&str>,
    /// Whether that still holds: [`Dial::trust`].
    pub trust: fn(&mut S) -> Trust<'_>,
}

impl<S> Proof<S> {
    /// Returns how to ask a stream of this dialler's.
    #[must_use]
    pub fn of_dial<D: Dial<Stream = S>>() -> Self {
        Self { identity: D::identity, trust: D::trust }
    }

    /// Returns how to ask a stream of this listener's.
    #[must_use]
    pub fn of_accept<A: Accept<Stream = S>>() -> Self {
        Self { identity: A::identity, trust: A::trust }
    }

    /// Returns how to ask a stream that proves nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { identity: |_| None, trust: |_| Trust::Holds }
    }
}

// Not derived: that would ask the same of `S`.
impl<S> Clone for Proof<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Proof<S> {}
