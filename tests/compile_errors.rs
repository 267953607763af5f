//! What the compiler says of what is no handler: the first lines name what to do, and no type of ours that
//! nobody can see.
//!
//! Each file of `compile_errors/` is a program that must not build. `//~1 TEXT` is to be in the first
//! line of its first error, `//~ TEXT` anywhere in what it is told. The rest is the compiler's and changes
//! with it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What must not be in an error: it is ours, and not to be found in the documentation.
const PRIVATE: [&str; 8] =
    ["Hands", "Holds", "AnyWire", "erased", "Origin", "chargehand::handler::", "Runs<", "Sealed"];

#[test]
fn every_error_names_the_remedy_and_no_private_type() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = cases(&root.join("tests/compile_errors"));
    assert!(cases.len() >= 10, "the cases are there");
    let told = check(root, &cases);
    let mut wrong = String::new();
    for (name, path) in &cases {
        let Some(errors) = told.get(name) else {
            writeln!(wrong, "{name}: it builds").expect("memory");
            continue;
        };
        let first = errors.lines().next().expect("an error has a text");
        for line in fs::read_to_string(path).expect("it was listed").lines() {
            let fits = match line.strip_prefix("//~") {
                Some(text) if text.starts_with('1') => first.contains(text[1..].trim()),
                Some(text) => errors.contains(text.trim()),
                None => true,
            };
            if !fits {
                writeln!(wrong, "{name}: it lacks {line}\n{errors}").expect("memory");
            }
        }
        for private in PRIVATE.into_iter().filter(|private| errors.contains(private)) {
            writeln!(wrong, "{name}: it shows {private}\n{errors}").expect("memory");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn cases(folder: &Path) -> BTreeMap<String, PathBuf> {
    let files = fs::read_dir(folder).expect("part of the repository");
    let named = |path: PathBuf| {
        (path.file_stem().expect("a file").to_str().expect("plain").to_owned(), path)
    };
    files.map(|file| named(file.expect("it can be read").path())).collect()
}

/// Checks all cases as programs of a package of their own, without the network, and returns the errors
/// of each.
fn check(root: &Path, cases: &BTreeMap<String, PathBuf>) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    // Quoted, a text is one of TOML too.
    let quoted = |path: &Path| format!("{:?}", path.to_str().expect("a path that is UTF-8"));
    let mut manifest = format!(
        "[package]\nname = \"compile-errors\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         chargehand = {{ path = {}, features = [\"blocking\"] }}\n",
        quoted(root)
    );
    for (name, path) in cases {
        let path = quoted(path);
        write!(manifest, "\n[[bin]]\nname = {name:?}\npath = {path}\n").expect("memory");
    }
    fs::create_dir_all(&folder).expect("a folder of the build's");
    fs::write(folder.join("Cargo.toml"), manifest).expect("room");
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the same versions");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--bins", "--message-format=json", "--quiet"])
        .arg("--target-dir")
        .arg(folder.join("target"))
        .current_dir(&folder)
        .output()
        .expect("cargo runs");
    let mut told = BTreeMap::<_, String>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).expect("a message of cargo's");
        if message["message"]["level"] == "error" && message["target"]["kind"][0] == "bin" {
            let name = message["target"]["name"].as_str().expect("a name").to_owned();
            let text = message["message"]["rendered"].as_str().expect("a text");
            told.entry(name).or_default().push_str(text);
        }
    }
    assert!(!told.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    told
}
