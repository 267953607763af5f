//! `chargehand keys`: who belongs to a pool.

use std::fs;

use super::support::{
    Ended, Folder, Running, all_done, chargehand, dialling_worker, listening_worker, results, run,
    run_of,
};

fn keys(arguments: &[&str]) -> Ended {
    let ended = run(chargehand().arg("keys").args(arguments));
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.err);
    ended
}

#[test]
fn join_files_are_all_that_run_and_workers_need() {
    let folder = Folder::new("join");
    let pool = folder.text("pool");
    keys(&["init", &pool]);
    keys(&["add", &pool, "--manager", "m1"]);
    keys(&["add", &pool, "--worker", "w1"]);
    let file = |name: &str| format!("{pool}/{name}.join");
    for scheme in ["tls", "wss"] {
        let (_worker, address) = listening_worker(
            &format!("{scheme}://127.0.0.1:0"),
            &["--tls", &file("w1"), "--exec", "echo safe"],
        );
        let more = ["--tls", &file("m1"), "--worker", &address];
        let ended = run(&mut run_of(&folder, "a\n", &more));
        assert_eq!(results(&all_done(&ended, 1)), ["safe a"]);
        assert!(ended.err.contains("proven to be \"w1\""), "{}", ended.err);
    }
    // The role in the file is what its member may be.
    let ended =
        run(&mut run_of(&folder, "a\n", &["--tls", &file("w1"), "--worker", "tls://127.0.0.1:9"]));
    assert_eq!(ended.code, Some(2), "{}", ended.err);
}

#[test]
fn the_join_file_may_say_where_the_run_is_and_who_is_revoked_stays_outside() {
    let folder = Folder::new("revoked");
    let pool = folder.text("pool");
    keys(&["init", &pool]);
    keys(&["add", &pool, "--manager", "m1"]);
    let (manager, list) = (format!("{pool}/m1.join"), format!("{pool}/revoked"));
    let listen = ["--listen", "tls://127.0.0.1:0", "--tls", &manager, "--revoked", &list];
    let mut running = Running::start(&mut run_of(&folder, "a\nb\n", &listen));
    let address = super::support::address_of(&mut running);
    for name in ["good", "bad"] {
        keys(&["add", &pool, "--worker", name, "--connect", &address]);
    }
    keys(&["revoke", &pool, "bad"]);
    let bad =
        dialling_worker(&address, &["--tls", &format!("{pool}/bad.join"), "--exec", "echo bad"]);
    running.wait_for("turned a connection away");
    drop(bad);
    let mut good = chargehand();
    good.args(["worker", "--tls", &format!("{pool}/good.join"), "--exec", "echo good"]);
    let _good = super::support::Guard(good.spawn().expect("it is built"));
    assert_eq!(results(&all_done(&running.finish(), 2)), ["good a", "good b"]);
}

#[test]
fn members_are_listed_for_people_and_for_programs() {
    let folder = Folder::new("show");
    let pool = folder.text("pool");
    keys(&["init", &pool]);
    let added = keys(&["add", &pool, "--worker", "w1", "--days", "30", "--output", "json"]);
    let added: serde_json::Value = serde_json::from_str(&added.out).expect("JSON");
    assert_eq!(
        (&added["member"]["name"], &added["member"]["role"]),
        (&"w1".into(), &"worker".into())
    );
    keys(&["add", &pool, "--manager", "m1"]);
    for _ in 0..2 {
        keys(&["revoke", &pool, "w1"]);
    }
    let shown = keys(&["show", &pool]).out;
    // A second before midnight it may be one day less.
    let left = |line: &str, days: u64| {
        [days, days - 1].iter().any(|days| shown.contains(&line.replace('N', &days.to_string())))
    };
    assert!(left("worker  w1 (N days left, revoked)\n", 30), "{shown}");
    assert!(left("pool    m1 (N days left)\n", 365) && shown.ends_with("revoked w1\n"), "{shown}");
    let shown: serde_json::Value =
        serde_json::from_str(&keys(&["show", &pool, "--output", "json"]).out).expect("JSON");
    assert_eq!(
        (shown["members"].as_array().map(Vec::len), &shown["revoked"]),
        (Some(2), &vec!["w1"].into())
    );
}

#[test]
fn a_name_gets_a_line_of_its_own_however_the_list_was_left() {
    let folder = Folder::new("last-line");
    let pool = folder.text("pool");
    keys(&["init", &pool]);
    let list = format!("{pool}/revoked");
    let head = fs::read_to_string(&list).expect("it is there");
    for (left, then) in [
        ("", "w2\n"),
        ("w1\n", "w1\nw2\n"),
        ("w1", "w1\nw2\n"),
        ("# edited by hand", "# edited by hand\nw2\n"),
    ] {
        fs::write(&list, format!("{head}{left}")).expect("writable");
        assert!(keys(&["revoke", &pool, "w2"]).out.starts_with("w2 is revoked"), "{left:?}");
        let text = fs::read_to_string(&list).expect("it is there");
        assert_eq!(text, format!("{head}{then}"), "{left:?}");
    }
    fs::remove_file(&list).expect("it is there");
    keys(&["revoke", &pool, "w2"]);
    assert_eq!(fs::read_to_string(&list).expect("it is made"), "w2\n");
}

#[test]
fn nothing_in_the_folder_turns_what_is_listed_beside_it() {
    let folder = Folder::new("turning");
    let pool = folder.text("pool");
    keys(&["init", &pool]);
    fs::write(format!("{pool}/revoked"), "w1\u{202e}\u{1b}[2J\n").expect("writable");
    fs::write(format!("{pool}/\u{202e}w2.join"), "no member's").expect("writable");
    let shown = keys(&["show", &pool]).out;
    assert!(shown.contains("/?w2.join: ") && shown.ends_with("revoked w1??[2J\n"), "{shown:?}");
    assert_eq!(shown.lines().count(), 2, "{shown:?}");
}

#[test]
fn nothing_is_written_over_and_wrong_names_are_refused() {
    let folder = Folder::new("refused");
    let pool = folder.text("pool");
    keys(&["init", &pool]);
    keys(&["add", &pool, "--worker", "w1"]);
    let before = fs::read(format!("{pool}/w1.join")).expect("it is there");
    for (arguments, why) in [
        (&["init", &pool][..], "there is such a file already"),
        (&["add", &pool, "--worker", "w1"], "there is such a file already"),
        (&["add", &pool, "--worker", "../w2"], "cannot be a member's name"),
        (&["add", &pool, "--worker", "w2", "--manager", "w3"], "cannot be used with"),
        (&["add", &pool], "required"),
        (&["add", "/no/such", "--worker", "w2"], "keys init"),
        (&["revoke", &pool, "a b"], "no member's name"),
        (&["show", "/no/such"], "No such file"),
    ] {
        let Ended { code, err, .. } = run(chargehand().arg("keys").args(arguments));
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{err}");
        assert!(err.contains(why), "{err}");
    }
    assert_eq!(fs::read(format!("{pool}/w1.join")).expect("it is there"), before);
}
