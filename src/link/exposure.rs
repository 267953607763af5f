//! Links that leave the machine unprotected are made where the user has said so, and nowhere else.

use chargehand_core::io::Exposure;

/// What to do about it. One line, since it may be the last that a program says.
macro_rules! ways {
    ($what:literal, $tls:literal) => {
        concat!(
            $what,
            " may leave this machine, and nothing protects its links: use TLS (",
            $tls,
            "), give each member a key (feature `keyed`), or call `insecure()` where the network itself is \
             trusted"
        )
    };
}

/// Says what to do about an address that is dialled.
pub(crate) const DIALLED: &str = ways!("the address dialled", "feature `tls`");
/// Says what to do about a listener.
pub(crate) const LISTENED: &str = ways!(
    "the address listened on",
    "feature `tls`; a `TlsAccept` needs `identify` as well, which says whom a client has proven to be, or \
     `for_anyone()` where clients need not prove anything"
);

/// Says what to do about a worker that is dialled at `peer`.
pub(crate) fn dialled(peer: &str) -> alloc::string::String {
    format!("{peer}: {DIALLED}")
}

/// Returns whether this is taken.
pub(crate) fn is_taken(exposure: Exposure, is_insecure: bool) -> bool {
    is_insecure || exposure != Exposure::Open
}
