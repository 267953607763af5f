//! Our TLS port as clients see it that nobody here wrote: OpenSSL's own, and Python's `ssl`. They are
//! managers of a few bytes, which go through a member's join file alone. And a worker of ours dials one of theirs:
//! `stunnel` in front of a pool without TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chargehand::core::message::{Extensions, HEAD_BYTES_MAX, Message, Role};
use chargehand::core::{TaskId, Verdict};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tls::members::{Authority, Members, Role as MemberRole};
use chargehand::worker::WorkerEvent;
use chargehand::{Pool, Worker, tcp};
use rustix::process::{Pid, Signal, kill_process};

/// A manager in Python: it sends what it is told to, and prints what comes back.
const PYTHON: &str = r#"
import socket, ssl, sys
join, port, name = sys.argv[1:]
def frames(got):
    count = 0
    while len(got) >= 4 and len(got) >= 4 + int.from_bytes(got[:4], "little"):
        got = got[4 + int.from_bytes(got[:4], "little"):]
        count += 1
    return count
context = ssl.create_default_context(cafile=join)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(join)
plain = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
with context.wrap_socket(plain, server_hostname=name) as stream:
    stream.sendall(sys.stdin.buffer.read())
    got = b""
    while frames(got) < 2:
        chunk = stream.recv(4096)
        if not chunk:
            break
        got += chunk
    sys.stdout.buffer.write(got)
"#;

/// Files of a pool's, which go with it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("chargehand-tls-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).expect("a directory of its own");
        let files = Self(dir);
        let authority = Authority::create(files.path("authority")).expect("a new file");
        for (role, name) in
            [(MemberRole::Pool, "m1"), (MemberRole::Worker, "w1"), (MemberRole::Worker, "w2")]
        {
            authority.join(role, name).write(files.path(name)).expect("a new file");
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a manager sends: who it is, what it asks for, and one task.
fn opening() -> Vec<u8> {
    let task = TaskId::from_parts(3, 0);
    let extensions = Extensions::NONE;
    let messages = [
        Message::hello(Role::Manager, 0, 1, "by hand"),
        Message::Welcome { heartbeat_millis: 10_000, window: 1, extensions },
        Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] },
    ];
    let mut bytes = Vec::new();
    for message in messages {
        let mut payload = message.encode(&mut [0; HEAD_BYTES_MAX]).to_vec();
        if matches!(message, Message::Request { .. }) {
            payload.push(21); // As postcard has it.
        }
        bytes.extend(u32::try_from(payload.len()).expect("a short one").to_le_bytes());
        bytes.extend(payload);
    }
    bytes
}

/// Reads the worker's Hello and its answer.
fn answer_in(mut bytes: &[u8]) -> Option<u8> {
    let mut answer = None;
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        match Message::decode(payload).expect("a message of ours") {
            Message::Hello(hello) => assert_eq!(hello.role, Role::Worker),
            Message::Response { verdict, body, .. } => {
                assert_eq!(verdict, Verdict::Done);
                answer = Some(body[0]);
            }
            other => panic!("neither a Hello nor an answer but {other:?}"),
        }
        bytes = rest;
    }
    answer
}

/// Serves on a port of its own while the client runs, and returns what the client printed, and whom the
/// worker has refused.
fn served(
    files: &Files,
    client: impl FnOnce(SocketAddr) -> Vec<u8> + Send + 'static,
) -> (Vec<u8>, String) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it listens");
    let members = Members::worker(files.path("w1")).expect("its file");
    let listener = members.accept(SmolListener::from_std(door).expect("it listens"));
    let (note, notes) = async_channel::unbounded();
    let worker = Worker::new(Smol::new(), |number: u8| async move { Ok::<u8, String>(2 * number) })
        .name("w1")
        .on_event(move |event| {
            if let WorkerEvent::Refused { reason, .. } = event {
                let _ = note.try_send(reason.to_string());
            }
        });
    let stopper = worker.stopper();
    let client = std::thread::spawn(move || {
        let printed = client(at);
        stopper.stop();
        printed
    });
    smol::block_on(worker.serve(tcp::TcpListener::new(listener))).expect("its settings are right");
    let mut refused = String::new();
    while let Ok(reason) = notes.try_recv() {
        refused.push_str(&reason);
    }
    (client.join().expect("the client ends"), refused)
}

/// Gives a program its input, and returns what it prints until the answer is there or it ends.
fn run(mut command: Command, is_kept_open: bool) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().expect("it is piped");
    let _ = input.write_all(&opening()); // One that was refused may have ended.
    let input = is_kept_open.then_some(input);
    let mut output = child.stdout.take().expect("it is piped");
    let watched = Watched(child);
    let mut printed = Vec::new();
    let mut chunk = [0; 4096];
    while answer_in(&printed).is_none() {
        match output.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => printed.extend(&chunk[..count]),
        }
    }
    drop((input, watched));
    printed
}

/// Ends with this.
struct Watched(Child);

impl Watched {
    /// Returns whether it ends within a second.
    fn ends(&mut self) -> bool {
        (0..100).any(|_| {
            let has_ended = !matches!(self.0.try_wait(), Ok(None));
            if !has_ended {
                std::thread::sleep(Duration::from_millis(10));
            }
            has_ended
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.ends() {
            return;
        }
        // `timeout` hands this on to what it runs, which would be left over if it were killed itself.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        if !self.ends() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn openssl(join: &Path, at: SocketAddr) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["20", "openssl", "s_client", "-quiet", "-tls1_3", "-verify_return_error"])
        .args(["-connect", &at.to_string(), "-servername", "w1", "-verify_hostname", "w1"])
        .arg("-CAfile")
        .arg(join)
        .arg("-cert")
        .arg(join)
        .arg("-key")
        .arg(join);
    command
}

fn python(join: &Path, at: SocketAddr) -> Command {
    let mut command = Command::new("timeout");
    let port = at.port().to_string();
    command.args(["20", "python3", "-c", PYTHON]).arg(join).args([&port, "w1"]);
    command
}

#[test]
fn openssl_does_a_task_with_a_join_file() {
    let files = Files::new();
    let join = files.path("m1");
    let (printed, refused) = served(&files, move |at| run(openssl(&join, at), true));
    assert_eq!(answer_in(&printed), Some(42), "{printed:?} {refused}");
}

#[test]
fn pythons_ssl_does_a_task_with_a_join_file() {
    let files = Files::new();
    let join = files.path("m1");
    let (printed, refused) = served(&files, move |at| run(python(&join, at), false));
    assert_eq!(answer_in(&printed), Some(42), "{printed:?} {refused}");
}

#[test]
fn neither_gets_in_with_the_join_file_of_a_worker_or_with_none() {
    let files = Files::new();
    let join = files.path("w2");
    let (printed, refused) = served(&files, move |at| run(openssl(&join, at), true));
    assert_eq!(answer_in(&printed), None);
    assert!(refused.contains("it is a worker, \"w2\", where a pool is to be"), "{refused}");

    let (printed, refused) = served(&files, |at| {
        let mut command = Command::new("timeout");
        command.args(["20", "openssl", "s_client", "-quiet", "-connect", &at.to_string()]);
        run(command, true)
    });
    assert_eq!(answer_in(&printed), None);
    assert!(refused.contains("it has shown no certificate"), "{refused}");
}

/// Starts stunnel with a pool's join file in front of a plain port, and returns where it listens.
fn stunnel(files: &Files, plain: SocketAddr) -> (Watched, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = free.local_addr().expect("it listens");
    drop(free);
    let (join, config) = (files.path("m1"), files.path("stunnel.conf"));
    let join = join.display();
    let text = format!(
        "foreground = yes\npid =\n[pool]\naccept = {at}\nconnect = {plain}\ncert = {join}\nkey = {join}\n\
         CAfile = {join}\nverifyChain = yes\nrequireCert = yes\nsslVersionMin = TLSv1.3\n"
    );
    std::fs::write(&config, text).expect("a new file");
    let mut command = Command::new("timeout");
    command.args(["30", "stunnel"]).arg(config).stdin(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let watched = Watched(child);
    for _ in 0..500 {
        if std::net::TcpStream::connect(at).is_ok() {
            return (watched, at);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("stunnel does not listen on {at}: apt-get install stunnel4");
}

#[test]
fn a_worker_of_ours_dials_through_stunnel_and_one_with_another_authoritys_file_does_not() {
    let (files, others) = (Files::new(), Files::new());
    smol::block_on(async {
        let door = Smol::bind("127.0.0.1:0").await.expect("a free port");
        let plain = door.local_addr().expect("it listens");
        let builder = Pool::builder(Smol::new()).accept(tcp::TcpListener::new(door));
        let (pool, driver) = builder.build().expect("its settings are right");
        let driver = smol::spawn(driver);
        let (stunnel, at) = stunnel(&files, plain);
        let dialled = |files: &Files| {
            let members = Members::worker(files.path("w1")).expect("its file");
            let dial = members.dial(Smol::new());
            let connector =
                tcp::TcpConnector::new(dial, &format!("tls://{at}")).expect("an address");
            let (note, notes) = async_channel::unbounded();
            let work = |number: u8| async move { Ok::<u8, String>(2 * number) };
            let worker = Worker::new(Smol::new(), work).name("w1").on_event(move |event| {
                let _ = note.try_send(event.clone());
            });
            (worker.stopper(), smol::spawn(worker.dial(connector)), notes)
        };
        let (stopper, worker, notes) = dialled(&others);
        let WorkerEvent::Refused { reason, .. } = notes.recv().await.expect("it dials") else {
            panic!("it is of another authority")
        };
        let reason = reason.to_string();
        assert!(reason.contains("not of an authority that this end trusts"), "{reason}");
        stopper.stop();
        worker.await.expect("its settings are right");

        let (stopper, worker, notes) = dialled(&files);
        assert_eq!(pool.call::<u8, u8>(&21).await, Ok(42));
        let event = notes.recv().await.expect("it is connected");
        let WorkerEvent::Connected { identity, .. } = event else { panic!("{event}") };
        assert_eq!(identity.as_deref(), Some("m1"), "whom stunnel's certificate is of");
        stopper.stop();
        worker.await.expect("its settings are right");
        drop(stunnel);
        assert!(std::net::TcpStream::connect(at).is_err(), "nothing is left over");
        pool.stop().await.expect("the driver lives");
        driver.await;
    });
}
