//! An Ethereum node that answers as a test wants it to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};

/// How long its chain is.
const HEAD: u64 = 1_000_000;

/// One answer.
pub(crate) enum Reply {
    /// What a node in good order answers.
    Good,
    /// A status, headers with their ends, and a body.
    Http(u16, String, String),
    /// The connection is reset.
    Reset,
}

impl Reply {
    pub(crate) fn status(status: u16, headers: &str) -> Self {
        Self::Http(status, headers.to_owned(), "a proxy says so".to_owned())
    }

    /// A JSON-RPC error, without an HTTP one.
    pub(crate) fn error(code: i64, message: &str) -> Self {
        let error = json!({ "code": code, "message": message });
        Self::Http(
            200,
            String::new(),
            json!({ "jsonrpc": "2.0", "id": 1, "error": error }).to_string(),
        )
    }

    /// A block that is not there.
    pub(crate) fn null() -> Self {
        Self::body(r#"{"jsonrpc":"2.0","id":1,"result":null}"#)
    }

    pub(crate) fn body(body: &str) -> Self {
        Self::Http(200, String::new(), body.to_owned())
    }
}

/// A question: how often this was asked before, and for which block. Without a height it is for the
/// newest one.
pub(crate) struct Ask {
    pub(crate) before: usize,
    pub(crate) height: Option<u64>,
}

type Script = dyn Fn(&Ask) -> Reply + Send + Sync;

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    script: Box<Script>,
    /// When each block was asked for.
    asked: Mutex<HashMap<Option<u64>, Vec<Instant>>>,
    is_over: AtomicBool,
}

impl Node {
    pub(crate) fn start(script: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (script, asked) = (Box::new(script), Mutex::default());
        let state = Arc::new(State { script, asked, is_over: AtomicBool::new(false) });
        let shared = Arc::clone(&state);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, state) = (stream.expect("a connection"), Arc::clone(&shared));
                // It ends with its connection; whoever asks may be killed in the middle.
                thread::spawn(move || state.answer(&stream));
            }
        });
        Self { address, state, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns when a block was asked for.
    pub(crate) fn asked(&self, height: u64) -> Vec<Instant> {
        self.state.asked.lock().expect("no panic").get(&Some(height)).cloned().unwrap_or_default()
    }

    /// Returns how long after each question for a block the next one came.
    pub(crate) fn gaps(&self, height: u64) -> Vec<Duration> {
        self.asked(height).windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

impl State {
    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let request = read(stream)?;
        let height = request["params"][0].as_str();
        let height = height.map(|height| u64::from_str_radix(&height[2..], 16).expect("a height"));
        let before = {
            let mut asked = self.asked.lock().expect("no panic");
            let times = asked.entry(height).or_default();
            times.push(Instant::now());
            times.len() - 1
        };
        let (status, headers, body) = match (self.script)(&Ask { before, height }) {
            Reply::Reset => {
                set_socket_linger(stream, Some(Duration::ZERO)).expect("a socket");
                return None;
            }
            Reply::Http(status, headers, body) => (status, headers, body),
            Reply::Good => (200, String::new(), good(height).to_string()),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} So\r\nContent-Length: {length}\r\n{headers}");
        let mut stream = stream;
        write!(stream, "{head}Connection: close\r\n\r\n{body}").ok()
    }
}

/// Reads a request to its end.
fn read(stream: &TcpStream) -> Option<Value> {
    let (mut reader, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&count| count > 0)?;
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn good(height: Option<u64>) -> Value {
    let result = height.map_or(json!(format!("{HEAD:#x}")), |height| {
        json!({
            "number": format!("{height:#x}"),
            "hash": format!("0x{height:064x}"),
            "parentHash": format!("0x{:064x}", height - 1),
            "transactions": ["0x1", "0x2"],
        })
    });
    json!({ "jsonrpc": "2.0", "id": 1, "result": result })
}

impl Drop for Node {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("the node does not panic");
        }
    }
}
