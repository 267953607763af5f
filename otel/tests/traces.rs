//! The example, against a receiver of OTLP: one trace for each task, from the manager to the worker's handler.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes one request, answers it and returns its body.
async fn receive(stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length, mut is_chunked) = (String::new(), 0, false);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let lower = line.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(count) = lower.strip_prefix("content-length:") {
            length = count.trim().parse().map_err(io::Error::other)?;
        }
        is_chunked |= lower == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    while is_chunked {
        line.clear();
        stream.read_line(&mut line).await?;
        let count = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + count + 2, 0);
        stream.read_exact(&mut body[start..]).await?;
        body.truncate(start + count);
        is_chunked = count > 0;
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(answer.as_bytes()).await?;
    Ok(body)
}

/// A program of this package's examples, which is built with its tests.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("a test is a program");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: u64,
    attributes: HashMap<String, String>,
    is_error: bool,
}

fn spans_of(body: &[u8]) -> Vec<Span> {
    let export: Value = serde_json::from_slice(body).expect("OTLP as JSON");
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let resources = list(&export, "resourceSpans");
    let scopes = resources.iter().flat_map(|it| list(it, "scopeSpans"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spans = scopes.flat_map(|it| list(&it, "spans")).map(|span| Span {
        name: text(&span["name"]),
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        kind: span["kind"].as_u64().unwrap_or_default(),
        attributes: list(&span, "attributes")
            .iter()
            .map(|it| {
                let value = it["value"].as_object().and_then(|value| value.values().next());
                let value = value.map_or_else(String::new, |value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                (text(&it["key"]), value)
            })
            .collect(),
        is_error: span["status"]["code"] == 2,
    });
    spans.collect()
}

#[tokio::test]
async fn a_trace_goes_from_the_manager_over_the_attempt_to_the_handler_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().expect("it is bound"));
    let (sender, mut bodies) = mpsc::unbounded_channel();
    let receiver = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(body) = receive(stream).await {
                let _ = sender.send(body);
            }
        }
    });
    let run = Command::new(example("traces"))
        .arg(endpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let ended = timeout(PATIENCE, run).await.expect("it ends").expect("it was built");
    let (out, err) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}{err}");
    assert!(out.contains("12: Ok(24)") && out.contains("13: Err("), "{out}");
    receiver.abort();
    let mut spans = Vec::new();
    while let Ok(body) = bodies.try_recv() {
        spans.extend(spans_of(&body));
    }
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (submits, attempts, handles) = (named("submit"), named("attempt"), named("handle"));
    assert_eq!((submits.len(), attempts.len(), handles.len()), (2, 2, 2), "{err}");
    assert_ne!(submits[0].trace, submits[1].trace, "a trace for each");
    for submit in submits {
        assert_eq!((submit.parent.as_str(), submit.kind), ("", 4), "it begins the trace");
        let attempt = attempts.iter().find(|span| span.parent == submit.id).expect("one of it");
        let handle = handles.iter().find(|span| span.parent == attempt.id).expect("one of it");
        assert_eq!((&attempt.trace, &handle.trace), (&submit.trace, &submit.trace));
        assert_eq!((attempt.kind, handle.kind), (3, 2), "client and server");
        assert_eq!(attempt.attributes["attempt"], "1");
        assert!(attempt.attributes["peer"].starts_with("127.0.0.1:"));
        let outcome = &attempt.attributes["outcome"];
        assert_eq!(outcome, &handle.attributes["outcome"]);
        let is_failed = outcome == "failed";
        assert_eq!((attempt.is_error, handle.is_error), (is_failed, is_failed));
        assert_eq!(attempt.attributes.contains_key("error.type"), is_failed);
    }
    assert_eq!(attempts.iter().filter(|span| span.is_error).count(), 1, "one of the two fails");
}
