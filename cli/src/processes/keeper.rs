//! Whoever keeps a serving process alive, and knows which tasks it holds.
//!
//! A process that dies takes the blame itself as long as it can: a task that it died with is tried once more,
//! with nothing else in the process, so that one that kills it is found and those beside it are not blamed.

use std::collections::{BTreeMap, VecDeque};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use chargehand::Failure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::dialogue::{self, Answer, Style, cancelled};
use super::words::Words;
use super::{Bounds, Tail, seconds, with_tail};
use crate::console::Console;
use crate::groups::{Group, Groups};

/// How long a process may take to answer a task once that is cancelled. After that it hangs, and is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How long a process may take to end once its standard input has.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long its last words are waited for, where something that it started has its standard error.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The delay before it is started again. It doubles with each death without an answer since the last one.
const DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(10);
/// How many times a process has to die with a task, the last time with nothing else in it, until that is the
/// task's failure.
const DEATHS_MAX: u32 = 2;

/// The longest line of standard error that is said as one.
const LINE_BYTES_MAX: usize = 4096;

type Reply = oneshot::Sender<Result<Vec<u8>, Failure>>;

#[derive(Debug)]
pub(super) enum Message {
    Job(Job),
    /// Nobody waits for the task any more.
    Cancel(u64),
    /// Ends the process. The sender is dropped when it has.
    Stop(oneshot::Sender<()>),
}

/// A task and whoever waits for it.
#[derive(Debug)]
pub(super) struct Job {
    id: u64,
    line: Vec<u8>,
    reply: Reply,
    /// How many times the process has died with it.
    deaths: u32,
}

impl Job {
    pub(super) fn new(id: u64, line: Vec<u8>, reply: Reply) -> Self {
        Self { id, line, reply, deaths: 0 }
    }
}

/// A task that the process holds.
#[derive(Debug)]
struct Given {
    /// `None` where nobody waits for it any more. It still takes its place.
    job: Option<Job>,
    due: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Keeper {
    words: Words,
    bounds: Bounds,
    style: Style,
    concurrency: usize,
    groups: Groups,
    console: Console,
    /// Waiting, in order.
    fresh: VecDeque<Job>,
    /// Waiting, each to be tried with nothing else in the process.
    suspects: VecDeque<Job>,
    /// By their ids, and so in the order in which they were given.
    given: BTreeMap<u64, Given>,
    /// When those that were cancelled have to be answered.
    overdue: VecDeque<(Instant, u64)>,
    last_id: u64,
    /// Deaths in a row without an answer between them.
    futile: u32,
    /// Whoever waits for the end.
    stopped: Option<oneshot::Sender<()>>,
}

/// Why a process is over.
#[derive(Debug)]
enum End {
    /// It has ended by itself, or said what is no answer.
    Died(Option<String>),
    /// It has not answered what was cancelled.
    Hung,
    /// It is to end.
    Stopped,
}

/// A process under way, and what goes to it and comes from it.
#[derive(Debug)]
struct Life {
    child: Child,
    group: Group,
    lines: mpsc::UnboundedSender<Vec<u8>>,
    answers: mpsc::UnboundedReceiver<Result<Vec<Answer>, String>>,
    errors: JoinHandle<Tail>,
    /// Those that write and read. They end with this.
    _helpers: JoinSet<()>,
}

impl Keeper {
    pub(super) fn new(
        words: Words,
        bounds: Bounds,
        style: Style,
        concurrency: u16,
        groups: Groups,
        console: Console,
    ) -> Self {
        Self {
            words,
            bounds,
            style,
            concurrency: concurrency.into(),
            groups,
            console,
            fresh: VecDeque::new(),
            suspects: VecDeque::new(),
            given: BTreeMap::new(),
            overdue: VecDeque::new(),
            last_id: 0,
            futile: 0,
            stopped: None,
        }
    }

    /// Keeps the process until it is to stop, or nobody has tasks for it.
    pub(super) async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        loop {
            let delay = match self.start() {
                Ok(mut life) => {
                    let end = self.live(&mut life, &mut messages).await;
                    let is_over = matches!(end, End::Stopped);
                    let why = self.meanwhile(finish(life, &end), &mut messages).await;
                    self.groups.unless_killed().await;
                    if is_over || self.stopped.is_some() {
                        return;
                    }
                    self.ended(&end, &why)
                }
                Err(why) => {
                    self.groups.unless_killed().await;
                    self.ended(&End::Died(None), &why)
                }
            };
            if self.pause(delay, &mut messages).await {
                return;
            }
        }
    }

    fn start(&self) -> Result<Life, String> {
        let mut command = self.words.command(b"", self.bounds.memory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = self.groups.start(&mut command);
        let (mut child, group) =
            started.map_err(|error| format!("it cannot be started: {error}"))?;
        let (lines, to_write) = mpsc::unbounded_channel();
        let (to_answer, answers) = mpsc::unbounded_channel();
        let mut helpers = JoinSet::new();
        helpers.spawn(write(child.stdin.take().expect("it is piped"), to_write));
        let stdout = child.stdout.take().expect("it is piped");
        helpers.spawn(dialogue::read(stdout, self.style, to_answer));
        let stderr = child.stderr.take().expect("it is piped");
        let errors = tokio::spawn(listen(stderr, self.console.clone()));
        Ok(Life { child, group, lines, answers, errors, _helpers: helpers })
    }

    /// Gives tasks and takes answers, until the process is over.
    async fn live(
        &mut self,
        life: &mut Life,
        messages: &mut mpsc::UnboundedReceiver<Message>,
    ) -> End {
        loop {
            self.give(&life.lines);
            let due = self.next_due();
            tokio::select! {
                message = messages.recv() => {
                    let mut next = message;
                    while let Some(message) = next {
                        if !self.take(message, Some(&life.lines)) {
                            return End::Stopped;
                        }
                        next = messages.try_recv().ok();
                    }
                    if messages.is_closed() && messages.is_empty() {
                        return End::Stopped;
                    }
                }
                answers = life.answers.recv() => match answers {
                    None => return End::Died(None),
                    Some(Err(why)) => return End::Died(Some(why)),
                    Some(Ok(answers)) => {
                        for answer in answers {
                            if let Err(why) = self.answered(answer) {
                                return End::Died(Some(why));
                            }
                        }
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if self.is_hung(&life.lines) {
                        return End::Hung;
                    }
                }
            }
        }
    }

    /// Takes a message. Returns whether to go on.
    fn take(&mut self, message: Message, lines: Option<&mpsc::UnboundedSender<Vec<u8>>>) -> bool {
        match message {
            Message::Job(job) => self.fresh.push_back(job),
            Message::Cancel(id) => self.cancel(id, lines),
            Message::Stop(stopped) => {
                self.stopped = Some(stopped);
                return false;
            }
        }
        true
    }

    /// Gives the process as many tasks as it may hold: a suspect alone, and others beside each other.
    fn give(&mut self, lines: &mpsc::UnboundedSender<Vec<u8>>) {
        let mut text = Vec::new();
        loop {
            // It has the process to itself.
            let first = self.given.values().next().and_then(|given| given.job.as_ref());
            let is_suspected = first.is_some_and(|job| job.deaths > 0);
            let has_room = if self.suspects.is_empty() {
                !is_suspected && self.given.len() < self.concurrency
            } else {
                self.given.is_empty()
            };
            if !has_room {
                break;
            }
            let next = self.suspects.pop_front().or_else(|| self.fresh.pop_front());
            let Some(job) = next else { break };
            if job.reply.is_closed() {
                continue;
            }
            text.extend_from_slice(&job.line);
            let due = self.bounds.timeout.map(|limit| Instant::now() + limit);
            self.last_id = self.last_id.max(job.id);
            self.given.insert(job.id, Given { job: Some(job), due });
        }
        if !text.is_empty() {
            // A process that does not read any more is about to end, which is seen elsewhere.
            let _ = lines.send(text);
        }
    }

    fn answered(&mut self, answer: Answer) -> Result<(), String> {
        let Answer { id, outcome } = answer;
        if id > self.last_id || id == 0 {
            return Err(format!("it answered task {id}, which it was not given"));
        }
        self.futile = 0;
        // One that was answered before is passed over.
        if let Some(job) = self.given.remove(&id).and_then(|given| given.job) {
            // Nobody may wait for it any more.
            let _ = job.reply.send(outcome);
        }
        Ok(())
    }

    /// Nobody waits for a task any more: the process is told, and its place is free once it has answered. One that the
    /// process was not given goes at once, for the worker counts its bytes no more.
    fn cancel(&mut self, id: u64, lines: Option<&mpsc::UnboundedSender<Vec<u8>>>) {
        let Some(given) = self.given.get_mut(&id) else {
            self.fresh.retain(|job| job.id != id);
            self.suspects.retain(|job| job.id != id);
            return;
        };
        given.job = None;
        self.overdue.push_back((Instant::now() + GRACE, id));
        if let Some(lines) = lines {
            let _ = lines.send(cancelled(id));
        }
    }

    /// Returns when to look at the times next.
    fn next_due(&mut self) -> Option<Instant> {
        while self.overdue.front().is_some_and(|(_, id)| !self.given.contains_key(id)) {
            self.overdue.pop_front();
        }
        let hung = self.overdue.front().map(|(at, _)| *at);
        let late =
            self.given.values().find(|given| given.job.is_some()).and_then(|given| given.due);
        hung.into_iter().chain(late).min()
    }

    /// Fails tasks that took too long. Returns whether the process has not answered one that is over.
    fn is_hung(&mut self, lines: &mpsc::UnboundedSender<Vec<u8>>) -> bool {
        let now = Instant::now();
        let is_late =
            |given: &Given| given.job.is_some() && given.due.is_some_and(|due| due <= now);
        let late: Vec<_> =
            self.given.iter().filter(|(_, given)| is_late(given)).map(|(id, _)| *id).collect();
        for id in late {
            let job = self.given.get_mut(&id).and_then(|given| given.job.take());
            if let Some(job) = job {
                let limit = self.bounds.timeout.map(seconds).unwrap_or_default();
                let why = format!("it took longer than {limit} (--timeout), and was cancelled");
                let _ = job.reply.send(Err(Failure::new(why)));
            }
            self.cancel(id, Some(lines));
        }
        self.overdue.iter().any(|(at, id)| *at <= now && self.given.contains_key(id))
    }

    /// Sorts what the process held, and returns how long to wait before the next one.
    fn ended(&mut self, end: &End, why: &str) -> Duration {
        let given = std::mem::take(&mut self.given);
        self.overdue.clear();
        let is_alone = given.len() == 1;
        let held = given.into_values().filter_map(|given| given.job);
        if matches!(end, End::Hung) {
            // It was killed for another one's sake.
            let held: Vec<_> = held.collect();
            for job in held.into_iter().rev() {
                let queue = if job.deaths > 0 { &mut self.suspects } else { &mut self.fresh };
                queue.push_front(job);
            }
        } else {
            for mut job in held {
                job.deaths += 1;
                if is_alone && job.deaths >= DEATHS_MAX {
                    let deaths = job.deaths;
                    let why = format!("the command of --serve died with it {deaths} times: {why}");
                    let _ = job.reply.send(Err(Failure::new(why)));
                } else {
                    self.suspects.push_back(job);
                }
            }
        }
        self.futile += 1;
        let delay = DELAY.saturating_mul(1 << (self.futile - 1).min(10)).min(DELAY_MAX);
        self.console.say(&format!("--serve: {why}; it is started again in {}", seconds(delay)));
        delay
    }

    /// Waits for something, and takes messages until then: what is cancelled is not to pile up meanwhile.
    async fn meanwhile<T>(
        &mut self,
        what: impl Future<Output = T>,
        messages: &mut mpsc::UnboundedReceiver<Message>,
    ) -> T {
        tokio::pin!(what);
        while self.stopped.is_none() {
            tokio::select! {
                done = &mut what => return done,
                message = messages.recv() => match message {
                    Some(message) => self.take(message, None),
                    None => break,
                },
            };
        }
        what.await
    }

    /// Waits until it is time for the next process. Returns whether there is to be none.
    async fn pause(
        &mut self,
        delay: Duration,
        messages: &mut mpsc::UnboundedReceiver<Message>,
    ) -> bool {
        let end = sleep(delay);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return false,
                message = messages.recv() => {
                    if !message.is_some_and(|message| self.take(message, None)) {
                        return true;
                    }
                }
            }
        }
    }
}

/// Ends a process, if it has not, and says how it ended.
async fn finish(life: Life, end: &End) -> String {
    let Life { mut child, group, lines, answers: _answers, errors, _helpers: mut helpers } = life;
    if matches!(end, End::Stopped) {
        // With the last line, its standard input ends.
        drop(lines);
        let _ = timeout(STOP_TIMEOUT, child.wait()).await;
    }
    // One whose output has ended is ending, as a rule.
    if matches!(end, End::Died(None)) {
        let _ = timeout(LAST_WORDS, child.wait()).await;
    }
    group.kill();
    // Known since just now, or killed.
    let status = child.wait().await;
    group.end();
    helpers.shutdown().await;
    let tail = timeout(LAST_WORDS, errors).await.ok().and_then(Result::ok).unwrap_or_default();
    let how = match end {
        End::Died(Some(why)) => return why.clone(),
        End::Hung => {
            return format!(
                "it did not answer within {} after a cancel, and was killed",
                seconds(GRACE)
            );
        }
        End::Died(None) | End::Stopped => status.map_or_else(|error| error.to_string(), ended_by),
    };
    with_tail(how, &tail.text())
}

fn ended_by(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Writes lines as they come, many at once.
async fn write(mut to: ChildStdin, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(mut text) = lines.recv().await {
        while let Ok(more) = lines.try_recv() {
            text.extend_from_slice(&more);
        }
        // A process that has closed it is about to end, which is seen elsewhere.
        if to.write_all(&text).await.is_err() {
            return;
        }
    }
}

/// Says what the process writes to standard error, a line at a time, and keeps the last of it.
async fn listen(mut from: impl AsyncRead + Unpin, console: Console) -> Tail {
    let (mut tail, mut line) = (Tail::default(), Vec::new());
    let mut buffer = Vec::with_capacity(LINE_BYTES_MAX);
    let say = |line: &mut Vec<u8>| {
        console.say(&format!("--serve: {}", String::from_utf8_lossy(line).trim_end()));
        line.clear();
    };
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        tail.push(&buffer);
        for part in buffer.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") || line.len() > LINE_BYTES_MAX {
                say(&mut line);
            }
        }
        buffer.clear();
    }
    if !line.is_empty() {
        say(&mut line);
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    type Answered = oneshot::Receiver<Result<Vec<u8>, Failure>>;

    fn keeper(command: &str) -> Keeper {
        let words = Words::of_server(command).expect("it has words");
        let bounds = Bounds { timeout: None, memory: None, output_max: 1 << 10 };
        let style = Style { json: false, output_max: 1 << 10 };
        let console = Console::open().expect("there is standard error");
        Keeper::new(words, bounds, style, 1, Groups::default(), console)
    }

    fn job(id: u64) -> (Message, Answered) {
        let (reply, answered) = oneshot::channel();
        (Message::Job(Job::new(id, vec![b'\n'; 1 << 10], reply)), answered)
    }

    /// Waits until a task is dropped, without an answer.
    async fn dropped(answered: Answered) {
        let outcome = timeout(PATIENCE, answered).await.expect("it was cancelled, and is kept");
        outcome.expect_err("nobody has answered it");
    }

    #[tokio::test]
    async fn a_task_that_waits_is_dropped_once_it_is_cancelled() {
        // It takes one task, and says nothing.
        let (messages, to_keep) = mpsc::unbounded_channel();
        let kept = tokio::spawn(keeper("sleep 600").run(to_keep));
        let (held, _answered) = job(1);
        messages.send(held).expect("it is kept");
        for id in 2..5 {
            let (waits, answered) = job(id);
            messages.send(waits).expect("it is kept");
            messages.send(Message::Cancel(id)).expect("it is kept");
            dropped(answered).await;
        }
        let (stopped, ends) = oneshot::channel();
        messages.send(Message::Stop(stopped)).expect("it is kept");
        timeout(PATIENCE, ends).await.expect("it ends").expect_err("only dropped");
        kept.await.expect("it does not panic");
    }

    #[tokio::test]
    async fn a_task_is_dropped_once_it_is_cancelled_while_a_process_ends() {
        let (messages, mut to_keep) = mpsc::unbounded_channel();
        let (waits, answered) = job(1);
        messages.send(waits).expect("it is kept");
        messages.send(Message::Cancel(1)).expect("it is kept");
        let mut keeper = keeper("true");
        keeper.meanwhile(dropped(answered), &mut to_keep).await;
        // Once it is to stop it takes no more, and still waits for the end.
        let (stopped, _ends) = oneshot::channel();
        messages.send(Message::Stop(stopped)).expect("it is kept");
        messages.send(job(2).0).expect("it is kept");
        assert_eq!(keeper.meanwhile(async { "over" }, &mut to_keep).await, "over");
        assert!(keeper.fresh.is_empty());
    }

    #[test]
    fn a_suspect_that_waits_is_dropped_once_it_is_cancelled() {
        let mut keeper = keeper("true");
        let mut answers = Vec::new();
        for id in 1..=3 {
            let (Message::Job(job), answered) = job(id) else { unreachable!("it is a job") };
            keeper.suspects.push_back(job);
            answers.push(answered);
        }
        assert!(keeper.take(Message::Cancel(2), None));
        let left: Vec<_> = keeper.suspects.iter().map(|job| job.id).collect();
        assert_eq!(left, [1, 3]);
    }
}
