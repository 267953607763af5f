//! Writes docs/PERFORMANCE.md anew: what stands between its marks, and the plots beside it.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::process::ExitCode;

use super::{goals, judged, latency, mixed, peers, scale, schedulers, throughput, tls};
use crate::cli::Options;
use crate::figures::{self, Record};
use crate::pieces::PIECES;
use crate::plots::{self, Plot};
use crate::processes::{machine, root};
use crate::table::{
    self, Column, JUDGED, LATENCY, MIXED, PEERS, SCALE, THROUGHPUT, TLS, grouped, micros, three,
    two,
};

const PAGE: &str = "docs/PERFORMANCE.md";
const PLOTS: &str = "docs/performance";

/// Each section, its columns, and what is drawn of it.
const SECTIONS: [(&str, &[Column], Option<Plot>); 8] = [
    (
        throughput::SECTION,
        THROUGHPUT,
        Some(Plot { title: "Tasks a second", figure: "rate", show: grouped }),
    ),
    (
        latency::SECTION,
        LATENCY,
        Some(Plot { title: "Median latency, microseconds", figure: "p50", show: micros }),
    ),
    (peers::SECTION, PEERS, Some(Plot { title: "Jobs a second", figure: "rate", show: grouped })),
    (scale::SECTION, SCALE, None),
    (tls::SECTION, TLS, None),
    (
        mixed::SECTION,
        MIXED,
        Some(Plot { title: "Makespan to the ideal", figure: "to ideal", show: two }),
    ),
    (
        judged::SECTION,
        JUDGED,
        Some(Plot { title: "Seconds, without and with", figure: "seconds", show: three }),
    ),
    (
        schedulers::SECTION,
        MIXED,
        Some(Plot { title: "Makespan to the ideal", figure: "to ideal", show: two }),
    ),
];

/// What measures each section. The option `only` chooses among them, and `goals`.
const MEASURES: [(&str, fn(&Options) -> Vec<Record>); 8] = [
    (throughput::SECTION, throughput::run),
    (latency::SECTION, latency::run),
    (peers::SECTION, peers::run),
    (scale::SECTION, scale::run),
    (tls::SECTION, tls::run),
    (mixed::SECTION, mixed::run),
    (judged::SECTION, mixed::run_judged),
    (schedulers::SECTION, schedulers::run),
];

pub(crate) fn run(options: &Options, stored: bool) -> ExitCode {
    match write(options, stored) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{PAGE} was not written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(options: &Options, stored: bool) -> Result<(), Box<dyn Error>> {
    let mut page = fs::read_to_string(root().join(PAGE))?;
    if !stored {
        let all = Options { only: String::new(), ..options.clone() };
        for (section, measure) in MEASURES {
            if options.wants(section) {
                figures::store(&measure(&all))?;
            }
        }
        page = replaced(&page, "machine", &format!("{}.\n", machine()))?;
        if options.wants("goals") {
            page = replaced(&page, "goals", &goals::markdown(&goals::measure(&all)))?;
        }
    }
    let records = figures::stored()?;
    for (section, columns, plot) in SECTIONS {
        let rows: Vec<&Record> = records.iter().filter(|row| row.section == section).collect();
        page = replaced(&page, section, &tables(&rows, columns))?;
        if let Some(plot) = plot {
            plots::draw(&plot, &rows, &root().join(PLOTS).join(format!("{section}.svg")))?;
        }
    }
    page = replaced(&page, "instructions", &instructions()?)?;
    fs::write(root().join(PAGE), page)?;
    Ok(())
}

/// Returns a table for each group.
fn tables(rows: &[&Record], columns: &[Column]) -> String {
    let mut text = String::new();
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        let group: Vec<Record> = group.iter().copied().cloned().collect();
        let table = table::markdown(&group, columns);
        writeln!(text, "**{}**\n\n{table}", group[0].group).expect("a string takes all");
    }
    text.trim_end().to_owned() + "\n"
}

fn instructions() -> Result<String, Box<dyn Error>> {
    let recorded = fs::read_to_string(root().join("bench/instructions.txt"))?;
    let mut text = "| piece | instructions for one cycle |\n|---|---:|\n".to_owned();
    for piece in PIECES {
        let line = recorded.lines().find_map(|line| line.strip_suffix(&format!(" {}", piece.name)));
        writeln!(text, "| {} | {} |", piece.name, line.unwrap_or("not recorded"))?;
    }
    Ok(text)
}

/// Returns the page with other text between the marks of that name.
fn replaced(page: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let missing = || format!("it has no marks of {name}");
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n<!-- b -->\n";
        let expected = "before\n<!-- a -->\n\nnew\n<!-- end of a -->\nafter\n<!-- b -->\n";
        assert_eq!(replaced(page, "a", "new").unwrap(), expected);
        assert_eq!(replaced(expected, "a", "new").unwrap(), expected);
        assert!(replaced(page, "b", "new").is_err());
    }

    #[test]
    fn the_page_is_what_the_kept_figures_make() {
        let page = fs::read_to_string(root().join(PAGE)).unwrap();
        let records = figures::stored().unwrap();
        for (section, columns, _) in SECTIONS {
            let rows: Vec<&Record> = records.iter().filter(|row| row.section == section).collect();
            let made = replaced(&page, section, &tables(&rows, columns)).unwrap();
            assert!(made == page, "the tables of {section}: run `report --stored`");
        }
        let made = replaced(&page, "instructions", &instructions().unwrap()).unwrap();
        assert!(made == page, "the table of instructions: run `report --stored`");
    }
}
