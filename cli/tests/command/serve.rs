//! `--serve`: a process that lives, in any language.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;

use super::support::{
    Folder, all_done, error, is_alive, numbered, numbers, outcomes, repository, results, run,
    run_of, until,
};

/// A worker in Python that does what `body` says with each `task` and its `id`.
fn python(folder: &Folder, body: &str) -> String {
    let mut text = String::from(
        "import json, os, sys, time\n\
         def say(**answer): print(json.dumps(answer), flush=True)\n\
         for line in sys.stdin:\n    message = json.loads(line)\n    id, task = message['id'], message.get('task')\n",
    );
    for line in body.lines() {
        let _ = writeln!(text, "    {line}");
    }
    fs::write(folder.path("worker.py"), text).expect("writable");
    format!("python3 {}", folder.text("worker.py"))
}

#[test]
fn workers_in_python_node_and_shell_do_tasks() {
    for command in ["python3 worker.py", "node worker.js", "sh worker.sh"] {
        let folder = Folder::new(&format!("languages-{}", command.len()));
        let command = command.replace("worker", &repository("examples/exec/worker"));
        let names: Vec<_> = (0..300).map(|n| format!("\"{n}\" of ü\\\t")).collect();
        let tasks = names.join("\n") + "\n\n";
        for concurrency in ["1", "32"] {
            let more = ["--serve", &command, "--concurrency", concurrency, "--local", "2"];
            let ended = run(&mut run_of(&folder, &tasks, &more));
            assert_eq!(ended.code, Some(1), "{command}: {}", ended.err);
            let mut outcomes = outcomes(&ended.out);
            let last = outcomes.remove(&301).expect("the last one");
            assert_eq!(error(&last), "nobody is named", "{command}");
            let greetings: Vec<_> = names.iter().map(|name| format!("hello, {name}")).collect();
            assert_eq!(results(&outcomes), greetings, "{command}");
        }
    }
}

#[test]
fn a_process_that_dies_is_started_again_and_only_what_kills_it_fails() {
    let folder = Folder::new("dies");
    let body = "if task == 'poison': sys.stderr.write('I am ill\\n'); os._exit(7)\nsay(id=id, result=task)";
    let command = python(&folder, body);
    let tasks = (1..=60).map(|n| if n % 30 == 10 { "poison\n".into() } else { format!("{n}\n") });
    let tasks = tasks.collect::<String>();
    for concurrency in ["1", "16"] {
        let more = ["--serve", &command, "--local", "1", "--concurrency", concurrency];
        let ended = run(&mut run_of(&folder, &tasks, &more));
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        for (number, line) in outcomes(&ended.out) {
            if number % 30 == 10 {
                assert!(
                    error(&line).contains("died with it 2 times: exit code 7: I am ill"),
                    "{line}"
                );
            } else {
                assert_eq!(line["result"], number.to_string().as_str());
            }
        }
        assert!(ended.err.contains("--serve: I am ill"), "{}", ended.err);
        assert!(ended.err.contains("it is started again in"), "{}", ended.err);
    }
}

#[test]
fn a_process_that_is_killed_from_outside_takes_no_task_with_it() {
    let folder = Folder::new("killed");
    // It kills itself once, as somebody else would.
    let flag = folder.text("flag");
    let body = format!(
        "if task == '25' and not os.path.exists('{flag}'): open('{flag}', 'w'); os.kill(os.getpid(), 9)\n\
         say(id=id, result=task)"
    );
    let command = python(&folder, &body);
    let tasks = numbered(50);
    let more = ["--serve", &command, "--local", "1", "--concurrency", "8"];
    let ended = run(&mut run_of(&folder, &tasks, &more));
    all_done(&ended, 50);
    assert!(ended.err.contains("killed by signal 9"), "{}", ended.err);
}

#[test]
fn a_process_that_hangs_fails_its_task_and_is_replaced() {
    let folder = Folder::new("hangs");
    let body = "if task == 'hang': time.sleep(300)\nsay(id=id, result=task)";
    let command = python(&folder, body);
    let more = ["--serve", &command, "--local", "1", "--concurrency", "2", "--timeout", "3"];
    let ended = run(&mut run_of(&folder, "hang\na\nb\n", &more));
    let outcomes = outcomes(&ended.out);
    assert!(error(&outcomes[&1]).contains("longer than 3 s (--timeout)"), "{}", ended.out);
    // It waited behind the other in the same process, so its own time was up as well; this one's was not.
    assert_eq!(outcomes[&3]["result"], "b", "{}", ended.out);
    assert!(ended.err.contains("did not answer within 5 s after a cancel"), "{}", ended.err);
}

#[test]
fn answers_may_be_failures_of_all_kinds() {
    let folder = Folder::new("kinds");
    let flag = folder.text("flag");
    let body = format!(
        "if task == 'later' and not os.path.exists('{flag}'):\n    open('{flag}', 'w'); say(id=id, not_now=0.1)\n\
         elif task == 'never': say(id=id, error='no', permanent=True)\n\
         else: say(id=id, result=task)"
    );
    let command = python(&folder, &body);
    let more = ["--serve", &command, "--local", "1", "--retries", "5"];
    let ended = run(&mut run_of(&folder, "later\nnever\n", &more));
    let outcomes = outcomes(&ended.out);
    assert_eq!(
        (&outcomes[&1]["result"], error(&outcomes[&2])),
        (&"later".into(), "no"),
        "{}",
        ended.err
    );
}

#[test]
fn a_line_that_is_no_answer_is_shown_and_ends_the_process() {
    let folder = Folder::new("garbage");
    let command = python(&folder, "print('debug:', task)");
    let ended = run(&mut run_of(&folder, "a\n", &["--serve", &command, "--local", "1"]));
    let outcomes = outcomes(&ended.out);
    let why = error(&outcomes[&1]);
    assert!(why.contains("no answer") && why.contains("debug: a"), "{why}");
    let command = python(&folder, "say(id=id + 1, result='')");
    let ended = run(&mut run_of(&folder, "a\n", &["--serve", &command, "--local", "1"]));
    assert!(ended.out.contains("which it was not given"), "{}", ended.out);
}

#[test]
fn of_two_answers_the_first_counts_and_bytes_that_are_no_text_are_no_answer() {
    let folder = Folder::new("twice");
    let command = python(&folder, "say(id=id, result='first'); say(id=id, result='second')");
    let ended = run(&mut run_of(&folder, "a\nb\nc\n", &["--serve", &command, "--local", "1"]));
    assert_eq!(results(&all_done(&ended, 3)), ["first"; 3]);
    let command = python(&folder, "sys.stdout.buffer.write(b'\\xff\\0\\n'); sys.stdout.flush()");
    let ended = run(&mut run_of(&folder, "a\n", &["--serve", &command, "--local", "1"]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(error(&outcomes(&ended.out)[&1]).contains("no answer"), "{}", ended.out);
}

#[test]
fn values_go_in_and_come_out_as_they_are() {
    let folder = Folder::new("json");
    let command = python(&folder, "say(id=id, result={'double': task['n'] * 2})");
    let values = "{\"n\": 1}\n{\"n\": 2}\n";
    let ended = run(&mut run_of(&folder, values, &["--serve", &command, "--json"]));
    let outcomes = all_done(&ended, 2);
    assert_eq!(outcomes[&2]["result"]["double"], 4, "{}", ended.out);
}

#[test]
fn a_process_has_time_to_end_once_its_input_has() {
    let folder = Folder::new("farewell");
    let file = folder.text("farewell");
    let command = format!(
        "sh -c 'while read -r line; do id=${{line#*:}}; echo \"{{\\\"id\\\":${{id%%,*}}}}\"; done; sleep 0.3; echo bye > {file}'"
    );
    let ended = run(&mut run_of(&folder, "a\nb\n", &["--serve", &command, "--local", "1"]));
    all_done(&ended, 2);
    assert_eq!(fs::read_to_string(&file).expect("it was written"), "bye\n");
}

#[test]
fn a_run_that_is_refused_leaves_none_of_its_processes() {
    let folder = Folder::new("refused");
    let ids = folder.path("ids");
    // It takes no end of its input for a reason to go.
    let command = format!("sh -c 'echo $$ >> {}; exec sleep 300'", ids.display());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let more = ["--serve", &command, "--local", "32", "--status", &address];
    let ended = run(&mut run_of(&folder, "a\n", &more));
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    until("they are killed", || numbers(&ids).iter().all(|id| !is_alive(*id)));
}
