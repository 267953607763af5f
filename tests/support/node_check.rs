//! Prepares a test node, and holds what the backfill example got from it against it.
//!
//! Usage: `node_check mine URL BLOCKS`, then the backfill with `--out FILE`, then
//! `node_check verify URL FILE BLOCKS`. `tests/anvil.sh` does all three.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

/// How many calls go into one HTTP request.
const BATCH: u64 = 500;
/// What a transfer may use. It uses 21,000: in a block of 42,000 that leaves no room for another,
/// and just half full blocks keep their price.
const GAS: &str = "0x55f0";
/// One transaction for so many blocks.
const TRANSACTION_EVERY: u64 = 4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["mine", url, blocks] => mine(url, blocks.parse()?),
        ["verify", url, file, blocks] => verify(url, file, blocks.parse()?),
        _ => Err("usage: node_check mine URL BLOCKS | verify URL FILE BLOCKS".into()),
    }
}

/// Mines up to the height `blocks`. The node must mine on request only, and its blocks must have
/// room for one transaction: then each of the first blocks holds one, as long as there are some.
fn mine(url: &str, blocks: u64) -> Result<()> {
    let accounts = call(url, "eth_accounts", json!([]))?;
    let accounts = accounts.as_array().ok_or("no accounts")?;
    let mut head = 0;
    while head < blocks {
        // In rounds: the more transactions wait, the slower the node mines.
        let next = (head + BATCH).min(blocks);
        let calls =
            (head..next).filter(|height| height.is_multiple_of(TRANSACTION_EVERY)).map(|height| {
                let index = height / TRANSACTION_EVERY;
                let account = usize::try_from(index).map_or(0, |index| index % accounts.len());
                let (from, to) = (&accounts[account], &accounts[0]);
                let nonce = index / accounts.len() as u64;
                let transfer = json!({
                    "from": from, "to": to, "value": "0x1", "gas": GAS,
                    "nonce": format!("{nonce:#x}"),
                });
                ("eth_sendTransaction", json!([transfer]))
            });
        batch(url, calls.collect())?;
        call(url, "anvil_mine", json!([format!("{:#x}", next - head)]))?;
        head = quantity(&call(url, "eth_blockNumber", json!([]))?)?;
    }
    println!("mined {head} blocks");
    Ok(())
}

/// Checks every line of the backfill's output against the node.
fn verify(url: &str, file: &str, blocks: u64) -> Result<()> {
    let mut got = HashMap::new();
    for line in BufReader::new(File::open(file)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let height = line["height"].as_u64().ok_or("a line without a height")?;
        if let Some(error) = line.get("error") {
            return Err(format!("height {height} failed: {error}").into());
        }
        if got.insert(height, line).is_some() {
            return Err(format!("height {height} came out twice").into());
        }
    }
    let heights: Vec<u64> = (1..=blocks).collect();
    let mut parent = call(url, "eth_getBlockByNumber", json!(["0x0", false]))?["hash"].clone();
    let (mut with_transactions, mut transactions) = (0_u64, 0_u64);
    for heights in heights.chunks(BATCH.try_into()?) {
        let get = |height: &u64| ("eth_getBlockByNumber", json!([format!("{height:#x}"), false]));
        for (height, block) in heights.iter().zip(batch(url, heights.iter().map(get).collect())?) {
            let line = got.remove(height).ok_or_else(|| format!("height {height} is missing"))?;
            let held = block["transactions"].as_array().ok_or("a block without a list")?.len();
            if line["hash"] != block["hash"]
                || line["parent"] != block["parentHash"]
                || line["transactions"] != json!(held)
            {
                return Err(format!("height {height}: got {line}, the node has {block}").into());
            }
            if line["parent"] != parent {
                return Err(format!("height {height} does not link to its parent").into());
            }
            parent = line["hash"].clone();
            with_transactions += u64::from(held > 0);
            transactions += held as u64;
        }
    }
    if !got.is_empty() {
        return Err(format!("{} heights that nobody asked for", got.len()).into());
    }
    if with_transactions < blocks / (2 * TRANSACTION_EVERY) {
        return Err(format!("only {with_transactions} blocks hold transactions").into());
    }
    println!(
        "verified {blocks} blocks against the node: all hashes and parent links are right; \
         {with_transactions} hold {transactions} transactions"
    );
    Ok(())
}

fn call(url: &str, method: &str, params: Value) -> Result<Value> {
    Ok(batch(url, vec![(method, params)])?.remove(0))
}

/// Makes many calls in one request, and returns their results in order.
fn batch(url: &str, calls: Vec<(&str, Value)>) -> Result<Vec<Value>> {
    let count = calls.len();
    let request: Vec<Value> = calls
        .into_iter()
        .enumerate()
        .map(|(id, (method, params))| {
            json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
        })
        .collect();
    let mut response = ureq::post(url).send_json(request)?;
    let answer = response.body_mut().with_config().limit(256 << 20).read_to_vec()?;
    let mut results = vec![None; count];
    for mut reply in serde_json::from_slice::<Vec<Value>>(&answer)? {
        if let Some(error) = reply.get("error") {
            return Err(format!("the node refuses: {error}").into());
        }
        let id = usize::try_from(reply["id"].as_u64().ok_or("a reply without an id")?)?;
        *results.get_mut(id).ok_or("a reply to no call")? = Some(reply["result"].take());
    }
    results.into_iter().map(|result| result.ok_or_else(|| "no reply".into())).collect()
}

fn quantity(value: &Value) -> Result<u64> {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x")).ok_or("no number")?;
    Ok(u64::from_str_radix(text, 16)?)
}
