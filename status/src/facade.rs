//! The figures by the facade of the crate `metrics`.

use std::collections::{HashMap, HashSet};

use chargehand::measure::Measures;
use metrics::{Label, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

use crate::Settings;
use crate::collect::{EventCounts, Life};
use crate::families::{Family, Unit, Value, WORKER_ID, families, id_text};

/// What was recorded so far of the histograms, which take what is new only.
#[derive(Debug, Default)]
pub(crate) struct Facade {
    is_described: bool,
    /// By the name, and the id of the worker where it is of one.
    recorded: HashMap<(&'static str, Option<String>), Vec<u64>>,
}

impl Facade {
    /// Records all figures.
    pub(crate) fn record(
        &mut self,
        measures: &Measures,
        events: &EventCounts,
        settings: &Settings,
    ) {
        let families = families(Life::Running, Some(measures), events, settings);
        if !std::mem::replace(&mut self.is_described, true) {
            families.iter().for_each(describe);
        }
        for family in &families {
            self.record_one(family);
        }
        // Those of workers that are there stay, shown or not: they would be recorded once more when they are shown again.
        let here: HashSet<_> = measures.workers.iter().map(|times| id_text(times.id)).collect();
        self.recorded.retain(|(_, id), _| id.as_ref().is_none_or(|id| here.contains(id)));
    }

    fn record_one(&mut self, family: &Family) {
        let name = name_of(family);
        for series in &family.series {
            let labels: Vec<_> =
                series.labels.iter().map(|(key, value)| Label::new(*key, value.clone())).collect();
            match &series.value {
                Value::Counter(count) => counter!(name.clone(), labels).absolute(*count),
                Value::Gauge(value) => gauge!(name.clone(), labels).set(*value),
                Value::Histogram(buckets, _) => {
                    let times = histogram!(name.clone(), labels);
                    let id = series.labels.iter().find(|(key, _)| *key == WORKER_ID);
                    let of = (family.name, id.map(|(_, id)| id.clone()));
                    let before = self.recorded.entry(of).or_default();
                    before.resize(buckets.len(), 0);
                    for (index, (bound, count)) in buckets.iter().enumerate() {
                        let more = count.saturating_sub(before[index]);
                        // What is beyond the last bound counts as twice that.
                        let below = index.checked_sub(1).map_or(0.0, |at| buckets[at].0);
                        let value = if bound.is_finite() { *bound } else { below * 2.0 };
                        times.record_many(value, usize::try_from(more).unwrap_or(usize::MAX));
                        before[index] = *count;
                    }
                }
            }
        }
    }
}

/// Returns the name with its unit, as exporters show it. What counts has no `_total`: they add that.
fn name_of(family: &Family) -> String {
    match family.unit {
        None => family.name.to_owned(),
        Some(Unit::Seconds) => format!("{}_seconds", family.name),
        Some(Unit::Bytes) => format!("{}_bytes", family.name),
    }
}

fn describe(family: &Family) {
    let (name, help) = (name_of(family), family.help);
    let unit = match family.unit {
        None => metrics::Unit::Count,
        Some(Unit::Seconds) => metrics::Unit::Seconds,
        Some(Unit::Bytes) => metrics::Unit::Bytes,
    };
    match family.series.first().map(|series| &series.value) {
        Some(Value::Counter(_)) => describe_counter!(name, unit, help),
        Some(Value::Gauge(_)) => describe_gauge!(name, unit, help),
        Some(Value::Histogram(..)) => describe_histogram!(name, unit, help),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use chargehand::tokio::Tokio;
    use chargehand::{Failure, Pool, WorkerOptions};

    use super::*;
    use crate::Status;

    #[tokio::test]
    async fn what_was_recorded_of_a_worker_is_kept_as_long_as_the_worker() {
        let (pool, driver) = Pool::builder(Tokio::new()).build().unwrap();
        tokio::spawn(driver);
        // It is measured from then on.
        pool.measure().await.unwrap();
        let events = EventCounts::default();
        let mut settings = Status::new(&pool).settings;
        let mut facade = Facade::default();
        let mut of_all = None;
        for _ in 0..3 {
            let echo = |height: u64| async move { Ok::<_, Failure>(height) };
            let worker = pool.add_in_process(echo, WorkerOptions::new()).await.unwrap();
            assert_eq!(pool.for_each::<u64>(1..=3, |_, _| {}).await.done, 3);
            let measures = pool.measure().await.unwrap();
            facade.record(&measures, &events, &settings);
            let with_worker = facade.recorded.len();
            // It is there and not shown: once it is shown again, only what is new is recorded.
            let series = std::mem::replace(&mut settings.worker_series, 0);
            facade.record(&measures, &events, &settings);
            settings.worker_series = series;
            assert_eq!(facade.recorded.len(), with_worker);
            pool.remove(worker).await.unwrap();
            facade.record(&pool.measure().await.unwrap(), &events, &settings);
            let left = facade.recorded.len();
            assert_eq!(left + 1, with_worker, "the worker had one");
            assert_eq!(
                *of_all.get_or_insert(left),
                left,
                "nothing is left of workers that are gone"
            );
        }
    }
}
