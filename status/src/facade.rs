//! The figures by the facade of the crate `metrics`.

use std::collections::HashMap;

use chargehand::measure::Measures;
use metrics::{Label, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

use crate::Settings;
use crate::collect::{EventCounts, Life};
use crate::families::{Family, Unit, Value, families};

/// What was recorded so far of the histograms, which take what is new only.
#[derive(Debug, Default)]
pub(crate) struct Facade {
    is_described: bool,
    /// By the name and the labels.
    recorded: HashMap<(&'static str, Vec<String>), Vec<u64>>,
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
                    let of = series.labels.iter().map(|(_, value)| value.clone()).collect();
                    let before = self.recorded.entry((family.name, of)).or_default();
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
