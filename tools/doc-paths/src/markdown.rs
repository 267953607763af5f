//! What a page or a source names, and whether it is there.

use crate::tree::{Tree, folder_of};

const ENDINGS: [&str; 10] =
    [".rs", ".md", ".sh", ".toml", ".go", ".svg", ".jsonl", ".txt", ".x", ".lock"];

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) checked: usize,
    /// The lines, from 1, and what is wrong with each.
    pub(crate) problems: Vec<(usize, String)>,
}

/// Checks the links and the paths in backticks of a page. `read` gives the text of another one.
pub(crate) fn page(
    tree: &Tree,
    file: &str,
    text: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Found {
    let mut found = Found::default();
    let home = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut is_code = false;
    // Where its paths begin: the root, beside the page, and where it says so itself, in a comment
    // `<!-- paths from FOLDER FOLDER -->`.
    let mut bases = vec!["", home];
    // The folders that this paragraph has named.
    let mut near: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = index + 1;
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if line.trim().is_empty() || starts_item(line) {
            near.clear();
        }
        if is_code {
            for word in rooted(tree, line) {
                look(tree, at, word, &mut found);
            }
            continue;
        }
        if let Some(said) = line.strip_prefix("<!-- paths from ") {
            bases.extend(said.trim_end_matches("-->").split_whitespace());
            for base in bases.iter().skip(2).filter(|base| tree.find("", base).is_none()) {
                found.problems.push((at, format!("{base} is no folder of the repository")));
            }
        }
        for target in links(line) {
            link(tree, file, home, at, target, &read, &mut found);
        }
        for span in line.split('`').skip(1).step_by(2) {
            for word in span.split_whitespace() {
                path(tree, &bases, at, word, &mut near, &mut found);
            }
        }
    }
    found
}

/// Checks the paths from the root in the comments of a source.
pub(crate) fn source(tree: &Tree, text: &str) -> Found {
    let mut found = Found::default();
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if start.starts_with("//") || start.starts_with('#') && !start.starts_with("#[") {
            for word in rooted(tree, line) {
                look(tree, index + 1, word, &mut found);
            }
        }
    }
    found
}

/// Whether a line begins an item of a list or a row of a table.
fn starts_item(line: &str) -> bool {
    let line = line.trim_start();
    let digits = line.trim_start_matches(|char: char| char.is_ascii_digit());
    line.starts_with(['|', '#'])
        || line.starts_with("- ")
        || line.starts_with("* ")
        || digits.len() < line.len() && digits.starts_with(". ")
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let by_name = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .map(|(_, target)| target.trim());
    inline.chain(by_name)
}

fn link(
    tree: &Tree,
    file: &str,
    home: &str,
    at: usize,
    target: &str,
    read: &impl Fn(&str) -> Option<String>,
    found: &mut Found,
) {
    if target.contains("://") || target.starts_with("mailto:") || target.contains("::") {
        return;
    }
    found.checked += 1;
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let page = if path.is_empty() { Some(file.to_owned()) } else { tree.find(home, path) };
    let Some(page) = page else {
        found
            .problems
            .push((at, format!("the link to {target} leads to no file of the repository")));
        return;
    };
    if anchor.is_empty() || !page.ends_with(".md") {
        return;
    }
    let text = read(&page).unwrap_or_default();
    let is_there =
        text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
    if !is_there {
        found.problems.push((at, format!("{page} has no heading for the link to {target}")));
    }
}

/// Makes of a heading the anchor that Markdown renderers give it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
        .map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

/// Checks a word in backticks, if it is a path.
fn path(
    tree: &Tree,
    bases: &[&str],
    at: usize,
    word: &str,
    near: &mut Vec<String>,
    found: &mut Found,
) {
    let word = word.trim_matches(['(', ')', ',', ';', '"', '\'']).trim_end_matches('.');
    if !is_path(tree, bases, word) {
        return;
    }
    found.checked += 1;
    let next_to = |folder: &String| tree.find(folder, word);
    let here = bases.iter().find_map(|base| tree.find(base, word));
    if let Some(path) = here.or_else(|| near.iter().rev().find_map(next_to)) {
        near.push(folder_of(&path).to_owned());
    } else if near.is_empty() && !tree.has_top(word) && tree.has_tail(word) {
        // A name that is known everywhere.
    } else if near.is_empty() {
        found.problems.push((at, format!("{word} is no file or folder of the repository")));
    } else {
        let text = format!("{word} is neither here nor in {}: name its folder", near.join(" or "));
        found.problems.push((at, text));
    }
}

/// Whether a word means a file or folder of the repository: by its ending, or by where it begins.
fn is_path(tree: &Tree, bases: &[&str], word: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-*".contains(char);
    if word.contains("//") || word.starts_with(['/', '-']) || !word.chars().all(is_plain) {
        return false;
    }
    let has_ending = ENDINGS.iter().any(|end| word.len() > end.len() && word.ends_with(end));
    let is_folder = word.ends_with('/') && word.len() > 1;
    // Such as `chargehand-core/std`, a feature, which begins with no folder.
    has_ending
        || tree.has_top(word) && (is_folder || tree.find("", word).is_some())
        || is_folder && bases.iter().any(|base| tree.find(base, word).is_some())
        || tree.has_top(word) && word.matches('/').count() > 1
}

/// Returns the words of a line that are paths from the root with a known ending.
fn rooted<'a>(tree: &'a Tree, line: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    line.split(move |char| !is_part(char))
        .map(|word| word.trim_end_matches('.').trim_start_matches("./"))
        .filter(|word| ENDINGS.iter().any(|end| word.ends_with(end)) && tree.has_top(word))
}

fn look(tree: &Tree, at: usize, word: &str, found: &mut Found) {
    found.checked += 1;
    if tree.find("", word).is_none() {
        found.problems.push((at, format!("{word} is no file of the repository")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let files = ["README.md", "docs/A.md", "src/pool.rs", "src/driver/jobs.rs", "ci.sh"];
        Tree::new(files.map(str::to_owned).to_vec())
    }

    fn problems(file: &str, text: &str) -> Vec<usize> {
        let read =
            |page: &str| (page == "docs/A.md").then(|| "# One\n## What is `x`?\n".to_owned());
        page(&tree(), file, text, read).problems.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn what_is_there_is_no_problem() {
        let text =
            "`src/pool.rs`, `driver/` [a](docs/A.md#what-is-x) `chargehand-core/std` `bash ci.sh`";
        assert_eq!(problems("README.md", text), [0; 0]);
        assert_eq!(problems("docs/A.md", "[up](../README.md) `src/driver/*.rs`"), [0; 0]);
    }

    #[test]
    fn each_path_that_is_missing_is_named_with_its_line() {
        let text = "`src/gone.rs`\n\n`src/gone/`\n\n[x](docs/B.md)\n[x](docs/A.md#two)\n`gone.rs`";
        assert_eq!(problems("README.md", text), [1, 3, 5, 6, 7]);
        assert_eq!(problems("README.md", "```sh\nbash src/gone.sh\n```"), [2]);
    }

    #[test]
    fn a_bare_name_is_looked_for_beside_what_its_paragraph_names() {
        assert_eq!(problems("README.md", "`src/driver/jobs.rs`, `pool.rs`"), [1]);
        assert_eq!(problems("README.md", "`src/pool.rs`, `jobs.rs`"), [1]);
        assert_eq!(problems("README.md", "`src/driver/`\nand `jobs.rs`"), [0; 0]);
        assert_eq!(problems("README.md", "- `src/pool.rs`\n- `jobs.rs`"), [0; 0]);
    }

    #[test]
    fn a_page_may_say_where_its_paths_begin() {
        assert_eq!(problems("README.md", "`driver/gone.rs`\n\n`x/jobs.rs`"), [1, 3]);
        assert_eq!(problems("README.md", "<!-- paths from src -->\n`driver/jobs.rs`"), [0; 0]);
        assert_eq!(problems("README.md", "<!-- paths from gone -->"), [1]);
    }

    #[test]
    fn a_comment_that_names_a_missing_page_is_a_problem() {
        let found =
            source(&tree(), "//! See docs/B.md.\nlet path = \"docs/C.md\";\n// `docs/A.md`");
        assert_eq!(found.problems.len(), 1);
        assert_eq!((found.problems[0].0, found.checked), (1, 2));
    }
}
