//! Pools and workers on links with a key.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::BackoffPolicy;
use chargehand::keyed::{KeyedConnector, KeyedListener, SharedKey};
use chargehand::testing::conformance::Pair;
use chargehand::{Pool, PoolEvent, Worker};

use super::{KEY, key, keys};

/// Nothing prints a byte of the key, as text of any kind.
fn free_of_keys(printed: &str) {
    let hex = format!("{:02x}", KEY[0]).repeat(2);
    let list = format!("{}, {}", KEY[0], KEY[0]);
    for trace in [&*hex, &*hex.to_uppercase(), &*list] {
        assert!(!printed.contains(trace), "{trace} in {printed}");
    }
}

/// One worker with the right key, one with another, and one without, all at one door.
pub(super) fn known_by_their_keys<P: Pair>() {
    P::run(async {
        let (listener, connector) = P::place();
        let listener = KeyedListener::manager(listener, "pool", keys()).unwrap();
        let mut printed = format!("{:?}", keys());
        let (pool, driver) = Pool::builder(P::timer())
            .name("pool")
            .accept(listener)
            .configure(|config| {
                config.backoff = BackoffPolicy::new().base(Duration::from_millis(20));
            })
            .build()
            .unwrap();
        let mut events = pool.events();
        P::spawn(async move {
            driver.await;
        });

        let told = Arc::new(Mutex::new(String::new()));
        let worker = |name: &str| {
            let told = Arc::clone(&told);
            Worker::new(P::timer(), |height: u64| async move { Ok::<_, String>(height * 2) })
                .name(name)
                .on_event(move |event| {
                    writeln!(told.lock().unwrap(), "{event:?} {event}").unwrap();
                })
        };
        let plain = worker("plain").dial(connector.clone());
        P::spawn(async move {
            let _ = plain.await;
        });
        let other = SharedKey::new([0xd8; 32]);
        let other = KeyedConnector::worker(connector.clone(), "w1", other).unwrap();
        let other = worker("w1").dial(other);
        P::spawn(async move {
            let _ = other.await;
        });
        let (mut without, mut another) = (false, false);
        while !(without && another) {
            let event = events.next().await.expect("the pool lives");
            writeln!(printed, "{event:?} {event}").unwrap();
            if let PoolEvent::TurnedAway { reason, .. } = event {
                let reason = reason.to_string();
                without |= reason.contains("has no key");
                another |= reason.contains("says that it is \"w1\", and no such key");
            }
        }
        let good = KeyedConnector::worker(connector, "w1", key()).unwrap();
        let good = worker("w1").dial(good);
        P::spawn(async move {
            let _ = good.await;
        });

        let mut outcomes = pool.process::<u64>(1..=200);
        while let Some((height, outcome)) = outcomes.next().await {
            assert_eq!(outcome.unwrap(), height * 2);
        }
        let stats = pool.stats().await.unwrap();
        let names: Vec<_> = stats.workers.iter().map(|worker| worker.peer.to_string()).collect();
        assert_eq!(stats.workers.len(), 1, "{names:?}");
        pool.stop().await.unwrap();
        while let Some(event) = events.next().await {
            writeln!(printed, "{event:?} {event}").unwrap();
        }
        printed += &told.lock().unwrap();
        assert!(printed.contains("Unproven"), "those that were refused were told why: {printed}");
        free_of_keys(&printed);
    });
}

/// A worker that is up when its key is taken off the list, as where it was stolen.
pub(super) fn removed<P: Pair>() {
    P::run(async {
        let (listener, connector) = P::place();
        let list = keys();
        let listener = KeyedListener::manager(listener, "pool", list.clone()).unwrap();
        let brief = BackoffPolicy::new().base(Duration::from_millis(20));
        let (pool, driver) =
            Pool::builder(P::timer()).name("pool").accept(listener).build().unwrap();
        let mut events = pool.events();
        P::spawn(async move {
            driver.await;
        });
        let connector = KeyedConnector::worker(connector, "w1", key()).unwrap();
        let double = |height: u64| async move { Ok::<_, String>(height * 2) };
        let worker = Worker::new(P::timer(), double).name("w1").backoff(brief).dial(connector);
        P::spawn(async move {
            let _ = worker.await;
        });
        assert_eq!(pool.call::<u64, u64>(&4).await, Ok(8));
        assert!(list.remove_member("w1"));
        // The link ends, and the worker does not come back.
        let (mut is_lost, mut is_refused) = (false, false);
        while !(is_lost && is_refused) {
            match events.next().await.expect("the pool lives") {
                PoolEvent::Lost { reason, .. } => {
                    let reason = reason.to_string();
                    assert!(reason.contains("not on the list here any more"), "{reason}");
                    is_lost = true;
                }
                PoolEvent::TurnedAway { reason, .. } => {
                    assert!(reason.to_string().contains("no such key"), "{reason}");
                    is_refused = true;
                }
                _ => {}
            }
        }
        pool.stop().await.unwrap();
    });
}
