//! An Ethereum node as the source of blocks, by JSON-RPC over HTTP.

mod error;
mod patience;
mod retry_after;
mod url;

use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};

use self::error::{Advice, RpcError};
use self::patience::{Patience, Tired};
pub(crate) use self::url::{NodeUrl, hide_urls};
use crate::block::Block;

/// The longest a single call takes, connecting included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A node. Calls block their thread; any number of threads may call at once.
#[derive(Debug)]
pub(crate) struct Node {
    agent: Agent,
    url: NodeUrl,
    patience: Patience,
}

impl Node {
    /// Makes a client that keeps up to `connections` connections open between calls, and goes on
    /// asking for one thing for `retry_for`.
    pub(crate) fn new(url: NodeUrl, connections: usize, retry_for: Duration) -> Self {
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
        Self { agent, url, patience: Patience::new(retry_for) }
    }

    /// Returns the height of the newest block. A node that is busy is asked again; any other error
    /// is more likely one of the arguments, and better said now than in a minute.
    pub(crate) fn head(&self) -> Result<u64, String> {
        let ask = || {
            let head = self.call::<String>("eth_blockNumber", &json!([]))?;
            quantity(&head.ok_or_else(|| RpcError::Malformed("no result".to_owned()))?)
        };
        self.patience.ask(ask, |_| false).map_err(|tired| self.why(&tired))
    }

    /// Fetches a block. A node that is busy, in trouble or behind is asked again.
    pub(crate) fn block(&self, height: u64) -> Result<Block, String> {
        let ask = || {
            // `false`: the hashes of its transactions are enough.
            let params = json!([format!("{height:#x}"), false]);
            let block = self.call::<RawBlock>("eth_getBlockByNumber", &params)?;
            block.ok_or(RpcError::NoBlock(height))?.checked(height)
        };
        let passes = |advice| advice != Advice::GiveUp;
        self.patience.ask(ask, passes).map_err(|tired| self.why(&tired))
    }

    fn why(&self, tired: &Tired) -> String {
        let Tired { last, tries, after } = tired;
        let seconds = after.as_secs_f64();
        match last {
            None => format!(
                "node {}: it had asked for more time than the {seconds:.1} s that --retry-for gives",
                self.url
            ),
            Some(error) if *tries == 1 => error.of(&self.url),
            Some(error) => format!("{} ({tries} tries in {seconds:.1} s)", error.of(&self.url)),
        }
    }

    fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
    ) -> Result<Option<R>, RpcError> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let unreachable = |error: ureq::Error| RpcError::Unreachable(error.to_string());
        let response = self.agent.post(self.url.whole()).send_json(request);
        let mut response = response.map_err(unreachable)?;
        let (status, after) = (response.status(), asks_to_wait(response.headers()));
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let answer = body.read_to_vec().map_err(unreachable);
        read(status, answer).map_err(|error| error.or_busy(status.as_u16(), after))
    }
}

fn read<R: DeserializeOwned>(
    status: StatusCode,
    answer: Result<Vec<u8>, RpcError>,
) -> Result<Option<R>, RpcError> {
    match answer.map(|answer| serde_json::from_slice::<Reply<R>>(&answer)) {
        Ok(Ok(Reply { error: Some(RawError { code, message }), .. })) => {
            Err(RpcError::Refused { code, message })
        }
        _ if !status.is_success() => Err(RpcError::Status(status.as_u16())),
        Ok(Ok(reply)) => Ok(reply.result),
        Ok(Err(error)) => Err(RpcError::Malformed(error.to_string())),
        Err(error) => Err(error),
    }
}

fn asks_to_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    retry_after::delay(text("retry-after")?, text("date"))
}

#[derive(Deserialize)]
struct Reply<R> {
    result: Option<R>,
    error: Option<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    code: i64,
    #[serde(default)]
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
