//! Streams of the pool without `StreamExt`, and ledgers that are kept as text.

use chargehand::core::ledger::{Snapshot, Span};
use chargehand::testing::{Script, World};
use chargehand::{Ledger, PoolEvent};

#[test]
fn a_range_and_its_events_need_no_stream_ext() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().answers(|height: u64| height + 1));
    let pool = world.pool(|builder| builder);
    let mut events = pool.events();
    let (sum, first) = world.run(async {
        let mut outcomes = pool.process::<u64>(1..=10);
        let mut sum = 0;
        while let Some((height, outcome)) = outcomes.next().await {
            assert_eq!(outcome, Ok(height + 1));
            sum += height;
        }
        assert_eq!(outcomes.next().await, None, "it stays at its end");
        (sum, events.next().await)
    });
    assert_eq!(sum, 55);
    assert!(matches!(first, Some(PoolEvent::Connected { .. })), "{first:?}");
}

#[test]
fn a_snapshot_comes_back_from_json_and_from_postcard() {
    let mut ledger = Ledger::from(1..=10);
    ledger.complete_range(1..=6).unwrap();
    ledger.fail(8).unwrap();
    let snapshot = ledger.snapshot();

    let json = serde_json::to_string(&snapshot).unwrap();
    let from_json: Snapshot<Vec<Span>> = serde_json::from_str(&json).unwrap();
    let bytes = postcard::to_stdvec(&snapshot).unwrap();
    let from_postcard: Snapshot<Vec<Span>> = postcard::from_bytes(&bytes).unwrap();

    for kept in [from_json, from_postcard] {
        let resumed = Ledger::resume_growing(&kept, 8).unwrap();
        assert_eq!(resumed.spans(), ledger.spans());
        assert_eq!(resumed.range(), Some(1..=10));
    }
}
