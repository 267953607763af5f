//! A loopback whose TCP doesn't pace.
//!
//! BBR, which some machines have as their default, sends when its timers say so. On loopback that is all
//! that a long body's figures would show, and not even evenly: the bare wire moved 64 KiB at 20,000 messages
//! a second with it and at 55,000 without. A network namespace of one's own can have another
//! default by its routes, and so for every program in it, whoever wrote that.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::processes::{PEERS_MANIFEST, cargo};

/// Says that this process is in such a namespace already.
const MARK: &str = "CHARGEHAND_BENCH_LOOPBACK";

/// The route of Linux's own, and the same for all of `127.0.0.0/8`, with the congestion control that Linux has
/// by default.
const SCRIPT: &str = "
    ip link set lo up
    for to in 127.0.0.0/8 127.0.0.1; do
        ip route replace local $to dev lo table local proto kernel scope host src 127.0.0.1 congctl cubic
    done &&
    exec \"$0\" \"$@\"";

/// Starts this program again in a namespace whose loopback doesn't pace, where this one's does. Returns where it
/// does not, or where that can't be helped, having said so.
pub(crate) fn without_pacing() {
    let default = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    if env::var_os(MARK).is_some() || default.is_ok_and(|name| name.trim() != "bbr") {
        return;
    }
    // Nothing can be downloaded in there.
    let fetched = cargo().args(["fetch", "--quiet", "--manifest-path", PEERS_MANIFEST]).status();
    assert!(
        fetched.is_ok_and(|status| status.success()),
        "cargo cannot fetch what {PEERS_MANIFEST} needs"
    );
    let this = env::current_exe().expect("the path of this program");
    // Whoever is not root is so in a namespace of users.
    for flags in [["-n"].as_slice(), &["-r", "-n"]] {
        let probe =
            Command::new("unshare").args(flags).args(["ip", "link", "set", "lo", "up"]).status();
        if probe.is_ok_and(|status| status.success()) {
            let mut again = Command::new("unshare");
            again.args(flags).args(["sh", "-c", SCRIPT]).arg(&this).args(env::args_os().skip(1));
            let error = again.env(MARK, "").exec();
            eprintln!("unshare: {error}");
        }
    }
    eprintln!(
        "TCP paces here (BBR), and figures of long bodies will show its timers. `sysctl -w \
         net.ipv4.tcp_congestion_control=cubic` helps, or unshare (util-linux) and ip (iproute2)."
    );
}
