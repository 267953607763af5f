//! Whether limits on connections fit what the process may open.

use alloc::string::String;

/// Limits on connections that were lowered to what the process may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lowered {
    pub(crate) links: usize,
    pub(crate) handshakes: usize,
    /// Less than half of the links is left, or of the handshakes.
    pub(crate) is_much: bool,
    /// What is lowered to what and why, and the remedy.
    pub(crate) why: String,
}

/// Lowers the limits on links and on handshakes, each given with its name, where the process may not
/// open as many connections as both together. At most a quarter of what it may open is for handshakes,
/// and at least one for each.
pub(crate) fn lowered(
    room: Option<usize>,
    links: (&str, usize),
    handshakes: (&str, usize),
) -> Option<Lowered> {
    let room = room.filter(|room| *room < links.1.saturating_add(handshakes.1))?;
    let handshakes_now = handshakes.1.min((room / 4).max(1));
    let links_now = links.1.min(room.saturating_sub(handshakes_now).max(1));
    let why = format!(
        "{} of {} and {} of {} are more than the {room} connections that the process may open beside \
         what it has open: {links_now} and {handshakes_now} are used; raise its limit of open files \
         (ulimit -n), or lower these",
        links.0, links.1, handshakes.0, handshakes.1,
    );
    let is_much = links_now < links.1 / 2 || handshakes_now < handshakes.1 / 2;
    Some(Lowered { links: links_now, handshakes: handshakes_now, is_much, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_handshakes_fit_below_the_limit_together() {
        let fitted = |room, links, handshakes| {
            let lowered = lowered(room, ("links", links), ("handshakes", handshakes))?;
            Some((lowered.links, lowered.handshakes))
        };
        assert_eq!(fitted(None, usize::MAX, usize::MAX), None);
        assert_eq!(fitted(Some(1152), 1024, 128), None);
        assert_eq!(fitted(Some(1151), 1024, 128), Some((1023, 128)));
        assert_eq!(fitted(Some(100), 1024, 128), Some((75, 25)));
        assert_eq!(fitted(Some(100), 90, 20), Some((80, 20)));
        assert_eq!(fitted(Some(100), 20, 90), Some((20, 25)));
        for room in 0..3 {
            assert_eq!(fitted(Some(room), 64, 64), Some((1, 1)), "{room}");
        }
        for (room, is_much) in [(1151, false), (700, false), (400, true)] {
            let lowered = lowered(Some(room), ("links", 1024), ("handshakes", 128)).unwrap();
            assert_eq!(lowered.is_much, is_much, "{room}");
        }
        let text = lowered(Some(100), ("workers_max", 1024), ("handshakes_max", 128)).unwrap().why;
        for part in ["workers_max of 1024", "75 and 25 are used", "ulimit -n"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
