use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;

use chargehand_core::io::Trust;
use chargehand_core::message::Message;
use futures_util::future::join;
use smol::future::poll_once;

use super::*;
use crate::memory::{MemoryConnector, MemoryListener, MemoryWire, pair};

type Near = KeyedConnector<MemoryConnector>;
type Far = KeyedListener<MemoryListener>;

fn key(byte: u8) -> SharedKey {
    SharedKey::new([byte; 32])
}

fn keys() -> Keys {
    Keys::new().with("w1", key(1)).unwrap()
}

/// A worker that dials a manager which knows it.
fn ends() -> (Near, Far) {
    let (connector, listener) = pair(4);
    let near = KeyedConnector::worker(connector, "w1", key(1)).unwrap();
    (near, KeyedListener::manager(listener, "pool", keys()).unwrap())
}

async fn meet(
    mut near: Near,
    mut far: Far,
) -> (Result<KeyedWire<MemoryWire>, KeyedError>, Result<KeyedWire<MemoryWire>, KeyedError>) {
    let connecting = near.connect();
    let accept = async {
        let accepting = poll_fn(|cx| far.poll_accept(cx)).await?;
        accepting.await
    };
    join(connecting, accept).await
}

async fn send<W: Wire<Error: fmt::Debug>>(wire: &mut W, message: &[u8]) {
    poll_fn(|cx| wire.poll_send(cx, message, &[])).await.unwrap();
    poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
}

async fn receive<W: Wire>(wire: &mut W) -> Result<Option<Vec<u8>>, W::Error> {
    poll_fn(|cx| wire.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec))).await
}

fn refusal(message: Option<Vec<u8>>) -> (chargehand_core::message::Code, String) {
    match Message::decode(&message.expect("a word before the end")) {
        Ok(Message::Goodbye { code, text }) => (code, text.into()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_ends_know_each_other_by_name_and_carry_messages() {
    smol::block_on(async {
        for seals in [true, false] {
            let (near, far) = ends();
            let (near, far) = if seals { (near, far) } else { (near.unsealed(), far.unsealed()) };
            let (near, far) = meet(near, far).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            assert_eq!((near.identity(), far.identity()), (Some("pool"), Some("w1")));
            for text in [&b"hello"[..], b"", &[7; 5000]] {
                send(&mut near, text).await;
                assert_eq!(receive(&mut far).await.unwrap().unwrap(), text);
                send(&mut far, text).await;
                assert_eq!(receive(&mut near).await.unwrap().unwrap(), text);
            }
            assert!(near.current.capacity() <= 5000 + SEAL, "one message at most");
            poll_fn(|cx| near.poll_close(cx)).await.unwrap();
            assert_eq!(receive(&mut far).await.unwrap(), None);
        }
    });
}

const SEAL: usize = chargehand_core::keyed::SEAL_BYTES;

#[test]
fn each_way_not_to_fit_is_said_by_name_on_both_sides() {
    type Case = (Near, Far, ExchangeError, &'static str);
    let with = |role, name, key| {
        KeyedConnector::new(pair(4).0, role, name, key, system_nonce).expect("a good name")
    };
    let worker = |name, key| with(Role::Worker, name, key);
    let far = || ends().1;
    let cases: [Case; 5] = [
        (worker("w1", key(2)), far(), ExchangeError::UnknownKey, "\"w1\""),
        (worker("w2", key(1)), far(), ExchangeError::UnknownKey, "\"w2\""),
        (with(Role::Manager, "w1", key(1)), far(), ExchangeError::WrongRole, "managers"),
        (worker("w1", key(1)).unsealed(), far(), ExchangeError::NotSealed, "encrypts"),
        (worker("w1", key(1)), far().unsealed(), ExchangeError::Sealed, "encrypts"),
    ];
    for (near, far, error, text) in cases {
        let (connector, listener) = pair(4);
        let near = KeyedConnector { inner: connector, ..near };
        let far = KeyedListener { inner: listener, ..far };
        let (near, far) = smol::block_on(meet(near, far));
        let far = far.unwrap_err();
        assert!(far.to_string().contains(text), "{far}");
        assert!(far.to_string().contains("in this process"), "{far}");
        match far {
            KeyedError::Exchange { error: found, .. } => assert_eq!(found, error),
            KeyedError::UnknownKey { .. } => assert_eq!(error, ExchangeError::UnknownKey),
            other => panic!("{other:?}"),
        }
        let KeyedError::Refused { code, .. } = near.unwrap_err() else { panic!("it is told") };
        assert_eq!(code, error.code());
    }
}

#[test]
fn a_peer_without_a_key_is_told_so_by_a_door_that_asks_for_one() {
    smol::block_on(async {
        let (mut connector, listener) = pair(4);
        let mut far = KeyedListener::manager(listener, "pool", keys()).unwrap();
        let mut plain = connector.connect().await.unwrap();
        let mut head = [0; 264];
        send(&mut plain, Message::hello(Role::Worker, 1, 1, "w1").encode(&mut head)).await;
        let accepting = poll_fn(|cx| far.poll_accept(cx)).await.unwrap();
        let error = accepting.await.unwrap_err();
        assert!(
            matches!(error, KeyedError::Exchange { error: ExchangeError::Plain, .. }),
            "{error}"
        );
        let (code, text) = refusal(receive(&mut plain).await.unwrap());
        assert_eq!(code, chargehand_core::message::Code::Unproven);
        assert!(text.contains("give it the same key"), "{text}");
        assert_eq!(receive(&mut plain).await.unwrap(), None, "and that is all");
    });
}

#[test]
fn a_door_that_asks_for_no_key_is_left_by_whoever_has_one() {
    smol::block_on(async {
        let (connector, mut listener) = pair(4);
        let mut near = KeyedConnector::worker(connector, "w1", key(1)).unwrap();
        let accept = async {
            let mut plain = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().await.unwrap();
            let mut head = [0; 264];
            send(&mut plain, Message::hello(Role::Manager, 0, 1, "pool").encode(&mut head)).await;
            let open = receive(&mut plain).await.unwrap().unwrap();
            let error = Message::decode(&open).unwrap_err();
            assert!(error.to_string().contains("take the key from the peer"), "{error}");
            refusal(receive(&mut plain).await.unwrap())
        };
        let (connected, (code, _)) = join(near.connect(), accept).await;
        let error = connected.unwrap_err();
        assert!(
            matches!(error, KeyedError::Exchange { error: ExchangeError::Plain, .. }),
            "{error}"
        );
        assert_eq!(code, chargehand_core::message::Code::Unproven);
    });
}

#[test]
fn whoever_hangs_up_or_is_dropped_before_the_proof_is_over_for_the_other_side() {
    smol::block_on(async {
        let (mut near, mut far) = ends();
        let mut connecting = near.connect();
        assert!(poll_once(&mut connecting).await.is_none(), "it waits for the challenge");
        let mut accepting = poll_fn(|cx| far.poll_accept(cx)).await.unwrap();
        assert!(poll_once(&mut accepting).await.is_none(), "it waits for the proof");
        drop(connecting);
        let error = accepting.await.unwrap_err();
        assert!(matches!(error, KeyedError::Closed { .. }), "{error}");
    });
}

#[test]
fn without_a_nonce_there_is_no_link() {
    let (connector, _listener) = pair(4);
    let nonces = || Err("the source is dry".into());
    let mut near = KeyedConnector::new(connector, Role::Worker, "w1", key(1), nonces).unwrap();
    let error = smol::block_on(near.connect()).unwrap_err();
    assert!(error.to_string().contains("the source is dry"), "{error}");
}

#[test]
fn the_systems_nonces_differ() {
    assert_ne!(system_nonce().unwrap(), system_nonce().unwrap());
}

#[test]
fn the_json_dialect_has_no_keys_and_is_refused() {
    let (connector, listener) = crate::memory::pair_of(chargehand_core::io::Dialect::Json, 4);
    let mut near = KeyedConnector::manager(connector, "pool", key(1)).unwrap();
    let error = smol::block_on(near.connect()).unwrap_err();
    assert!(matches!(error, KeyedError::Json { .. }), "{error}");
    drop(listener);
}

#[test]
fn a_message_that_is_changed_on_the_way_ends_the_wire() {
    smol::block_on(async {
        let (near, far) = ends();
        let (near, far) = meet(near, far).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        send(&mut near, b"one").await;
        let sent = receive(&mut far.inner).await.unwrap().unwrap();
        assert!(!sent.windows(3).any(|part| part == b"one"), "nobody else can read it");
        // As somebody on the way could: the message again, with a bit that is another.
        send(&mut near.inner, &[&[sent[0] ^ 1], &sent[1..]].concat()).await;
        let error = receive(&mut far).await.unwrap_err();
        assert!(matches!(error, KeyedError::Message { .. }), "{error}");
    });
}

#[test]
fn what_the_wire_below_has_no_room_for_leaves_first_and_once() {
    smol::block_on(async {
        let (connector, listener) = pair(2);
        let near = KeyedConnector::worker(connector, "w1", key(1)).unwrap();
        let far = KeyedListener::manager(listener, "pool", keys()).unwrap();
        let (near, far) = meet(near, far).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let mut taken = 0_u8;
        while poll_once(poll_fn(|cx| near.poll_send(cx, &[taken], b"."))).await.is_some() {
            taken += 1;
        }
        assert_eq!(taken, 3, "two below, and one that waits");
        assert!(poll_once(poll_fn(|cx| near.poll_flush(cx))).await.is_none());
        for number in 0..taken {
            assert_eq!(receive(&mut far).await.unwrap().unwrap(), [number, b'.']);
            if number == 0 {
                poll_fn(|cx| near.poll_flush(cx)).await.unwrap();
            }
        }
    });
}

#[test]
fn keys_change_while_links_come_and_the_old_one_is_good_until_it_is_removed() {
    smol::block_on(async {
        let list = keys();
        list.insert("w1", key(2)).unwrap();
        list.insert("w1", key(2)).unwrap();
        let meets = async |byte: u8| {
            let (connector, listener) = pair(4);
            let near = KeyedConnector::worker(connector, "w1", key(byte)).unwrap();
            let far = KeyedListener::manager(listener, "pool", list.clone()).unwrap();
            meet(near, far).await.1.is_ok()
        };
        assert!(meets(1).await && meets(2).await && !meets(3).await);
        assert!(list.remove("w1", key(1).id()) && !list.remove("w1", key(1).id()));
        assert!(!meets(1).await && meets(2).await);
        assert!(list.remove_member("w1") && !list.remove_member("w1"));
        assert!(!meets(2).await);
        let anybody = Keys::shared(key(3));
        assert!(anybody.find("anybody", key(3).id()).is_some());
        assert!(anybody.find("anybody", key(2).id()).is_none());
    });
}

/// Whoever has stolen a key would otherwise stay for as long as its link lasts.
#[test]
fn a_link_ends_with_the_key_that_let_it_in_and_with_no_other() {
    smol::block_on(async {
        let list = keys();
        list.insert("w1", key(2)).unwrap();
        let (connector, listener) = pair(4);
        let near = KeyedConnector::worker(connector, "w1", key(1)).unwrap();
        let far = KeyedListener::manager(listener, "pool", list.clone()).unwrap();
        let (near, far) = meet(near, far).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        assert_eq!((near.trust(), far.trust()), (Trust::Holds, Trust::Holds));
        list.remove("w1", key(2).id());
        assert_eq!(far.trust(), Trust::Holds);
        list.insert("w1", key(2)).unwrap();
        list.remove("w1", key(1).id());
        let Trust::Ended(text) = far.trust() else { panic!("its key was removed") };
        assert!(text.contains("not on the list"), "{text}");
        assert_eq!(near.trust(), Trust::Holds, "it has one key alone");
        list.insert("w1", key(1)).unwrap();
        list.remove_member("w1");
        assert!(matches!(far.trust(), Trust::Ended(_)));
    });
}

/// Whoever may read it is that member, and whoever may change it lets in whom it likes: as with join files.
#[cfg(unix)]
#[test]
fn files_of_keys_that_others_may_read_or_change_are_refused_with_their_mode_and_what_to_do() {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let folder = std::env::temp_dir().join(format!("chargehand-key-modes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (one, list) = (folder.join("one"), folder.join("list"));
    write(&one, "0f".repeat(32)).unwrap();
    write(&list, format!("w1 {}", "0f".repeat(32))).unwrap();
    let is_of_root = std::fs::metadata(&one).unwrap().uid() == 0;
    for (mode, is_good) in
        [(0o600, true), (0o400, true), (0o640, is_of_root), (0o660, false), (0o644, false)]
    {
        for path in [&one, &list] {
            set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        for error in [read_key(&one).err(), Keys::read(&list).err()] {
            assert_eq!(error.is_none(), is_good, "{mode:o}: {error:?}");
            let Some(error) = error else { continue };
            let text = error.to_string();
            let parts = ["chargehand-key-modes", &format!("mode {mode:03o}"), "chmod 600"];
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains("0f0f"), "{text}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_list_is_read_from_lines_and_what_is_wrong_is_named_by_its_line_alone() {
    let hex = "0f".repeat(32);
    let text =
        format!("# those of site 1\n\n w1 {hex}\nw1\t{}\r\nthe second {hex}\n", "1e".repeat(32));
    let list = Keys::parse(&text).unwrap();
    assert!(list.find("w1", key(0x0f).id()).is_some() && list.find("w1", key(0x1e).id()).is_some());
    assert!(list.find("the second", key(0x0f).id()).is_some());
    for (text, line) in [
        (format!("w1 {hex}\nw2 {hex}0\n"), "line 2: a key is"),
        (hex.clone(), "line 1: a line has"),
        (format!("{} {hex}", "n".repeat(65)), "line 1: a name has"),
    ] {
        let error = Keys::parse(&text).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains(line), "{said}");
        assert!(!said.contains("0f0f"), "{said}");
    }
}

#[test]
fn keys_are_read_from_files_and_the_path_is_named_where_they_cannot_be() {
    let folder = std::env::temp_dir().join(format!("chargehand-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("w1.key");
    std::fs::write(&path, "").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    for content in [&[0x0f; 32][..], format!("{}\n", "0f".repeat(32)).as_bytes()] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(read_key(&path).unwrap().id(), key(0x0f).id());
    }
    std::fs::write(&path, "0f0f").unwrap();
    let said = read_key(&path).unwrap_err().to_string();
    assert!(said.contains("w1.key") && !said.contains("0f0f"), "{said}");
    let said = Keys::read(&path).unwrap_err().to_string();
    assert!(said.contains("w1.key: line 1") && !said.contains("0f0f"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
    let said = read_key(&path).unwrap_err().to_string();
    assert!(said.contains("w1.key"), "{said}");
}

#[test]
fn nothing_that_is_printed_on_the_way_holds_a_byte_of_a_key() {
    smol::block_on(async {
        let (connector, listener) = pair(4);
        let mut near = KeyedConnector::worker(connector, "w1", key(0xd7)).unwrap();
        let list = Keys::new().with("w1", key(0xd7)).unwrap();
        let mut far = KeyedListener::manager(listener, "pool", list.clone()).unwrap();
        let mut printed = vec![format!("{near:?} {far:?} {list:#?}")];
        let mut connecting = near.connect();
        let _ = poll_once(&mut connecting).await;
        let mut accepting = poll_fn(|cx| far.poll_accept(cx)).await.unwrap();
        let _ = poll_once(&mut accepting).await;
        printed.push(format!("{connecting:?} {accepting:#?}"));
        let (near, far) = join(connecting, accepting).await;
        let (near, far) = (near.unwrap(), far.unwrap());
        // What the transport itself prints has no bytes of keys, and is not ours.
        printed.push(format!("{:?} {:#?}", near.channel, far.channel));
        let printed = printed.concat();
        for trace in ["215", "d7d7", "D7D7", "d7, "] {
            assert!(!printed.contains(trace), "{trace} in {printed}");
        }
        assert!(printed.contains("(\"w1\", 1)"), "{printed}");
    });
}
