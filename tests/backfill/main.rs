//! The backfill example as a person runs it: its options, its exit codes, and what it survives.

mod fake_node;
mod go;
mod kills;
mod node;
mod outputs;
#[path = "../support/go_peer.rs"]
mod peer;
mod state;
mod support;
mod terminal;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use chargehand::tls::members::{Authority, Role};
use rustix::process::Signal;

use self::fake_node::{Node, Reply};
use self::support::{
    Ended, PATIENCE, Running, Scratch, backfill, each_height_once, run, send, start_worker, wait,
};

#[test]
fn help_fits_into_80_columns() {
    for arguments in
        [&["-h"][..], &["--help"], &["worker", "-h"], &["worker", "--help"], &["members", "--help"]]
    {
        let ended = run(backfill().args(arguments));
        assert!(ended.out.contains("Usage: "), "{arguments:?}");
        for line in ended.out.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
}

#[test]
fn wrong_input_gets_one_clear_line_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("tcp://{}", taken.local_addr().expect("bound"));
    let nobody = {
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", gone.local_addr().expect("bound"))
    };
    let refusing = Node::start(|_| Reply::error(-32000, "not today"));
    let node = refusing.url();
    for (arguments, expected) in [
        (&["--range", "5..=3"][..], "the range is empty"),
        (&["--range", "1-3"], "a range is written like"),
        (&["--range", "0..=5"], "the demo chain has blocks 1..="),
        (&["--worker", "127.0.0.1:9000"], "starts with tcp:// or ws://"),
        (&["--worker", "tcp://127.0.0.1"], "it needs a port"),
        (&["--worker", "tls://127.0.0.1"], "it needs a port"),
        (&["--worker", "tls://127.0.0.1:9"], "need --tls JOINFILE"),
        (&["--listen", "wss://127.0.0.1:0"], "need --tls JOINFILE"),
        (&["--worker", "tls://127.0.0.1:9", "--tls", "/nowhere"], "/nowhere: "),
        (&["--worker", "tls://127.0.0.1:9", "--tls", "/dev/null"], "is it a join file?"),
        (&["--listen", "ws://127.0.0.1:70000"], "the port is not in 0..=65535"),
        (&["--listen", &taken], "cannot listen on"),
        (&["--rpc", "https://127.0.0.1"], "no TLS"),
        (&["--rpc", &nobody], "cannot be reached"),
        (&["--rpc", &node], "it refuses: not today (code -32000)"),
        (&["--in-flight", "0"], "--in-flight"),
        (&["--out", "/nowhere/to/be/found"], "--out /nowhere/to/be/found"),
        (&["--state", "/nowhere/to/be/found"], "--state /nowhere/to/be/found"),
        (&["--bogus"], "--bogus"),
        (&["worker", "--listen", &taken, "--chain", "/dev/null"], "demo chain /dev/null"),
    ] {
        let Ended { code, err: error, .. } = run(backfill().args(arguments));
        let lines = error.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert_eq!((lines, error.lines().count()), (1, 1), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn the_demo_loses_nothing_while_one_worker_is_killed_and_one_is_stopped() {
    let Ended { code, out, err } = run(&mut backfill());
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("heights 100,000: done 100,000, failed 0, lost 0, doubled 0"), "{out}");
    assert!(out.contains("links 99,999 of 99,999 good"), "{out}");
    assert!(out.contains("sent again "), "{out}");
    assert!(!out.contains("sent again 0"), "the faults struck nothing: {out}");
    for fault in ["SIGSTOP", "SIGCONT", "SIGKILL", "is started again"] {
        assert!(err.contains(fault), "{fault}: {err}");
    }
}

#[test]
fn an_interrupted_demo_says_how_far_it_came_and_leaves_no_worker_behind() {
    let (demo, addresses) = demo_under_way();
    send(Signal::INT, &demo.child);
    let Ended { code, err, .. } = demo.finish();
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("interrupted: "), "{err}");
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "a worker still listens on {address}");
    }
}

#[test]
fn a_demo_that_is_killed_leaves_neither_a_worker_nor_a_file_behind() {
    let (demo, addresses) = demo_under_way();
    let own = format!("chargehand-backfill-{}", demo.child.0.id());
    send(Signal::KILL, &demo.child);
    assert_eq!(demo.finish().code, None);
    let begun = Instant::now();
    for address in addresses {
        while TcpStream::connect(address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "a worker still listens on {address}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    for entry in std::fs::read_dir(std::env::temp_dir()).expect("a folder") {
        let name = entry.expect("readable").file_name();
        assert!(!name.to_string_lossy().starts_with(&own), "{name:?} is left behind");
    }
}

/// Starts the demo, and waits until its workers are there. Returns where they listen.
fn demo_under_way() -> (Running, Vec<SocketAddr>) {
    let mut demo = Running::start(&mut backfill());
    let mut addresses = Vec::new();
    // Three are dialled, and one dials in.
    while addresses.len() < 3 {
        let line = demo.wait_for(": connected");
        let peer = line.split(": connected").next().unwrap_or_default();
        addresses.extend(peer.trim_start_matches("ws://").parse::<SocketAddr>());
    }
    (demo, addresses)
}

#[test]
fn workers_that_run_already_serve_a_range_and_each_height_is_a_line_of_the_output() {
    let (chain, out) = (Scratch::new("range.chain"), Scratch::new("range.jsonl"));
    let (_tcp, tcp) = start_worker("tcp", &["--chain", chain.path()]);
    let (_ws, ws) = start_worker("ws", &["--chain", chain.path(), "--runtime", "smol"]);
    let ended = run(backfill()
        .args(["--worker", &tcp, "--worker", &ws, "--range", "1001..=3000", "--in-flight", "16"])
        .args(["--out", out.path()]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for line in each_height_once(&out.0, 1001..=3000).values() {
        assert!(line["hash"].as_str().is_some_and(|hash| hash.len() == 66), "{line}");
    }
}

/// Join files in a folder of this test's own: `m1`, `w1` and `w2` of one authority, and `x1` of another.
struct JoinFiles(PathBuf);

impl JoinFiles {
    fn new(name: &str) -> Self {
        let name = format!("chargehand-test-{}-{name}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).expect("a folder of its own");
        let authority = |name: &str| Authority::create(folder.0.join(name)).expect("a new file");
        let (ours, another) = (authority("ours"), authority("another"));
        for (authority, role, name) in [
            (&ours, Role::Pool, "m1"),
            (&ours, Role::Worker, "w1"),
            (&ours, Role::Worker, "w2"),
            (&another, Role::Worker, "x1"),
        ] {
            authority.join(role, name).write(folder.0.join(name)).expect("a new file");
        }
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for JoinFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn members_with_join_files_meet_over_tls_and_others_do_not_get_in() {
    let (chain, out) = (Scratch::new("tls.chain"), Scratch::new("tls.jsonl"));
    let files = JoinFiles::new("members");
    let start = |scheme, name, runtime| {
        let join = files.path(name);
        let options = ["--chain", chain.path(), "--runtime", runtime, "--tls", &join];
        start_worker(scheme, &options)
    };
    let (_tls, tls) = start("tls", "w1", "tokio");
    let (_wss, wss) = start("wss", "w2", "smol");
    let (_foreign, foreign) = start("tls", "x1", "smol");
    let mut manager = backfill();
    manager.args(["--worker", &tls, "--worker", &wss, "--worker", &foreign]);
    manager.args(["--tls", &files.path("m1"), "--range", "1..=2000", "--out", out.path()]);
    let ended = run(&mut manager);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(each_height_once(&out.0, 1..=2000).len(), 2000);
    assert!(ended.err.contains("proven to be \"w1\""), "{}", ended.err);
    assert!(ended.err.contains("proven to be \"w2\""), "{}", ended.err);
    assert!(ended.err.contains("not of an authority that this end trusts"), "{}", ended.err);
    // The wrong file, on each side.
    for (role, file) in [("manager", "w1"), ("worker", "m1"), ("worker", "ours")] {
        let file = files.path(file);
        let mut command = backfill();
        match role {
            "manager" => command.args(["--worker", &tls, "--tls", &file]),
            _ => command.args(["worker", "--dial", &tls, "--chain", chain.path(), "--tls", &file]),
        };
        let Ended { code, err, .. } = run(&mut command);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(&file) && err.contains("join file"), "{err}");
    }
}

/// Before a certificate expires: nothing has to be started again.
#[test]
fn a_join_file_that_takes_anothers_place_is_gone_by_and_one_that_is_no_good_is_not() {
    let chain = Scratch::new("renewed.chain");
    let files = JoinFiles::new("renewed");
    let place = files.path("w1");
    let put = |name: &str| {
        std::fs::rename(files.path(name), &place).expect("it is there");
    };
    let authority = Authority::open(files.path("ours")).expect("its file");
    authority.join(Role::Worker, "w1").days(700).write(files.path("later")).expect("a new file");
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = door.local_addr().expect("it listens");
    drop(door);
    let mut command = backfill();
    command.args(["worker", "--dial", &format!("tls://{nobody}"), "--chain", chain.path()]);
    let mut worker = Running::start(command.args(["--tls", &place]));
    worker.wait_for("keeps trying");
    put("x1");
    let line = worker.wait_for("goes on by the join file of before");
    assert!(line.contains("the join file of \"x1\", and not of \"w1\""), "{line}");
    put("later");
    let line = worker.wait_for(": goes on by the new join file");
    assert!(line.contains(&place), "{line}");
    send(Signal::TERM, &worker.child);
    assert_eq!(worker.finish().code, Some(0));
}

/// From nothing to a pool over TLS, as docs/SECURITY-MODEL.md has it.
#[test]
fn the_files_that_one_command_makes_are_all_that_a_pool_over_tls_needs() {
    let (chain, out) = (Scratch::new("made.chain"), Scratch::new("made.jsonl"));
    let files = JoinFiles::new("made");
    let folder = files.path("pool");
    let made = run(backfill().args(["members", &folder, "--manager", "m1", "--worker", "w1"]));
    assert_eq!(made.code, Some(0), "{}", made.err);
    for part in ["m1.join", "w1.join", "--listen tls://", "--dial tls://", "authority.pem"] {
        assert!(made.out.contains(part), "{}", made.out);
    }
    // Later ones are of the same authority, and none takes another's place.
    let again = run(backfill().args(["members", &folder, "--worker", "w2"]));
    assert_eq!(again.code, Some(0), "{}", again.err);
    let over = run(backfill().args(["members", &folder, "--worker", "w2"]));
    assert_eq!(over.code, Some(2), "{}", over.err);
    assert!(over.err.contains("there is such a file already"), "{}", over.err);
    let nobody = run(backfill().args(["members", &folder]));
    assert_eq!(nobody.code, Some(2), "{}", nobody.err);

    let [m1, w1, w2] = ["m1", "w1", "w2"].map(|name| files.path(&format!("pool/{name}.join")));
    let (_w1, tls) = start_worker("tls", &["--chain", chain.path(), "--tls", &w1]);
    let (_w2, wss) = start_worker("wss", &["--chain", chain.path(), "--tls", &w2]);
    let ended = run(backfill()
        .args(["--worker", &tls, "--worker", &wss, "--tls", &m1, "--range", "1..=500"])
        .args(["--out", out.path()]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(each_height_once(&out.0, 1..=500).len(), 500);
}

#[test]
fn a_height_that_fails_is_reported_and_written_and_the_exit_code_is_1() {
    let (chain, file) = (Scratch::new("fails.chain"), Scratch::new("fails.jsonl"));
    let (_tcp, tcp) = start_worker("tcp", &["--chain", chain.path()]);
    let Ended { code, out, .. } = run(backfill()
        .args(["--worker", &tcp, "--range", "99999..=100001"])
        .args(["--out", file.path()]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("done 2, failed 1, lost 0, doubled 0"), "{out}");
    assert!(out.contains("the chain has blocks 1..=100000, not 100001"), "{out}");
    let written = std::fs::read_to_string(&file.0).expect("the output");
    let failed = |line: &&str| line.contains("\"error\"") && line.contains("\"height\":100001");
    assert_eq!(written.lines().count(), 3, "{written}");
    assert_eq!(written.lines().filter(failed).count(), 1, "{written}");
}

#[test]
fn a_worker_that_is_killed_in_the_middle_costs_attempts_but_no_height() {
    let (status, out) = strike(Signal::KILL);
    assert_eq!(status.code(), None, "it ended by itself");
    assert!(out.contains("done 10,000, failed 0, lost 0, doubled 0; sent again "), "{out}");
    assert!(!out.contains("sent again 0"), "it held nothing: {out}");
}

#[test]
fn a_worker_that_is_asked_to_end_answers_what_it_holds_first() {
    let (status, out) = strike(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(out.contains("done 10,000, failed 0, lost 0, doubled 0; sent again "), "{out}");
}

/// Sends one of two workers a signal while both have their hands full. Returns how that one ended,
/// and the manager's report.
fn strike(signal: Signal) -> (ExitStatus, String) {
    let chain = Scratch::new(if signal == Signal::KILL { "kill.chain" } else { "term.chain" });
    let slow = ["--chain", chain.path(), "--delay", "3"];
    let (mut struck, tcp) = start_worker("tcp", &slow);
    let (_other, ws) = start_worker("ws", &slow);
    let mut manager = Running::start(backfill().args([
        "--worker",
        &tcp,
        "--worker",
        &ws,
        "--range",
        "1..=10000",
    ]));
    // Both are connected, and blocks come.
    manager.wait_for(" left, 2 of 2 workers up");
    send(signal, &struck);
    let status = wait(&mut struck);
    let Ended { code, out, err } = manager.finish();
    assert_eq!(code, Some(0), "{out}{err}");
    (status, out)
}

#[test]
fn a_worker_that_cannot_be_reached_is_named_and_tried_again_until_it_is_there() {
    let chain = Scratch::new("late.chain");
    let port = {
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        gone.local_addr().expect("bound").port()
    };
    let address = format!("tcp://127.0.0.1:{port}");
    let mut manager = Running::start(backfill().args(["--worker", &address, "--range", "1..=10"]));
    let said = manager.wait_for("keeps trying");
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    let mut worker = backfill();
    worker.args(["worker", "--listen", &address, "--chain", chain.path()]);
    let _worker = Running::start(&mut worker);
    let Ended { code, err, .. } = manager.finish();
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_worker_whose_port_is_taken_says_so() {
    let chain = Scratch::new("taken.chain");
    let (_first, address) = start_worker("tcp", &["--chain", chain.path()]);
    let Ended { code, err, .. } =
        run(backfill().args(["worker", "--listen", &address, "--chain", chain.path()]));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.starts_with(&format!("error: cannot listen on {address}: ")), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn a_worker_whose_manager_is_away_says_so_once_and_keeps_trying() {
    let chain = Scratch::new("away.chain");
    let gone = {
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        gone.local_addr().expect("bound").to_string()
    };
    let mut command = backfill();
    command.args(["worker", "--dial", &format!("ws://{gone}"), "--chain", chain.path()]);
    let mut worker = Running::start(&mut command);
    let line = worker.wait_for("keeps trying");
    assert_eq!(line.matches(&gone).count(), 1, "{line}");
    assert_eq!(line.matches("cannot connect").count(), 1, "{line}");
    thread::sleep(Duration::from_secs(1));
    let door = format!("ws://{gone}");
    let ended = run(backfill().args(["--listen", &door, "--range", "1..=10"]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    send(Signal::TERM, &worker.child);
    let Ended { code, err, .. } = worker.finish();
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("backfill connected"), "{err}");
    // Once before the manager was there, and perhaps once after it.
    assert!((1..=2).contains(&err.matches("keeps trying").count()), "{err}");
}
