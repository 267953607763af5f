//! The page on security names tests that are there.

use std::fs;
use std::path::Path;

/// Reads all sources below a directory.
fn sources(directory: &Path, all: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
fn every_test_and_file_that_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/SECURITY-MODEL.md")).expect("the page");
    let mut all = String::new();
    for directory in
        ["tests", "src", "core", "transport-tls/src", "transport-ws/src", "cli", "status/tests"]
    {
        sources(&root.join(directory), &mut all);
    }
    // Commands are tested elsewhere.
    let text: Vec<&str> = page.split("```").step_by(2).collect();
    let page = text.concat();
    let (mut tests, mut files) = (0, 0);
    for name in page.split('`').skip(1).step_by(2) {
        if name.contains('/') && name.starts_with(|first: char| first.is_ascii_lowercase()) {
            let is_there = root.join(name).exists();
            // What is no path has no file to be: `w1/3`.
            assert!(is_there || !name.contains('.'), "{name}");
            files += usize::from(is_there);
        } else if name.matches('_').count() > 3 {
            let is_there = [format!("fn {name}("), format!("fn {name}<")]
                .iter()
                .any(|function| all.contains(function.as_str()));
            assert!(is_there, "no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 20 && files > 10, "{tests} tests and {files} files");
}
