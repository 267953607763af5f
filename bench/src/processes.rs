//! Processes that this program starts, and stops by their ids.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde::de::DeserializeOwned;

use crate::measure::{Figures, Place};
use crate::spec::{Side, Spec};

/// Ends this program when a process says nothing for so long: longer than any measurement takes.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How processes are started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launcher {
    /// Under `SCHED_RR`.
    pub(crate) rr: bool,
    /// Our program with the allocator that counts, instead of this one.
    pub(crate) program: Option<PathBuf>,
}

/// A process of ours. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Launcher {
    /// Starts this program in another role.
    pub(crate) fn side(&self, side: &Side) -> Process {
        let this = env::current_exe().expect("the path of this program");
        let side = serde_json::to_string(side).expect("plain data");
        self.start(self.program.as_ref().unwrap_or(&this), ["side", &side])
    }

    /// Starts a program.
    pub(crate) fn start<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Process {
        let program = program.as_ref();
        let mut command = if self.rr { Command::new("chrt") } else { Command::new(program) };
        if self.rr {
            command.args(["-r", "1"]).arg(program);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = program.display().to_string();
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} does not start ({error}): see bench/install.sh")
        });
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Process { name, child, output }
    }

    /// Measures one load between two new processes.
    pub(crate) fn measure(&self, spec: Spec, seconds: f64) -> Figures {
        let mut worker = self.side(&Side::Worker(spec));
        let address = worker.told();
        let manager = Side::Manager { spec, address, worker: worker.id(), seconds };
        self.side(&manager).told()
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the process says next.
    pub(crate) fn told<T: DeserializeOwned>(&mut self) -> T {
        let line = self.line();
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{} said {line}: {error}", self.name))
    }

    /// Returns the next line that the process prints.
    pub(crate) fn line(&mut self) -> String {
        let watch = Watch::over(self.child.id());
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the child's output");
        drop(watch);
        assert!(!line.is_empty(), "{} ended without a word", self.name);
        line.trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Our own child, not yet waited for: its id is still its.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server of somebody else's. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Broker(Child);

impl Broker {
    pub(crate) fn start(
        program: &str,
        arguments: &[String],
        launcher: &Launcher,
        place: Place,
    ) -> Self {
        let mut words: Vec<&str> = Vec::new();
        if launcher.rr {
            words.extend(["chrt", "-r", "1"]);
        }
        if place != Place::Free {
            words.extend(["taskset", "-c", "0"]);
        }
        words.push(program);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments).current_dir(env::temp_dir());
        // Debian's are there, and not everybody's.
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{program} does not start: {error}")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends this program if it is not dropped in time.
struct Watch {
    /// Dropping it is what the other end sees.
    _dropped: Sender<()>,
}

impl Watch {
    fn over(process: u32) -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        thread::spawn(move || {
            if receiver.recv_timeout(SILENCE_MAX) == Err(RecvTimeoutError::Timeout) {
                eprintln!("process {process} has said nothing for {SILENCE_MAX:?}");
                std::process::exit(1);
            }
        });
        Self { _dropped: sender }
    }
}

/// Returns a loopback address that nobody listens on.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").to_string()
}

/// Waits until somebody listens there.
pub(crate) fn until_listening(address: &str) {
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing listens at {address}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is not the root")
}

/// The programs of other systems, which are not in the workspace.
pub(crate) const PEERS_MANIFEST: &str = "bench/peers/Cargo.toml";

/// The cargo that runs this, or else any.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds a program with cargo, in release mode, and returns its path.
pub(crate) fn build(arguments: &[&str], name: &str) -> PathBuf {
    let mut command = cargo();
    command.args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics"]);
    command.args(arguments).stderr(Stdio::inherit());
    // What the cargo that runs this says of this package: a dependency that reads it would be built anew, and once more
    // for the next one.
    for (name, _) in env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if of_package.iter().any(|first| name.to_string_lossy().starts_with(first)) {
            command.env_remove(name);
        }
    }
    let output = command.output().expect("cargo");
    assert!(output.status.success(), "cargo cannot build {name}");
    let said = String::from_utf8_lossy(&output.stdout);
    let executables = said.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    let mut executables = executables.filter(|path| path.file_stem() == Some(OsStr::new(name)));
    executables.next().unwrap_or_else(|| panic!("cargo built no {name}"))
}

/// Builds this program with the allocator that counts.
pub(crate) fn counting() -> Launcher {
    let name = "chargehand-bench-counting";
    let program = build(&["-p", "chargehand-bench", "--bin", name], name);
    Launcher { rr: false, program: Some(program) }
}

/// Returns the machine's processor and its number of CPUs, for the head of a table.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let count = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} CPUs of {model}, Linux {}", kernel.trim())
}
