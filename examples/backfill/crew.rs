//! Local workers: processes of this same program, which end with it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chargehand::tls::members::Members;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::address::{DialAddress, Transport};
use crate::args::Runtime;
use crate::failure::Failure;
use crate::members::{self, JoinFile};
use crate::rpc::NodeUrl;
use crate::setup::POOL_NAME;
use crate::worker::ANNOUNCEMENT;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What child workers read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blocks<'a> {
    Chain(&'a Path, Duration),
    Node(&'a NodeUrl, Duration),
}

/// The child workers.
#[derive(Debug)]
pub(crate) struct Crew(Vec<Member>);

/// One child worker. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    /// What it is: its transport and runtime.
    pub(crate) label: &'static str,
    /// How the manager knows it: the address that it dials, or the name of one that dials in.
    pub(crate) peer: String,
    arguments: Vec<String>,
    /// Who it is, where that is proven.
    join: Option<JoinFile>,
    child: Child,
}

impl Crew {
    /// Starts four workers: each transport, each runtime, and one that dials `manager`. Those on TCP are
    /// members of a pool, whose end is returned.
    pub(crate) async fn start(
        blocks: Blocks<'_>,
        concurrency: u16,
        manager: &DialAddress,
    ) -> Result<(Self, Members), Failure> {
        let (pool, [first, second]) = members::make(POOL_NAME, ["worker-1", "worker-2"])?;
        let common = common_arguments(blocks, concurrency);
        let any = |transport: Transport| format!("{}://127.0.0.1:0", transport.scheme());
        let mut members = Vec::new();
        for (label, runtime, door, address, join) in [
            ("tcp over tls, tokio", Runtime::Tokio, "--listen", any(Transport::Tls), Some(first)),
            ("tcp over tls, smol", Runtime::Smol, "--listen", any(Transport::Tls), Some(second)),
            ("ws, tokio", Runtime::Tokio, "--listen", any(Transport::Ws), None),
            ("ws, smol, dials in", Runtime::Smol, "--dial", manager.to_string(), None),
        ] {
            let arguments = ["worker", "--supervised", "--runtime", runtime.name(), door];
            let mut arguments: Vec<_> = arguments.map(str::to_owned).into();
            arguments.push(address);
            arguments.extend(common.iter().cloned());
            let name = format!("worker-{}", members.len() + 1);
            arguments.extend(["--name".to_owned(), name.clone()]);
            if let Some(join) = &join {
                arguments.extend(["--tls".to_owned(), join.path().display().to_string()]);
            }
            let member = Member::start(label, name, arguments, join).await;
            members.push(member.map_err(Failure::run)?);
        }
        Ok((Self(members), pool))
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.0
    }

    /// Returns what each worker is, by what the pool calls it.
    pub(crate) fn labels(&self) -> HashMap<String, &'static str> {
        self.0.iter().map(|member| (member.peer.clone(), member.label)).collect()
    }

    pub(crate) fn member_mut(&mut self, index: usize) -> &mut Member {
        &mut self.0[index]
    }

    /// Lets the workers end by themselves, and kills those that do not.
    pub(crate) async fn stop(mut self) {
        for member in &mut self.0 {
            drop(member.child.stdin.take());
        }
        for member in &mut self.0 {
            if timeout(STOP_TIMEOUT, member.child.wait()).await.is_err() {
                // It fails where the process is gone, which is what is wanted.
                let _ = member.child.kill().await;
            }
        }
    }
}

impl Member {
    /// Returns where the manager dials it; nothing for one that dials in.
    pub(crate) fn address(&self) -> Option<DialAddress> {
        let door = self.arguments.iter().position(|argument| argument == "--listen")?;
        self.arguments[door + 1].parse().ok()
    }

    async fn start(
        label: &'static str,
        name: String,
        mut arguments: Vec<String>,
        mut join: Option<JoinFile>,
    ) -> io::Result<Self> {
        let (child, address) = spawn(&arguments, &mut join).await?;
        // At a restart it has to listen where the manager dials it.
        let door = arguments.iter().position(|argument| argument == "--listen");
        let peer = match (door, address) {
            (Some(door), Some(address)) => {
                arguments[door + 1].clone_from(&address);
                address
            }
            _ => name,
        };
        // The pool calls a TCP worker by its bare address.
        let peer = peer.strip_prefix("tls://").unwrap_or(&peer).to_owned();
        Ok(Self { label, peer, arguments, join, child })
    }

    /// Kills the process outright (SIGKILL).
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Starts the process again, where it was.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.arguments, &mut self.join).await?.0;
        Ok(())
    }

    /// Stops the process from running (SIGSTOP): it keeps its connections and says nothing.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the process run on (SIGCONT).
    pub(crate) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        // A child that was waited for has no id, so the signal cannot reach another process.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the process is gone");
        Ok(kill_process(id.ok_or_else(gone)?, signal)?)
    }
}

fn common_arguments(blocks: Blocks<'_>, concurrency: u16) -> Vec<String> {
    let mut arguments = vec!["--concurrency".to_owned(), concurrency.to_string()];
    match blocks {
        Blocks::Chain(path, delay) => {
            arguments.extend(["--chain".to_owned(), path.display().to_string()]);
            arguments.extend(["--delay".to_owned(), delay.as_millis().to_string()]);
        }
        Blocks::Node(url, retry_for) => {
            arguments.extend(["--rpc".to_owned(), url.argument()]);
            arguments.extend(["--retry-for".to_owned(), retry_for.as_secs_f64().to_string()]);
        }
    }
    arguments
}

/// Starts a process and, if it listens, waits until it does. Returns its address then.
async fn spawn(
    arguments: &[String],
    join: &mut Option<JoinFile>,
) -> io::Result<(Child, Option<String>)> {
    if let Some(join) = join {
        join.rewind()?;
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for the manager, which stops its workers itself.
        .process_group(0)
        .spawn()?;
    if !arguments.iter().any(|argument| argument == "--listen") {
        return Ok((child, None));
    }
    let failed = |text: &str| io::Error::other(format!("a child worker {text}"));
    let stdout = child.stdout.take().ok_or_else(|| failed("has no output"))?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(START_TIMEOUT, lines.next_line())
        .await
        .map_err(|_| failed("did not start in time"))??
        .ok_or_else(|| failed("ended at once"))?;
    let address =
        line.strip_prefix(ANNOUNCEMENT).ok_or_else(|| failed("said what it should not"))?;
    Ok((child, Some(address.to_owned())))
}
