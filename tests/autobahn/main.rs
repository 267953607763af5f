//! Autobahn's cases, which every WebSocket library is held against, for both roles and both dialects. They are played
//! by `kosoku`, a Python package, which the environment variable `AUTOBAHN_PYTHON` has an interpreter with:
//! `bash ci.sh autobahn` makes one. So it is no part of `cargo test`, but a stage of its own.

mod headed;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use chargehand::core::io::{Connect, Dialect, Listen, Wire};
use chargehand::smol::{Smol, SmolListener};
use chargehand::ws::{Limits, WsConnector, WsListener};
use futures_util::future::join_all;
use headed::{HeadedAccept, HeadedDial};

/// How many cases are under way at once.
const AT_ONCE: usize = 16;
/// How long all cases of one role and dialect may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which cases are played in the JSON dialect, whose messages are text: all that do not compress, which neither dialect
/// offers, but for those with binary messages. And how many that are.
const TEXT: (&[&str], usize) = (
    &[
        "1.1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.*", "9.3.*", "9.5.*", "9.7.*",
        "10.*",
    ],
    266,
);
/// Which are played in the native dialect, whose messages are binary: those with binary messages, and those without
/// any.
const BINARY: (&[&str], usize) = (
    &[
        "1.2.*", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.10", "2.11", "3.5", "3.6", "3.7",
        "4.1.1", "4.1.2", "4.2.1", "4.2.2", "5.1", "7.3.*", "7.5.1", "7.7.*", "7.9.*", "7.13.*",
        "9.2.*", "9.4.*", "9.6.*", "9.8.*",
    ],
    82,
);
fn main() -> ExitCode {
    // Whoever lists tests, such as `cargo nextest`, is to see none.
    if env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let mut is_fine = true;
    for (dialect, (cases, count)) in [(Dialect::Json, TEXT), (Dialect::Native, BINARY)] {
        is_fine &= judge("server", dialect, count, &serve(dialect, cases));
        is_fine &= judge("client", dialect, count, &connect(dialect, cases));
    }
    println!("all of it took {:.1} s", begun.elapsed().as_secs_f64());
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of a case.
struct Verdict {
    passed: bool,
    text: String,
}

/// Says what came of the cases of a role. Returns whether there are as many as there should be, and all passed.
fn judge(role: &str, dialect: Dialect, count: usize, cases: &BTreeMap<String, Verdict>) -> bool {
    let passed = cases.values().filter(|verdict| verdict.passed).count();
    println!("{role}, {dialect:?}: {passed} of {count} cases passed");
    for (id, verdict) in cases.iter().filter(|(_, verdict)| !verdict.passed) {
        println!("  {id}: {}", verdict.text);
    }
    (passed, cases.len()) == (count, count)
}

/// Plays cases to a server of ours.
fn serve(dialect: Dialect, cases: &[&str]) -> BTreeMap<String, Verdict> {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = door.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let accept = SmolListener::from_std(door).expect("it listens");
        match dialect {
            Dialect::Json => echo_all(WsListener::new(accept).json(true).limits(limits())),
            Dialect::Native => echo_all(WsListener::new(HeadedAccept(accept)).limits(limits())),
        }
    });
    Autobahn::begin("client", port, cases).verdicts()
}

/// Plays cases to a client of ours.
fn connect(dialect: Dialect, cases: &[&str]) -> BTreeMap<String, Verdict> {
    let mut autobahn = Autobahn::begin("server", 0, cases);
    let at = format!("ws://127.0.0.1:{}", autobahn.port());
    let plain = |path: &str| {
        let connector = WsConnector::new(Smol::new(), &format!("{at}{path}")).expect("a URL");
        connector.dialect(Dialect::Json).limits(limits())
    };
    smol::block_on(async {
        let mut wire = plain("/getCaseCount").connect().await.expect("it is there");
        let count = receive(&mut wire).await.expect("a number").expect("a number");
        let count: usize = String::from_utf8_lossy(&count).parse().expect("a number");
        let next = Cell::new(1);
        let run = |_| async {
            while next.get() <= count {
                let case = next.replace(next.get() + 1);
                let path = format!("/runCase?case={case}&agent=chargehand");
                match dialect {
                    Dialect::Json => run_case(plain(&path)).await,
                    Dialect::Native => {
                        let url = format!("{at}{path}");
                        let dial = HeadedDial(Smol::new());
                        run_case(WsConnector::new(dial, &url).expect("a URL").limits(limits()))
                            .await;
                    }
                }
            }
        };
        join_all((0..AT_ONCE).map(run)).await;
        let mut wire =
            plain("/updateReports?agent=chargehand").connect().await.expect("it is there");
        let _ = receive(&mut wire).await;
    });
    autobahn.verdicts()
}

/// As by default, but for the number of empty messages: two cases send a thousand of them in a row.
fn limits() -> Limits {
    let mut limits = Limits::new();
    limits.idle_frames_burst = 2000;
    limits
}

async fn run_case<C: Connect<Error: std::fmt::Display>>(mut connector: C) {
    match connector.connect().await {
        Ok(wire) => echo(wire).await,
        Err(error) => println!("  {error}"),
    }
}

/// Echoes on whatever comes in.
fn echo_all<L>(mut listener: L)
where
    L: Listen<Wire: 'static, Accepting: 'static, Error: std::fmt::Display>,
{
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        loop {
            let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
            let accepting = accepted.unwrap_or_else(|error| panic!("{error}"));
            let echoing = async {
                match accepting.await {
                    Ok(wire) => echo(wire).await,
                    Err(error) => println!("  {error}"),
                }
            };
            executor.spawn(echoing).detach();
        }
    }));
}

/// Sends back what comes, until the end.
async fn echo<W: Wire>(mut wire: W) {
    while let Ok(Some(message)) = receive(&mut wire).await {
        if poll_fn(|cx| wire.poll_send(cx, &[], &message)).await.is_err() {
            return;
        }
        if poll_fn(|cx| wire.poll_flush(cx)).await.is_err() {
            return;
        }
    }
    let _ = poll_fn(|cx| wire.poll_close(cx)).await;
}

async fn receive<W: Wire>(wire: &mut W) -> Result<Option<Vec<u8>>, W::Error> {
    poll_fn(|cx| wire.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec))).await
}

/// A process that plays cases, which ends with this.
struct Autobahn {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Autobahn {
    fn begin(mode: &str, port: u16, cases: &[&str]) -> Self {
        let python = env::var_os("AUTOBAHN_PYTHON").expect("AUTOBAHN_PYTHON: see ci.sh autobahn");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/autobahn/cases.py");
        let mut child = Command::new(python)
            .args([script, mode, &port.to_string(), &AT_ONCE.to_string(), &cases.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is such a Python");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Returns where its server is.
    fn port(&mut self) -> u16 {
        let line = self.lines.recv_timeout(PATIENCE).expect("it says where it is");
        line.strip_prefix("port ").and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Waits for its end.
    fn verdicts(self) -> BTreeMap<String, Verdict> {
        let until = Instant::now() + PATIENCE;
        let left = || until.saturating_duration_since(Instant::now());
        let mut verdicts = BTreeMap::new();
        while let Ok(line) = self.lines.recv_timeout(left()) {
            let fields: Vec<&str> = line.split('\t').collect();
            let ["case", id, behavior, close, codes, why] = fields[..] else { continue };
            let is_fine = |verdict: &str| matches!(verdict, "OK" | "NON-STRICT" | "INFORMATIONAL");
            let passed = is_fine(behavior) && is_fine(close);
            let text = format!("{behavior}, {close}, close codes {codes}: {why}");
            verdicts.insert(id.to_owned(), Verdict { passed, text });
        }
        verdicts
    }
}

impl Drop for Autobahn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
