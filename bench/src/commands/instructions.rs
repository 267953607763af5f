//! Counts the pieces' instructions for one cycle with callgrind.
//!
//! Time depends on the machine and on who else is on it; this count does not, so CI can hold a
//! change against it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::pieces::PIECES;
use crate::processes::root;
use crate::spec::Side;

/// How much more than recorded is a failure, and how much is rounding in a short piece.
const GROWTH_MAX: f64 = 1.03;
const ROUNDING: f64 = 0.5;
/// Cases of the scheduler that do the same for more workers or tasks, the smallest first: in the one
/// list all windows are full, in the other many workers have room, so that there is more to balance.
const ALIKE: [[&str; 3]; 2] = [
    ["scheduler/4/10", "scheduler/4/1000000", "scheduler/10000/1000000"],
    ["scheduler/1000/10", "scheduler/10000/10", "scheduler/100000/10"],
];
/// How much more any of a list may take than the first.
const FLAT_MAX: f64 = 1.25;
const CYCLES: u32 = 20_000;
/// The function whose instructions are counted, by the name that callgrind knows it by.
const COUNTED: &str = "*chargehand_bench::pieces::counted*";

const HEAD: &str = "\
# Instructions for one cycle of each piece, as callgrind counts them: see docs/PERFORMANCE.md.
# `cargo run --release -p chargehand-bench -- instructions --record` writes this file. Where a change
# makes a figure larger and is worth it, say why in the commit.
";

pub(crate) fn run(check: bool, record: bool) -> ExitCode {
    let recorded = read(&fs::read_to_string(path()).unwrap_or_default());
    println!("{:<26} {:>10} {:>10}", "piece", "counted", "recorded");
    let mut counted = BTreeMap::new();
    for piece in PIECES {
        let now = count(piece.name);
        let was = recorded.get(piece.name).map_or_else(String::new, |was| format!("{was:.1}"));
        println!("{:<26} {now:>10.1} {was:>10}", piece.name);
        counted.insert(piece.name.to_owned(), now);
    }
    let flat = flatness(&counted);
    println!("more workers or tasks take {flat:.3} of what few do (at most {FLAT_MAX})");
    if record {
        let lines =
            PIECES.iter().map(|piece| format!("{:.1} {}\n", counted[piece.name], piece.name));
        fs::write(path(), HEAD.to_owned() + &lines.collect::<String>()).expect("our own file");
    }
    let faults = faults(&counted, &recorded);
    if check && !faults.is_empty() {
        eprintln!("FAILED: {}", faults.join("\nFAILED: "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Returns the instructions of one cycle.
pub(crate) fn count(piece: &str) -> f64 {
    let side = Side::Piece { name: piece.to_owned(), cycles: CYCLES };
    let program = std::env::current_exe().expect("the path of this program");
    let out = std::env::temp_dir().join(format!("chargehand-bench.{}", std::process::id()));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", &format!("--toggle-collect={COUNTED}")]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(program).arg("side").arg(serde_json::to_string(&side).expect("plain data"));
    let output = command.output().expect("valgrind: see `ci.sh install`");
    let _ = fs::remove_file(&out);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let total = log.lines().find_map(|line| line.split_once("Collected : "));
    let total: f64 = total.and_then(|(_, total)| total.trim().parse().ok()).expect("a count");
    assert!(total > 0.0, "no function is called {COUNTED}");
    total / f64::from(CYCLES)
}

/// Returns how much more the scheduler takes for more workers or tasks, at most.
fn flatness(counted: &BTreeMap<String, f64>) -> f64 {
    let ratios = ALIKE.iter().flat_map(|cases| cases.map(|case| counted[case] / counted[cases[0]]));
    ratios.fold(0.0, f64::max)
}

/// Returns what is dearer than it may be.
fn faults(counted: &BTreeMap<String, f64>, recorded: &BTreeMap<String, f64>) -> Vec<String> {
    let mut faults = Vec::new();
    if flatness(counted) > FLAT_MAX {
        faults.push("the scheduler's cost is not flat".to_owned());
    }
    for (name, now) in counted {
        match recorded.get(name) {
            None => faults.push(format!("{name} has no recorded figure: run with --record")),
            Some(was) if *now > was * GROWTH_MAX + ROUNDING => {
                let more = (now / was - 1.0) * 100.0;
                faults.push(format!("{name} takes {more:.1} % more than recorded"));
            }
            Some(_) => {}
        }
    }
    faults
}

fn read(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entry = |line: &str| {
        let (count, name) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    lines.filter_map(entry).collect()
}

fn path() -> PathBuf {
    root().join(Path::new("bench/instructions.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(change: impl Fn(&mut BTreeMap<String, f64>)) -> BTreeMap<String, f64> {
        let mut figures: BTreeMap<_, _> =
            PIECES.iter().map(|piece| (piece.name.to_owned(), 100.0)).collect();
        change(&mut figures);
        figures
    }

    #[test]
    fn growth_beyond_the_limit_is_a_fault_and_less_is_none() {
        let recorded = figures(|_| {});
        let grown = |count| {
            figures(|figures| {
                figures.insert("framing".to_owned(), count);
            })
        };
        assert_eq!(faults(&grown(103.0), &recorded), Vec::<String>::new());
        assert_eq!(faults(&grown(104.0), &recorded).len(), 1);
        assert_eq!(faults(&grown(50.0), &recorded), Vec::<String>::new());
    }

    #[test]
    fn a_scheduler_that_grows_with_its_workers_is_a_fault() {
        for case in ["scheduler/100000/10", "scheduler/10000/1000000"] {
            let steep = figures(|figures| {
                figures.insert(case.to_owned(), 126.0);
            });
            assert_eq!(faults(&steep, &steep), ["the scheduler's cost is not flat"]);
        }
    }

    #[test]
    fn every_case_of_the_scheduler_is_held_against_another() {
        let cases = PIECES.iter().filter(|piece| piece.name.starts_with("scheduler/"));
        assert!(cases.clone().all(|piece| ALIKE.as_flattened().contains(&piece.name)));
        assert_eq!(cases.count(), ALIKE.as_flattened().len());
    }

    #[test]
    fn a_piece_without_a_recorded_figure_is_a_fault() {
        let recorded = figures(|figures| {
            figures.remove("backoff");
        });
        assert_eq!(faults(&figures(|_| {}), &recorded).len(), 1);
    }

    #[test]
    fn every_piece_is_recorded() {
        let recorded = read(&fs::read_to_string(path()).unwrap());
        assert!(PIECES.iter().all(|piece| recorded.contains_key(piece.name)));
        assert_eq!(recorded.len(), PIECES.len());
    }
}
