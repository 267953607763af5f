//! One task, and the line that says what came of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chargehand::TaskError;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::processes::Ended;

/// The version of the lines. It changes where a field changes its meaning or goes.
const VERSION: u8 = 1;

/// A task: its number, and what is given to a worker, which reads it as a string or as bytes.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) text: Box<[u8]>,
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.text)
    }
}

/// A text or bytes as they are shown.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Text(&'a str),
    Value(&'a RawValue),
}

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Shown<'a>>,
    /// In place of the one before where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
}

/// Returns the line of a task's outcome, without a newline.
pub(super) fn line(task: &Task, outcome: &Result<Vec<u8>, TaskError>, json: bool) -> String {
    let (shown, task_base64) = shown(&task.text, json);
    let mut line = Line {
        v: VERSION,
        n: task.number,
        task: shown,
        task_base64,
        result: None,
        result_base64: None,
        error: None,
        kind: None,
        code: None,
        signal: None,
    };
    match outcome {
        Ok(result) => (line.result, line.result_base64) = self::shown(result, json),
        Err(error) => {
            let (text, kind) = why(error);
            (line.error, line.kind) = (Some(text), Some(kind));
            if let Some(ended) = ended(error) {
                (line.code, line.signal) = (ended.code, ended.signal);
            }
        }
    }
    serde_json::to_string(&line).expect("plain data")
}

/// Returns how the command ended that failed, if it was one.
fn ended(error: &TaskError) -> Option<Ended> {
    match error {
        TaskError::Failed(failure) => Ended::of(failure),
        _ => None,
    }
}

/// Returns why a task failed, and what kind of failure it is.
fn why(error: &TaskError) -> (String, &'static str) {
    match error {
        TaskError::Failed(failure) => (failure.text().to_owned(), "failed"),
        TaskError::Exhausted { attempts } => (
            format!(
                "given to workers {attempts} times, and each time lost with its worker or not done in time: see \
                 what it does to them, or raise --attempts"
            ),
            "exhausted",
        ),
        TaskError::Bounced { .. } => (error.to_string(), "bounced"),
        TaskError::Request(_) => (error.to_string(), "request"),
        TaskError::Answer(_) => (error.to_string(), "answer"),
        _ => (error.to_string(), "other"),
    }
}

/// Returns whether a task has an outcome, and was not only given up with the pool.
pub(super) fn is_final(outcome: &Result<Vec<u8>, TaskError>) -> bool {
    use TaskError::{Aborted, Cancelled, Closed, Stopping};
    !matches!(outcome, Err(Aborted | Cancelled | Closed | Stopping))
}

fn shown(bytes: &[u8], json: bool) -> (Option<Shown<'_>>, Option<String>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return (None, Some(BASE64.encode(bytes))) };
    // A value keeps its digits and the order of its fields. One of several lines would be no line.
    let value =
        if json && !text.contains(['\n', '\r']) { serde_json::from_str(text).ok() } else { None };
    (Some(value.map_or(Shown::Text(text), Shown::Value)), None)
}

#[cfg(test)]
mod tests {
    use chargehand::Failure;

    use super::*;

    fn shown(text: &[u8], outcome: &Result<Vec<u8>, TaskError>, json: bool) -> String {
        line(&Task { number: 7, text: text.into() }, outcome, json)
    }

    #[test]
    fn a_line_has_the_task_and_what_came_of_it() {
        let done = Ok(b"4\n\"x\"".to_vec());
        assert_eq!(
            shown(b"two by two", &done, false),
            r#"{"v":1,"n":7,"task":"two by two","result":"4\n\"x\""}"#
        );
        let failed = Err(TaskError::Failed(Failure::new("no")));
        assert_eq!(
            shown(b"x", &failed, false),
            r#"{"v":1,"n":7,"task":"x","error":"no","kind":"failed"}"#
        );
        let exhausted = shown(b"x", &Err(TaskError::Exhausted { attempts: 5 }), false);
        assert!(exhausted.contains("5 times") && exhausted.contains("\"kind\":\"exhausted\""));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_base64() {
        assert_eq!(
            shown(b"\xff", &Ok(b"a\x80".to_vec()), true),
            r#"{"v":1,"n":7,"task_base64":"/w==","result_base64":"YYA="}"#
        );
    }

    #[test]
    fn values_stay_as_they_are_and_what_is_none_is_a_text() {
        let big = br#"{"z":12345678901234567890123,"a":1.0}"#;
        assert_eq!(
            shown(big, &Ok(b"null".to_vec()), true),
            r#"{"v":1,"n":7,"task":{"z":12345678901234567890123,"a":1.0},"result":null}"#
        );
        assert_eq!(
            shown(b"1", &Ok(b"{\n}".to_vec()), true),
            r#"{"v":1,"n":7,"task":1,"result":"{\n}"}"#
        );
        assert_eq!(
            shown(b"1", &Ok(b"no".to_vec()), true),
            r#"{"v":1,"n":7,"task":1,"result":"no"}"#
        );
    }
}
