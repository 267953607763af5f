//! docs/PROTOCOL.md is right about the bytes.

use chargehand::core::message::{EXTENDED_HEAD_BYTES_MAX, Message};

#[test]
fn every_row_of_bytes_decodes_to_the_message_it_names_and_back() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let page = std::fs::read_to_string(path).expect("the page is part of the repository");
    let mut kinds = [false; 9];
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, bytes, text, _] = cells[..] else { continue };
        let Some(bytes) = bytes.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
            continue;
        };
        let bytes: Vec<u8> = bytes
            .split(' ')
            .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
            .collect();
        let message = Message::decode(&bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(text.split(':').next(), Some(message.kind()), "{line}");
        let mut head = [0; EXTENDED_HEAD_BYTES_MAX];
        let mut again = message.encode_extended(&mut head).expect("it fits").to_vec();
        if let Message::Request { body, .. } | Message::Response { body, .. } = message {
            again.extend_from_slice(body);
        }
        assert_eq!(again, bytes, "{line}");
        kinds[usize::from(bytes[0])] = true;
    }
    assert_eq!(kinds, [true; 9], "a row for every kind of message");
}
