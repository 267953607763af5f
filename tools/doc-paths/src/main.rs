//! Checks that every path and link that the repository's documents name leads to a file of the
//! repository, and prints the line of each that does not.
//!
//! Links are relative to their page, and where one has an anchor, the heading is looked for as well.
//! A path in backticks is relative to the root or to its page. A bare file name may also stand for a
//! file next to a path that was named before it in the same paragraph, as in "`src/pool.rs`,
//! `mailbox.rs`"; in a paragraph without such a path, for any file of that name. In the comments of
//! sources only paths from the root count.

mod markdown;
mod tree;

use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::tree::Tree;

fn main() -> ExitCode {
    let root = env::args().nth(1).unwrap_or_else(|| ".".into());
    let tree = Tree::new(tracked(&root));
    let mut checked = 0;
    let mut problems = Vec::new();
    for file in tree.files() {
        let is_page = file.ends_with(".md");
        let is_source =
            [".rs", ".sh", ".toml", ".go", ".yml"].iter().any(|end| file.ends_with(end));
        // The changelog tells of files that were there once; those of this program are made up.
        if !(is_page || is_source) || file == "CHANGELOG.md" || file.starts_with("tools/doc-paths/")
        {
            continue;
        }
        let Ok(text) = fs::read_to_string(format!("{root}/{file}")) else { continue };
        let found = if is_page {
            markdown::page(&tree, file, &text, |page| {
                fs::read_to_string(format!("{root}/{page}")).ok()
            })
        } else {
            markdown::source(&tree, &text)
        };
        checked += found.checked;
        problems.extend(
            found.problems.into_iter().map(|(line, what)| format!("{file}:{line}: {what}")),
        );
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    println!("{checked} paths and links, {} of which lead nowhere", problems.len());
    // With none found the search itself is broken.
    if problems.is_empty() && checked > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the files that git knows or would take, so that a page may name one before it is committed.
fn tracked(root: &str) -> Vec<String> {
    let output = Command::new("git")
        .args(["-C", root, "ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git lists the files");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    let is_there = |file: &&str| fs::symlink_metadata(format!("{root}/{file}")).is_ok();
    names.lines().filter(is_there).map(str::to_owned).collect()
}
