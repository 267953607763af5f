//! The page on reliability names tests and files that are there.

use std::fs;
use std::path::Path;

#[test]
fn every_test_and_file_that_the_page_on_reliability_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/RELIABILITY.md")).expect("the page");
    let (mut tests, mut last) = (0, String::new());
    for name in page.split('`').skip(1).step_by(2) {
        if name.contains('/') && !name.contains(' ') {
            assert!(root.join(name).exists(), "{name} is not there");
            name.clone_into(&mut last);
        } else if name.matches('_').count() > 3 {
            let text = fs::read_to_string(root.join(&last)).expect("the file named before it");
            // A case of a suite has the pair that it is for as a parameter.
            let is_there = ["(", "<"].iter().any(|end| text.contains(&format!("fn {name}{end}")));
            assert!(is_there, "{last} has no test {name}");
            tests += 1;
        }
    }
    assert!(tests >= 6, "{tests} tests are named");
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells = row.matches('|').count();
        assert!(cells == 6 || cells == 8, "a row without a figure or a date: {row}");
    }
}
