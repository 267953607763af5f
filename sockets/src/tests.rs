use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use rlimit::Resource;

use super::*;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn pair(options: &SocketOptions) -> [TcpStream; 2] {
    let (listener, address) = listener();
    let pair = [TcpStream::connect(address).unwrap(), listener.accept().unwrap().0];
    for stream in &pair {
        prepare(stream, options).unwrap();
    }
    pair
}

#[test]
fn neither_end_delays_and_a_peer_whose_machine_has_vanished_is_probed() {
    let default = SocketOptions::new();
    let mut other = Keepalive::new();
    (other.idle, other.interval, other.probes) =
        (Duration::from_secs(7), Duration::from_millis(10), 1_000);
    for (options, idle, interval, probes) in
        [(default, 60, 15, 4), (default.keepalive(Some(other)), 7, 1, 127)]
    {
        for stream in pair(&options) {
            let socket = SockRef::from(&stream);
            assert!(stream.nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(interval));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), probes);
        }
    }
    for stream in pair(&default.keepalive(None)) {
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }
}

#[test]
fn descriptors_are_counted() {
    let before = descriptors().unwrap();
    assert_eq!(before.max as u64, Resource::NOFILE.get_soft().unwrap());
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
    let name = "tests::when_connections_have_taken_all_descriptors_files_can_still_be_opened";
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
    let hard = Resource::NOFILE.get_hard().unwrap();
    Resource::NOFILE.set(MAX, hard).unwrap();
    let options = SocketOptions::new().descriptors_reserved(RESERVED);
    let (listener, address) = listener();
    let accept = || {
        let (stream, _) = listener.accept().map_err(explained)?;
        prepare(&stream, &options).map(|()| stream)
    };
    let mut held = Vec::new();
    let error = loop {
        assert!((held.len() as u64) < MAX, "there is no reserve");
        // The kernel takes it before we do; each takes two descriptors of this process.
        held.push(TcpStream::connect(address).unwrap());
        match accept() {
            Ok(stream) => held.push(stream),
            Err(error) => break error.to_string(),
        }
    };
    for part in ["last 16 of 128", "descriptors_reserved", "ulimit -n"] {
        assert!(error.contains(part), "{error}");
    }
    let left = descriptors().unwrap().left(0);
    // All of them may be used for files, and then accepting fails as the system has it.
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() >= RESERVED - 1, "{}", files.len());
    // Some may have been inherited with numbers above the limit.
    assert!((1..=files.len()).contains(&left), "{left} of {}", files.len());
    held.pop();
    held.push(TcpStream::connect(address).unwrap());
    let error = accept().unwrap_err().to_string();
    assert!(error.contains("ulimit -n"), "{error}");
    // Once there is room again, so are connections.
    drop(files);
    held.truncate(20);
    assert!(accept().is_ok());
}

#[test]
fn an_error_that_is_not_about_descriptors_stays_as_it_is() {
    let error = explained(io::ErrorKind::ConnectionRefused.into());
    assert_eq!(error.to_string(), io::Error::from(io::ErrorKind::ConnectionRefused).to_string());
}
