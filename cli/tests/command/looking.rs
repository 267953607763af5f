//! A run that shows itself, and the commands that look at it and do something about it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::Value;

use super::support::{
    Ended, Folder, ask, chargehand, cut_short, done_at, outcomes, run, shown_run, until,
};

fn look(args: &[&str]) -> Ended {
    run(chargehand().args(args))
}

/// Refused with this exit code and one line, which has each of `words`.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let ended = look(args);
    assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{args:?}: {}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    for word in words {
        assert!(ended.err.contains(word), "{args:?} does not say {word}: {}", ended.err);
    }
}

#[test]
fn what_is_said_of_a_run_is_what_its_endpoint_says() {
    let folder = Folder::new("looking");
    // All but one fail at once, and the last one stays: nothing changes while it is looked at.
    let (running, url) =
        shown_run(&folder, "1..=8", "test $1 -ne 8 || exec sleep 60; test $1 -ne 3", &[]);
    let raw = done_at(&url, 6);
    let ended = look(&["status", &url, "--output", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let said: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    assert_eq!((&said["tasks"], &said["version"]), (&raw["tasks"], &1.into()), "{}", ended.out);
    let human = look(&["status", &url]);
    assert_eq!(human.code, Some(0), "{}", human.err);
    for wanted in [
        "chargehand run, running",
        "6 done, 1 failed of 8",
        "0 queued, 0 waiting, 0 resting, 1 in flight",
        "1 of 1 up",
        "1 times: exit code 1",
    ] {
        assert!(human.out.contains(wanted), "no \"{wanted}\": {}", human.out);
    }
    let rows = ask(&url, "api/workers")["rows"].clone();
    let listed = look(&["workers", &url, "--output", "json", "--sort", "done", "--desc"]);
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    for field in ["id", "peer", "state", "in_flight", "window", "done", "failed", "lost", "p99_us"]
    {
        assert_eq!(listed["rows"][0][field], rows[0][field], "{field}");
    }
    assert_eq!((&listed["v"], &listed["total"]), (&1.into(), &1.into()));
    let human = look(&["workers", &url, "--only", "up", "--find", "in-process"]);
    assert!(
        human.out.contains("in-process 1") && human.out.contains("1 of 1 workers"),
        "{}",
        human.out
    );
    let none = look(&["workers", &url, "--only", "backing off"]);
    assert!(none.out.ends_with("0 of 1 workers\n"), "{}", none.out);
    cut_short(running);
}

#[test]
fn a_paused_queue_begins_nothing_until_it_goes_on() {
    let folder = Folder::new("pausing");
    let token = folder.text("token");
    let (running, url) = shown_run(&folder, "1..=60", "sleep 0.05", &[]);
    done_at(&url, 2);
    let paused =
        look(&["queue", "pause", "default", &url, "--token-file", &token, "--output", "json"]);
    assert_eq!(paused.code, Some(0), "{}", paused.err);
    let said: Value = serde_json::from_str(&paused.out).expect("JSON");
    assert_eq!((&said["done"], &said["queue"]), (&"pause".into(), &"default".into()));
    until("what was under way has ended", || ask(&url, "api/overview")["tasks"]["in_flight"] == 0);
    let overview = ask(&url, "api/overview");
    let (done, queue) = (&overview["tasks"]["done"], &overview["queues"][0]);
    assert!(done.as_u64() < Some(60) && queue["is_paused"] == true, "{overview}");
    let human = look(&["status", &url]).out;
    assert!(human.contains("paused") && human.contains("Queue default is paused"), "{human}");
    assert_eq!(&ask(&url, "api/overview")["tasks"]["done"], done, "nothing more was begun");
    let resumed = look(&["queue", "resume", "default", &url, "--token-file", &token]);
    assert_eq!((resumed.code, resumed.out.as_str()), (Some(0), "default: it goes on\n"));
    let ended = running.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(outcomes(&ended.out).len(), 60);
}

#[test]
fn a_run_that_was_drained_says_so_by_its_code_and_goes_on_later() {
    let folder = Folder::new("draining");
    let (token, out, state) = (folder.text("token"), folder.text("out"), folder.text("state"));
    let kept = ["--out", &out, "--state", &state];
    let (running, url) = shown_run(&folder, "1..=40", "sleep 0.1", &kept);
    done_at(&url, 3);
    let drained = look(&["drain", &url, "--token-file", &token]);
    assert_eq!(
        (drained.code, drained.out.as_str()),
        (Some(0), "the pool drains\n"),
        "{}",
        drained.err
    );
    let ended = running.finish();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    let before = outcomes(&fs::read_to_string(&out).expect("readable"));
    assert!((3..40).contains(&before.len()), "{}", before.len());
    assert!(before.values().all(|line| line.get("result").is_some()), "what was begun has ended");
    refused(&["status", &url], 4, &[&url, "nobody listens there"]);
    let (running, _) = shown_run(&folder, "1..=40", "true", &kept);
    assert_eq!(running.finish().code, Some(0));
    let all = outcomes(&fs::read_to_string(&out).expect("readable"));
    assert!(all.keys().copied().eq(1..=40), "{all:?}");
}

#[test]
fn who_has_no_token_or_the_wrong_address_is_told_what_to_do() {
    let folder = Folder::new("refusing");
    let (running, url) = shown_run(&folder, "1..=1", "exec sleep 60", &[]);
    let (token, wrong, short) = (folder.text("token"), folder.text("wrong"), folder.text("short"));
    fs::write(&wrong, "another-token-of-some-length").expect("writable");
    fs::write(&short, "short").expect("writable");
    refused(&["drain", &url], 2, &[&url, "401", "--token-file"]);
    refused(
        &["drain", &url, "--token-file", &wrong],
        2,
        &[&url, "401", "is the token of --token-file"],
    );
    refused(&["drain", &url, "--token-file", &short], 2, &[&short, "16 characters"]);
    refused(
        &["queue", "pause", "no/such", &url, "--token-file", &token],
        2,
        &[&url, "no queue `no/such`"],
    );
    refused(&["top", &url], 3, &["terminal", "chargehand status"]);
    refused(&["status", &format!("{url}elsewhere")], 4, &["elsewhere", "no status page"]);
    refused(&["status", "https://127.0.0.1:1"], 2, &["TLS", "ssh -L"]);
    refused(&["status", "tcp://127.0.0.1:1"], 2, &["http://"]);
    let named = url.replace("127.0.0.1", "localhost.");
    assert_ne!(look(&["status", &named]).code, Some(0));
    cut_short(running);
    refused(&["workers", &url], 4, &[&url, "nobody listens there"]);
    let open = ["run", "--range", "1..=1", "--exec", "true", "--status", "0.0.0.0:0"];
    refused(&open, 2, &["0.0.0.0:0", "ssh -L", "--insecure"]);
    assert_eq!(look(&[&open[..], &["--insecure"]].concat()).code, Some(0));
    refused(
        &["run", "--range", "1..=1", "--exec", "true", "--status", "nowhere"],
        2,
        &["--status nowhere"],
    );
}

#[test]
fn what_is_no_status_page_is_called_that() {
    for (answer, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            &["no status page", "another version"][..],
        ),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", &["302"]),
        ("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\n\x1b[2J", &["500", "?[2J"]),
        ("SSH-2.0-x\r\n", &["http://"]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("it comes");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        refused(&["status", &url], 4, &[&[url.as_str()], words].concat());
        server.join().expect("no panic");
    }
}

#[test]
fn a_run_explains_why_its_tasks_wait_and_its_workers_get_none() {
    let folder = Folder::new("explaining");
    let token = folder.text("token");
    let (running, url) = shown_run(&folder, "5..=60", "exec sleep 60", &[]);
    until("both workers have one", || ask(&url, "api/explain")["in_flight"] == 2);
    let ended = look(&["explain", &url]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for wanted in [
        "2 tasks are with workers",
        "every worker that serves its queue holds as many as it may",
        "holds as many as it may: 2 of 2",
        "more workers",
    ] {
        assert!(ended.out.contains(wanted), "no \"{wanted}\": {}", ended.out);
    }
    let first = look(&["explain", &url, "--task", "5"]);
    assert!(first.out.starts_with("task 5 is with in-process 1:"), "{}{}", first.out, first.err);
    let waits = look(&["explain", &url, "--task", "7"]);
    assert!(waits.out.starts_with("task 7 waits for room"), "{}", waits.out);
    let json = look(&["explain", &url, "--task", "7", "--output", "json"]);
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&json["tasks"][0]["why"], &json["version"]), (&"no_room".into(), &1.into()));
    let worker = look(&["explain", &url, "--worker", "in-process"]);
    assert!(worker.out.starts_with("worker in-process 1 holds"), "{}", worker.out);
    refused(&["explain", &url, "--task", "4"], 2, &["done before"]);
    refused(&["explain", &url, "--task", "60"], 2, &["no task 60"]);
    refused(&["explain", &url, "--queue", "nope"], 2, &["nope", "default"]);
    refused(&["explain", &url, "--worker", "w9"], 2, &["no worker w9"]);

    look(&["queue", "pause", "default", &url, "--token-file", &token]);
    let paused = look(&["explain", &url, "--queue", "default"]);
    assert!(paused.out.contains("its queue is paused"), "{}", paused.out);
    assert!(paused.out.contains("What would change it: resume the queue"), "{}", paused.out);
    cut_short(running);
}
