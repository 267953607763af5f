//! A node that is busy, in trouble, behind, or right to refuse.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::fake_node::{Ask, Node, Reply};
use super::support::{Ended, Folder, Running, backfill, each_height_once, run, start_worker};

#[test]
fn a_node_in_trouble_for_a_while_costs_time_but_no_height() {
    // Each height meets another one, and some meet two.
    let faults: [fn() -> Reply; 12] = [
        || Reply::status(429, ""),
        || Reply::status(429, "Retry-After: 1\r\n"),
        || Reply::status(503, ""),
        || Reply::null(),
        || Reply::Reset,
        || Reply::status(500, ""),
        || Reply::status(502, "Content-Type: text/html\r\n"),
        || Reply::body("<html>"),
        || Reply::error(-32005, "limit exceeded"),
        || Reply::error(-32603, "internal error"),
        || Reply::error(-32000, "header not found"),
        || Reply::Http(200, String::new(), String::new()),
    ];
    let met = Arc::new(Mutex::new([0; 12]));
    let counts = Arc::clone(&met);
    let node = Node::start(move |ask| {
        let kind = ask.height.map_or(0, |height| usize::try_from(height).expect("small") % 12);
        let times = usize::from(ask.height.is_some_and(|height| height <= 340))
            + usize::from(ask.height.is_some_and(|height| height <= 60));
        if ask.before >= times {
            return Reply::Good;
        }
        counts.lock().expect("no panic")[kind] += 1;
        faults[kind]()
    });
    let folder = Folder::new("trouble");
    let Ended { code, out, err } = run(backfill().args([
        "--rpc",
        &node.url(),
        "--range",
        "1..=1000",
        "--out",
        &folder.text("out"),
    ]));
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("heights 1,000: done 1,000, failed 0, lost 0, doubled 0"), "{out}");
    // That took no attempt of the pool's: none is left to count where it goes on for long.
    assert!(out.contains("sent again 0"), "{out}");
    assert!(out.contains("links 999 of 999 good, 2,000 transactions"), "{out}");
    each_height_once(&folder.path("out"), 1..=1000);
    assert!(met.lock().expect("no panic").iter().all(|&count| count > 20), "{met:?}");
}

#[test]
fn a_busy_node_is_left_alone_for_as_long_as_it_says_by_every_thread() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let forms = [
        "Retry-After: 2\r\n".to_owned(),
        // The server's clock, which may be wrong.
        format!("Retry-After: Sun, 06 Nov 1994 08:49:39 GMT\r\n{date}"),
        format!("Retry-After: Sunday, 06-Nov-94 08:49:39 GMT\r\n{date}"),
        format!("Retry-After: Sun Nov  6 08:49:39 1994\r\n{date}"),
    ];
    let statuses = [429, 503, 403, 500];
    let cases = forms.into_iter().zip(statuses).map(|(headers, status)| {
        thread::spawn(move || {
            let closed = Arc::new(Mutex::new(None));
            let too_soon = Arc::new(AtomicUsize::new(0));
            let (closing, counting) = (Arc::clone(&closed), Arc::clone(&too_soon));
            let node = Node::start(move |ask: &Ask| {
                let mut closed = closing.lock().expect("no panic");
                match *closed {
                    None if ask.height == Some(1) => {
                        *closed = Some(Instant::now());
                        Reply::status(status, &headers)
                    }
                    // What was on its way already does not count.
                    Some(since)
                        if (Duration::from_millis(300)..Duration::from_millis(1990))
                            .contains(&since.elapsed()) =>
                    {
                        counting.fetch_add(1, Ordering::SeqCst);
                        Reply::Good
                    }
                    _ => {
                        // So that there are some left.
                        thread::sleep(Duration::from_millis(50));
                        Reply::Good
                    }
                }
            });
            let worker = ["--rpc", &node.url(), "--concurrency", "4"];
            let (_worker, address) = start_worker("tcp", &worker);
            let ended = run(backfill().args(["--worker", &address, "--range", "1..=200"]));
            assert_eq!(ended.code, Some(0), "{status}: {}{}", ended.out, ended.err);
            assert_eq!(too_soon.load(Ordering::SeqCst), 0, "{status}: it was asked too soon");
            let gaps = node.gaps(1);
            assert_eq!(gaps.len(), 1, "{status}: {gaps:?}");
            assert!(gaps[0] < Duration::from_secs(6), "{status}: {gaps:?}");
        })
    });
    // All at once.
    for case in cases.collect::<Vec<_>>() {
        case.join().expect("no panic");
    }
}

#[test]
fn a_height_that_the_node_never_gives_fails_with_the_reason_once_the_time_is_over() {
    let node = Node::start(|ask| match ask.height {
        Some(1) => Reply::null(),
        Some(2) => Reply::status(500, ""),
        Some(3) => Reply::error(-32602, "invalid params"),
        Some(4) => Reply::status(401, ""),
        Some(5) => Reply::error(-32005, "limit exceeded"),
        Some(6) => Reply::body(r#"{"jsonrpc":"2.0","id":1,"result":{"number":"six"}}"#),
        _ => Reply::Good,
    });
    let folder = Folder::new("never");
    let begun = Instant::now();
    let Ended { code, out, err } = run(backfill()
        .args(["--rpc", &node.url(), "--range", "1..=20", "--out", &folder.text("out")])
        .args(["--retry-for", "3"]));
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("heights 20: done 14, failed 6, lost 0, doubled 0"), "{out}");
    assert!((3..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let lines = each_height_once(&folder.path("out"), 1..=20);
    let why = |height: u64| lines[&height]["error"].as_str().expect("it failed").to_owned();
    for (height, reason) in [
        (1, "it has no block 1 yet ("),
        (2, "it answers with HTTP status 500 ("),
        (5, "it is busy: it refuses: limit exceeded (code -32005) ("),
        (6, "its answer is not understood: "),
    ] {
        assert!(why(height).contains(reason) && why(height).ends_with(" s)"), "{}", why(height));
        // Ever later, each by its own chance.
        let gaps = node.gaps(height);
        assert!((3..=10).contains(&gaps.len()), "{height}: {gaps:?}");
        assert!(gaps[2] > gaps[0], "{height}: {gaps:?}");
    }
    // These would be the same the next time.
    for (height, reason) in
        [(3, "it refuses: invalid params (code -32602)"), (4, "it answers with HTTP status 401")]
    {
        assert!(why(height).ends_with(reason), "{}", why(height));
        assert_eq!(node.asked(height).len(), 1, "{height}");
    }
}

#[test]
fn a_node_that_asks_for_an_hour_is_not_asked_and_does_not_fail_everything_at_once() {
    let node = Node::start(|ask| match ask.height {
        Some(_) => Reply::status(429, "Retry-After: 3600\r\n"),
        None => Reply::Good,
    });
    let (_worker, address) =
        start_worker("tcp", &["--rpc", &node.url(), "--concurrency", "1", "--retry-for", "0.5"]);
    let begun = Instant::now();
    let Ended { code, out, .. } = run(backfill().args(["--worker", &address, "--range", "1..=4"]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("done 0, failed 4"), "{out}");
    assert!(
        out.contains("it had asked for more time than the 0.5 s that --retry-for gives"),
        "{out}"
    );
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let asked: usize = (1..=4).map(|height| node.asked(height).len()).sum();
    assert_eq!(asked, 1);
}

#[test]
fn a_node_that_is_busy_at_the_start_is_waited_for() {
    let node = Node::start(|ask| match (ask.height, ask.before) {
        (None, 0) => Reply::status(503, "Retry-After: 1\r\n"),
        (None, 1) => Reply::error(429, "slow down"),
        _ => Reply::Good,
    });
    let ended = run(backfill().args(["--rpc", &node.url(), "--range", "1..=10"]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

const SECRETS: [&str; 4] = ["aladdin", "opensesame", "path0key0f00", "query0key0f00"];

/// A URL with a key wherever it may be.
fn secret(address: impl std::fmt::Display) -> String {
    format!("http://aladdin:opensesame@{address}/v3/path0key0f00?apikey=query0key0f00")
}

#[test]
fn no_key_in_a_nodes_url_is_ever_said_or_kept() {
    let gone = Node::start(|_| Reply::Good).address;
    let echo = "no project with the id path0key0f00 (of http://x/v3/path0key0f00?q=1 )";
    let refusing = Node::start(move |_| Reply::error(-32600, echo));
    let failing = Node::start(move |ask| match ask.height {
        // It knows one key.
        Some(3) if ask.before == 0 => Reply::error(-32600, echo),
        Some(3) => Reply::error(-32600, "no"),
        Some(4) => Reply::Reset,
        Some(5) => Reply::status(500, ""),
        Some(6) => Reply::body(echo),
        _ => Reply::Good,
    });
    let folder = Folder::new("keys");
    let (gone, failing, refusing) =
        (secret(gone), secret(failing.address), secret(refusing.address));
    let tls = failing.replace("http", "https");
    let bare = failing.replace("http://", "");
    let spaced = failing.replace('?', "? ");
    let (state, out) = (folder.text("state"), folder.text("out"));
    let chain = folder.text("no/such/chain");
    let renamed = failing.replace("path0", "path1");
    let kept = ["--state", &*state, "--out", &*out];
    for (arguments, code, shown) in [
        (vec!["--rpc", &gone], 2, true),
        (vec!["--rpc", &refusing], 2, true),
        (vec!["--rpc", &tls], 2, false),
        (vec!["--rpc", &bare], 2, false),
        (vec!["--rpc", &spaced], 2, false),
        (vec![&failing], 2, true),
        (vec!["--rcp", &failing], 2, false),
        (vec!["--worker", &failing], 2, true),
        (vec!["worker", "--rpc", &gone, "--listen", "tcp://127.0.0.1:0"], 2, true),
        (
            vec!["worker", "--rpc", &failing, "--chain", &chain, "--listen", "tcp://127.0.0.1:0"],
            2,
            false,
        ),
        (vec!["--rpc", &failing, "--range", "1..=9999999"], 2, true),
        (
            [&["--rpc", &*failing, "--range", "1..=9", "--retry-for", "0.3"], &kept[..]].concat(),
            1,
            true,
        ),
        // It goes on with the same state, and with another key too.
        ([&["--rpc", &*renamed, "--retry-for", "0.1"], &kept[..]].concat(), 1, true),
        ([&["--range", "1..=9"], &kept[..]].concat(), 2, true),
    ] {
        let ended = run(backfill().args(&arguments));
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {said}");
        assert_no_secret(&said);
        // The host helps, where there is one. That of the example is nobody's.
        let said = said.replace("http://127.0.0.1:8545", "");
        assert_eq!(said.contains("http://127.0.0.1:"), shown, "{arguments:?}: {said}");
    }
    let refused = run(backfill().args(["--rpc", &refusing])).err;
    let shown = "no project with the id [hidden] (of http://x ) (code -32600)";
    assert!(refused.contains(shown), "{refused}");
    for (_, content) in folder.content() {
        assert_no_secret(&String::from_utf8_lossy(&content));
    }
    let kept = fs::read_to_string(folder.path("state")).expect("a state");
    assert!(kept.contains("node http://127.0.0.1:"), "{kept}");
}

fn assert_no_secret(text: &str) {
    for secret in SECRETS.into_iter().chain(["path1key"]) {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[test]
fn a_state_of_a_version_that_kept_the_whole_url_goes_on_and_shows_no_key() {
    let node = Node::start(|_| Reply::Good);
    let folder = Folder::new("old-key");
    let state = folder.text("state");
    let url = secret(node.address);
    let arguments = ["--rpc", &url, "--range", "1..=9", "--state", &state];
    assert_eq!(run(backfill().args(arguments)).code, Some(0));
    let text = fs::read_to_string(&state).expect("a state");
    let (_, body) = text.split_once('\n').expect("two lines");
    let old = body.replace(&format!("node {}", node.url()), &format!("node {url}"));
    assert_ne!(old, body);
    fs::write(&state, super::state::signed(&old)).expect("writable");
    let other = run(backfill().args(["--range", "1..=9", "--state", &state]));
    assert_eq!(other.code, Some(2), "{}", other.err);
    assert_no_secret(&other.err);
    assert_eq!(run(backfill().args(arguments)).code, Some(0));
}

#[test]
fn a_worker_that_runs_already_has_two_minutes_for_a_block_or_as_long_as_is_said() {
    let folder = Folder::new("timeouts");
    let chain = folder.text("chain");
    let (_slow, slow) =
        start_worker("tcp", &["--chain", &chain, "--delay", "3000", "--concurrency", "4"]);
    // Fast, but not done before the slow one is there.
    let (_fast, fast) =
        start_worker("tcp", &["--chain", &chain, "--delay", "50", "--concurrency", "2"]);
    let both = ["--worker", &slow, "--worker", &fast, "--range", "1..=40"];
    let patient = Running::start(backfill().args(both));
    let impatient = run(backfill().args(both).args(["--attempt-timeout", "0.5"]));
    assert_eq!(impatient.code, Some(0), "{}{}", impatient.out, impatient.err);
    assert!(!impatient.out.contains("sent again 0"), "{}", impatient.out);
    let patient = patient.finish();
    assert_eq!(patient.code, Some(0), "{}{}", patient.out, patient.err);
    assert!(patient.out.contains("sent again 0"), "{}", patient.out);
    let help = run(backfill().arg("--help")).out;
    assert!(help.contains("--attempt-timeout <SECS>") && help.contains("120"), "{help}");
}
