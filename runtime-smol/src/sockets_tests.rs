use std::fs::File;
use std::future::poll_fn;
use std::process::Command;
use std::time::Duration;

use chargehand_core::io::{Accept, Dial, Timer};
use chargehand_core::net::Keepalive;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::Smol;

async fn pair(options: SocketOptions) -> [TcpStream; 2] {
    let mut listener = Smol::bind("127.0.0.1:0").await.unwrap().socket_options(options);
    let address = listener.local_addr().unwrap().to_string();
    let dialling = Smol::new().socket_options(options).dial(&address);
    let (dialled, accepted) =
        smol::future::zip(dialling, poll_fn(|cx| listener.poll_accept(cx))).await;
    [dialled.unwrap(), accepted.unwrap().0].map(|stream| stream.into_inner().into_inner().unwrap())
}

#[test]
fn a_peer_whose_machine_has_vanished_is_probed_by_either_end() {
    let default = SocketOptions::new();
    let mut other = Keepalive::new();
    (other.idle, other.interval, other.probes) =
        (Duration::from_secs(7), Duration::from_millis(10), 1_000);
    for (options, idle, interval, probes) in
        [(default, 60, 15, 4), (default.keepalive(Some(other)), 7, 1, 127)]
    {
        for stream in smol::block_on(pair(options)) {
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), Duration::from_secs(idle));
            assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), Duration::from_secs(interval));
            assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), probes);
        }
    }
    for stream in smol::block_on(pair(default.keepalive(None))) {
        assert!(!sockopt::socket_keepalive(&stream).unwrap());
    }
}

#[test]
fn descriptors_are_counted() {
    let before = descriptors().unwrap();
    assert_eq!(Some(before.max as u64), getrlimit(Resource::Nofile).current);
    let files: Vec<File> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
    let after = descriptors().unwrap();
    // Other tests open and close some meanwhile.
    assert!(after.open >= before.open + 100, "{before:?} {after:?}");
    drop(files);
}

/// Set in a process of its own, for the limit is that of a whole process.
const CHILD: &str = "CHARGEHAND_TEST_FEW_DESCRIPTORS";
const RESERVED: usize = 16;
const MAX: u64 = 128;

#[test]
fn when_connections_have_taken_all_descriptors_files_can_still_be_opened() {
    if std::env::var_os(CHILD).is_some() {
        return with_few_descriptors();
    }
    let name =
        "sockets::tests::when_connections_have_taken_all_descriptors_files_can_still_be_opened";
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{shown}{}", String::from_utf8_lossy(&child.stderr));
    assert!(shown.contains("1 passed"), "{shown}");
}

fn with_few_descriptors() {
    smol::block_on(async {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(MAX), ..limit }).unwrap();
        let options = SocketOptions::new().descriptors_reserved(RESERVED);
        let mut listener = Smol::bind("127.0.0.1:0").await.unwrap().socket_options(options);
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        let error = loop {
            assert!((held.len() as u64) < MAX, "there is no reserve");
            // The kernel takes it before we do; each takes two descriptors of this process.
            held.push(TcpStream::connect(address).unwrap());
            match poll_fn(|cx| listener.poll_accept(cx)).await {
                Ok((stream, _)) => held.push(stream.into_inner().into_inner().unwrap()),
                Err(error) => break error.to_string(),
            }
        };
        for part in ["last 16 of 128", "descriptors_reserved", "ulimit -n"] {
            assert!(error.contains(part), "{error}");
        }
        let dialler = Smol::new().socket_options(options);
        let refused = dialler.dial(&address.to_string()).await.unwrap_err();
        assert!(refused.to_string().contains("descriptors_reserved"), "{refused}");
        let left = descriptors().unwrap().left(0);
        // All of them may be used for files, and then accepting fails as the system has it.
        let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(files.len() >= RESERVED - 1, "{}", files.len());
        // Some may have been inherited with numbers above the limit.
        assert!((1..=files.len()).contains(&left), "{left} of {}", files.len());
        held.pop();
        held.push(TcpStream::connect(address).unwrap());
        let error = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap_err().to_string();
        assert!(error.contains("ulimit -n"), "{error}");
        // Once there is room again, so are connections.
        drop(files);
        held.truncate(20);
        assert!(poll_fn(|cx| listener.poll_accept(cx)).await.is_ok());
    });
}
