//! Managers that speak the JSON dialect.

use alloc::string::String;
use alloc::string::ToString;

use super::*;

#[cfg(feature = "json")]
#[test]
fn a_json_manager_may_pipeline_and_gets_success_or_the_text() {
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let worker = Worker::new(ManualTimer::new(), |height: u64| async move {
        smol::future::yield_now().await;
        if height == 2 { Err("<none>") } else { Ok(vec![height]) }
    })
    .concurrency(4);
    let (events, hook) = log();
    beside(worker.on_event(hook).serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        for height in ["1", "2", "-1", "3"] {
            manager.send_bytes(format!("{{\"Height\":{height}}}").as_bytes(), &[]).await;
        }
        for expected in [
            r#"{"Height":1,"Success":true,"Error":""}"#,
            r#"{"Height":2,"Success":false,"Error":"\u003cnone\u003e"}"#,
            r#"{"Height":-1,"Success":false,"Error":"the height is below zero, and this worker's"#,
            r#"{"Height":3,"Success":true,"Error":""}"#,
        ] {
            let answer = String::from_utf8(manager.recv().await.unwrap()).unwrap();
            assert!(answer.starts_with(expected), "{answer}");
        }
        manager.send_bytes(b"{\"Height\":}", &[]).await;
        assert_eq!(manager.recv().await, None);
        let last = events.lock().unwrap().pop();
        let Some(WorkerEvent::Disconnected { reason, .. }) = last else { panic!("{last:?}") };
        assert!(reason.to_string().contains("not JSON"), "{reason}");
    });
}

#[cfg(feature = "json")]
#[test]
fn with_signed_heights_a_json_manager_may_ask_for_any() {
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let worker = Worker::new(ManualTimer::new(), |height: i64| async move {
        Err::<(), _>(format!("{height} & \"that\"\n"))
    });
    beside(worker.json_heights(crate::JsonHeights::Signed).serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        for height in [i64::MIN, -1, 0, i64::MAX] {
            manager.send_bytes(format!("{{\"Height\":{height}}}").as_bytes(), &[]).await;
            let expected = format!(
                "{{\"Height\":{height},\"Success\":false,\"Error\":\"{height} \\u0026 \\\"that\\\"\\n\"}}"
            );
            assert_eq!(String::from_utf8(manager.recv().await.unwrap()).unwrap(), expected);
        }
    });
}

#[cfg(feature = "json")]
#[test]
fn what_runs_for_a_json_manager_ends_with_its_link() {
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let ended = Arc::new(AtomicUsize::new(0));
    let watched = Arc::clone(&ended);
    let worker = Worker::new(ManualTimer::new(), move |height: u64| {
        let ends = Ends(Arc::clone(&watched));
        async move {
            if height == 1 {
                pending::<()>().await;
            }
            drop(ends);
            Ok::<_, String>(())
        }
    });
    beside(worker.serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        manager.send_bytes(b"{\"Height\":1}", &[]).await;
        settle().await;
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        drop(manager);
        settle().await;
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        // Its place is free for the next manager, which is the same one come back.
        let mut manager = Manager::connect(&connector).await;
        manager.send_bytes(b"{\"Height\":2}", &[]).await;
        assert_eq!(manager.recv().await.unwrap(), br#"{"Height":2,"Success":true,"Error":""}"#);
    });
}
