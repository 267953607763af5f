//! docs/PROTOCOL.md is right about the bytes.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::Verdict;
use chargehand::core::keyed::{
    Channel, EXCHANGE_BYTES_MAX, Initiator, Member, Responder, SharedKey,
};
use chargehand::core::message::{
    Aside, EXTENDED_HEAD_BYTES_MAX, Holding, Message, PROGRESS_BYTES_MAX, Role, TOOK_BYTES_MAX,
};
use chargehand::testing::{Step, World};
use chargehand::{Failure, Throttled, Worker};

#[test]
fn every_row_of_bytes_decodes_to_the_message_it_names_and_back() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let page = std::fs::read_to_string(path).expect("the page is part of the repository");
    let mut kinds = [false; 13];
    // Those of an exchange with a key have a table of their own.
    kinds[9] = true;
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
        if bytes[0] >= 10 {
            check_aside(line, text, &bytes);
            kinds[usize::from(bytes[0])] = true;
            continue;
        }
        let message = Message::decode(&bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(text.split(':').next(), Some(message.kind()), "{line}");
        if let Message::Request { extensions, .. } = message {
            let said = text.split('`').find(|part| part.starts_with("00-"));
            let trace = extensions.trace().map(|trace| trace.to_string());
            assert_eq!(trace.as_deref(), said, "{line}");
        }
        let mut head = [0; EXTENDED_HEAD_BYTES_MAX];
        let mut again = message.encode_extended(&mut head).expect("it fits").to_vec();
        if let Message::Request { body, .. } | Message::Response { body, .. } = message {
            again.extend_from_slice(body);
        }
        assert_eq!(again, bytes, "{line}");
        kinds[usize::from(bytes[0])] = true;
    }
    assert_eq!(kinds, [true; 13], "a row for every kind of message");
}

/// A row of a message that only managers get that ask for it.
fn check_aside(line: &str, text: &str, bytes: &[u8]) {
    let aside = Aside::decode(bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (kind, again) = match aside {
        Aside::Progress(progress) => {
            ("Progress", progress.encode(&mut [0; PROGRESS_BYTES_MAX]).to_vec())
        }
        Aside::Holding(holding) => {
            let again = &mut [0; 64];
            ("Holding", Holding::encode(holding.iter(), again).expect("there is room").to_vec())
        }
        Aside::Took(took) => {
            assert_eq!(took.span().as_millis(), 30, "{line}");
            ("Took", took.encode(&mut [0; TOOK_BYTES_MAX]).to_vec())
        }
    };
    assert_eq!((text.split(':').next(), &again[..]), (Some(kind), bytes), "{line}");
}

/// The rows of the table of links with a key, by what they are.
fn vectors(page: &str) -> BTreeMap<&str, Vec<u8>> {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, what, bytes, _] = cells[..] else { return None };
        let bytes = bytes.strip_prefix('`')?.strip_suffix('`')?;
        let pair = |at: usize| u8::from_str_radix(bytes.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..bytes.len()).step_by(2).map(pair).collect();
        Some((what, bytes?))
    });
    rows.collect()
}

/// What a channel makes of a message.
fn protected(channel: &mut Channel, message: u8) -> Vec<u8> {
    let mut buffer = vec![0; 1 + channel.added_bytes()];
    buffer[0] = message;
    channel.protect(&mut buffer, 1).expect("there is room");
    buffer
}

#[test]
fn every_row_of_a_link_with_a_key_is_what_both_sides_say() {
    const NUMBER: usize = 65_537;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let page = std::fs::read_to_string(path).expect("the page is part of the repository");
    let mut rows = vectors(&page);
    let mut row = |what: &str| rows.remove(what).unwrap_or_else(|| panic!("no row {what}"));
    let key = SharedKey::new(row("key").try_into().expect("32 bytes"));
    let member = |role, name, seals| {
        let member = Member::new(role, name).expect("a good name");
        if seals { member.sealed() } else { member }
    };
    for (kind, seals) in [("unsealed", false), ("sealed", true)] {
        let (mut ours, mut theirs) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
        let manager = member(Role::Manager, "pool", seals);
        let (initiator, open) = Initiator::new(manager, &key, [0x11; 32], &mut ours);
        assert_eq!(open, row(&format!("{kind} Open")));
        let find = |name: &str, id| (name == "pool" && id == key.id()).then(|| key.clone());
        let worker = member(Role::Worker, "w1", seals);
        let (responder, challenge) =
            Responder::new(worker, [0x22; 32], open, find, &mut theirs).expect("it has the key");
        assert_eq!(challenge, row(&format!("{kind} Challenge")));
        let (mut near, proof) =
            initiator.handle_challenge(challenge, &mut ours).expect("it has the key");
        assert_eq!(proof, row(&format!("{kind} Proof")));
        let mut far = responder.handle_proof(proof).expect("it has the key");
        let (ping, pong) = (protected(&mut near, 5), protected(&mut far, 6));
        if seals {
            assert_eq!(ping, row("sealed Ping, number 0 of the side that opened"));
            assert_eq!(pong, row("sealed Pong, number 0 of the other side"));
            let last = (1..=NUMBER).map(|_| protected(&mut near, 5)).last();
            assert_eq!(last, Some(row(&format!("sealed Ping, number {NUMBER}"))));
        } else {
            assert_eq!(ping, row("unsealed Ping, as the first message of the side that opened"));
            assert_eq!(pong, row("unsealed Pong, as the first message of the other side"));
        }
    }
    let left: Vec<_> = rows.keys().filter(|what| what.contains("sealed")).collect();
    assert!(left.is_empty(), "rows that nothing checks: {left:?}");
}

/// The bytes of an answer that fails so, as a worker sends them.
fn sent(failure: Failure) -> String {
    let world = World::new(1);
    let timer = world.timer();
    let failing = move |_: u64| ready(Err::<u64, _>(failure.clone()));
    world.host("failing", move || Worker::new(timer.clone(), failing.clone()));
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    world.watch(move |passing| {
        if passing.step != Step::WorkerSent {
            return;
        }
        if let Ok(Message::Response { verdict: Verdict::Failed, body, .. }) =
            Message::decode(passing.frame)
        {
            let body: Vec<_> = body.iter().map(|byte| format!("{byte:02x}")).collect();
            seen.lock().expect("nobody panics with it").push(body.join(" "));
        }
    });
    let pool = world.pool(|builder| builder.configure(|config| config.retries_max = 0));
    // Whoever is not now to be asked is asked again, and says the same.
    world.run(pool.call::<u64, u64>(&1)).expect_err("it fails each time");
    let mut bodies = bodies.lock().expect("nobody panics with it");
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    bodies.remove(0)
}

#[test]
fn failures_travel_in_the_bytes_that_the_page_shows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let page = std::fs::read_to_string(path).expect("the page is part of the repository");
    let soon = Duration::from_millis(1500);
    for (failure, hex) in [
        (Failure::permanent("no"), "ff 01 00 00 00 00 02 00 00 00 6e 6f"),
        (
            Failure::retry_after(soon, "no").with_details(&7_u8),
            "ff 02 dc 05 00 00 02 00 00 00 6e 6f 01 07",
        ),
        (
            Throttled::after(soon).into(),
            "ff 06 dc 05 00 00 1a 00 00 00 6e 6f 74 20 6e 6f 77 3a 20 74 72 79 20 61 67 61 69 6e 20 69 \
             6e 20 31 2e 35 73",
        ),
        (
            Throttled::after(soon).for_key().into(),
            "ff 0e dc 05 00 00 1a 00 00 00 6e 6f 74 20 6e 6f 77 3a 20 74 72 79 20 61 67 61 69 6e 20 69 \
             6e 20 31 2e 35 73",
        ),
    ] {
        assert_eq!(sent(failure), hex);
        assert!(page.contains(&format!("`{hex}`")), "{hex}");
    }
}
