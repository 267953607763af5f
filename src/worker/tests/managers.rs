//! Which managers may use a worker, and what it makes of their names.

use crate::{Context, DisconnectReason};

use super::sources::accept;
use super::*;

/// Says at once that a manager is not let in, before anything else.
async fn is_refused(connector: &MemoryConnector) -> bool {
    let mut manager = Manager::connect(connector).await;
    let first = manager.recv().await.expect("a Hello or a Goodbye");
    match Message::decode(&first) {
        Ok(Message::Goodbye { code, text }) => {
            assert_eq!(code, Code::NotAllowed, "{text}");
            assert!(text.contains("managers"), "{text}");
            true
        }
        _ => false,
    }
}

#[test]
fn only_managers_that_have_proven_to_be_on_the_list_hear_anything_of_a_worker() {
    let (worker, _timer, connector, listener) = doubler();
    let (events, hook) = log();
    let worker = worker.managers(["m1", "m2"]).on_event(hook);
    beside(worker.serve(listener), async {
        for stranger in [
            connector.clone(),
            connector.clone().on_host("10.0.0.1"),
            connector.clone().proven("w1"),
            connector.clone().proven("m1/1"),
            connector.clone().proven("m10"),
            connector.clone().proven(""),
        ] {
            assert!(is_refused(&stranger).await, "{stranger:?}");
        }
        for identity in ["m1", "m2"] {
            let mut manager = Manager::meet(&connector.clone().proven(identity)).await;
            manager.ask(1, 4).await;
            assert_eq!(manager.done().await, (1, 8));
        }
        let events = events.lock().unwrap();
        let refused = events.iter().filter_map(|event| match event {
            WorkerEvent::Refused { reason: DisconnectReason::NotAllowed { identity }, .. } => {
                assert!(event.to_string().contains(identity.as_deref().unwrap_or("nothing")));
                Some(identity.as_deref())
            }
            _ => None,
        });
        let refused: Vec<_> = refused.collect();
        assert_eq!(refused, [None, None, Some("w1"), Some("m1/1"), Some("m10"), Some("")]);
        let connected = events.iter().filter_map(|event| match event {
            WorkerEvent::Connected { manager, identity, .. } => {
                assert!(event.to_string().contains("proven to be"), "{event}");
                Some((&**manager, identity.as_deref()))
            }
            _ => None,
        });
        let connected: Vec<_> = connected.collect();
        // They call themselves `m`.
        assert_eq!(connected, [("m1", Some("m1")), ("m2", Some("m2"))]);
    });
}

#[test]
fn a_request_that_comes_before_the_worker_has_looked_is_not_taken() {
    let (worker, _timer, connector, listener) = doubler();
    let worker = worker.managers(["m1"]);
    let (events, hook) = log();
    let mut eager = smol::block_on(async {
        let mut eager = Manager::connect(&connector.clone().proven("w1")).await;
        eager.welcome(1, 1 << 20).await;
        eager.ask(1, 4).await;
        eager
    });
    beside(worker.on_event(hook).serve(listener), async {
        let (code, _) = eager.goodbye().await;
        assert_eq!(code, Code::NotAllowed);
        let events = events.lock().unwrap();
        assert!(matches!(&events[..], [WorkerEvent::Refused { .. }]), "{events:?}");
    });
}

#[test]
fn a_worker_that_dials_refuses_managers_as_well_and_tries_again() {
    let (connector, listener) = pair(8);
    let mut listener = listener.proven("m9");
    let timer = ManualTimer::new();
    let (events, hook) = log();
    let worker = Worker::new(timer.clone(), double).managers(["m1"]).on_event(hook);
    beside(worker.dial(connector), async {
        for _ in 0..2 {
            let mut manager = accept(&mut listener).await;
            assert_eq!(manager.goodbye().await.0, Code::NotAllowed);
            settle().await;
            timer.advance(Duration::from_secs(60));
        }
        assert_eq!(events.lock().unwrap().len(), 2);
    });
}

#[cfg(feature = "json")]
#[test]
fn a_manager_of_the_go_package_is_on_the_list_or_does_not_get_in() {
    use chargehand_core::io::Dialect;

    let (connector, listener) = pair_of(Dialect::Json, 8);
    let (worker, ..) = doubler();
    beside(worker.managers(["m1"]).serve(listener), async {
        let mut stranger = Manager::connect(&connector).await;
        assert_eq!(stranger.recv().await, None, "it hears nothing, not even in JSON");
        let mut manager = Manager::connect(&connector.clone().proven("m1")).await;
        manager.send_bytes(b"{\"height\":4}", b"").await;
        assert!(manager.recv().await.is_some(), "an answer");
    });
}

#[test]
fn a_handler_sees_what_a_manager_calls_itself_only_as_far_as_that_is_proven() {
    let timer = ManualTimer::new();
    let (connector, listener) = pair(8);
    let worker = Worker::new(timer, |context: Context, _: u64| {
        core::future::ready(Ok::<_, String>(context.manager().to_owned()))
    });
    beside(worker.serve(listener), async {
        // All of them say `m`.
        for (identity, seen) in [(None, "m"), (Some("m"), "m"), (Some("boss"), "boss")] {
            let connector = match identity {
                Some(identity) => connector.clone().proven(identity),
                None => connector.clone(),
            };
            let mut manager = Manager::meet(&connector).await;
            manager.ask(1, 1).await;
            let (_, _, body) = manager.answer().await;
            assert_eq!(postcard::from_bytes::<String>(&body).unwrap(), seen);
        }
    });
}

#[test]
fn a_host_that_fills_the_handshakes_pushes_out_its_own_only() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.pending_handshakes_max(8).serve(listener), async {
        let mut slow = Manager::connect(&connector.clone().on_host("10.0.0.1")).await;
        settle().await;
        let mut crowd = Vec::new();
        for number in 0..200 {
            let host = format!("10.0.1.{}", number % 3);
            crowd.push(Manager::connect(&connector.clone().on_host(&host)).await);
            settle().await;
        }
        slow.recv().await.expect("the worker's Hello");
        slow.welcome(1, 1 << 20).await;
        slow.ping().await;
        let mut good = Manager::meet(&connector.clone().on_host("10.0.0.2")).await;
        good.ping().await;
    });
}

#[test]
fn handshakes_of_one_identity_push_out_its_own_only_and_strangers_go_before_members() {
    for is_proven in [true, false] {
        let (worker, _timer, connector, listener) = doubler();
        beside(worker.pending_handshakes_max(8).serve(listener), async {
            // All come from one address, as behind a router.
            let from = |name: Option<&str>| {
                let connector = connector.clone().on_host("10.0.0.1");
                name.map_or(connector.clone(), |name| connector.proven(name))
            };
            let mut slow = Manager::connect(&from(Some("m2"))).await;
            settle().await;
            let mut crowd = Vec::new();
            for _ in 0..50 {
                crowd.push(Manager::connect(&from(is_proven.then_some("m1"))).await);
                settle().await;
            }
            slow.recv().await.expect("the worker's Hello");
            slow.welcome(1, 1 << 20).await;
            slow.ping().await;
            // Of an identity no more than half are pending, so that others find room without pushing.
            let mut pending = 0;
            for manager in &mut crowd {
                while let Some(Some(_)) = smol::future::poll_once(manager.recv()).await {}
                pending += usize::from(smol::future::poll_once(manager.recv()).await.is_none());
            }
            assert_eq!(pending, if is_proven { 4 } else { 7 }, "beside that of the other member");
        });
    }
}
