//! Help, completions and manual pages.

use std::fs;
use std::process::Stdio;

use super::support::{Folder, Guard, chargehand, repository, run, wait};

const COMMANDS: [&[&str]; 19] = [
    &[],
    &["run"],
    &["worker"],
    &["keys"],
    &["keys", "init"],
    &["keys", "add"],
    &["keys", "revoke"],
    &["keys", "show"],
    &["replay"],
    &["status"],
    &["workers"],
    &["explain"],
    &["top"],
    &["queue"],
    &["queue", "pause"],
    &["queue", "resume"],
    &["drain"],
    &["completions"],
    &["man"],
];

#[test]
fn help_fits_80_columns() {
    for command in COMMANDS {
        for help in ["-h", "--help"] {
            let ended = run(chargehand().args(command).arg(help));
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{command:?}");
            let longest = ended.out.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(80), "{command:?} {help}: {longest:?}\n{}", ended.out);
        }
    }
    for command in [&[][..], &["keys"], &["queue"]] {
        let ended = run(chargehand().args(command));
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{command:?}");
        assert!(ended.err.contains("Commands:"), "{}", ended.err);
    }
    let mut closed = chargehand();
    let full = fs::File::options().write(true).open("/dev/full").expect("a device");
    let mut child =
        Guard(closed.arg("--help").stdout(full).stderr(Stdio::null()).spawn().expect("built"));
    assert_eq!(wait(&mut child).code(), Some(3));
}

#[test]
fn shells_complete_and_pages_are_written_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(chargehand().args(["completions", shell]));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.out.contains("fail-fast") && ended.out.contains("revoke"), "{shell}");
    }
    let folder = Folder::new("man");
    fs::create_dir(folder.path("man1")).expect("a new folder");
    let ended = run(chargehand().args(["man", &folder.text("man1")]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for page in ["chargehand.1", "chargehand-run.1", "chargehand-worker.1", "chargehand-keys-add.1"]
    {
        let text = fs::read_to_string(folder.path("man1").join(page)).expect("a page");
        assert!(text.contains(".TH"), "{page}");
    }
    assert_eq!(run(chargehand().args(["man", "/no/such"])).code, Some(2));
}

#[test]
fn page_metrics_and_traces_are_shown_in_fewer_than_60_lines_each() {
    for example in
        ["status/examples/page.rs", "status/examples/metrics.rs", "otel/examples/traces.rs"]
    {
        let lines = fs::read_to_string(repository(example)).expect("it is there").lines().count();
        assert!(lines < 60, "{example} has {lines}");
    }
}

#[test]
fn the_guide_has_every_option_and_no_other() {
    let guide = fs::read_to_string(repository("docs/CLI.md")).expect("the guide");
    let mut options = Vec::new();
    for command in COMMANDS {
        let help = run(chargehand().args(command).arg("--help")).out;
        let words = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let is_option = |word: &&str| {
            word.starts_with("--")
                && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase())
        };
        let named = words.flat_map(|line| line.split([' ', ',', '='])).filter(is_option);
        options.extend(named.map(str::to_owned));
    }
    options.sort();
    options.dedup();
    assert!(options.len() > 30, "{options:?}");
    for option in &options {
        let (cell, word) = (format!("`{option}`"), format!("`{option} "));
        assert!(
            guide.contains(&cell) || guide.contains(&word),
            "docs/CLI.md does not have {option}"
        );
    }
    let table = guide.lines().filter(|line| line.starts_with("| `--"));
    for line in table {
        let option =
            line.trim_start_matches("| `").split(['`', ' ', ',']).next().expect("an option");
        assert!(
            options.iter().any(|known| known == option),
            "docs/CLI.md has {option}, which is none"
        );
    }
}
