use std::format;
use std::string::ToString;
use std::vec;

use proptest::prelude::*;

use super::*;

fn height(text: &str) -> Result<i64, JsonErrorKind> {
    Request::decode(text.as_bytes()).map(|request| request.height).map_err(|error| error.kind)
}

fn response(text: &str) -> Result<(i64, bool, String), JsonErrorKind> {
    let Response { height, success, error } =
        Response::decode(text.as_bytes()).map_err(|error| error.kind)?;
    Ok((height, success, error))
}

#[test]
fn the_messages_have_go_s_bytes() {
    let mut out = vec![];
    Request { height: 42 }.encode(&mut out);
    assert_eq!(out, br#"{"Height":42}"#);
    out.clear();
    Response::done(42).encode(&mut out);
    assert_eq!(out, br#"{"Height":42,"Success":true,"Error":""}"#);
    out.clear();
    Response::failed(
        -1,
        "no <b> & \"q\" \\ \u{1}\u{7f}\n\t\r\u{8}\u{c}\u{2028}\u{2029}/h\u{e9}\u{1f980}",
    )
    .encode(&mut out);
    let expected = concat!(
        r#"{"Height":-1,"Success":false,"Error":"no \u003cb\u003e \u0026 \"q\" \\ \u0001"#,
        "\u{7f}",
        r"\n\t\r\b\f\u2028\u2029/",
        "h\u{e9}\u{1f980}\"}"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_is_nearly_go_s_own_text_is_judged_by_the_parser() {
    for (number, expected) in [
        ("0", Ok(0)),
        ("7", Ok(7)),
        ("9223372036854775807", Ok(i64::MAX)),
        ("9223372036854775808", Err(JsonErrorKind::Value)),
        ("99999999999999999999999", Err(JsonErrorKind::Value)),
        ("007", Err(JsonErrorKind::Syntax)),
        ("00", Err(JsonErrorKind::Syntax)),
        ("+7", Err(JsonErrorKind::Syntax)),
        ("", Err(JsonErrorKind::Syntax)),
        ("-7", Ok(-7)),
        ("1.5", Err(JsonErrorKind::Value)),
    ] {
        let request = format!("{{\"Height\":{number}}}");
        assert_eq!(height(&request), expected, "{request}");
        assert_eq!(height(&format!("{request} ")), expected, "{request}");
        let answer = format!("{{\"Height\":{number},\"Success\":true,\"Error\":\"\"}}");
        let expected = expected.map(|height| (height, true, String::new()));
        assert_eq!(response(&answer), expected, "{answer}");
        assert_eq!(response(&format!(" {answer}")), expected, "{answer}");
    }
    assert_eq!(height(r#"{"Height":7"#), Err(JsonErrorKind::Truncated));
    assert_eq!(height(r#"{"Height":7}}"#), Err(JsonErrorKind::Syntax));
}

#[test]
fn requests_are_read_as_go_reads_them() {
    for (text, expected) in [
        (r#"{"Height":42}"#, 42),
        (" {\t\"Height\" :\r\n42 } ", 42),
        (r#"{"height":42}"#, 42),
        (r#"{"HEIGHT":1,"Height":2}"#, 2),
        (r#"{"H\u0065ight":7}"#, 7),
        ("{}", 0),
        ("null", 0),
        (r#"{"Height":null}"#, 0),
        (r#"{"Height":3,"Height":null}"#, 3),
        (r#"{"a":{"Height":[1,{"b":"\ud83e\udd80"}]},"Height":4,"z":[]}"#, 4),
        (r#"{"Height":5,"Success":"not a bool","Error":1e400}"#, 5),
        (r#"{"Height":9223372036854775807}"#, i64::MAX),
        (r#"{"Height":-9223372036854775808}"#, i64::MIN),
    ] {
        assert_eq!(height(text), Ok(expected), "{text}");
    }
}

#[test]
fn requests_that_go_refuses_are_refused_with_a_reason() {
    use JsonErrorKind::{Syntax, Truncated, Value};
    for (text, expected) in [
        ("", Truncated),
        (r#"{"Height":42"#, Truncated),
        (r#"{"Height":42}x"#, Syntax),
        (r#"{"Height":42,}"#, Syntax),
        (r#"{"Height":042}"#, Syntax),
        ("{Height:42}", Syntax),
        (r#"{"Height":"42"}"#, Value),
        (r#"{"Height":4.0}"#, Value),
        (r#"{"Height":1e3}"#, Value),
        (r#"{"Height":9223372036854775808}"#, Value),
        ("[42]", Value),
        ("42", Value),
    ] {
        assert_eq!(height(text), Err(expected), "{text}");
    }
    let error = Request::decode(br#"{"Height":"x"}"#).unwrap_err();
    assert!(format!("{error}").contains("an integer of 64 bits"), "{error}");
    assert_eq!(error.line, 1);
}

#[test]
fn answers_are_read_as_go_reads_them() {
    let read = response(r#"{"Height":42,"Success":false,"Error":"a \u003c b \ud83e\udd80 \/"}"#);
    assert_eq!(read, Ok((42, false, "a < b \u{1f980} /".to_string())));
    let read = response(r#"{"error":"","SUCCESS":true,"x":{"Success":false},"height":1}"#);
    assert_eq!(read, Ok((1, true, String::new())));
    assert_eq!(response("null"), Ok((0, false, String::new())));
    assert_eq!(response(r#"{"Success":1}"#), Err(JsonErrorKind::Value));
    assert!(response(r#"{"Error":"\ud83e"}"#).is_err(), "an unpaired surrogate");
}

#[test]
fn deep_nesting_neither_overflows_the_stack_nor_grows_past_the_message() {
    let depth = 1_000_000;
    let text = format!(r#"{{"a":{}{},"Height":1}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(height(&text), Ok(1));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(number: i64, success: bool, error: String) {
        let sent = Response { height: number, success, error };
        let mut out = vec![];
        sent.encode(&mut out);
        prop_assert!(out.is_ascii() || core::str::from_utf8(&out).is_ok());
        prop_assert_eq!(Response::decode(&out), Ok(sent));
    }

    #[test]
    fn random_text_never_panics(text in r#"[\[\]{}:,"\\ a-zA-Z0-9.-]{0,60}"#) {
        let _ = Request::decode(text.as_bytes());
        let _ = Response::decode(format!("{{\"Error\":\"{text}\"}}").as_bytes());
    }
}
