//! Messages of both dialects.

use chargehand_core::json::{Request, Response};
use chargehand_core::message::{
    Aside, BODY_HEAD_BYTES_MAX, EXTENDED_HEAD_BYTES_MAX, Extensions, ExtensionsWriter,
    HEAD_BYTES_MAX, HELD_BYTES_MAX, HELLO_BYTES_MAX, Holding, Message, PROGRESS_BYTES_MAX,
    TOOK_BYTES_MAX,
};

/// As [`message`], of those that go only to managers which ask for them.
fn extra(data: &[u8]) {
    match Aside::decode(data) {
        Ok(aside @ Aside::Progress(progress)) => {
            let mut frame = [0; PROGRESS_BYTES_MAX];
            assert_eq!(Aside::decode(progress.encode(&mut frame)), Ok(aside), "it reads otherwise");
        }
        Ok(aside @ Aside::Took(took)) => {
            let mut frame = [0; TOOK_BYTES_MAX];
            assert_eq!(Aside::decode(took.encode(&mut frame)), Ok(aside), "it reads otherwise");
        }
        Ok(Aside::Holding(holding)) => {
            let mut frame = vec![0; 1 + holding.iter().count() * HELD_BYTES_MAX];
            let written =
                Holding::encode(holding.iter(), &mut frame).expect("there is always room");
            let Ok(Aside::Holding(again)) = Aside::decode(written) else {
                panic!("it is of another kind");
            };
            assert!(again.iter().eq(holding.iter()), "it reads otherwise");
        }
        Err(_) => {}
    }
}

/// A native message that can be read is written as one that reads the same, in no more room than is said.
pub fn message(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return extra(data) };
    let mut head = [0; EXTENDED_HEAD_BYTES_MAX];
    let mut written = message.encode_extended(&mut head).expect("there is always room").to_vec();
    let (extensions, body) = parts(&message);
    if let Message::Hello(_) | Message::Welcome { .. } = message {
        assert!(written.len() <= HELLO_BYTES_MAX.max(data.len()), "longer than it may be");
    }
    written.extend_from_slice(body);
    assert_eq!(Message::decode(&written), Ok(message), "it reads otherwise than it was written");
    if extensions.is_empty() {
        let mut head = [0; HEAD_BYTES_MAX];
        let short = message.encode(&mut head);
        assert_eq!(short, &written[..short.len()], "written in two ways");
    }
    let mut head = [0; BODY_HEAD_BYTES_MAX];
    if let Some(short) = message.encode_short(&mut head) {
        assert_eq!(short, &written[..written.len() - body.len()], "written in two ways");
    }
    written_again(extensions);
}

fn parts<'a>(message: &Message<'a>) -> (Extensions<'a>, &'a [u8]) {
    match *message {
        Message::Hello(hello) => (hello.extensions, &[]),
        Message::Welcome { extensions, .. } => (extensions, &[]),
        Message::Request { extensions, body, .. } => (extensions, body),
        Message::Response { body, .. } => (Extensions::NONE, body),
        _ => (Extensions::NONE, &[]),
    }
}

/// Extensions say the same when they are written one by one.
fn written_again(extensions: Extensions<'_>) {
    let mut buffer = [0; EXTENDED_HEAD_BYTES_MAX];
    let mut writer = ExtensionsWriter::new(&mut buffer);
    for (id, value) in extensions {
        writer.add(id, value).expect("they had room before");
        let _ = (extensions.get(id), extensions.millis(id));
    }
    let again = writer.finish();
    assert!(again.iter().eq(extensions.iter()), "extensions read otherwise than written");
    assert_eq!(again.schema(), extensions.schema());
}

/// A message of the JSON dialect that can be read is written as one that reads the same.
pub fn json(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        let mut text = Vec::new();
        request.encode(&mut text);
        assert_eq!(Request::decode(&text), Ok(request));
        serde_json::from_slice::<serde_json::Value>(&text).expect("JSON is written");
    }
    if let Ok(response) = Response::decode(data) {
        let mut text = Vec::new();
        response.encode(&mut text);
        let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON is written");
        assert_eq!(value["Error"], response.error.as_str(), "escaped otherwise than others read");
        assert_eq!(Response::decode(&text), Ok(response));
    }
}
