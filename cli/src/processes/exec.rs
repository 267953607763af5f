//! A process for each task.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chargehand::{Failure, Throttled};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use super::words::Words;
use super::{Bounds, Ended, Tail, seconds, with_tail};
use crate::groups::{Group, Groups};

/// The exit code that says "not now": `EX_TEMPFAIL` of sysexits.h.
const NOT_NOW: i32 = 75;
/// How long a worker gets nothing after that. It doubles each time, as long as nothing else comes.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_DOUBLINGS_MAX: u32 = 6;
const BUFFER_BYTES: usize = 8192;

#[derive(Debug)]
pub(crate) struct Exec {
    words: Words,
    bounds: Bounds,
    groups: Groups,
    /// How many times in a row a command said "not now".
    not_now: AtomicU32,
}

/// How a command that ran to its end came out.
struct Outcome {
    status: io::Result<ExitStatus>,
    result: io::Result<Vec<u8>>,
    errors: Tail,
}

impl Exec {
    pub(super) fn new(words: Words, bounds: Bounds, groups: Groups) -> Self {
        Self { words, bounds, groups, not_now: AtomicU32::new(0) }
    }

    /// Does one task. Dropping the future kills its processes.
    pub(super) async fn run(&self, task: &[u8]) -> Result<Vec<u8>, Failure> {
        if !self.words.takes(task) {
            let why = "the task has a NUL byte, which no argument can have: give it by --stdin";
            return Err(Failure::permanent(why));
        }
        let (mut child, group) = match self.start(task) {
            Ok(started) => started,
            Err(failure) => {
                self.groups.unless_killed().await;
                return Err(failure);
            }
        };
        let work = self.work(&mut child, &group, task);
        let outcome = match self.bounds.timeout {
            None => Some(work.await),
            Some(limit) => timeout(limit, work).await.ok(),
        };
        let Some(outcome) = outcome else {
            group.kill();
            // Its leader at least ends at once. Whoever left the group may hold its output for ever.
            let _ = child.wait().await;
            group.end();
            return Err(self.too_late());
        };
        group.end();
        self.groups.unless_killed().await;
        self.judge(outcome)
    }

    fn start(&self, task: &[u8]) -> Result<(Child, Group), Failure> {
        let mut command = self.words.command(task, self.bounds.memory);
        let stdin = if self.words.takes_stdin() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.groups.start(&mut command).map_err(|error| not_started(&error))
    }

    /// Feeds and reads the command, and waits for it once its output has ended.
    async fn work(&self, child: &mut Child, group: &Group, task: &[u8]) -> Outcome {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ((), result, errors) = tokio::join!(
            feed(stdin, task),
            self.read(stdout.expect("it is piped"), group),
            tail(stderr.expect("it is piped")),
        );
        Outcome { status: child.wait().await, result, errors }
    }

    /// Reads the result to its end, or to its limit: then the command has failed, and ends.
    async fn read(&self, mut from: impl AsyncRead + Unpin, group: &Group) -> io::Result<Vec<u8>> {
        let mut result = Vec::with_capacity(BUFFER_BYTES);
        loop {
            if result.len() > self.bounds.output_max {
                group.kill();
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if from.read_buf(&mut result).await? == 0 {
                result.shrink_to_fit();
                return Ok(result);
            }
        }
    }

    fn judge(&self, outcome: Outcome) -> Result<Vec<u8>, Failure> {
        let Outcome { status, result, errors } = outcome;
        let mut result = result.map_err(|error| self.unread(&error))?;
        let status = status.map_err(|error| Failure::new(format!("it is lost: {error}")))?;
        if status.code() == Some(NOT_NOW) {
            let times = self.not_now.fetch_add(1, Ordering::Relaxed);
            return Err(Throttled::after(PAUSE * (1 << times.min(PAUSE_DOUBLINGS_MAX))).into());
        }
        self.not_now.store(0, Ordering::Relaxed);
        if !status.success() {
            return Err(failed(status, &errors));
        }
        if result.last() == Some(&b'\n') {
            result.pop();
        }
        Ok(result)
    }

    fn unread(&self, error: &io::Error) -> Failure {
        if error.kind() != io::ErrorKind::FileTooLarge {
            return Failure::new(format!("its output cannot be read: {error}"));
        }
        let limit = self.bounds.output_max;
        Failure::permanent(format!(
            "its output has more than {limit} bytes: raise --output-max; it was killed"
        ))
    }

    fn too_late(&self) -> Failure {
        let limit = self.bounds.timeout.map(seconds).unwrap_or_default();
        Failure::new(format!("it took longer than {limit} (--timeout), and was killed"))
            .with_details(&Ended::new(None, None))
    }
}

/// Says why a command could not be started. Where the system has no room for one more process, that is no
/// failure of the task's.
fn not_started(error: &io::Error) -> Failure {
    let is_full = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE]
        .map(Errno::raw_os_error)
        .contains(&error.raw_os_error().unwrap_or(0));
    if is_full {
        return Throttled::after(PAUSE).into();
    }
    if error.kind() == io::ErrorKind::ArgumentListTooLong {
        return Failure::permanent("the task is too long for an argument: give it by --stdin");
    }
    Failure::new(format!("the command cannot be started: {error}"))
}

fn failed(status: ExitStatus, errors: &Tail) -> Failure {
    let what = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    Failure::new(with_tail(what, &errors.text()))
        .with_details(&Ended::new(status.code(), status.signal()))
}

/// Writes the task to whoever reads it, or not: a command may have enough of it.
async fn feed(stdin: Option<ChildStdin>, task: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(task).await;
        let _ = stdin.shutdown().await;
    }
}

/// Reads standard error to its end, and keeps the last of it.
async fn tail(mut from: impl AsyncRead + Unpin) -> Tail {
    let (mut tail, mut buffer) = (Tail::default(), Vec::with_capacity(BUFFER_BYTES));
    // What cannot be read any more is not missed: the exit code says how it went.
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        tail.push(&buffer);
        buffer.clear();
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &str, groups: &Groups) -> Exec {
        let words = Words::new(command, true, false).expect("it is a script");
        let bounds = Bounds { timeout: None, memory: None, output_max: 100 };
        Exec::new(words, bounds, groups.clone())
    }

    #[tokio::test]
    async fn what_is_killed_with_all_others_is_nobodys_failure() {
        let groups = Groups::default();
        let sleeper = exec("sleep 300", &groups);
        let run = sleeper.run(b"");
        tokio::pin!(run);
        assert!(timeout(Duration::from_millis(300), &mut run).await.is_err(), "it sleeps");
        groups.kill_all();
        assert!(timeout(Duration::from_millis(300), run).await.is_err(), "it is told how it ended");
        // And nothing that is begun after that.
        assert!(timeout(Duration::from_millis(300), exec("true", &groups).run(b"")).await.is_err());
    }

    #[tokio::test]
    async fn not_now_rests_longer_each_time_until_something_else_comes() {
        let groups = Groups::default();
        let exec = exec("exit $1", &groups);
        let mut delays = Vec::new();
        for task in ["75", "75", "75", "0", "75"] {
            let outcome = exec.run(task.as_bytes()).await;
            delays.push(
                outcome.err().and_then(|failure| failure.delay()).map(|delay| delay.as_secs()),
            );
        }
        assert_eq!(delays, [Some(1), Some(2), Some(4), None, Some(1)]);
    }
}
