//! Two network namespaces, and a wire between them that can be made bad.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// Fails loudly where the means are missing.
///
/// # Panics
/// With what is missing.
pub(crate) fn check_means() {
    let is_root = rustix::process::geteuid().is_root();
    assert!(
        is_root,
        "this makes network namespaces, and needs root for it: `sudo bash ci.sh network`"
    );
    for (tool, argument) in [("ip", "-V"), ("python3", "-V")] {
        let found = Command::new(tool).arg(argument).stdout(Stdio::null()).status();
        assert!(found.is_ok(), "this needs `{tool}`: apt-get install iproute2 python3");
    }
    assert!(Path::new("/dev/net/tun").exists(), "this needs /dev/net/tun: a kernel with TUN");
    let name = format!("chargehand-{}-check", std::process::id());
    assert!(
        is_done(&["netns", "add", &name]) && is_done(&["netns", "del", &name]),
        "`ip netns add` is not permitted here: run it where namespaces may be made"
    );
}

/// How a wire is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    /// In milliseconds, and so much more at random.
    pub(crate) delay: u32,
    pub(crate) jitter: u32,
    /// Of a hundred packets.
    pub(crate) loss: u32,
    /// In bytes a second; 0 for no limit.
    pub(crate) rate: u32,
    pub(crate) drops: Drops,
}

/// In which direction everything is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Drops {
    Nothing,
    ToWorkers,
    ToManager,
    Both,
}

impl Wire {
    pub(crate) const GOOD: Self =
        Self { delay: 1, jitter: 0, loss: 0, rate: 0, drops: Drops::Nothing };
}

/// Both namespaces, the names in one of them and the wire, until this is dropped.
pub(crate) struct Network {
    near: String,
    far: String,
    names: Names,
    wire: Child,
    said: Mutex<BufReader<ChildStdout>>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let name = |end: &str| format!("chargehand-{}-{end}", std::process::id());
        let (near, far) = (name("near"), name("far"));
        let names = Names::new(&near);
        let cleans = Namespaces(&near, &far);
        for namespace in [&near, &far] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/bad_wire.py");
        let mut wire = Command::new("python3")
            .args([script, &near, &far])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = Mutex::new(BufReader::new(wire.stdout.take().expect("it is a pipe")));
        std::mem::forget(cleans);
        let mut network = Self { near, far, names, wire, said };
        network.hears("ready");
        for (namespace, address) in [(&network.near, "10.77.0.1"), (&network.far, "10.77.0.2")] {
            ip(&["-n", namespace, "address", "add", &format!("{address}/24"), "dev", "wire"]);
        }
        network.names.say("10.77.0.2");
        network.set(Wire::GOOD);
        network
    }

    /// Where the manager is.
    pub(crate) fn near(&self) -> &str {
        &self.near
    }

    /// Where the workers are.
    pub(crate) fn far(&self) -> &str {
        &self.far
    }

    pub(crate) fn set(&mut self, wire: Wire) {
        let Wire { delay, jitter, loss, rate, drops } = wire;
        let drops = match drops {
            Drops::Nothing => "none",
            Drops::ToWorkers => "ab",
            Drops::ToManager => "ba",
            Drops::Both => "both",
        };
        let stdin = self.wire.stdin.as_mut().expect("it is a pipe");
        writeln!(stdin, "{delay} {jitter} {loss} {rate} {drops}").expect("the wire is there");
        self.hears("done");
    }

    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        let said = self.said.get_mut().expect("no panic with it");
        said.read_line(&mut line).expect("the wire is there");
        assert_eq!(line.trim_end(), expected, "the wire has failed");
    }

    /// Takes the workers' interface down.
    pub(crate) fn down(&self) {
        ip(&["-n", &self.far, "link", "set", "wire", "down"]);
    }

    pub(crate) fn up(&self) {
        ip(&["-n", &self.far, "link", "set", "wire", "up"]);
    }

    /// Gives the workers' side another address in place of the one it has, of which [`NAME`] tells.
    pub(crate) fn moves(&self, from: &str, to: &str) {
        self.names.say(to);
        ip(&["-n", &self.far, "address", "add", &format!("{to}/24"), "dev", "wire"]);
        ip(&["-n", &self.far, "address", "del", &format!("{from}/24"), "dev", "wire"]);
        // It may have gone with the first one.
        ip(&["-n", &self.far, "address", "replace", &format!("{to}/24"), "dev", "wire"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.wire.kill();
        let _ = self.wire.wait();
        drop(Namespaces(&self.near, &self.far));
    }
}

/// What the workers' side is called in the manager's namespace.
pub(crate) const NAME: &str = "workers.chargehand.test";

/// The file that whoever is in a namespace finds names in, until this is dropped: `ip netns exec` puts it in the place of
/// `/etc/hosts`.
struct Names(PathBuf);

impl Names {
    fn new(namespace: &str) -> Self {
        let folder = Path::new("/etc/netns").join(namespace);
        std::fs::create_dir_all(&folder).expect("root may");
        Self(folder)
    }

    /// Writes into the same file, which those in the namespace see.
    fn say(&self, address: &str) {
        let line = format!("127.0.0.1 localhost\n{address} {NAME}\n");
        std::fs::write(self.0.join("hosts"), line).expect("root may");
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        // Only if no other one is there.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}

/// Removes both as it is dropped.
struct Namespaces<'a>(&'a str, &'a str);

impl Drop for Namespaces<'_> {
    fn drop(&mut self) {
        for namespace in [self.0, self.1] {
            is_done(&["netns", "del", namespace]);
        }
    }
}

fn ip(arguments: &[&str]) {
    assert!(is_done(arguments), "`ip {}` failed", arguments.join(" "));
}

fn is_done(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}
