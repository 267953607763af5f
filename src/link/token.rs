//! The names of what a driver or a worker is woken for.

/// A source of a [`ReadySet`](super::ready::ReadySet): what it is, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Somebody from outside: a handle of the pool, or whoever stops the worker.
    Doorbell,
    Alarm,
    /// What new connections come from.
    Listener(u32),
    /// A connection that is still in its handshake, where that is not yet a link.
    Newcomer(u32),
    Link(u32),
    Closing(u32),
    /// A handler's future.
    Run(u32),
}

const KIND_SHIFT: u32 = 29;
const INDEX_MASK: u32 = (1 << KIND_SHIFT) - 1;

impl From<Token> for u32 {
    #[inline]
    fn from(token: Token) -> u32 {
        let (kind, index) = match token {
            Token::Link(index) => (0, index),
            Token::Run(index) => (1, index),
            Token::Doorbell => (2, 0),
            Token::Alarm => (3, 0),
            Token::Listener(index) => (4, index),
            Token::Newcomer(index) => (5, index),
            Token::Closing(index) => (6, index),
        };
        assert!(index <= INDEX_MASK);
        kind << KIND_SHIFT | index
    }
}

impl From<u32> for Token {
    #[inline]
    fn from(word: u32) -> Self {
        let index = word & INDEX_MASK;
        match word >> KIND_SHIFT {
            0 => Self::Link(index),
            1 => Self::Run(index),
            2 => Self::Doorbell,
            3 => Self::Alarm,
            4 => Self::Listener(index),
            5 => Self::Newcomer(index),
            _ => Self::Closing(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_a_word_of_its_own() {
        let mut words = alloc::vec::Vec::new();
        for index in [0, 1, INDEX_MASK] {
            let kinds = [Token::Link, Token::Run, Token::Listener, Token::Newcomer, Token::Closing];
            words.extend(kinds.map(|kind| kind(index)));
        }
        words.extend([Token::Doorbell, Token::Alarm]);
        for (place, token) in words.iter().enumerate() {
            assert_eq!(Token::from(u32::from(*token)), *token);
            assert!(!words[..place].iter().any(|other| u32::from(*other) == u32::from(*token)));
        }
    }
}
