//! Managers and workers of the Go package at the other end.

use std::fs;

use smol::block_on;

use super::peer::Peer;
use super::support::{
    Ended, Folder, Running, backfill, each_height_once, run, send, start_worker, wait,
};
use rustix::process::Signal;

#[test]
fn a_worker_that_serves_go_is_driven_as_one_and_blocks_stay_there() {
    let folder = Folder::new("go-ours");
    let chain = folder.text("chain");
    let (_worker, worker) = start_worker("ws", &["--chain", &chain, "--go"]);
    let (go, out) = (format!("go+{worker}"), folder.text("out"));
    let state = folder.text("state");
    let arguments = ["--worker", &go, "--worker", &go, "--range", "1..=500"];
    let ended = run(backfill().args(arguments).args(["--out", &out, "--state", &state]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains("heights 500: done 500, failed 0, lost 0, doubled 0"),
        "{}",
        ended.out
    );
    let said = "of these, 500 were done by workers of the Go package, which answer no blocks: 499 \
                links are not checked";
    assert!(ended.out.contains(said), "{}", ended.out);
    assert!(ended.out.contains("links 0 of 0 good, 0 transactions"), "{}", ended.out);
    for (height, line) in each_height_once(&folder.path("out"), 1..=500) {
        assert_eq!(line, serde_json::json!({ "done": true, "height": height }));
    }
    let ended = run(backfill().args(arguments).args(["--out", &out, "--state", &state]));
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(
        ended.out.contains("nothing is left to do") && ended.out.contains(said),
        "{}",
        ended.out
    );
}

#[test]
fn go_workers_and_native_ones_share_a_range_and_the_links_between_blocks_are_checked() {
    let folder = Folder::new("go-mixed");
    let chain = folder.text("chain");
    let (_go, go) = start_worker("ws", &["--chain", &chain, "--go", "--delay", "1"]);
    let (_native, native) = start_worker("tcp", &["--chain", &chain, "--delay", "20"]);
    let go = format!("go+{go}");
    let ended = run(backfill()
        .args(["--worker", &go, "--worker", &native, "--range", "1..=2000"])
        .args(["--out", &folder.text("out")]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let lines = each_height_once(&folder.path("out"), 1..=2000);
    let has_block: Vec<_> = lines.values().map(|line| line["hash"].is_string()).collect();
    let blocks = has_block.iter().filter(|has| **has).count();
    assert!((50..1950).contains(&blocks), "{blocks} blocks");
    let links = has_block.windows(2).filter(|pair| pair[0] && pair[1]).count();
    let unseen = 2000 - blocks;
    let grouped = |number: usize| match number {
        1000.. => format!("{},{:03}", number / 1000, number % 1000),
        _ => number.to_string(),
    };
    let (links, unchecked) = (grouped(links), grouped(1999 - links));
    for expected in [
        format!("of these, {} were done by workers of the Go package", grouped(unseen)),
        format!("{unchecked} links are not checked"),
        format!("links {links} of {links} good"),
        "GOOD".to_owned(),
    ] {
        assert!(ended.out.contains(&expected), "{expected}: {}", ended.out);
    }
}

#[test]
fn a_worker_of_another_kind_than_its_address_says_is_refused_by_name() {
    let folder = Folder::new("go-kinds");
    let chain = folder.text("chain");
    // One that was not told to serve them.
    let (_worker, worker) = start_worker("ws", &["--chain", &chain]);
    let go = format!("go+{worker}");
    let mut manager = Running::start(backfill().args(["--worker", &go, "--range", "1..=9"]));
    let line = manager.wait_for("keeps trying");
    assert!(
        line.contains(worker.trim_start_matches("ws://")) && line.contains("chargehand.2"),
        "{line}"
    );
    send(Signal::INT, &manager.child);
    assert_eq!(manager.finish().code, Some(130));
    let at = ["--chain", &chain];
    for (arguments, expected) in [
        (&["--listen", "go+ws://127.0.0.1:0"][..], "never dials in"),
        (&["worker", "--listen", "tcp://127.0.0.1:0", "--go", at[0], at[1]], "come by ws://"),
        (&["worker", "--dial", "ws://127.0.0.1:9", "--go", at[0], at[1]], "cannot be used with"),
        (
            &["worker", "--dial", "go+ws://127.0.0.1:9", at[0], at[1]],
            "no manager of the Go package",
        ),
    ] {
        let Ended { code, err, .. } = run(backfill().args(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
    }
}

/// The peer fails each height that leaves 3 when it is divided by 7, with a text of its own.
#[test]
fn a_worker_in_go_does_the_main_job() {
    let folder = Folder::new("go-worker");
    let (worker, at) = block_on(Peer::worker("127.0.0.1:0", ""));
    let (go, out) = (format!("go+ws://{at}"), folder.text("out"));
    let ended =
        run(backfill()
            .args(["--worker", &go, "--worker", &go, "--range", "1..=700", "--out", &out]));
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains("heights 700: done 600, failed 100, lost 0, doubled 0"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("600 were done by workers of the Go package"), "{}", ended.out);
    for (height, line) in each_height_once(&folder.path("out"), 1..=700) {
        assert_eq!(line["done"] == true, height % 7 != 3, "{line}");
        assert_eq!(line["error"].is_string(), height % 7 == 3, "{line}");
    }
    let only_good = run(backfill().args(["--worker", &go, "--range", "704..=709"]));
    assert_eq!(only_good.code, Some(0), "{}", only_good.out);
    let mut did: Vec<_> = block_on(worker.end());
    did.sort();
    did.dedup();
    assert_eq!(did.len(), 706);
}

#[test]
fn a_manager_in_go_is_served_by_our_worker() {
    let folder = Folder::new("go-manager");
    let chain = folder.text("chain");
    let (mut worker, address) = start_worker("ws", &["--chain", &chain, "--go"]);
    let at = address.trim_start_matches("ws://");
    let heights: Vec<_> = (99_900..=100_001).filter(|height| height % 7 != 3).collect();
    let manager = Peer::manager(at, 3, &heights);
    let lines = block_on(manager.end());
    assert_eq!(lines.last().map(String::as_str), Some("over"), "{lines:?}");
    let done = |height: &i64| lines.contains(&format!("done {height} \"\""));
    assert_eq!(heights.iter().filter(|height| done(height)).count(), heights.len() - 1);
    // The last one is above the chain: it hears why.
    let why = "the chain has blocks 1..=100000, not 100001";
    assert!(lines.iter().any(|line| line.contains(why)), "{lines:?}");
    assert!(fs::metadata(&chain).is_ok());
    send(Signal::TERM, &worker);
    assert_eq!(wait(&mut worker).code(), Some(0));
}
