//! The figures as `OpenMetrics` text, which Prometheus reads.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::Settings;
use crate::collect::Frame;
use crate::families::{self, Family, Value, families};

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the figures of a frame.
pub(crate) fn text(frame: &Arc<Frame>, settings: &Settings) -> String {
    let measures = frame.measures.as_deref();
    let families = families(frame.life, measures, &frame.event_counts, settings);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes any text");
    text
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let Some(first) = family.series.first() else { continue };
            let kind = match first.value {
                Value::Counter(_) => MetricType::Counter,
                Value::Gauge(_) => MetricType::Gauge,
                Value::Histogram(..) => MetricType::Histogram,
            };
            let unit = family.unit.map(|unit| match unit {
                families::Unit::Seconds => Unit::Seconds,
                families::Unit::Bytes => Unit::Bytes,
            });
            let (name, help) = (family.name, family.help);
            let mut of_all = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for series in &family.series {
                if series.labels.is_empty() {
                    write(&mut of_all, &series.value)?;
                } else {
                    write(&mut of_all.encode_family(&series.labels)?, &series.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, value: &Value) -> Result<(), fmt::Error> {
    match value {
        Value::Counter(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram(buckets, sum) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Series;

    #[test]
    fn a_workers_name_cannot_become_a_figure_of_its_own() {
        let name = "a\"} 1\nchargehand_up 0\n# EOF\\";
        let series = Series { labels: vec![("worker", name.to_owned())], value: Value::Gauge(3.0) };
        let help = "Whether it is.";
        let family = Family { name: "it", help, unit: None, series: vec![series] };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families(vec![family])));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let line = r#"it{worker="a\"} 1\nchargehand_up 0\n# EOF\\"} 3.0"#;
        assert_eq!(lines, ["# HELP it Whether it is.", "# TYPE it gauge", line, "# EOF"]);
    }
}
