//! `chargehand top` in a terminal: that of tmux.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Folder, TOKEN, ask, chargehand, cut_short, done_at, run, shown_run, until};

/// A terminal of 80 x 24 in which a script runs. Its server is this test's own, and is gone with it.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn start(folder: &Folder, script: &str) -> Self {
        let terminal = Self { socket: folder.text("tmux") };
        fs::write(folder.path("script"), script).expect("writable");
        let shell = format!("sh {}", folder.text("script"));
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", &shell]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-f", "/dev/null", "-S", &self.socket]).args(args).env_remove("TMUX");
        let output = command.output().expect("tmux is installed");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Returns what is on the screen once that has `wanted`.
    fn wait_for(&self, wanted: &str) -> String {
        let mut screen = String::new();
        until(wanted, || {
            screen = self.tmux(&["capture-pane", "-p"]);
            screen.contains(wanted)
        });
        screen
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.args(["-S", &self.socket, "kill-server"]).output();
    }
}

/// Runs `top` between two looks at the terminal, and says its exit code then.
fn script(folder: &Folder, url: &str) -> String {
    format!(
        "echo before\nstty -a > {before}\n{chargehand} top {url} &\necho $! > {id}\nfg\necho \"code $?\"\n\
         stty -a > {after}\nexec sleep 600\n",
        chargehand = env!("CARGO_BIN_EXE_chargehand"),
        before = folder.text("before"),
        after = folder.text("after"),
        id = folder.text("id"),
    )
    .replace("echo before", "set -m; echo before")
}

fn assert_restored(folder: &Folder, terminal: &Terminal) {
    let screen = terminal.wait_for("code ");
    assert!(screen.contains("code 0"), "{screen}");
    assert!(screen.contains("before"), "what was there is there again: {screen}");
    assert!(!screen.contains("Workers"), "nothing of it is left: {screen}");
    let modes = terminal.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
    assert_eq!(modes.trim(), "0 1", "the usual screen, and its cursor");
    until("the terminal is looked at again", || {
        fs::read_to_string(folder.path("after")).is_ok_and(|text| text.ends_with('\n'))
    });
    let read = |name| fs::read_to_string(folder.path(name)).expect("it was written");
    assert_eq!(read("after"), read("before"), "modes of the terminal");
}

#[test]
fn top_shows_what_the_endpoint_says_and_leaves_the_terminal_as_it_was() {
    let folder = Folder::new("top");
    let (running, url) = shown_run(&folder, "1..=100000", "sleep 0.02; test $1 -ne 5", &[]);
    done_at(&url, 10);
    let pause = ["queue", "pause", "default", &url, "--token-file", &folder.text("token")];
    assert_eq!(run(chargehand().args(pause)).code, Some(0));
    until("nothing is under way", || ask(&url, "api/overview")["tasks"]["in_flight"] == 0);
    let tasks = ask(&url, "api/overview")["tasks"].clone();
    let terminal = Terminal::start(&folder, &script(&folder, &url));
    let ended = format!("{} done, 1 failed of {}", tasks["done"], tasks["submitted"]);
    terminal.wait_for(&ended);
    // The table is drawn last.
    let screen = terminal.wait_for("in-process 1");
    for wanted in [
        "chargehand run  running",
        "1 of 1 up",
        "in-process 1",
        "Queue default is paused",
        "q quit",
    ] {
        assert!(screen.contains(wanted), "no \"{wanted}\": {screen}");
    }
    assert!(!screen.contains(TOKEN), "{screen}");
    terminal.press("Tab");
    let screen = terminal.wait_for("OLDEST");
    assert!(
        screen.lines().any(|line| line.starts_with("default") && line.ends_with("paused")),
        "{screen}"
    );
    terminal.press("p");
    terminal.wait_for("PAUSED");
    terminal.press("p");
    let resume = ["queue", "resume", "default", &url, "--token-file", &folder.text("token")];
    assert_eq!(run(chargehand().args(resume)).code, Some(0));
    until("the figures are those of now", || {
        !terminal.tmux(&["capture-pane", "-p"]).contains(&ended)
    });
    terminal.press("q");
    assert_restored(&folder, &terminal);
    cut_short(running);
}

#[test]
fn top_ends_with_its_terminal() {
    let folder = Folder::new("top-gone");
    let (running, url) = shown_run(&folder, "1..=1", "exec sleep 60", &[]);
    let terminal = Terminal::start(&folder, &script(&folder, &url));
    terminal.wait_for("1 in flight");
    let id = fs::read_to_string(folder.path("id")).expect("it was written");
    drop(terminal);
    let state = format!("/proc/{}/stat", id.trim());
    // What nobody has waited for yet has ended as well.
    until("top has ended", || {
        fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "))
    });
    cut_short(running);
}

#[test]
fn top_leaves_the_terminal_as_it_was_when_it_is_told_to_end() {
    let folder = Folder::new("top-told");
    let (running, url) = shown_run(&folder, "1..=1", "exec sleep 60", &[]);
    let terminal = Terminal::start(&folder, &script(&folder, &url));
    terminal.wait_for("1 in flight");
    let id = fs::read_to_string(folder.path("id")).expect("it was written");
    let id = id.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::TERM).expect("it runs");
    assert_restored(&folder, &terminal);
    cut_short(running);
}
