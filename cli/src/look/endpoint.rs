//! The status page of a pool, asked over HTTP/1.1.

use std::fmt::{self, Write};
use std::io;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::console::printable;
use crate::failure::Failure;

/// How long an answer may take. The page itself waits 2 s for a pool that does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes. Two hundred workers take some 100 KiB.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// The longest text of a refusal that is shown, in characters.
const REASON_MAX: usize = 300;

/// Where a status page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(
                    "there is no TLS here: ask the page itself, over `ssh -L` where it is on another machine"
                        .to_owned(),
                );
            }
            Some((scheme, _)) => return Err(format!("{scheme}:// is no http://")),
        };
        let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte));
        if rest.is_empty() || rest.starts_with('/') || !is_plain {
            return Err("it is written like http://127.0.0.1:9090/".to_owned());
        }
        Ok(Self(format!("http://{}", rest.trim_end_matches('/'))))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

/// Asks one page, on one connection as long as that lasts.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    at: Endpoint,
}

impl Client {
    pub(crate) fn new(at: &Endpoint) -> Self {
        // Never by a proxy, which might not be meant for this: the page is nearby.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .build();
        Self { agent: config.new_agent(), at: at.clone() }
    }

    /// Returns the text at `path`, such as `api/overview`.
    pub(crate) fn get(&self, path: &str) -> Result<String, Failure> {
        let answer = self.agent.get(format!("{}{path}", self.at)).call();
        self.read(answer, "")
    }

    /// Returns what is at `path`, read.
    pub(crate) fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.parse(&self.get(path)?)
    }

    /// The same, with texts that may be shown in a terminal as they are.
    pub(crate) fn read_printable<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut value: Value = self.read_json(path)?;
        make_printable(&mut value);
        serde_json::from_value(value).map_err(|error| self.foreign(&error))
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, Failure> {
        serde_json::from_str(text).map_err(|error| self.foreign(&error))
    }

    fn foreign(&self, error: &serde_json::Error) -> Failure {
        Failure::run(format!(
            "{}: what answers there is no status page of a pool, or one of another version: {error}",
            self.at
        ))
    }

    /// Does something, with the token if there is one. Returns what the pool says to that.
    pub(crate) fn post(&self, path: &str, token: Option<&str>) -> Result<String, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.at));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let hint = match token {
            None => {
                "; give --token-file FILE, with the token of its program (`chargehand run --status-token FILE`)"
            }
            Some(_) => "; is the token of --token-file that of its program?",
        };
        self.read(request.send_empty(), hint)
    }

    fn read(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
        hint: &str,
    ) -> Result<String, Failure> {
        let mut answer = answer.map_err(|error| self.unreached(&error))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = body.map_err(|error| self.unreached(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(text);
        }
        let hint = if status == StatusCode::UNAUTHORIZED { hint } else { "" };
        let reason: String = text.trim().chars().take(REASON_MAX).collect();
        let said = format!("{}: it refuses ({status}): {reason}{hint}", self.at);
        // What is refused would be refused again: it has to be asked for otherwise.
        let is_ours = status.is_client_error() && status != StatusCode::NOT_FOUND;
        let is_named = status == StatusCode::NOT_FOUND && !reason.is_empty();
        if is_ours || is_named {
            return Err(Failure::input(said));
        }
        let remedy = "is that the address of a status page, with its folder?";
        Err(Failure::run(if status == StatusCode::NOT_FOUND {
            format!("{}: there is no status page ({status}): {remedy}", self.at)
        } else {
            said
        }))
    }

    fn unreached(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "nobody listens there: does the pool run, with its status page at this address?"
                    .to_owned()
            }
            ureq::Error::HostNotFound => "no such host is known".to_owned(),
            ureq::Error::Timeout(_) => {
                format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())
            }
            ureq::Error::BodyExceedsLimit(limit) => {
                format!("an answer of more than {limit} bytes: that is no status page")
            }
            error => error.to_string(),
        };
        Failure::run(format!("{}: {why}", self.at))
    }
}

/// Makes all texts [printable]. Names of fields are ours.
fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text),
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(fields) => fields.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Writes a text as a part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Nothing fails that writes into a string.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_with_or_without_scheme_and_folder_and_never_over_tls() {
        for (text, shown) in [
            ("http://127.0.0.1:9090/", "http://127.0.0.1:9090/"),
            ("127.0.0.1:9090", "http://127.0.0.1:9090/"),
            ("http://[::1]:9090/status/", "http://[::1]:9090/status/"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|at| at.to_string()), Ok(shown.to_owned()));
        }
        for wrong in
            ["", "/", "http://", "https://a/", "ftp://a", "http://a b", "http://u@a/", "a?b"]
        {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_any_characters_stay_one_part_of_a_path() {
        assert_eq!(encoded("a-b_c.~9"), "a-b_c.~9");
        assert_eq!(encoded("a/b c?ü"), "a%2Fb%20c%3F%C3%BC");
    }
}
