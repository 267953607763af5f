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
fn neither_end_delays_its_writes_and_idle_peers_are_probed() {
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
    // Other tests open and close some in the meantime.
    assert!(after.open >= before.open + 100, "{before:?} {after:?}");
    drop(files);
}

/// Set in a child process, because the limit applies to a whole process.
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
        // The kernel completes the connection before it is accepted. Both ends are in this process, so each
        // connection takes two descriptors.
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
    // Files may use all of these. Then accepting fails with the system's own error.
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() >= RESERVED - 1, "{}", files.len());
    // Inherited descriptors may have numbers above the limit.
    assert!((1..=files.len()).contains(&left), "{left} of {}", files.len());
    held.pop();
    held.push(TcpStream::connect(address).unwrap());
    let error = accept().unwrap_err().to_string();
    assert!(error.contains("ulimit -n"), "{error}");
    // Once descriptors are free again, connections are accepted.
    drop(files);
    held.truncate(20);
    assert!(accept().is_ok());
}

#[test]
fn an_error_that_is_not_about_descriptors_is_unchanged() {
    let error = explained(io::ErrorKind::ConnectionRefused.into());
    assert_eq!(error.to_string(), io::Error::from(io::ErrorKind::ConnectionRefused).to_string());
}
