//! Bytes that are no chargehand: refused with a reason, and nobody else is touched.

use chargehand::core::message::{Code, MAGIC, Message, Role};

use crate::pair::{Socket, any_port};
use crate::raw::{Raw, accept_plain, dial_plain, script};
use crate::rig::{Rig, port, quick, setup, works};

/// What strangers say first.
fn garbage() -> Vec<Vec<u8>> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    let mut all = vec![
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // A TLS client hello.
        [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 502]].concat(),
        // The longest length there is.
        vec![0xff; 64],
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
    ];
    all.extend((0..20).map(|_| (0..8).flat_map(|_| random()).collect::<Vec<u8>>()));
    all
}

pub(crate) async fn strangers_on_a_managers_port_are_turned_away<P: Socket>() {
    let (door, at) = any_port();
    let setup = P::accept(setup::<P>(), door);
    let mut rig = Rig::start::<P>(setup);
    let strangers = script(move || {
        for bytes in garbage() {
            let mut raw = dial_plain(at);
            raw.write(&bytes);
            raw.half_close();
            drop(raw.rest());
        }
    });
    strangers.end().await;
    let why = rig.watch.refused::<P>().await;
    assert!(!why.is_empty(), "{}", P::NAME);
    let _worker = P::spawn(P::dial(quick::<P>("good"), &at));
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn strangers_on_a_workers_port_are_turned_away<P: Socket>() {
    let (door, at) = any_port();
    let _worker = P::spawn(P::serve(quick::<P>("good"), door));
    let strangers = script(move || {
        for bytes in garbage() {
            let mut raw = dial_plain(at);
            raw.write(&bytes);
            raw.half_close();
            drop(raw.rest());
        }
    });
    strangers.end().await;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn a_dialled_stranger_is_named_and_tried_again<P: Socket>() {
    let (door, at) = any_port();
    let stranger = script(move || {
        let mut raw = accept_plain(&door);
        raw.write(b"220 mail.example ESMTP\r\n");
        raw.half_close();
        drop(raw.rest());
        let mut raw = Raw::server::<P>(&door);
        raw.greet_as_worker("late", 1);
        raw.work_on();
    });
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(&port(at)), "{why}");
    works(&rig.pool).await;
    rig.stop().await;
    stranger.end().await;
}

pub(crate) async fn a_wrong_version_magic_or_role_is_told_why<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let hello = |magic, version, role| Message::Hello {
        magic,
        version,
        role,
        window: 1,
        token: 1,
        name: "x",
    };
    for (message, code, text) in [
        (hello(MAGIC, 9, Role::Worker), Code::WrongVersion, "version 9"),
        (hello(*b"chgX", 1, Role::Worker), Code::WrongVersion, "magic"),
        (hello(MAGIC, 1, Role::Manager), Code::WrongRole, "is a manager, too"),
        (Message::Ping, Code::BadMessage, "opened with Ping"),
    ] {
        let payload = crate::raw::encoded(&message, &[]);
        let peer = script(move || {
            let mut raw = Raw::client::<P>(at);
            raw.send(&payload);
            raw.goodbye()
        });
        let (got, said) = peer.end().await.expect("a Goodbye");
        assert_eq!(got, code, "{said}");
        assert!(said.contains(text), "{said}");
        let why = rig.watch.refused::<P>().await;
        assert!(why.contains(text), "{why}");
    }
    rig.stop().await;
}

pub(crate) async fn an_announced_giant_costs_no_memory<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let before = resident_bytes();
    let giants = script(move || {
        let giant = |_| {
            let mut raw = Raw::client::<P>(at);
            let header = raw.header((16 << 20) - 1);
            raw.write(&header);
            raw
        };
        (0..16).map(giant).collect::<Vec<_>>()
    });
    let giants = giants.end().await;
    let _worker = P::spawn(P::dial(quick::<P>("good"), &at));
    works(&rig.pool).await;
    let grown = resident_bytes().saturating_sub(before);
    // 256 MiB were announced. Other cases run in this process meanwhile.
    assert!(grown < 128 << 20, "{grown} bytes more");
    drop(giants);
    rig.stop().await;
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second figure") * 4096
}
