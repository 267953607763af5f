//! Bearer tokens (RFC 6750): how a client proves who it is where an ingress ends what is below.

use std::fmt;
use std::sync::Arc;

use ctutils::CtEq;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::denial::Denial;
use crate::headers::single;

/// How long a token is at least: 16 bytes in base64, which nobody guesses.
const TOKEN_BYTES_MIN: usize = 22;
/// How long a token is at most, so that a request has room for it.
const TOKEN_BYTES_MAX: usize = 4096;
const SCHEME: &str = "Bearer";

/// A secret that a client has in common with a listener. Shown nowhere.
#[derive(Clone)]
pub(crate) struct Token(Box<str>);

impl Token {
    pub(crate) fn new(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim_end_matches('=');
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        if digits.is_empty() || !digits.bytes().all(is_digit) {
            return Err(TokenError("has letters, digits and -._~+/ only, and = at its end"));
        }
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
            return Err(TokenError("has 22 to 4096 bytes: 32 random ones in base64, say"));
        }
        Ok(Self(text.into()))
    }

    /// Returns the line of a request that shows it.
    pub(crate) fn line(&self) -> String {
        format!("Authorization: {SCHEME} {}\r\n", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A bearer token, or an identity that one stands for, that cannot be one. The text says what it has to be, and not
/// what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError(&'static str);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bearer token {}", self.0)
    }
}

impl std::error::Error for TokenError {}

/// Whom each token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Bearers(Arc<[(Token, Box<str>)]>);

impl Bearers {
    pub(crate) fn new<T, I>(tokens: impl IntoIterator<Item = (T, I)>) -> Result<Self, TokenError>
    where
        T: AsRef<str>,
        I: Into<String>,
    {
        let tokens = tokens.into_iter().map(|(token, identity)| {
            let identity = identity.into();
            if identity.is_empty() {
                return Err(TokenError("stands for an identity that is not empty"));
            }
            Ok((Token::new(token.as_ref())?, identity.into()))
        });
        Ok(Self(tokens.collect::<Result<_, _>>()?))
    }

    /// Returns whom the token in a request stands for; `None` where it has none.
    pub(crate) fn identity(&self, headers: &HeaderMap) -> Result<Option<Box<str>>, Denial> {
        let Some(value) = single(headers, &AUTHORIZATION).map_err(Denial::Bad)? else {
            return Ok(None);
        };
        let shown = value.split_at_checked(SCHEME.len()).and_then(|(scheme, rest)| {
            let is_bearer = scheme.eq_ignore_ascii_case(SCHEME.as_bytes());
            rest.strip_prefix(b" ").filter(|_| is_bearer)
        });
        let shown = shown.ok_or(Denial::Token)?.trim_ascii();
        // Each is looked at whole, whichever it is: how long this takes says nothing but lengths.
        let mut found = None;
        for (token, identity) in &*self.0 {
            if token.0.as_bytes().ct_eq(shown).to_bool() {
                found = Some(identity);
            }
        }
        found.cloned().map(Some).ok_or(Denial::Token)
    }
}
