//! Whom a transport has proven a peer to be, and what the peer may call itself then.

use alloc::borrow::ToOwned;

use crate::link::reason::DisconnectReason;

/// Stands between an identity and the instance of it that a peer is.
const INSTANCE_MARK: char = '/';

/// Returns whether a peer that has proven this identity may go by this name: the identity itself, or that
/// and an instance, as in `w1/3`.
pub(crate) fn may_be_called(identity: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(identity) else { return false };
    let is_instance = rest.strip_prefix(INSTANCE_MARK).is_some_and(|instance| !instance.is_empty());
    !identity.is_empty() && (rest.is_empty() || is_instance)
}

/// Refuses a name that shows as another one, or has what stands behind it in a line show as something else:
/// characters that nobody sees, that turn the direction of writing, or that begin a line.
pub(crate) fn check_shown(name: &str) -> Result<(), DisconnectReason> {
    let is_odd = |character: char| {
        matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
    };
    if name.contains(is_odd) {
        let why = alloc::format!(
            "calls itself {name:?}, with characters that nobody sees or that turn what is written: choose a \
             plain name"
        );
        return Err(DisconnectReason::protocol(why));
    }
    Ok(())
}

/// Refuses a name that is not that of the proven identity, if there is one, or shows as another.
pub(crate) fn check_name(identity: Option<&str>, name: &str) -> Result<(), DisconnectReason> {
    check_shown(name)?;
    match identity {
        Some(identity) if !may_be_called(identity, name) => Err(DisconnectReason::WrongName {
            name: name.to_owned(),
            identity: identity.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_goes_by_its_identity_or_by_an_instance_of_it() {
        for name in ["w1", "w1/3", "w1/a/b"] {
            assert!(may_be_called("w1", name), "{name}");
        }
        for name in ["", "w", "w1/", "w10", "w1-3", "W1", "w1 ", "w2", "/w1", "w2/w1"] {
            assert!(!may_be_called("w1", name), "{name}");
        }
        // Nobody is nobody, whatever a transport makes of it.
        for name in ["", "/", "/3", "w1"] {
            assert!(!may_be_called("", name), "{name}");
        }
        for name in ["w1/../w2", "w1/3/", "w1//", "w1/ 3"] {
            assert!(may_be_called("w1", name), "{name}: nothing makes a path of it");
        }
        for name in ["w1\u{200b}", "w1.", "W1/3", "w1\\3", "w1\u{2044}3", "w1\u{0}"] {
            assert!(!may_be_called("w1", name), "{name:?}");
        }
        assert!(may_be_called("a/b", "a/b/c"));
        assert!(!may_be_called("a/b", "a"));
        assert_eq!(check_name(None, "anything"), Ok(()));
        let text = check_name(Some("w2"), "w1").unwrap_err();
        let text = alloc::string::ToString::to_string(&text);
        assert!(text.contains("\"w1\"") && text.contains("\"w2\""), "{text}");
    }

    #[test]
    fn names_that_show_as_others_are_refused_whether_they_are_proven_or_not() {
        for odd in
            ["w1\u{200b}", "\u{202e}1w", "w1/\u{2066}3", "w\u{2028}1", "\u{feff}w1", "w\u{61c}1"]
        {
            for identity in [None, Some(odd), Some("w1")] {
                let text = check_name(identity, odd).unwrap_err();
                let text = alloc::string::ToString::to_string(&text);
                assert!(text.contains("\\u{") && text.contains("a plain name"), "{text}");
                assert!(!text.contains(odd), "{text}");
            }
        }
        for plain in ["w1", "wörker-1", "工人", "עובד", "کارگر\u{200c}ها", "w 1"] {
            assert_eq!(check_name(None, plain), Ok(()));
        }
    }
}
