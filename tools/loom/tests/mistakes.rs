//! Steps in the wrong order, which no run in one thread would show, are found. Each is tried in a process of its own,
//! since what loom finds ends it.

use std::env;
use std::process::Command;

use chargehand_loom as loom;

/// The name of the mistake that a process is to make, if it is to make one.
const MISTAKE: &str = "LOOM_MISTAKE";
/// Of the driver's own, which looks whether anybody waits before it asks to be told.
const TOO_SOON: &str = "the driver looks too soon";

#[test]
fn the_models_find_nothing_but_the_mistake_that_is_made() {
    match env::var(MISTAKE).as_deref() {
        Ok(TOO_SOON) => return loom::looked_at_too_soon(4),
        Ok(name) => loom::reorder(Box::leak(name.to_owned().into_boxed_str())),
        Err(_) => {}
    }
    loom::left(3);
    loom::asked_while_held_back(4);
}

#[test]
fn steps_in_the_wrong_order_are_found() {
    let ring = "it rings before it says what for";
    let read = "whether to ring is read before the lock is held";
    for name in [ring, read, TOO_SOON] {
        let child = Command::new(env::current_exe().expect("it runs"))
            .args(["--exact", "the_models_find_nothing_but_the_mistake_that_is_made"])
            .env(MISTAKE, name)
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&[child.stdout, child.stderr].concat()).into_owned();
        assert!(!child.status.success() && text.contains("deadlock"), "{name}: not found\n{text}");
    }
}
