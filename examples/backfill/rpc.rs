//! An Ethereum node as the source of blocks, by JSON-RPC over HTTP.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Uri;

use crate::block::Block;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The address of a node: `http://host[:port][/path]`.
#[derive(Clone, Debug)]
pub(crate) struct NodeUrl(String);

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "it is not a URL like http://127.0.0.1:8545")?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) if !host.is_empty() => Ok(Self(text.to_owned())),
            (Some("https"), _) => {
                Err("this example speaks no TLS: give it an http:// URL".to_owned())
            }
            _ => Err("it is not a URL like http://127.0.0.1:8545".to_owned()),
        }
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node. Calls block their thread; any number of threads may call at once.
#[derive(Debug)]
pub(crate) struct Node {
    agent: Agent,
    url: NodeUrl,
}

/// Why a node gave no block.
#[derive(Debug)]
pub(crate) enum RpcError {
    /// It cannot be reached, or does not answer in time.
    Unreachable(String),
    /// It answered with an HTTP error.
    Status(u16),
    /// It answered, but not as JSON-RPC wants it.
    Malformed(String),
    /// It refused the call.
    Refused { code: i64, message: String },
    /// It has no such block.
    NoBlock(u64),
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::Status(status) => write!(f, "it answers with HTTP status {status}"),
            Self::Malformed(why) => write!(f, "its answer is not understood: {why}"),
            Self::Refused { code, message } => write!(f, "it refuses: {message} (code {code})"),
            Self::NoBlock(height) => write!(f, "it has no block {height}"),
        }
    }
}

impl Node {
    /// Makes a client that keeps up to `connections` connections open between calls.
    pub(crate) fn new(url: NodeUrl, connections: usize) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            // The body of an error says more than its status.
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        Self { agent, url }
    }

    /// Returns the height of the newest block.
    pub(crate) fn head(&self) -> Result<u64, String> {
        self.call::<String>("eth_blockNumber", &json!([]))
            .and_then(|head| head.ok_or_else(|| RpcError::Malformed("no result".to_owned())))
            .and_then(|head| quantity(&head))
            .map_err(|error| self.named(&error))
    }

    /// Fetches a block.
    pub(crate) fn block(&self, height: u64) -> Result<Block, String> {
        // `false`: the hashes of its transactions are enough.
        self.call::<RawBlock>("eth_getBlockByNumber", &json!([format!("{height:#x}"), false]))
            .and_then(|block| block.ok_or(RpcError::NoBlock(height)))
            .and_then(|block| block.checked(height))
            .map_err(|error| self.named(&error))
    }

    fn named(&self, error: &RpcError) -> String {
        format!("node {}: {error}", self.url)
    }

    fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
    ) -> Result<Option<R>, RpcError> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let unreachable = |error: ureq::Error| RpcError::Unreachable(error.to_string());
        let mut response = self.agent.post(&self.url.0).send_json(request).map_err(unreachable)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let answer = body.read_to_vec().map_err(unreachable)?;
        match serde_json::from_slice::<Reply<R>>(&answer) {
            Ok(Reply { error: Some(RawError { code, message }), .. }) => {
                Err(RpcError::Refused { code, message })
            }
            _ if !status.is_success() => Err(RpcError::Status(status.as_u16())),
            Ok(reply) => Ok(reply.result),
            Err(error) => Err(RpcError::Malformed(error.to_string())),
        }
    }
}

#[derive(Deserialize)]
struct Reply<R> {
    result: Option<R>,
    error: Option<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    code: i64,
    message: String,
}

/// A block as the node writes it; there is much more in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBlock {
    number: String,
    hash: String,
    parent_hash: String,
    transactions: Vec<IgnoredAny>,
}

impl RawBlock {
    fn checked(&self, height: u64) -> Result<Block, RpcError> {
        let number = quantity(&self.number)?;
        if number != height {
            return Err(RpcError::Malformed(format!("block {number} instead of {height}")));
        }
        Ok(Block {
            number,
            hash: self.hash.parse().map_err(RpcError::Malformed)?,
            parent: self.parent_hash.parse().map_err(RpcError::Malformed)?,
            transactions: u32::try_from(self.transactions.len()).unwrap_or(u32::MAX),
        })
    }
}

fn quantity(text: &str) -> Result<u64, RpcError> {
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| RpcError::Malformed(format!("\"{text}\" is not a height")))
}
