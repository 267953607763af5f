//! Rows that are measured in turn, so that what disturbs the machine disturbs all of them.

use crate::figures::Record;
use crate::measure::Figures;

/// Rows that are compared with each other.
pub(crate) struct Contest<'a> {
    section: String,
    name: String,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    name: String,
    /// Which row its ratio is to.
    base: Option<usize>,
    /// Which row's ratio its own is compared with.
    against: Option<usize>,
    measure: Box<dyn Fn() -> Figures + 'a>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(section: &str, name: impl Into<String>) -> Self {
        Self { section: section.to_owned(), name: name.into(), rows: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a row, whose ratio is to the row of index `base`, and returns its index.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        base: Option<usize>,
        measure: impl Fn() -> Figures + 'a,
    ) -> usize {
        assert!(base.is_none_or(|base| base < self.rows.len()), "rows come after their base");
        self.rows.push(Row { name: name.into(), base, against: None, measure: Box::new(measure) });
        self.rows.len() - 1
    }

    /// Adds a row with a figure `price` besides: its ratio to that of row `against`.
    pub(crate) fn add_against(
        &mut self,
        name: impl Into<String>,
        base: usize,
        against: usize,
        measure: impl Fn() -> Figures + 'a,
    ) {
        let row = self.add(name, Some(base), measure);
        self.rows[row].against = Some(against);
    }

    /// Measures every row in turn, so many times. The figure `ratio` is between rates of the same
    /// round.
    pub(crate) fn run(&self, rounds: usize) -> Vec<Record> {
        let mut found: Vec<Vec<Figures>> = vec![Vec::new(); self.rows.len()];
        for round in 0..rounds.max(1) {
            for (index, row) in self.rows.iter().enumerate() {
                let mut figures = (row.measure)();
                if let Some(base) = row.base
                    && let Some(rate) = figures.get("rate")
                {
                    let ratio = rate / found[base][round]["rate"];
                    figures.insert("ratio".to_owned(), ratio);
                    if let Some(against) = row.against {
                        figures.insert("price".to_owned(), ratio / found[against][round]["ratio"]);
                    }
                }
                found[index].push(figures);
            }
        }
        let rows = self.rows.iter().zip(&found);
        rows.map(|(row, found)| Record::new(&self.section, &self.name, &row.name, found)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn rows_take_turns_and_ratios_are_within_a_round() {
        let turns = RefCell::new(String::new());
        let round = Cell::new(1.0);
        let figures = |rate| Figures::from([("rate".to_owned(), rate)]);
        let mut contest = Contest::new("section", "group");
        let base = contest.add("bare", None, || {
            turns.borrow_mut().push('b');
            round.set(round.get() * 10.0);
            figures(round.get())
        });
        contest.add("ours", Some(base), || {
            turns.borrow_mut().push('o');
            figures(round.get() / 4.0)
        });
        let records = contest.run(3);
        assert_eq!(*turns.borrow(), "bobobo");
        assert!(!records[0].figures.contains_key("ratio"));
        let ratio = records[1].figures["ratio"];
        assert!((ratio.min - 0.25).abs() < 1e-9);
        assert!((ratio.max - 0.25).abs() < 1e-9);
    }
}
