//! `--exec`: a process for each task.

use std::fs;
use std::process::{Command, Stdio};

use super::support::{
    Folder, all_done, chargehand, error, is_alive, numbers, outcomes, results, run, run_of, until,
};

#[test]
fn a_task_stays_one_word_whatever_is_in_it() {
    let folder = Folder::new("words");
    let tasks = [
        "plain",
        "two words",
        "'; touch escaped; '",
        "$(touch escaped)",
        "`id` | cat",
        "*",
        "",
        "-n",
    ];
    let text = tasks.join("\n");
    for command in ["printf %s {}", "printf %s", "printf '%s' \"{}\""] {
        let ended = run(&mut run_of(&folder, &text, &["--exec", command]));
        assert_eq!(results(&all_done(&ended, 8)), tasks, "{command}");
    }
    let ended = run(&mut run_of(&folder, "a b\n", &["--exec", "printf %s. x{}y {} -{}{}"]));
    assert_eq!(results(&all_done(&ended, 1)), ["xa by.a b.-a ba b."]);
}

#[test]
fn a_shell_gets_the_task_as_its_first_argument() {
    let folder = Folder::new("shell");
    let script = r#"printf "%s" "$1" | tr a-z A-Z; echo " {}""#;
    let ended = run(&mut run_of(&folder, "it's\n$(id)\n", &["--shell", "--exec", script]));
    assert_eq!(results(&all_done(&ended, 2)), ["IT'S {}", "$(ID) {}"]);
}

#[test]
fn a_task_may_come_by_standard_input() {
    let folder = Folder::new("stdin");
    for more in [
        &["--stdin", "--exec", "tr a-z A-Z"][..],
        &["--stdin", "--shell", "--exec", "cat | tr a-z A-Z"],
    ] {
        let ended = run(&mut run_of(&folder, b"a b\n\xff\n", more));
        let outcomes = all_done(&ended, 2);
        assert_eq!(outcomes[&1]["result"], "A B");
        // What is no text is neither lost nor changed.
        assert_eq!(
            (&outcomes[&2]["task_base64"], &outcomes[&2]["result_base64"]),
            (&"/w==".into(), &"/w==".into())
        );
    }
    // Larger than any pipe, both ways, and one that reads nothing of it.
    let large = "x".repeat(500_000);
    let ended = run(&mut run_of(&folder, &large, &["--stdin", "--exec", "cat"]));
    assert_eq!(results(&all_done(&ended, 1)), [&large]);
    let ended = run(&mut run_of(&folder, &large, &["--stdin", "--exec", "true"]));
    assert_eq!(results(&all_done(&ended, 1)), [""]);
}

#[test]
fn a_failure_has_the_exit_code_and_the_end_of_standard_error() {
    let folder = Folder::new("codes");
    let script = r"case $1 in
        code) echo lost; seq 3000 >&2; exit 3;;
        signal) kill -11 $$;;
        *) echo fine; echo ignored >&2;;
    esac";
    let ended = run(&mut run_of(&folder, "code\nsignal\nok\n", &["--shell", "--exec", script]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let outcomes = outcomes(&ended.out);
    assert_eq!((&outcomes[&1]["code"], &outcomes[&1]["kind"]), (&3.into(), &"failed".into()));
    let text = error(&outcomes[&1]);
    assert!(text.starts_with("exit code 3: ") && text.ends_with("\n2999\n3000"), "{text}");
    assert!(text.len() < 5000, "{}", text.len());
    assert_eq!(
        (&outcomes[&2]["signal"], error(&outcomes[&2])),
        (&11.into(), "killed by signal 11")
    );
    assert_eq!(outcomes[&3]["result"], "fine");
    assert!(ended.err.contains("1 done, 2 failed"), "{}", ended.err);
}

#[test]
fn exit_code_75_is_not_now_and_counts_for_nothing() {
    let folder = Folder::new("not-now");
    let flag = folder.text("flag");
    let script = format!("[ -e {flag} ] || {{ : > {flag}; exit 75; }}; echo done");
    let ended = run(&mut run_of(&folder, "x\n", &["--shell", "--exec", &script]));
    assert_eq!(results(&all_done(&ended, 1)), ["done"]);
}

#[test]
fn a_task_that_failed_is_tried_as_often_as_is_said() {
    let folder = Folder::new("retries");
    let log = folder.text("log");
    let script = format!("echo x >> {log}; [ $(wc -l < {log}) -ge 3 ]");
    let ended = run(&mut run_of(&folder, "x\n", &["--shell", "--exec", &script, "--retries", "2"]));
    all_done(&ended, 1);
    fs::remove_file(&log).expect("it was written");
    let ended = run(&mut run_of(&folder, "x\n", &["--shell", "--exec", &script, "--retries", "1"]));
    assert_eq!(ended.code, Some(1));
    assert_eq!(fs::read_to_string(&log).expect("it is there"), "x\nx\n");
}

#[test]
fn a_task_that_takes_too_long_is_killed_with_all_that_it_started() {
    let folder = Folder::new("timeout");
    let ids = folder.path("ids");
    let script = format!(
        "sleep 300 & echo $! >> {0}; sh -c 'sleep 300 & echo $! >> {0}; wait' & wait",
        ids.display()
    );
    let ended = run(&mut run_of(&folder, "x\n", &["--shell", "--exec", &script, "--timeout", "2"]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let outcomes = outcomes(&ended.out);
    assert!(error(&outcomes[&1]).contains("longer than 2 s (--timeout)"), "{}", ended.out);
    let ids = numbers(&ids);
    assert_eq!(ids.len(), 2, "a child and a grandchild");
    until("they are killed", || ids.iter().all(|id| !is_alive(*id)));
}

#[test]
fn a_task_has_no_descriptor_but_its_own_three() {
    let folder = Folder::new("descriptors");
    let own =
        Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().expect("ls is there");
    let own = String::from_utf8(own.stdout).expect("text");
    let (out, state) = (folder.text("out"), folder.text("state"));
    for more in [&[][..], &["--out", &out, "--state", &state]] {
        let ended = run(run_of(&folder, "/proc/self/fd\n", &["--exec", "ls"]).args(more));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let text =
            if more.is_empty() { ended.out } else { fs::read_to_string(&out).expect("the output") };
        // As many as if the test itself had started it: those that it got from others go on.
        assert_eq!(results(&outcomes(&text)), [own.trim_end()]);
    }
}

#[test]
fn results_and_memory_have_limits() {
    let folder = Folder::new("limits");
    let more = ["--exec", "head -c {} /dev/zero", "--output-max", "1K"];
    let ended = run(&mut run_of(&folder, "1024\n1025\n100000000\n", &more));
    let outcomes = outcomes(&ended.out);
    assert_eq!(outcomes[&1]["result"].as_str().map(str::len), Some(1024));
    for number in [2, 3] {
        assert!(
            error(&outcomes[&number]).contains("more than 1024 bytes: raise --output-max"),
            "{}",
            ended.out
        );
    }
    let script = "import sys; x = bytearray(int(sys.argv[1]) << 20); print(len(x))";
    let command = format!("python3 -c '{script}' {{}}");
    let ended = run(&mut run_of(&folder, "1\n900\n", &["--exec", &command, "--memory", "600M"]));
    let outcomes = super::support::outcomes(&ended.out);
    assert_eq!(outcomes[&1]["result"], "1048576", "{}", ended.out);
    assert!(error(&outcomes[&2]).contains("MemoryError"), "{}", ended.out);
}

#[test]
fn what_cannot_be_run_is_refused_in_one_line() {
    for (more, why) in [
        (&["--exec", "no-such-program {}"][..], "there is no program \"no-such-program\""),
        (&["--exec", "echo '"], "cannot be split into words"),
        (&["--exec", "cat {}", "--stdin"], "{} has no meaning with --stdin"),
        (&["--exec", "cat", "--serve", "cat"], "cannot be used with"),
        (&["--exec", "cat", "--output-max", "16M"], "15M at most"),
        (&[], "nobody does the tasks"),
    ] {
        let ended = run(chargehand().args(["run", "--range", "1..=3"]).args(more));
        assert_eq!((ended.code, ended.err.lines().count()), (Some(2), 1), "{}", ended.err);
        assert!(ended.err.contains(why), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
    let folder = Folder::new("nul");
    let ended = run(&mut run_of(&folder, b"a\0b\n", &["--exec", "echo"]));
    assert!(error(&outcomes(&ended.out)[&1]).contains("NUL byte"), "{}", ended.out);
}
