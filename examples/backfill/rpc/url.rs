//! The address of a node, which may hold a key that nobody is to see.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

/// What stands where a secret was.
const HIDDEN: &str = "[hidden]";
/// Shorter pieces of a URL are no secrets, and may be a part of any word.
const SECRET_CHARS_MIN: usize = 4;

/// The address of a node: `http://[user:password@]host[:port][/path][?query]`.
///
/// It is shown, in `Debug` too, as `http://host[:port]`: many nodes have their users' keys in the rest.
#[derive(Clone)]
pub(crate) struct NodeUrl {
    whole: String,
    shown: String,
    /// The pieces that are not shown, the longest first.
    secrets: Vec<String>,
}

impl NodeUrl {
    /// Returns all of it, for who calls the node. It is not to be said to anybody else.
    pub(super) fn whole(&self) -> &str {
        &self.whole
    }

    /// Returns the argument that tells a child worker of the node.
    pub(crate) fn argument(&self) -> String {
        self.whole.clone()
    }

    /// Returns a text without what is secret of this: a node may say the key when it refuses it.
    pub(super) fn hide(&self, text: &str) -> String {
        self.secrets
            .iter()
            .fold(hide_urls(text), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }
}

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = || "it is not a URL like http://127.0.0.1:8545".to_owned();
        let uri: Uri = text.parse().map_err(|_| none())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(none)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("this example speaks no TLS: give it an http:// URL".to_owned());
            }
            _ => return Err(none()),
        }
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            whole: text.to_owned(),
            shown: format!("http://{host}{port}"),
            secrets: secrets(&uri),
        })
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeUrl").field(&self.shown).finish()
    }
}

/// Returns the pieces of a URL that may be a key or a password.
fn secrets(uri: &Uri) -> Vec<String> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let query = uri.query().unwrap_or_default();
    let pieces = [user, query].into_iter();
    let pieces = pieces.chain(user.split(':')).chain(uri.path().split('/'));
    let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    let long = |piece: &&str| piece.chars().count() >= SECRET_CHARS_MIN;
    let mut secrets: Vec<_> = pieces.chain(values).filter(long).map(str::to_owned).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// Returns a text in which each HTTP URL ends with its host and port.
pub(crate) fn hide_urls(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        rest = after;
        let scheme = before.trim_end_matches("://").to_ascii_lowercase();
        if !scheme.ends_with("http") && !scheme.ends_with("https") {
            continue;
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '<' | '>');
        let url = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        // A password may hold any of these, so whatever is before the last @ goes first.
        let place = url.rsplit_once('@').map_or(url, |(_, place)| place);
        let host = place.split(['/', '?', '#']).next().unwrap_or_default();
        // What punctuation follows a bare host belongs to the sentence.
        shown.push_str(host);
        rest = &rest[url.len()..];
    }
    shown.push_str(rest);
    shown
}
