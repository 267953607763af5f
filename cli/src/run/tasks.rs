//! Where tasks come from: a stream of those that are not done yet.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::thread;

use chargehand::Ledger;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::task::Task;
use crate::failure::Failure;
use crate::files::hex;

/// The longest line: a request has to fit a frame.
const LINE_MAX: usize = 15 << 20;
const BUFFER_BYTES: usize = 64 << 10;
/// How much of outcomes may wait for those before them, in bytes and in number.
const HELD_BYTES_MAX: usize = 64 << 20;
const HELD_MAX: usize = 1 << 16;
/// How many batches are read ahead.
const BATCHES_MAX: usize = 4;

/// What is shared with whoever polls the stream: it is polled with whatever that waits for, so nothing else has
/// to wake it where that changes this.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How many tasks may be under way.
    pub(super) limit: Cell<u64>,
    pub(super) given: Cell<u64>,
    pub(super) ended: Cell<u64>,
    pub(super) is_closed: Cell<bool>,
    /// How many bytes of outcomes wait for those before them.
    pub(super) held: Cell<usize>,
    /// The numbers of tasks whose outcomes were not written, where they are to be in order.
    order: RefCell<Option<VecDeque<u64>>>,
    /// The source has no more.
    pub(super) is_exhausted: Cell<bool>,
    /// Of the tasks that were read so far.
    mark: RefCell<Mark>,
    /// Why the source ended early.
    failure: RefCell<Option<Failure>>,
}

impl Gate {
    fn is_open(&self) -> bool {
        let waiting = self.order.borrow().as_ref().map_or(0, VecDeque::len);
        !self.is_closed.get()
            && self.given.get() - self.ended.get() < self.limit.get()
            && self.held.get() < HELD_BYTES_MAX
            && waiting < HELD_MAX
    }

    /// Has it remember in which order tasks are given.
    pub(super) fn keep_order(&self) {
        *self.order.borrow_mut() = Some(VecDeque::new());
    }

    /// Returns the number of the next task to be written.
    pub(super) fn next_in_order(&self) -> Option<u64> {
        self.order.borrow().as_ref()?.front().copied()
    }

    /// The next task is written.
    pub(super) fn pass_in_order(&self) {
        if let Some(order) = &mut *self.order.borrow_mut() {
            order.pop_front();
        }
    }

    /// Returns what the tasks were so far that were read.
    pub(super) fn read(&self) -> Read {
        let mark = self.mark.borrow();
        Read { count: mark.count, digest: hex(&mark.digest.clone().finalize()) }
    }

    /// Returns why the source ended early, if it did.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.take()
    }
}

/// What was read of the tasks, for a run that resumes: it goes on where these are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    count: u64,
    /// SHA-256 of them all, each with its length before it.
    digest: String,
}

impl Read {
    /// Returns whichever is of more tasks.
    pub(super) fn or(self, other: &Self) -> Self {
        if self.count < other.count { other.clone() } else { self }
    }
}

#[derive(Clone, Debug, Default)]
struct Mark {
    count: u64,
    digest: Sha256,
}

impl Mark {
    fn add(&mut self, text: &[u8]) -> u64 {
        self.count += 1;
        self.digest.update((text.len() as u64).to_le_bytes());
        self.digest.update(text);
        self.count
    }
}

/// Some tasks, and what was read with them.
#[derive(Debug)]
struct Batch {
    tasks: VecDeque<Task>,
    mark: Mark,
}

/// The tasks that are not done yet.
#[derive(Debug)]
pub(super) struct Tasks {
    gate: Rc<Gate>,
    from: From,
}

#[derive(Debug)]
enum From {
    Range { next: Option<u64>, done: Ledger },
    Lines { batch: VecDeque<Task>, batches: mpsc::Receiver<Result<Batch, Failure>> },
}

impl Tasks {
    /// Has those of a range that are not done.
    pub(super) fn of_range(range: &RangeInclusive<u64>, done: Ledger, gate: Rc<Gate>) -> Self {
        Self { gate, from: From::Range { next: Some(*range.start()), done } }
    }

    /// Has those of a file that are not done, or of standard input. A thread reads it: it may block.
    pub(super) fn of_file(
        path: &Path,
        json: bool,
        done: (Ledger, Option<Read>),
        gate: Rc<Gate>,
    ) -> Result<Self, Failure> {
        let source: Box<dyn io::Read + Send> =
            if path == Path::new("-") {
                Box::new(io::stdin())
            } else {
                let opened = File::open(path).and_then(|file| {
                    let is_folder = file.metadata()?.is_dir();
                    if is_folder { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
                });
                Box::new(opened.map_err(|error| {
                    Failure::input(format!("--tasks {}: {error}", path.display()))
                })?)
            };
        let (to, batches) = mpsc::channel(BATCHES_MAX);
        let (done, resumed) = (done.0, done.1.filter(|read| read.count > 0));
        let (held, mark) = (VecDeque::new(), Mark::default());
        let reader = Reader { done, resumed, held, mark, to };
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        let read =
            move || if json { reader.read_values(source) } else { reader.read_lines(source) };
        thread::Builder::new().name("tasks".to_owned()).spawn(read).map_err(Failure::run)?;
        Ok(Self { gate, from: From::Lines { batch: VecDeque::new(), batches } })
    }

    fn poll_task(&mut self, cx: &mut Context<'_>) -> Poll<Option<Task>> {
        match &mut self.from {
            From::Range { next, done } => {
                let number = next.and_then(|from| done.next_open(from));
                *next = number.and_then(|number| number.checked_add(1));
                let text = |number: u64| number.to_string().into_bytes().into_boxed_slice();
                Poll::Ready(number.map(|number| Task { number, text: text(number) }))
            }
            From::Lines { batch, batches } => loop {
                if let Some(task) = batch.pop_front() {
                    return Poll::Ready(Some(task));
                }
                match ready!(batches.poll_recv(cx)) {
                    Some(Ok(next)) => {
                        *batch = next.tasks;
                        *self.gate.mark.borrow_mut() = next.mark;
                    }
                    Some(Err(failure)) => {
                        *self.gate.failure.borrow_mut() = Some(failure);
                        return Poll::Ready(None);
                    }
                    None => return Poll::Ready(None),
                }
            },
        }
    }
}

impl Stream for Tasks {
    type Item = Task;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Task>> {
        if !self.gate.is_open() {
            return Poll::Pending;
        }
        let next = ready!(self.poll_task(cx));
        let gate = &self.gate;
        match &next {
            Some(task) => {
                gate.given.set(gate.given.get() + 1);
                if let Some(order) = &mut *gate.order.borrow_mut() {
                    order.push_back(task.number);
                }
            }
            None => gate.is_exhausted.set(true),
        }
        Poll::Ready(next)
    }
}

/// Reads tasks and gives them on. Whoever takes them may be gone, and then it ends.
struct Reader {
    done: Ledger,
    /// What has to be read before any task is given on: a run resumes with its own tasks alone.
    resumed: Option<Read>,
    /// Tasks that wait for that.
    held: VecDeque<Task>,
    mark: Mark,
    to: mpsc::Sender<Result<Batch, Failure>>,
}

/// Nobody takes tasks any more, or was told why there are no more.
struct Over;

impl Reader {
    fn read_lines(mut self, mut source: impl BufRead) {
        let mut line = Vec::new();
        loop {
            let bytes = match source.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.fail(Failure::run(unreadable(&error))),
            };
            let length = bytes.len();
            if length == 0 {
                if !line.is_empty() && self.add(&line).is_err() {
                    return;
                }
                return self.end();
            }
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.last() != Some(&b'\n') {
                    break;
                }
                line.pop();
                if self.add(&line).is_err() {
                    return;
                }
                line.clear();
            }
            source.consume(length);
            if line.len() > LINE_MAX {
                let why = too_long("line", self.mark.count + 1);
                return self.fail(why);
            }
            if self.give().is_err() {
                return;
            }
        }
    }

    fn read_values(mut self, source: impl BufRead) {
        let length = Rc::new(Cell::new(0));
        let source = OfOneValue { source, length: Rc::clone(&length) };
        let values = serde_json::Deserializer::from_reader(source).into_iter::<Box<RawValue>>();
        for value in values {
            let is_too_long = length.replace(0) > LINE_MAX;
            let value = match value {
                Ok(value) => value,
                Err(_) if is_too_long => {
                    let why = too_long("value", self.mark.count + 1);
                    return self.fail(why);
                }
                Err(error) if error.is_io() => {
                    return self.fail(Failure::run(unreadable(&error.into())));
                }
                Err(error) => {
                    let count = self.mark.count + 1;
                    return self.fail(Failure::input(format!("--tasks: value {count}: {error}")));
                }
            };
            // Between its parts alone, where a space is as good: within a string it would be escaped.
            let text = value.get().replace(['\n', '\r'], " ");
            if self.add(text.as_bytes()).and_then(|()| self.give()).is_err() {
                return;
            }
        }
        self.end();
    }

    /// Takes a task in, and checks the last one of those that were read before.
    fn add(&mut self, text: &[u8]) -> Result<(), Over> {
        let number = self.mark.add(text);
        if !self.done.is_done(number) {
            self.held.push_back(Task { number, text: text.into() });
        }
        match &self.resumed {
            Some(read) if read.count == self.mark.count => self.check(),
            _ => Ok(()),
        }
    }

    fn check(&mut self) -> Result<(), Over> {
        let Some(read) = self.resumed.take() else { return Ok(()) };
        if read.count == self.mark.count && read.digest == hex(&self.mark.digest.clone().finalize())
        {
            return Ok(());
        }
        let others = "--state: the tasks are others than those that it is of (those at the begin have to be \
                      the same, and there may be more)";
        let _ = self.to.blocking_send(Err(Failure::input(others)));
        Err(Over)
    }

    /// Gives on what there is.
    fn give(&mut self) -> Result<(), Over> {
        if self.resumed.is_some() {
            return Ok(());
        }
        let batch = Batch { tasks: std::mem::take(&mut self.held), mark: self.mark.clone() };
        self.to.blocking_send(Ok(batch)).map_err(|_| Over)
    }

    fn end(mut self) {
        // There may be fewer tasks than were read before, and nobody who takes them any more.
        let _ = self.check().and_then(|()| self.give());
    }

    fn fail(mut self, failure: Failure) {
        if self.resumed.is_none() {
            let _ = self.give();
        }
        let _ = self.to.blocking_send(Err(failure));
    }
}

/// Bytes of JSON values, which fail within one that is too long. Whoever takes the values begins to count anew after
/// each.
struct OfOneValue<R> {
    source: R,
    /// How much of the value was read.
    length: Rc<Cell<usize>>,
}

impl<R: io::Read> io::Read for OfOneValue<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(bytes)?;
        // What separates values is kept nowhere.
        let is_between = self.length.get() == 0 && bytes[..count].trim_ascii().is_empty();
        if !is_between {
            self.length.set(self.length.get() + count);
        }
        if self.length.get() > LINE_MAX {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(count)
        }
    }
}

/// Returns that a task is longer than a request may be.
fn too_long(what: &str, number: u64) -> Failure {
    Failure::input(format!(
        "--tasks: {what} {number} has more than 15 MiB: write it to a file, and have the task name that"
    ))
}

fn unreadable(error: &io::Error) -> String {
    format!("--tasks: they cannot be read any further: {error}")
}
