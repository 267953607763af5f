//! How much one poll does for one link before it is the others' turn.

use super::token::Token;

/// How many messages are read from a link in one poll while no other one is ready. Small, so that what
/// follows from them leaves while the peer still has something to do.
pub(crate) const MESSAGES_ALONE: usize = 64;
/// How many while others are ready.
const MESSAGES_AMONG_MANY: usize = 1024;

/// Returns how many messages are read from each link of those that are ready.
pub(crate) fn messages_each(ready: &[u32]) -> usize {
    let is_link = |token: &&u32| matches!(Token::from(**token), Token::Link(_));
    let links = ready.iter().filter(is_link).take(2).count();
    if links > 1 { MESSAGES_AMONG_MANY } else { MESSAGES_ALONE }
}
