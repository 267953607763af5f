//! Keys in what is logged and shown, which there are none: with tracing on at every level, over TLS and with
//! keys alone, where all goes well and where it does not.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chargehand::core::io::{Connect, Wire};
use chargehand::keyed::{KeyedConnector, KeyedListener, Keys, SharedKey};
use chargehand::smol::Smol;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::{Authority, Members, Role};
use chargehand::tls::rustls::pki_types::PrivateKeyDer;
use chargehand::tls::rustls::pki_types::pem::PemObject;
use chargehand::worker::WorkerEvent;
use chargehand::{BoxError, Builder, Pool, Threaded, Worker, memory};
use futures_util::future::join;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const KEY: [u8; 32] = *b"\x9d1\xe4\x07kQ\xc8\xf3z\x15\xaeRl\xd9\x88\x03\xb7Ee\xfa\x1c\x92\xdd>X\xa1\x0c\xe9v/\xbb\x84";
const OTHER_KEY: [u8; 32] = *b"\x2a\xf7\x5b\xc0\x8e\x13\xd6\x61\x9f\x4c\xe2\x0b\x77\xb5\x38\xea\x01\xcd\x54\x96\x3f\xa8\x6d\xf0\x12\x8b\xd4\x49\xe6\x25\xbc\x70";

/// All that was said, by whomever.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn note(&self, text: &dyn fmt::Debug) {
        let mut log = self.0.lock().unwrap();
        writeln!(log, "{text:?}\n{text:#?}").unwrap();
    }
}

struct Visitor<'a>(&'a Log);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.note(&(field.name(), value));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Visitor(self));
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Visitor(self));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Visitor(self));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Any four bytes of a key, as anybody would write them.
fn forms(key: &[u8]) -> Vec<String> {
    let written = |four: &[u8]| {
        let [a, b, c, d] = four else { unreachable!("there are four") };
        [
            format!("{a}, {b}, {c}, {d}"),
            format!("{a:02x}{b:02x}{c:02x}{d:02x}"),
            format!("{a:02X}{b:02X}{c:02X}{d:02X}"),
            format!("{a:#04x}, {b:#04x}, {c:#04x}, {d:#04x}"),
        ]
    };
    key.windows(4).flat_map(written).collect()
}

/// Has a worker dial a pool, waits for a task that it does or for its refusal, and notes what both tell.
async fn meet<C>(log: &Log, builder: Builder<Smol, Threaded>, connector: C, is_good: bool)
where
    C: Connect<Error: Into<BoxError>, Wire: Wire<Error: Into<BoxError>>> + fmt::Debug,
{
    log.note(&(&builder, &connector));
    let (pool, driver) = builder.build().unwrap();
    let mut events = pool.events();
    log.note(&driver);
    let driver = smol::spawn(driver);
    let told = log.clone();
    let (refused, is_refused) = async_channel::unbounded();
    let work = |height: u64| async move { Ok::<_, String>(height) };
    let worker = Worker::new(Smol::new(), work).name("w1").on_event(move |event| {
        told.note(event);
        if let WorkerEvent::Refused { .. } = event {
            let _ = refused.try_send(());
        }
    });
    let stopper = worker.stopper();
    let work = async {
        if is_good {
            assert_eq!(pool.call::<u64, u64>(&7).await, Ok(7));
        } else {
            is_refused.recv().await.unwrap();
        }
        stopper.stop();
    };
    let (served, ()) = join(worker.dial(connector), work).await;
    served.unwrap();
    pool.stop().await.unwrap();
    driver.await;
    while let Some(event) = events.next().await {
        log.note(&event);
    }
}

async fn with_keys(log: &Log, sealed: bool) {
    for own in [KEY, OTHER_KEY] {
        let (connector, listener) = memory::pair(64);
        let keys = Keys::new().with("w1", SharedKey::new(KEY)).unwrap();
        let mut listener = KeyedListener::manager(listener, "m1", keys).unwrap();
        let mut connector = KeyedConnector::worker(connector, "w1", SharedKey::new(own)).unwrap();
        if !sealed {
            (listener, connector) = (listener.unsealed(), connector.unsealed());
        }
        log.note(&listener);
        let builder = Pool::builder(Smol::new()).name("m1").accept(listener);
        meet(log, builder, connector, own == KEY).await;
    }
}

/// Returns the bytes of all keys.
async fn with_members(log: &Log) -> Vec<Vec<u8>> {
    let folder = Folder::new();
    let authorities = ["ours", "another"].map(|name| Authority::create(folder.path(name)).unwrap());
    let [ours, another] = &authorities;
    log.note(&(ours, ours.join(Role::Pool, "m1")));
    ours.join(Role::Pool, "m1").days(3).write(folder.path("m1")).unwrap();
    ours.join(Role::Worker, "w1").days(3).write(folder.path("w1")).unwrap();
    another.join(Role::Worker, "w1").write(folder.path("x1")).unwrap();
    let pool = Members::pool(folder.path("m1")).unwrap();
    for (file, is_good) in [("w1", true), ("x1", false)] {
        let worker = Members::worker(folder.path(file)).unwrap();
        let door = Smol::bind("127.0.0.1:0").await.unwrap();
        let at = format!("tls://{}", door.local_addr().unwrap());
        let listener = TcpListener::new(pool.accept(door));
        log.note(&(&pool, &worker, &listener));
        let connector = TcpConnector::new(worker.dial(Smol::new()), &at).unwrap();
        meet(log, Pool::builder(Smol::new()).name("m1").accept(listener), connector, is_good).await;
    }
    // The wrong file, and half a file.
    log.note(&Members::worker(folder.path("m1")).unwrap_err());
    let text = std::fs::read_to_string(folder.path("w1")).unwrap();
    // The copy has the mode of the file: one that others can read is refused for that alone.
    std::fs::copy(folder.path("w1"), folder.path("half")).unwrap();
    std::fs::write(folder.path("half"), &text[..text.len() - 60]).unwrap();
    let error = Members::worker(folder.path("half")).unwrap_err();
    log.note(&(&error, error.to_string()));
    ["ours", "another", "m1", "w1", "x1"]
        .map(|name| {
            let key = PrivateKeyDer::from_pem_file(folder.path(name)).unwrap();
            // The number itself, which PKCS #8 has at its beginning, and no public part.
            key.secret_der()[36..68].to_vec()
        })
        .into()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("chargehand-no-key-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn no_part_of_a_key_is_in_what_is_traced_told_or_shown() {
    let log = Log::default();
    // For all threads: this is the only test of its process.
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let mut keys = smol::block_on(async {
        with_keys(&log, true).await;
        with_keys(&log, false).await;
        with_members(&log).await
    });
    keys.extend([KEY.to_vec(), OTHER_KEY.to_vec()]);
    let log = log.0.lock().unwrap().clone();
    for said in ["connected", "cannot connect", "expires on 20", "not of an authority", "Unproven"]
    {
        assert!(log.contains(said), "it hears what is said: {said}\n{log}");
    }
    for key in &keys {
        for form in forms(key) {
            assert!(!log.contains(&form), "{form} of {key:?} in {log}");
        }
    }
    // It would find one.
    let shown = format!("{:?}", keys[0]);
    assert!(forms(&keys[0]).iter().any(|form| shown.contains(form)));
}
