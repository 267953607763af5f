//! The same figures by the facade of the crate `metrics`.
#![cfg(feature = "metrics")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool};
use chargehand_status::Status;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use support::Outcome;
use tokio::time::sleep;

/// Keeps what is recorded, each by its name and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, (f64, u64)>>>);

/// One figure of those.
struct Figure(Kept, String);

impl Figure {
    fn change(&self, change: impl FnOnce(&mut (f64, u64))) {
        change(self.0.0.lock().unwrap().entry(self.1.clone()).or_default());
    }
}

impl CounterFn for Figure {
    fn increment(&self, value: u64) {
        self.change(|figure| figure.1 += value);
    }

    fn absolute(&self, value: u64) {
        self.change(|figure| figure.1 = value);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, value: f64) {
        self.change(|figure| figure.0 += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|figure| figure.0 -= value);
    }

    fn set(&self, value: f64) {
        self.change(|figure| figure.0 = value);
    }
}

impl HistogramFn for Figure {
    fn record(&self, value: f64) {
        self.change(|figure| *figure = (figure.0 + value, figure.1 + 1));
    }
}

impl Kept {
    fn figure(&self, key: &Key) -> Arc<Figure> {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::new(Figure(self.clone(), name))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
        assert!(!text.is_empty(), "{key:?}");
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
        assert!(!text.is_empty(), "{key:?}");
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
        assert!(!text.is_empty(), "{key:?}");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.figure(key))
    }
}

#[tokio::test]
async fn the_facade_is_told_the_same_figures() -> Outcome {
    let kept = Kept::default();
    metrics::set_global_recorder(kept.clone()).map_err(|_| "it is set once")?;
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, |height: u64| async move {
            sleep(Duration::from_millis(2)).await;
            if height % 10 == 0 { Err(Failure::permanent("no block")) } else { Ok(height) }
        })
        .build()?;
    tokio::spawn(driver);
    let _routes: axum::Router = Status::new(&pool).interval(Duration::from_millis(100)).router("/");
    sleep(Duration::from_millis(200)).await;
    pool.for_each::<u64>(1..=200, |_, _| {}).await;
    sleep(Duration::from_millis(400)).await;
    let kept = kept.0.lock().unwrap().clone();
    assert_eq!(kept["chargehand_tasks{outcome=done}"].1, 180);
    assert_eq!(kept["chargehand_tasks{outcome=failed}"].1, 20);
    assert!((kept["chargehand_up{}"].0 - 1.0).abs() < 1e-9);
    assert!((kept["chargehand_memory_limit_bytes{}"].0 - 268_435_456.0).abs() < 1e-9);
    let (sum, count) = kept["chargehand_round_trip_seconds{}"];
    assert_eq!(count, 200, "each is told once");
    // Each by the upper bound of its bucket, which is twice the lower one.
    assert!(sum > 200.0 * 0.002 && sum < 200.0 * 0.5, "{sum}");
    assert_eq!(kept["chargehand_task_attempts{}"].1, 200);
    assert_eq!(kept["chargehand_worker_attempts{worker=in-process 1,id=0.0,how=done}"].1, 180);
    Ok(())
}
