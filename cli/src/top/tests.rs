//! What is drawn of figures that were recorded from a run, and what keys change of that.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

use super::feed::{Look, look};
use super::view::{Tab, View};
use super::{Screen, draw};
use crate::look::{Client, History, Overview, Page, Range, Worker};

/// A run with two workers that are up and one that is not, of which one fails each tenth task, and with its queue
/// paused.
const RUN: &str = include_str!("recorded.json");
/// Set for the process that is to panic.
const PANICS: &str = "CHARGEHAND_TEST_PANICS";

#[derive(Deserialize)]
struct Recorded {
    overview: Overview,
    workers: Page,
    history: History,
}

fn recorded() -> (View, Look) {
    let it: Recorded = serde_json::from_str(RUN).unwrap();
    let mut view = View::new("http://127.0.0.1:9090/");
    let look = Look { overview: it.overview, page: it.workers };
    view.remember(&it.history);
    view.take(look.clone());
    (view, look)
}

/// Draws it, and returns the lines without what is blank at their ends.
fn drawn(view: &mut View, columns: u16, rows: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw::draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..rows).map(|y| row(y).trim_end().to_owned()).collect()
}

fn press(view: &mut View, codes: &[KeyCode]) {
    for code in codes {
        assert!(!view.press(KeyEvent::new(*code, KeyModifiers::NONE)), "{code:?} ends it");
    }
}

fn assert_has(lines: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(
            lines.iter().any(|line| line.contains(wanted)),
            "no \"{wanted}\":\n{}",
            lines.join("\n")
        );
    }
}

#[test]
fn a_screen_of_80_by_24_has_all_figures_of_a_run() {
    let (mut view, _) = recorded();
    let lines = drawn(&mut view, 80, 24);
    assert_has(
        &lines,
        &[
            " chargehand run  running  ",
            "http://127.0.0.1:9090/",
            " rate       5.0 done/s, 0.0 failed/s",
            " open       0 queued, 2 waiting, 0 resting, 2 in flight",
            " ended      315 done, 35 failed of 354",
            " workers    2 of 3 up, 1 backing off",
            " memory     0 B of 256.0 MiB",
            " waited         22 ms     38 ms    109 ms",
            " round trip     37 ms     65 ms    403 ms",
            " done/s, at most ",
            " Workers 3  Queues 1  Ranges 0  Failures 1  Events 10",
            "0.0    127.0.0.1:36969 up          2/2",
            "2.0    127.0.0.1:9     backing off",
            " q quit  p pause",
        ],
    );
    let bars = lines.iter().filter(|line| line.contains('█')).count();
    assert!(bars > 0, "rates are drawn:\n{}", lines.join("\n"));
    press(&mut view, &[KeyCode::End]);
    let detail = "127.0.0.1:9 is backing off: not connected, tried again in 9.1 s: cannot connect";
    assert_has(&drawn(&mut view, 80, 24), &[detail]);
    // Smaller ones lose rows and columns, and nothing else happens.
    for (columns, rows) in [(40, 12), (20, 5), (1, 1), (300, 100)] {
        drawn(&mut view, columns, rows);
    }
}

#[test]
fn tab_goes_through_all_lists_and_back() {
    let (mut view, mut look) = recorded();
    look.overview.ranges.push(Range {
        first: "100".to_owned(),
        last: "499".to_owned(),
        heights: 400,
        done: 250,
        in_flight: 10,
        failed: 1,
        low_water: Some("299".to_owned()),
        segments: vec![[100, 100, 0, 0], [100, 100, 0, 0], [100, 50, 10, 1], [100, 0, 0, 0]],
    });
    view.take(look);
    let heads = [
        &["OLDEST", "default", "1.3 s   paused"][..],
        &["100..=499", "250 (62 %)", "##!.", "all up to 299 are done"],
        &["EXAMPLE", "1.6 s ago", "346", "exit code 3: no disk left"],
        &["KIND", "refused", "cannot connect to 127.0.0.1:9: Connection refused (os error 111)"],
        &["WORKER", "127.0.0.1:41253"],
    ];
    for wanted in heads {
        press(&mut view, &[KeyCode::Tab]);
        assert_has(&drawn(&mut view, 80, 24), wanted);
    }
    press(&mut view, &[KeyCode::BackTab]);
    assert_has(&drawn(&mut view, 80, 24), heads[3]);
}

#[test]
fn figures_stand_still_while_it_is_paused() {
    let (mut view, mut look) = recorded();
    press(&mut view, &[KeyCode::Char('p')]);
    look.overview.tasks.done = 316;
    view.take(look.clone());
    assert_has(&drawn(&mut view, 80, 24), &["PAUSED", " 315 done,"]);
    press(&mut view, &[KeyCode::Char('p')]);
    view.take(look);
    let lines = drawn(&mut view, 80, 24);
    assert_has(&lines, &[" 316 done,"]);
    assert!(!lines[0].contains("PAUSED"), "{}", lines[0]);
    view.miss("http://127.0.0.1:9090/: nobody listens there");
    assert_has(
        &drawn(&mut view, 80, 24),
        &["nobody listens there; these are the last figures", " 316 done,"],
    );
}

#[test]
fn ten_thousand_workers_are_scrolled_by_parts() {
    let (mut view, mut look) = recorded();
    let part = |offset: u64| {
        let worker =
            |n: u64| Worker { id: format!("{n}.0"), peer: format!("w{n}"), ..Worker::default() };
        Page {
            total: 10_000,
            matched: 10_000,
            offset,
            rows: (offset..(offset + 200).min(10_000)).map(worker).collect(),
        }
    };
    look.page = part(0);
    view.take(look.clone());
    assert_has(&drawn(&mut view, 80, 24), &["Workers 10000", "0.0    w0"]);
    press(&mut view, &[KeyCode::End]);
    // They are not there yet.
    assert_has(&drawn(&mut view, 80, 24), &["..."]);
    let mut answer = |view: &mut View| {
        let offset = view.wanted().offset;
        look.page = part(offset);
        view.take(look.clone());
        drawn(view, 80, 24)
    };
    assert_has(&answer(&mut view), &["9991.0 w9991", "9999.0 w9999"]);
    press(&mut view, &[KeyCode::PageUp; 20]);
    let lines = answer(&mut view);
    let rows = lines.iter().filter(|line| line.contains(".0 ") && line.contains(" w")).count();
    assert!(rows >= 9 && !lines.iter().any(|line| line.starts_with("...")), "{}", lines.join("\n"));
    press(&mut view, &[KeyCode::Home, KeyCode::Down]);
    assert_has(&answer(&mut view), &["0.0    w0", " w1 is "]);
}

#[test]
fn workers_are_sorted_by_the_column_that_the_arrows_choose() {
    let (mut view, _) = recorded();
    assert_has(&drawn(&mut view, 80, 24), &["ID^"]);
    press(&mut view, &[KeyCode::Left]);
    assert_eq!((view.wanted().sort.name(), view.wanted().desc), ("p99", true));
    assert_has(&drawn(&mut view, 80, 24), &["P99v"]);
    press(&mut view, &[KeyCode::Right, KeyCode::Right, KeyCode::Char('r')]);
    assert_eq!((view.wanted().sort.name(), view.wanted().desc), ("peer", true));
    for (code, modifiers) in
        [(KeyCode::Char('q'), KeyModifiers::NONE), (KeyCode::Char('c'), KeyModifiers::CONTROL)]
    {
        assert!(view.press(KeyEvent::new(code, modifiers)), "{code:?} ends it");
    }
}

#[test]
fn texts_of_peers_move_no_cursor() {
    let (mut view, mut look) = recorded();
    look.page.rows[0].peer = "\u{1b}[2J\u{7}evil".to_owned();
    look.overview.notices = vec!["a\nb\u{1b}]0;x".to_owned()];
    view.take(look);
    let lines = drawn(&mut view, 80, 24);
    assert!(!lines.concat().contains(char::is_control), "{lines:?}");
    assert_has(&lines, &["evil"]);
}

/// A page that has this in all of its texts, and answers each question in its turn.
fn served_with(text: &str) -> (Client, thread::JoinHandle<()>) {
    let it: serde_json::Value = serde_json::from_str(RUN).unwrap();
    let mut answers = ["overview", "workers"].map(|part| it[part].clone());
    answers[0]["ranges"] = serde_json::json!([{ "first": "1", "last": "2", "low_water": "1" }]);
    answers[1]["rows"][0]["queues"] = serde_json::json!(["tip"]);
    for answer in &mut answers {
        put_before_all(text, answer);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let page = thread::spawn(move || {
        for answer in answers.map(|answer| answer.to_string()) {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let asked = BufReader::new(&stream).lines().map_while(Result::ok);
            assert!(asked.take_while(|line| !line.is_empty()).count() > 0);
            let length = answer.len();
            write!(
                &stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{answer}"
            )
            .unwrap();
        }
    });
    (Client::new(&at.to_string().parse().unwrap()), page)
}

fn put_before_all(text: &str, value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(it) => it.insert_str(0, text),
        serde_json::Value::Array(all) => all.iter_mut().for_each(|it| put_before_all(text, it)),
        serde_json::Value::Object(all) => all.values_mut().for_each(|it| put_before_all(text, it)),
        _ => {}
    }
}

#[test]
fn nothing_that_a_peer_says_turns_what_stands_beside_it() {
    let turning = "\u{202e}\u{2066}\u{200f}";
    let (client, page) = served_with(turning);
    let mut view = View::new("http://127.0.0.1:9090/");
    view.take(look(&client, view.wanted()).unwrap());
    page.join().unwrap();
    for _ in Tab::ALL {
        for row in 0..2 {
            let lines = drawn(&mut view, 200, 24);
            assert!(!lines.concat().contains(|c| turning.contains(c)), "{row}: {lines:?}");
            press(&mut view, &[KeyCode::Down]);
        }
        press(&mut view, &[KeyCode::Tab]);
    }
    // What is between them is still there, in the lists and above.
    assert_has(&drawn(&mut view, 200, 24), &["???chargehand run", "???127.0.0.1:36969"]);
    view.miss(&format!("{turning}nobody"));
    assert_has(&drawn(&mut view, 200, 24), &["???nobody"]);
}

/// It starts itself in a terminal, to panic there.
#[test]
fn a_panic_is_said_in_a_terminal_that_is_as_it_was() {
    if env::var_os(PANICS).is_some() {
        let _screen = Screen::open().unwrap();
        panic!("as planned");
    }
    let folder = env::temp_dir().join(format!("chargehand-top-{}", process::id()));
    fs::create_dir(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let tmux = |args: &[&str]| {
        let mut command = Command::new("tmux");
        command.args(["-u", "-f", "/dev/null", "-S", &path("tmux")]).args(args).env_remove("TMUX");
        let output = command.output().expect("tmux is installed");
        String::from_utf8(output.stdout).unwrap()
    };
    let name = "top::tests::a_panic_is_said_in_a_terminal_that_is_as_it_was";
    let script = format!(
        "stty -a > {}; RUST_BACKTRACE=0 {PANICS}=1 {} --exact {name} --nocapture; stty -a > {}; echo over; sleep 600",
        path("before"),
        env::current_exe().unwrap().display(),
        path("after"),
    );
    tmux(&["new-session", "-d", "-x", "80", "-y", "24", &script]);
    let begun = Instant::now();
    let mut shown = String::new();
    while !shown.contains("over") && begun.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(50));
        shown = tmux(&["capture-pane", "-p"]);
    }
    let modes = tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
    tmux(&["kill-server"]);
    let (before, after) = (fs::read_to_string(path("before")), fs::read_to_string(path("after")));
    fs::remove_dir_all(&folder).unwrap();
    assert!(shown.contains("as planned"), "{shown}");
    assert_eq!(modes.trim(), "0 1", "the usual screen, and its cursor");
    assert_eq!(before.unwrap(), after.unwrap(), "modes of the terminal");
}
