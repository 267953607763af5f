//! Whether what the other end of a connection has proven still holds.

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
