//! Links that leave the machine unprotected are made where the user has said so, and nowhere else.

use chargehand_core::io::Exposure;

/// What to do about it. One line, since it may be the last that a program says.
macro_rules! ways {
    ($what:literal) => {
        concat!(
            $what,
            " is not on this machine alone, and nothing protects its links: use TLS (feature `tls`), \
             give each member a key (feature `keyed`), or call `insecure()` where the network itself is \
             trusted"
        )
    };
}

/// Says what to do about an address that is dialled.
pub(crate) const DIALLED: &str = ways!("what is dialled here");
/// Says what to do about a listener.
pub(crate) const LISTENED: &str = ways!("what is listened on here");

/// Says what to do about a worker that is dialled at `peer`.
pub(crate) fn dialled(peer: &str) -> alloc::string::String {
    format!("{peer}: {DIALLED}")
}

/// Returns whether this is taken.
pub(crate) fn is_taken(exposure: Exposure, is_insecure: bool) -> bool {
    is_insecure || exposure != Exposure::Open
}
