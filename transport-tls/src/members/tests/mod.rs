mod clocks;
mod files;
mod renewals;
mod strangers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chargehand_core::io::Trust;
use futures_util::{AsyncReadExt, AsyncWriteExt};

use rustls::HandshakeKind;

use super::judge::Judge;
use super::*;
use crate::testing::{DAY, Issuer, Memory, NAME, Once, client, day, provider, run, shake};

/// A directory of a test's own, which goes with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chargehand-join-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn authority(&self) -> Authority {
        Authority::create(self.path("authority.pem")).unwrap()
    }

    fn pool(&self, join: Join<'_>) -> Result<Members, MembersError> {
        self.load(join, Members::pool)
    }

    fn worker(&self, join: Join<'_>) -> Result<Members, MembersError> {
        self.load(join, Members::worker)
    }

    fn load<T>(&self, join: Join<'_>, load: impl FnOnce(PathBuf) -> T) -> T {
        let path = self.path("a.join");
        join.write(&path).unwrap();
        let members = load(path.clone());
        fs::remove_file(path).unwrap();
        members
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Members {
    fn judge(&self) -> Arc<Judge> {
        Arc::clone(&self.held().judge)
    }
}

/// Returns whom each end knows the other as, or why there is no connection. `near` dials.
async fn met(near: &Members, far: &Members) -> (Result<String, String>, Result<String, String>) {
    met_by(&near.dial(()), far).await
}

/// The same of a dialler that was made before.
async fn met_by(
    near: &TlsDial<()>,
    far: &Members,
) -> (Result<String, String>, Result<String, String>) {
    let (near, far) = shake(Memory::pair(), near, &far.accept(())).await;
    let far = match far {
        Ok(mut far) => {
            far.close().await.unwrap();
            Ok(far.identity().unwrap().to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    // That of a refused client is over before it hears of it.
    let near = match near {
        Ok(mut near) => match near.read(&mut [0]).await {
            Ok(_) => Ok(near.identity().unwrap().to_owned()),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    (near, far)
}

#[expect(clippy::unnecessary_wraps, reason = "it is what `met` returns")]
fn known(name: &str) -> Result<String, String> {
    Ok(name.to_owned())
}

#[test]
fn members_of_one_authority_know_each_other_by_name_whichever_dials() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let worker = authority.join(Role::Worker, "w_1.a").manager("tls://m1:9000");
        let worker = dir.worker(worker).unwrap();
        assert_eq!(met(&pool, &worker).await, (known("w_1.a"), known("m1")));
        assert_eq!(met(&worker, &pool).await, (known("m1"), known("w_1.a")));
        assert_eq!((pool.name(), pool.manager()), ("m1", None));
        assert_eq!((worker.name(), worker.manager()), ("w_1.a", Some("tls://m1:9000")));
    });
}

#[test]
fn members_speak_tls_13_alone_and_send_and_take_nothing_before_its_handshake_is_done() {
    let dir = Dir::new();
    let members = dir.pool(dir.authority().join(Role::Pool, "m1")).unwrap();
    assert!(!members.client_config().enable_early_data);
    assert_eq!(members.server_config().max_early_data_size, 0);
    // One that speaks 1.2 only.
    let hello = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03";
    let hello = [&hello[..], &[7; 32], b"\x00\x00\x04\xc0\x2b\xc0\x2f\x01\x00"].concat();
    run(async {
        let (mut old, end) = Memory::pair();
        old.write_all(&hello).await.unwrap();
        let mut accept = members.accept(Once::new(end));
        let opening = {
            use chargehand_core::io::Accept;
            std::future::poll_fn(|cx| accept.poll_accept(cx)).await.unwrap().0
        };
        let text = opening.await.unwrap_err().to_string();
        assert!(text.contains("bring both up to TLS 1.3"), "{text}");
    });
}

/// A client's first message, which asks for a server of this name.
fn hello_for(name: &[u8]) -> Vec<u8> {
    let with_length = |count: usize, bytes: &[u8]| {
        let length = (bytes.len() as u64).to_be_bytes();
        [&length[8 - count..], bytes].concat()
    };
    let extension = |kind: u8, bytes: &[u8]| [&[0, kind], &*with_length(2, bytes)].concat();
    let name = with_length(2, &[&[0], &*with_length(2, name)].concat());
    let share = [&[0, 0x1d], &*with_length(2, &[9; 32])].concat();
    let extensions = [
        extension(0, &name),
        extension(43, &[2, 3, 4]),
        extension(10, &[0, 2, 0, 0x1d]),
        extension(13, &[0, 4, 4, 3, 8, 4]),
        extension(51, &with_length(2, &share)),
    ];
    let body =
        [&[3, 3][..], &[7; 32], b"\0\0\x02\x13\x01\x01\0", &with_length(2, &extensions.concat())];
    let message = [&[1], &*with_length(3, &body.concat())].concat();
    [&[22, 3, 1], &*with_length(2, &message)].concat()
}

/// A member is who its certificate says, whomever a client asks for; what is no name at all is refused.
#[test]
fn the_name_that_a_client_asks_for_changes_nothing_and_an_odd_one_is_an_error() {
    use chargehand_core::io::Accept;

    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let worker = dir.worker(authority.join(Role::Worker, "w1")).unwrap();
        for name in ["m1", "M1", "m2", "w1", "xn--m1", "127.0.0.1", "a.b.example"] {
            let dial = worker.dial(()).server_name(name.try_into().unwrap());
            assert_eq!(met_by(&dial, &pool).await, (known("m1"), known("w1")), "{name}");
        }
        let long = [b'a'; 300];
        for (name, is_odd) in [
            (&b"m1"[..], false),
            (b"m1/../m2", true),
            (b"m1\0m2", true),
            (b"..", true),
            (b"\xff\xfe", true),
            (b"", true),
            (&long, true),
        ] {
            let (mut near, far) = Memory::pair();
            near.write_all(&hello_for(name)).await.unwrap();
            near.cut();
            let mut accept = pool.accept(()).over(Once::new(far));
            let opening = std::future::poll_fn(|cx| accept.poll_accept(cx)).await.unwrap().0;
            let text = opening.await.unwrap_err().to_string();
            // Without an odd name it is answered, and then the client is gone.
            assert_eq!(!text.contains("in the middle of the TLS handshake"), is_odd, "{text}");
            let answer = near.take_input();
            assert_eq!(answer.first() == Some(&21), is_odd, "an alert: {answer:?}");
        }
    });
}

/// A handshake that is pending holds 64 KiB at most, whatever it announces.
#[test]
fn a_first_message_of_more_than_64_kib_is_refused_by_its_length() {
    use chargehand_core::io::Accept;

    run(async {
        let dir = Dir::new();
        let pool = dir.pool(dir.authority().join(Role::Pool, "m1")).unwrap();
        let (mut near, far) = Memory::pair();
        // A record with the head of a `ClientHello` alone, and nothing behind it.
        near.write_all(b"\x16\x03\x01\x00\x04\x01\x01\x00\x00").await.unwrap();
        let mut accept = pool.accept(()).over(Once::new(far));
        let opening = std::future::poll_fn(|cx| accept.poll_accept(cx)).await.unwrap().0;
        let text = opening.await.unwrap_err().to_string();
        assert!(text.contains("HandshakePayloadTooLarge"), "{text}");
    });
}

#[test]
fn a_certificate_is_good_for_its_role_only() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let [one, other] =
            ["w1", "w2"].map(|name| dir.worker(authority.join(Role::Worker, name)).unwrap());
        for (near, far) in [(&one, &other), (&pool, &pool)] {
            let (near, far) = met(near, far).await;
            for text in [near.unwrap_err(), far.unwrap_err()] {
                let says = text.contains("where a pool is to be")
                    || text.contains("where a worker is to be");
                assert!(says || text.contains("refuses the certificate of this end"), "{text}");
            }
        }
        let text = dir.pool(authority.join(Role::Worker, "w1")).unwrap_err().to_string();
        assert!(text.contains("join file of a worker, \"w1\""), "{text}");
        let text = dir.worker(authority.join(Role::Pool, "m1")).unwrap_err().to_string();
        assert!(text.contains("join file of a pool, \"m1\""), "{text}");
    });
}

#[test]
fn strangers_are_refused_whoever_vouches_for_them() {
    run(async {
        let (dir, elsewhere) = (Dir::new(), Dir::new());
        let (authority, another) = (dir.authority(), elsewhere.authority());
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let worker = dir.worker(another.join(Role::Worker, "w1")).unwrap();
        let (near, far) = met(&worker, &pool).await;
        for text in [near.unwrap_err(), far.unwrap_err()] {
            assert!(
                text.contains("not of an authority that this end trusts")
                    || text.contains("does not trust"),
                "{text}"
            );
        }
        // One that trusts any server of this authority, and has no certificate or a foreign one.
        let server = pool.accept(());
        for own in [None, Some(Issuer::new("one").issue("w1", -1..9))] {
            let has_one = own.is_some();
            let mut config = client(&Issuer::new("one"), own);
            config.dangerous().set_certificate_verifier(worker_trusting(&dir, &authority));
            let stranger = TlsDial::new((), Arc::new(config));
            let (_, far) = shake(Memory::pair(), &stranger, &server).await;
            let text = far.unwrap_err().to_string();
            let why = if has_one { "not of an authority" } else { "has shown no certificate" };
            assert!(text.contains(why), "{text}");
        }
    });
}

fn worker_trusting(dir: &Dir, authority: &Authority) -> Arc<Judge> {
    dir.worker(authority.join(Role::Worker, "w0")).unwrap().judge()
}

#[test]
fn a_certificate_of_the_authority_that_names_no_member_or_two_is_none_of_a_member() {
    let dir = Dir::new();
    let authority = dir.authority();
    let judge = worker_trusting(&dir, &authority);
    for (uris, is_good) in [
        (&["chargehand://pool/m1"][..], true),
        (&["https://example.org/", "chargehand://pool/m1"], true),
        (&[], false),
        (&["https://example.org/pool/m1"], false),
        (&["chargehand://pool/m1", "chargehand://pool/m2"], false),
        (&["chargehand://pool/m1", "chargehand://worker/m1"], false),
        (&["chargehand://pool/m1/3"], false),
        (&["chargehand://pool/"], false),
        (&["chargehand://admin/m1"], false),
        // Nothing is made of what is nearly a member's.
        (&["chargehand://pool/m1/"], false),
        (&["chargehand://pool/m1/../m2"], false),
        (&["chargehand://POOL/m1"], false),
        (&["CHARGEHAND://pool/m1"], false),
        (&["chargehand://pool/m%31"], false),
        (&["chargehand://pool/m1?x"], false),
        (&["chargehand://pool/m1 "], false),
        (&["chargehand://pool/.m1"], false),
        (&["chargehand://pool/m1\0"], false),
        (&[&*format!("chargehand://pool/{}", "m".repeat(61))], false),
        (&[&*format!("chargehand://pool/{}", "m".repeat(60))], true),
    ] {
        let certificate = authority.certify(uris);
        let result = judge.own(&certificate);
        assert_eq!(result.is_ok(), is_good, "{uris:?}: {result:?}");
    }
}

#[test]
fn expired_and_early_certificates_are_told_to_the_day_at_the_end_that_has_them_too() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let expired = authority.join(Role::Worker, "w1").made_at(day(-38)).days(30);
        let text = dir.worker(expired).unwrap_err().to_string();
        assert!(text.contains("expired on 20") && text.contains("8 days ago"), "{text}");
        let early = authority.join(Role::Worker, "w1").made_at(day(9));
        let text = dir.worker(early).unwrap_err().to_string();
        assert!(text.contains("is not valid before 20"), "{text}");
    });
}

#[test]
fn a_certificate_says_a_week_before_that_it_expires() {
    let dir = Dir::new();
    let authority = dir.authority();
    let members = dir.worker(authority.join(Role::Worker, "w1").days(30)).unwrap();
    let left = members.expires().duration_since(SystemTime::now()).unwrap();
    assert!(left > DAY * 29 && left <= DAY * 30, "{left:?}");
    let warning = |before: u32| members.warning(members.expires() - DAY * before);
    assert_eq!(members.warning(SystemTime::now()), None);
    assert_eq!(warning(8), None);
    let text = warning(7).unwrap();
    assert!(text.contains("of \"w1\" expires on 20") && text.contains("in 7 days"), "{text}");
    assert!(warning(1).unwrap().contains("in 1 day:"));
    assert!(warning(0).unwrap().contains("today"));
    let text = members.warning(members.expires() + DAY * 2).unwrap();
    assert!(text.contains("\"w1\": its certificate expired on"), "{text}");
    assert!(text.contains("2 days ago"), "{text}");
}

#[test]
fn a_certificate_that_expires_and_a_member_that_is_revoked_end_the_trust_in_a_stream_that_is_up() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let list = dir.path("revoked");
        fs::write(&list, "").unwrap();
        let pool = dir.pool(authority.join(Role::Pool, "m1").days(30)).unwrap();
        let pool = pool.revoked(&list).unwrap();
        let brief = authority.join(Role::Worker, "w1").made_at(SystemTime::now() + DAY / 43_200);
        let brief = dir.worker(brief.days(0)).unwrap();
        let lasting = dir.worker(authority.join(Role::Worker, "w2").days(30)).unwrap();

        let (near, far) = shake(Memory::pair(), &brief.dial(()), &pool.accept(())).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let Trust::Ends(text) = far.trust() else { panic!("it is good for two seconds") };
        assert!(text.starts_with("the certificate of \"w1\" expires on 20"), "{text}");
        assert!(text.ends_with(", today: make a new join file"), "{text}");
        assert_eq!(near.trust(), Trust::Ends(text));
        smol::Timer::after(Duration::from_millis(3_100)).await;
        let Trust::Ended(text) = far.trust() else { panic!("it has expired") };
        assert!(text.starts_with("its certificate expired on 20"), "{text}");
        // Its own end says so, and leaves it to the other to go.
        assert!(matches!(near.trust(), Trust::Ends(text) if text.contains("\"w1\": its")));

        let (near, far) = shake(Memory::pair(), &lasting.dial(()), &pool.accept(())).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        assert_eq!((near.trust(), far.trust()), (Trust::Holds, Trust::Holds));
        fs::write(&list, "w2\n").unwrap();
        smol::Timer::after(Duration::from_millis(1_100)).await;
        assert_eq!(near.trust(), Trust::Holds);
        let Trust::Ended(text) = far.trust() else { panic!("it is on the list") };
        assert!(text.starts_with("its certificate has been revoked"), "{text}");
    });
}

#[test]
fn who_is_put_on_the_list_is_refused_from_the_next_handshake_on_with_a_session_to_resume_or_without()
 {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let list = dir.path("revoked");
        fs::write(&list, "# Nobody yet.\n").unwrap();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap().revoked(&list).unwrap();
        let [one, other] =
            ["w1", "w2"].map(|name| dir.worker(authority.join(Role::Worker, name)).unwrap());
        let dial = one.dial(());
        for _ in 0..2 {
            assert_eq!(met_by(&dial, &pool).await, (known("m1"), known("w1")));
        }
        assert!(!pool.is_revoked("w1"));

        fs::write(&list, "w1 # It was stolen.\n").unwrap();
        assert!(pool.is_revoked("w1") && pool.is_revoked("w1/3") && !pool.is_revoked("w11"));
        let mut told = Vec::new();
        for _ in 0..9 {
            let (near, far) = met_by(&dial, &pool).await;
            let text = far.unwrap_err();
            assert!(text.contains("has been revoked"), "{text}");
            told.push(near.unwrap_err());
        }
        assert!(told[0].contains("cut off"), "it was resumed: {}", told[0]);
        assert!(told[8].contains("which has been revoked"), "{}", told[8]);
        let (near, far) = met(&pool, &one).await;
        assert!(near.unwrap_err().contains("has been revoked"));
        assert!(far.unwrap_err().contains("which has been revoked"));
        assert_eq!(met(&other, &pool).await, (known("m1"), known("w2")));

        // A list that is gone, or half of one, lets nobody in again.
        fs::remove_file(&list).unwrap();
        assert!(pool.is_revoked("w1"));
        fs::write(&list, "w2\n!!\n").unwrap();
        assert!(pool.is_revoked("w1") && pool.is_revoked("w2"));
        // Nor does one that somebody is at: it may be the beginning of a whole one.
        fs::write(&list, "").unwrap();
        assert!(pool.is_revoked("w1") && pool.is_revoked("w2"));
        assert!(met(&one, &pool).await.1.unwrap_err().contains("has been revoked"));
        settle(&list);
        assert_eq!(met(&one, &pool).await, (known("m1"), known("w1")));
    });
}

/// Has a file look as it does once it has stood for a while.
fn settle(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3)).unwrap();
}

#[cfg(unix)]
#[test]
fn whoever_makes_the_list_one_that_anybody_may_change_takes_no_name_off_it() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    let list = dir.path("revoked");
    fs::write(&list, "w1").unwrap();
    let pool = dir.pool(dir.authority().join(Role::Pool, "m1")).unwrap().revoked(&list).unwrap();
    for (mode, text, is_revoked) in [(0o666, "w2", true), (0o644, "w2\n", false)] {
        fs::write(&list, text).unwrap();
        fs::set_permissions(&list, fs::Permissions::from_mode(mode)).unwrap();
        settle(&list);
        assert_eq!(pool.is_revoked("w1"), is_revoked, "{mode:o}");
        assert!(pool.is_revoked("w2"));
    }
}

#[test]
fn many_diallers_to_one_host_leave_each_other_their_sessions() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let worker = dir.worker(authority.join(Role::Worker, "w1")).unwrap();
        // More than rustls keeps sessions of one host.
        let diallers: Vec<_> = (0..20).map(|_| pool.dial(())).collect();
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            for dial in &diallers {
                let (near, far) = shake(Memory::pair(), dial, &worker.accept(())).await;
                let (mut near, mut far) = (near.unwrap(), far.unwrap());
                assert_eq!(near.session().handshake_kind(), Some(kind));
                // The tickets come with the first bytes.
                far.write_all(b"x").await.unwrap();
                far.flush().await.unwrap();
                near.read_exact(&mut [0]).await.unwrap();
            }
        }
    });
}

#[test]
fn one_certificate_of_a_name_is_revoked_by_its_serial_number() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let path = dir.path("w1.join");
        authority.join(Role::Worker, "w1").write(&path).unwrap();
        let old = Members::worker(&path).unwrap();
        let renewed = dir.worker(authority.join(Role::Worker, "w1")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let serial = file::header(&text, "Serial").unwrap();
        for serial in [format!("serial {serial}"), format!("serial: 00:{}", serial.to_uppercase())]
        {
            let list = dir.path("revoked");
            fs::write(&list, serial).unwrap();
            let pool = pool.clone().revoked(&list).unwrap();
            assert!(met(&pool, &old).await.0.unwrap_err().contains("has been revoked"));
            assert_eq!(met(&pool, &renewed).await, (known("w1"), known("m1")));
            assert!(!pool.is_revoked("w1"));
        }
    });
}

#[test]
fn a_list_that_cannot_be_meant_is_refused_at_the_start() {
    let dir = Dir::new();
    let authority = dir.authority();
    let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
    let list = dir.path("revoked");
    let text = pool.clone().revoked(&list).unwrap_err().to_string();
    assert!(text.contains("revoked: "), "{text}");
    for (lines, problem) in [
        ("w1\nw 2\n", "line 2, \"w 2\", is neither"),
        ("serial 0g", "line 1"),
        ("serial", ""),
        ("serial 123", "line 1"),
        ("serial: ", "line 1"),
    ] {
        fs::write(&list, lines).unwrap();
        let result = pool.clone().revoked(&list);
        // A member may be called so.
        assert_eq!(result.is_ok(), lines == "serial");
        let text = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn others_than_ours_find_the_host_that_they_dial_in_a_members_certificate() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1").host(NAME)).unwrap();
        let path = dir.path("w1.join");
        authority.join(Role::Worker, "w1").write(&path).unwrap();
        let join = JoinFile::read(&path).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(join.authorities[0].clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![join.certificate], join.key)
            .unwrap();
        let dial = TlsDial::new((), Arc::new(config));
        let (near, far) = shake(Memory::pair(), &dial, &pool.accept(())).await;
        assert!(near.is_ok());
        assert_eq!(far.unwrap().identity(), Some("w1"));
    });
}

#[test]
fn no_key_is_in_what_debug_shows() {
    let dir = Dir::new();
    let authority = dir.authority();
    let path = dir.path("w1.join");
    authority.join(Role::Worker, "w1").write(&path).unwrap();
    let members = Members::worker(&path).unwrap();
    let shown = format!(
        "{authority:?} {:?} {members:?} {:?} {:?} {:?}",
        authority.join(Role::Worker, "w1"),
        members.dial(()),
        members.accept(()),
        members.judge(),
    );
    assert!(shown.contains("Members { name: \"w1\""), "{shown}");
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    for name in ["authority.pem", "w1.join"] {
        let text = fs::read_to_string(dir.path(name)).unwrap();
        let key = text.split("PRIVATE KEY-----").nth(1).unwrap();
        for line in key.lines().filter(|line| line.len() > 20) {
            assert!(!shown.contains(line), "{shown}");
        }
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(text.as_bytes()).unwrap();
        let key: rustls::pki_types::PrivateKeyDer<'_> = key;
        let bytes = format!("{:?}", &key.secret_der()[40..48]);
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
