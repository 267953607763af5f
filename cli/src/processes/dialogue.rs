//! What a process that serves reads and writes: JSON Lines.

use std::borrow::Cow;
use std::time::Duration;

use chargehand::{Failure, Throttled};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::UnboundedSender;

/// How much of a line may stand beside its result.
const LINE_EXTRA_BYTES: usize = 64 << 10;
const BUFFER_BYTES: usize = 64 << 10;
/// No pause that a process asks for is longer.
const SECONDS_MAX: f64 = 1e6;
/// How much is shown of a line that is no answer.
const SHOWN_MAX: usize = 80;

/// How results are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Tasks and results are JSON values.
    pub(super) json: bool,
    pub(super) output_max: usize,
}

/// What a process says of a task.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) outcome: Result<Vec<u8>, Failure>,
}

#[derive(Deserialize)]
struct Line<'a> {
    id: u64,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default)]
    permanent: bool,
    retry_after: Option<f64>,
    not_now: Option<f64>,
}

/// Writes a task as a line. The error says why it cannot be one.
pub(super) fn asked(id: u64, task: &[u8], json: bool) -> Result<Vec<u8>, Failure> {
    let text = if json {
        let value: &RawValue = serde_json::from_slice(task)
            .map_err(|error| Failure::permanent(format!("the task is no JSON value: {error}")))?;
        // Between its parts alone, where a space is as good: within a string it would be escaped.
        value.get().replace(['\n', '\r'], " ")
    } else {
        let text = std::str::from_utf8(task).map_err(|_| {
            Failure::permanent("the task is not UTF-8, and --serve takes nothing else: use --exec")
        })?;
        serde_json::to_string(text).map_err(Failure::permanent)?
    };
    Ok(format!("{{\"id\":{id},\"task\":{text}}}\n").into_bytes())
}

/// Writes that nobody waits for a task any more.
pub(super) fn cancelled(id: u64) -> Vec<u8> {
    format!("{{\"id\":{id},\"cancel\":true}}\n").into_bytes()
}

/// Reads answers to the end, and gives on as many at once as there are. What is no answer ends it.
pub(super) async fn read(
    mut from: impl AsyncRead + Unpin,
    style: Style,
    to: UnboundedSender<Result<Vec<Answer>, String>>,
) {
    let (mut buffer, mut scanned) = (Vec::with_capacity(BUFFER_BYTES), 0);
    loop {
        buffer.reserve(BUFFER_BYTES);
        // However it ends: there are no more answers.
        let Ok(1..) = from.read_buf(&mut buffer).await else { return };
        let (mut answers, mut begin) = (Vec::new(), 0);
        while let Some(length) = buffer[scanned..].iter().position(|byte| *byte == b'\n') {
            let line = &buffer[begin..scanned + length];
            scanned += length + 1;
            begin = scanned;
            match read_line(line, style) {
                Ok(answer) => answers.push(answer),
                Err(why) => {
                    // Nobody may wait for it any more.
                    let _ = to.send(Ok(answers));
                    let _ = to.send(Err(why));
                    return;
                }
            }
        }
        buffer.drain(..begin);
        scanned = buffer.len();
        if buffer.len() > style.output_max.saturating_mul(6).saturating_add(LINE_EXTRA_BYTES) {
            let _ = to.send(Err(format!("a line of it has more than {} bytes", buffer.len())));
            return;
        }
        if to.send(Ok(answers)).is_err() {
            return;
        }
    }
}

fn read_line(line: &[u8], style: Style) -> Result<Answer, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        let shown: String = String::from_utf8_lossy(line).chars().take(SHOWN_MAX).collect();
        format!(
            "it wrote a line that is no answer ({error}): {shown}; standard output is for answers alone, and \
             standard error for what else it says"
        )
    })?;
    Ok(Answer { id: line.id, outcome: outcome(&line, style) })
}

fn outcome(line: &Line<'_>, style: Style) -> Result<Vec<u8>, Failure> {
    if let Some(seconds) = line.not_now {
        return Err(Throttled::after(span(seconds)).into());
    }
    if let Some(text) = &line.error {
        return Err(match line.retry_after {
            _ if line.permanent => Failure::permanent(text),
            Some(seconds) => Failure::retry_after(span(seconds), text),
            None => Failure::new(text),
        });
    }
    let raw = line.result.map_or(if style.json { "null" } else { "" }, RawValue::get);
    let result = if !style.json && raw.starts_with('"') {
        serde_json::from_str::<String>(raw)
            .map_err(|error| Failure::new(format!("its result is no text: {error}")))?
            .into_bytes()
    } else {
        raw.as_bytes().to_vec()
    };
    if result.len() > style.output_max {
        return Err(Failure::permanent(format!(
            "its result has more than {} bytes: raise --output-max",
            style.output_max
        )));
    }
    Ok(result)
}

fn span(seconds: f64) -> Duration {
    // What is no number becomes 0.
    Duration::from_secs_f64(seconds.clamp(0.0, SECONDS_MAX).max(0.0))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    const TEXT: Style = Style { json: false, output_max: 100 };
    const JSON: Style = Style { json: true, output_max: 100 };

    fn result(line: &str, style: Style) -> Result<String, Failure> {
        let answer = read_line(line.as_bytes(), style).expect("an answer");
        assert_eq!(answer.id, 7);
        answer.outcome.map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn results_are_texts_or_values_as_was_asked_for() {
        assert_eq!(result(r#"{"id":7,"result":"a\n\u00fc"}"#, TEXT), Ok("a\nü".to_owned()));
        assert_eq!(result(r#"{"id":7,"result":"a"}"#, JSON), Ok("\"a\"".to_owned()));
        for style in [TEXT, JSON] {
            let value = result(r#"{"result": {"big": 12345678901234567890123}, "id":7}"#, style);
            assert_eq!(value, Ok(r#"{"big": 12345678901234567890123}"#.to_owned()));
        }
        assert_eq!(result(r#"{"id":7}"#, TEXT), Ok(String::new()));
        assert_eq!(result(r#"{"id":7,"result":null}"#, JSON), Ok("null".to_owned()));
    }

    #[test]
    fn failures_say_what_to_do_about_them() {
        let failure = |line: &str| result(line, TEXT).expect_err("a failure");
        assert_eq!(failure(r#"{"id":7,"error":"no \"x\""}"#).text(), "no \"x\"");
        assert!(failure(r#"{"id":7,"error":"no","permanent":true}"#).is_permanent());
        let delay = failure(r#"{"id":7,"error":"no","retry_after":1.5}"#).delay();
        assert_eq!(delay, Some(Duration::from_millis(1500)));
        let throttled = failure(r#"{"id":7,"not_now":2}"#);
        assert!(throttled.is_throttled() && throttled.delay() == Some(Duration::from_secs(2)));
        assert!(failure(r#"{"id":7,"not_now":-1e300}"#).is_throttled());
        assert!(failure(r#"{"id":7,"not_now":1e300}"#).is_throttled());
        let long = format!(r#"{{"id":7,"result":"{}"}}"#, "x".repeat(101));
        assert!(failure(&long).text().contains("--output-max"));
    }

    #[test]
    fn what_is_no_answer_is_said_and_cut_short() {
        for line in ["", "ready", "{}", r#"{"id":-1}"#, r#"{"id":"7"}"#, "\u{fffd}"] {
            let why = read_line(line.as_bytes(), TEXT).expect_err("no answer");
            assert!(why.contains("no answer") && why.contains(line), "{why}");
        }
        assert!(read_line(&[b'x'; 10_000], TEXT).expect_err("no answer").len() < 400);
    }

    #[test]
    fn tasks_are_lines_whatever_is_in_them() {
        let line =
            |task: &[u8], json| asked(3, task, json).map(|line| String::from_utf8(line).unwrap());
        assert_eq!(line(b"a\"\n", false), Ok("{\"id\":3,\"task\":\"a\\\"\\n\"}\n".to_owned()));
        assert_eq!(line(b"{\n\"a\": 1}", true), Ok("{\"id\":3,\"task\":{ \"a\": 1}}\n".to_owned()));
        assert!(line(b"\xff", false).expect_err("no text").is_permanent());
        assert!(line(b"{", true).expect_err("no value").is_permanent());
    }

    #[tokio::test]
    async fn answers_are_found_however_their_bytes_come() {
        let text: Vec<u8> = (0..100)
            .flat_map(|id| format!("{{\"id\":{id},\"result\":\"r{id}\"}}\n").into_bytes())
            .collect();
        for size in [1, 7, 64, 10_000] {
            let (sender, mut answers) = unbounded_channel();
            let (mut input, output) = tokio::io::duplex(size);
            let reading = tokio::spawn(read(output, TEXT, sender));
            tokio::io::AsyncWriteExt::write_all(&mut input, &text).await.unwrap();
            drop(input);
            reading.await.unwrap();
            let mut ids = Vec::new();
            while let Some(batch) = answers.recv().await {
                ids.extend(batch.unwrap().into_iter().map(|answer| answer.id));
            }
            assert!(ids.iter().copied().eq(0..100), "{size}: {ids:?}");
        }
    }
}
