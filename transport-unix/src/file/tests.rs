use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Barrier;

use super::*;
use crate::UnixSocket;
use crate::transport::UnixListener;

/// A directory of a test's own, which is removed at its end.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("chargehand-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.0.display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_listen(path: &str) -> io::Result<UnixListener<StdListener>> {
    UnixSocket::new(&format!("unix://{path}")).listen(Ok)
}

/// Leaves a socket file behind as a killed process does.
fn leave_behind(path: &str) {
    drop(StdListener::bind(path).unwrap());
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

fn refusal(path: &str, kind: io::ErrorKind, remedy: &str) {
    let error = try_listen(path).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(path), "{text}");
    assert!(text.contains(remedy), "{text}");
}

#[test]
fn a_listener_is_found_at_its_path_and_takes_the_file_along_when_it_goes() {
    let directory = Directory::new("found");
    let path = directory.file("a.sock");
    let listener = UnixSocket::new(&path).listen(Ok).unwrap();
    assert_eq!(listener.path(), path);
    UnixStream::connect(&path).unwrap();
    drop(listener);
    assert!(!fs::exists(&path).unwrap());
    // And again, at a place that is free.
    drop(try_listen(&path).unwrap());
}

#[test]
fn where_it_cannot_listen_in_the_end_it_leaves_no_file() {
    let directory = Directory::new("unopened");
    let path = directory.file("a.sock");
    let error = claim_by(&path, |_| Err(io::Error::other("no more of them"))).unwrap_err();
    assert_eq!(error.to_string(), "no more of them");
    assert!(!fs::exists(&path).unwrap());
    drop(try_listen(&path).unwrap());
}

#[test]
fn a_file_that_a_dead_process_left_is_replaced() {
    let directory = Directory::new("stale");
    let path = directory.file("a.sock");
    leave_behind(&path);
    let _listener = try_listen(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_listener_keeps_its_path_and_serves_on() {
    let directory = Directory::new("live");
    let path = directory.file("a.sock");
    let live = StdListener::bind(&path).unwrap();
    refusal(&path, io::ErrorKind::AddrInUse, "stop it, or choose another path");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"x").unwrap();
    // The first that was accepted is the look at whether it lives.
    let (mut probe, _) = live.accept().unwrap();
    assert_eq!(probe.read(&mut [0]).unwrap(), 0);
    let (mut accepted, _) = live.accept().unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 1);
}

#[test]
fn a_live_listener_whose_queue_is_full_keeps_its_path() {
    let directory = Directory::new("full");
    let path = directory.file("a.sock");
    let socket = stream_socket().unwrap();
    bind(&socket, &SocketAddrUnix::new(&*path).unwrap()).unwrap();
    listen(&socket, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let waits = stream_socket().unwrap();
        rustix::io::ioctl_fionbio(&waits, true).unwrap();
        if connect(&waits, &SocketAddrUnix::new(&*path).unwrap()) == Err(Errno::AGAIN) {
            break;
        }
        waiting.push(waits);
        assert!(waiting.len() < 64, "a queue of none holds a few");
    }
    refusal(&path, io::ErrorKind::AddrInUse, "stop it, or choose another path");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = Directory::new("file");
    let path = directory.file("precious");
    File::create(&path).unwrap().write_all(b"data").unwrap();
    refusal(&path, io::ErrorKind::AlreadyExists, "remove it, or choose another path");
    assert_eq!(fs::read(&path).unwrap(), b"data");

    // Nor is what a link leads to.
    let link = directory.file("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refusal(&link, io::ErrorKind::AlreadyExists, "choose another path");
    assert_eq!(fs::read(&path).unwrap(), b"data");

    let datagrams = directory.file("datagrams");
    let _live = UnixDatagram::bind(&datagrams).unwrap();
    refusal(&datagrams, io::ErrorKind::AddrInUse, "another type");
    assert!(fs::exists(&datagrams).unwrap());
}

#[test]
fn the_mode_is_that_which_was_asked_for_whatever_the_umask() {
    let directory = Directory::new("mode");
    let mode_of = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = directory.file("a.sock");
    let listener = try_listen(&path).unwrap();
    assert_eq!(mode_of(&path), 0o600, "its owner alone, where nothing is said");
    drop(listener);
    let _listener = UnixSocket::new(&path).mode(0o666).listen(Ok).unwrap();
    assert_eq!(mode_of(&path), 0o666);
    let error = UnixSocket::new(&path).mode(0o4755).listen(Ok).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("0o777"), "{error}");
}

#[test]
fn a_file_that_has_taken_the_place_is_not_removed() {
    let directory = Directory::new("other");
    let path = directory.file("a.sock");
    let first = try_listen(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = try_listen(&path).unwrap();
    drop(first);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_runtime_that_refuses_the_socket_leaves_no_file() {
    let directory = Directory::new("refused");
    let path = directory.file("a.sock");
    let error = UnixSocket::new(&path).listen::<()>(|_| Err(io::Error::other("no reactor")));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("no reactor") && text.contains(&path), "{text}");
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_directory_that_is_missing_or_in_use_is_named_with_a_remedy() {
    let directory = Directory::new("missing");
    let path = directory.file("not/there.sock");
    refusal(&path, io::ErrorKind::NotFound, "create its directory first");
    let file = directory.file("file");
    File::create(&file).unwrap();
    refusal(&format!("{file}/a.sock"), io::ErrorKind::NotADirectory, "no directory");
    let long = directory.file(&"x".repeat(200));
    let error = try_listen(&long).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("choose a shorter one"), "{error}");
}

#[test]
fn who_finds_the_directory_locked_waits_but_not_for_ever() {
    let directory = Directory::new("locked");
    let path = directory.file("a.sock");
    let lock = lock_directory(&path, Duration::ZERO).unwrap();
    refusal(&path, io::ErrorKind::WouldBlock, "choose another directory");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| try_listen(&path));
        std::thread::sleep(Duration::from_millis(50));
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn of_many_that_find_a_stale_file_at_once_exactly_one_gets_the_path() {
    let directory = Directory::new("race");
    for round in 0..20 {
        let path = directory.file(&format!("{round}.sock"));
        leave_behind(&path);
        let barrier = Barrier::new(8);
        let kinds: Vec<_> = std::thread::scope(|scope| {
            let mut starters = Vec::new();
            for _ in 0..8 {
                starters.push(scope.spawn(|| {
                    barrier.wait();
                    let listener = try_listen(&path);
                    // Nobody lets go before all have tried.
                    barrier.wait();
                    listener.err().map(|error| error.kind())
                }));
            }
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        let won = kinds.iter().filter(|kind| kind.is_none()).count();
        let in_use = kinds.iter().filter(|kind| **kind == Some(io::ErrorKind::AddrInUse)).count();
        assert_eq!((won, in_use), (1, 7), "{kinds:?}");
        assert!(!fs::exists(&path).unwrap());
    }
}
