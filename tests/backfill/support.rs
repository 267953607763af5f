//! How the tests run the example.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

#[path = "../support/commands.rs"]
mod commands;

pub(crate) use self::commands::{Ended, Folder, Guard, PATIENCE, Random, Running, run, send, wait};

/// Cargo builds the examples with the tests, and puts them beside the tests' own folder.
pub(crate) fn backfill() -> Command {
    let test = std::env::current_exe().expect("the test's own path");
    let deps = test.parent().expect("a folder");
    let profile = deps.parent().expect("a folder");
    let program = profile.join("examples").join("backfill");
    assert!(
        program.exists(),
        "the example is not built: leave out --test, or run cargo build --all-features --examples"
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts `backfill worker` on a free port and returns its address.
pub(crate) fn start_worker(scheme: &str, options: &[&str]) -> (Guard, String) {
    let mut command = backfill();
    command.arg("worker").args(["--listen", &format!("{scheme}://127.0.0.1:0")]).args(options);
    let mut child = command.stderr(Stdio::null()).spawn().expect("cargo built the example");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("readable");
    let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
    (Guard(child), address)
}

/// A path of this test's own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("chargehand-test-{}-{name}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads an output: its lines by height. Panics where a height has two, or one is not in `heights`
/// or missing there.
pub(crate) fn each_height_once(out: &Path, heights: RangeInclusive<u64>) -> BTreeMap<u64, Value> {
    let text = fs::read_to_string(out).expect("the output");
    assert!(text.ends_with('\n'), "the last line is not whole");
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let height = line["height"].as_u64().expect("a height");
        assert!(lines.insert(height, line).is_none(), "height {height} has two lines");
    }
    assert!(lines.keys().copied().eq(heights), "heights are missing, or there are others");
    lines
}
