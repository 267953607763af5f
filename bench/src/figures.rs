//! What was measured, and where it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::measure::Figures;
use crate::processes::root;

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// One row of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which table.
    pub(crate) section: String,
    /// Rows of a group were measured in turn.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) rounds: usize,
    pub(crate) figures: BTreeMap<String, Spread>,
}

impl Spread {
    /// Returns the spread of these, which are one at least.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            values[middle - 1].midpoint(values[middle])
        };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

impl Record {
    /// Puts the rounds of one row together.
    pub(crate) fn new(section: &str, group: &str, name: &str, rounds: &[Figures]) -> Self {
        let names = rounds[0].keys();
        let spread = |figure: &String| {
            let values = rounds.iter().filter_map(|figures| figures.get(figure).copied());
            (figure.clone(), Spread::of(values.collect()))
        };
        Self {
            section: section.to_owned(),
            group: group.to_owned(),
            name: name.to_owned(),
            rounds: rounds.len(),
            figures: names.map(spread).collect(),
        }
    }

    /// Returns the median of a figure.
    pub(crate) fn median(&self, figure: &str) -> f64 {
        self.figures.get(figure).map_or(f64::NAN, |spread| spread.median)
    }
}

/// Where the figures are kept, one row a line.
pub(crate) fn store_path() -> PathBuf {
    root().join("docs/performance/figures.jsonl")
}

/// Puts the rows in place of those of the same sections.
pub(crate) fn store(records: &[Record]) -> io::Result<()> {
    let mut all = stored()?;
    all.retain(|old| !records.iter().any(|new| new.section == old.section));
    all.extend_from_slice(records);
    fs::create_dir_all(store_path().parent().expect("a file in a directory"))?;
    let mut file = io::BufWriter::new(fs::File::create(store_path())?);
    for record in all {
        serde_json::to_writer(&mut file, &record)?;
        writeln!(file)?;
    }
    file.flush()
}

/// Returns what is kept.
pub(crate) fn stored() -> io::Result<Vec<Record>> {
    let text = match fs::read_to_string(store_path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_the_ends() {
        let odd = Spread::of(vec![5.0, 1.0, 3.0]);
        assert_eq!(odd, Spread { median: 3.0, min: 1.0, max: 5.0 });
        let even = Spread::of(vec![4.0, 1.0, 2.0, 9.0]);
        assert_eq!(even, Spread { median: 3.0, min: 1.0, max: 9.0 });
    }

    #[test]
    fn a_record_is_the_same_after_it_was_kept() {
        let rounds = [1.0, 2.0, 4.0].map(|rate| Figures::from([("rate".to_owned(), rate)]));
        let record = Record::new("throughput", "tcp", "process", &rounds);
        let text = serde_json::to_string(&record).unwrap();
        let back: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(back.figures, record.figures);
        assert!((back.median("rate") - 2.0).abs() < f64::EPSILON);
        assert!(back.median("p50").is_nan());
    }
}
