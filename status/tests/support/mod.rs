//! A client that says what it is told to, and no more.
#![allow(dead_code, reason = "each test program uses a part")]

use std::net::SocketAddr;
use std::time::Duration;

use chargehand_status::Status;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Returns the JSON of a body that came in chunks.
    pub(crate) fn unchunked(&self) -> Value {
        if self.header("transfer-encoding") != Some("chunked") {
            return self.json();
        }
        let (mut whole, mut rest) = (String::new(), self.body.as_str());
        while let Some((length, more)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).unwrap_or(0);
            let Some(chunk) = more.get(..length).filter(|chunk| !chunk.is_empty()) else { break };
            whole += chunk;
            rest = more.get(length + 2..).unwrap_or_default();
        }
        serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{error}: {whole}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Serves a status on a free port.
pub(crate) async fn serve(status: Status) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(status.serve_on(listener));
    address
}

/// Sends a request with these headers and no other.
pub(crate) async fn send(address: SocketAddr, line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request += "\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    timeout(Duration::from_secs(20), read).await.expect("it answers").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), &[("Host", &address.to_string())]).await
}

/// Asks until something holds of a path's answer.
pub(crate) async fn until(
    address: SocketAddr,
    path: &str,
    holds: impl Fn(&Answer) -> bool,
) -> Answer {
    let mut answer = get(address, path).await;
    for _ in 0..500 {
        if holds(&answer) {
            return answer;
        }
        sleep(Duration::from_millis(20)).await;
        answer = get(address, path).await;
    }
    panic!("{path} never did: {}", answer.body);
}

/// Reads server-sent events until so many have come.
pub(crate) async fn events(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 1 << 16];
    while text.matches("\ndata: ").count() < count {
        let read = timeout(Duration::from_secs(10), stream.read(&mut buffer)).await;
        let read = read.expect("an event comes").unwrap();
        assert!(read > 0, "it ended: {text}");
        text += &String::from_utf8_lossy(&buffer[..read]);
    }
    text
}

/// Begins to watch live.
pub(crate) async fn watch(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /api/live HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}
