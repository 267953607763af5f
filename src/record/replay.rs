//! A record, done again.

use std::format;
use std::io::{self, BufRead, Read};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{error, fmt};

use chargehand_core::{Event, Heap, Instant, Scheduler, TaskId, TaskOptions, Verdict};

use super::entry::{Entry, FORMAT, Head, Sum, Title, VERSION};
use super::flight::{self, Call, Regions};
use crate::unwind::unwound;

/// How long a line may be. Those of a record are shorter than 1,000 bytes.
const LINE_MAX: u64 = 16 << 10;
/// How long the first one may be, with what is special about each queue.
const FIRST_LINE_MAX: u64 = 64 << 10;
/// How many tasks and workers there may be: far more than a pool has by default, and a few hundred MiB at most. There is
/// room for all of them from the start, whatever the record goes on with.
const SLOTS_MAX: u32 = 1 << 22;
const WORKERS_MAX: u32 = 1 << 17;

/// Makes the calls of a record to a new scheduler, and checks it after each of them.
///
/// ```no_run
/// use std::{fs::File, io::BufReader};
/// use chargehand::record::Replay;
///
/// let mut replay = Replay::new(BufReader::new(File::open("manager.record")?))?;
/// while let Some(call) = replay.step()? {
///     println!("{call}");
/// }
/// println!("{:?}", replay.scheduler().stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replay<R> {
    source: Source<R>,
    head: Head,
    scheduler: Scheduler<Heap>,
    now: Instant,
    is_over: bool,
}

/// Where calls come from.
#[derive(Debug)]
enum Source<R> {
    Lines(Lines<R>),
    Flight(Flight),
}

/// What a flight record has left.
#[derive(Debug)]
struct Flight {
    regions: Regions,
    /// The rest of the calls of the region that it is at.
    entries: Vec<u8>,
    at: usize,
    /// How many polls for actions come before what is there.
    polls: u8,
    /// What the region says of time so far.
    clock: Instant,
    /// The options of the last task in the region whose entry has them.
    options: Option<TaskOptions>,
    /// How many calls were before the next one.
    calls: u64,
}

/// A call that is recorded.
#[derive(Debug)]
struct Recorded {
    entry: Entry,
    /// It says what the call gave. Otherwise that follows from what was before.
    is_told: bool,
}

/// A call that was made again, and gave what it gave then.
#[derive(Clone, Debug)]
pub struct Replayed {
    line: u64,
    now: Instant,
    entry: Entry,
}

impl Replayed {
    /// Returns the line of the record, from 2 on; in a flight record the number of the call since its pool began, from
    /// 1 on.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Returns the latest time that the scheduler was told until then.
    pub const fn now(&self) -> Instant {
        self.now
    }

    pub(super) const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns the method that was called: `submit`, `poll_action` and so on.
    pub const fn method(&self) -> &'static str {
        match self.entry {
            Entry::Submit { .. } => "submit",
            Entry::SubmitWith { .. } => "submit_with",
            Entry::Cancel { .. } => "cancel",
            Entry::AddWorker { .. } => "add_worker",
            Entry::RemoveWorker { .. } => "remove_worker",
            Entry::Accept { .. } => "accept",
            Entry::EvictAbsent { .. } => "evict_absent",
            Entry::HandleEvent { .. } => "handle_event",
            Entry::HandleTimeout { .. } => "handle_timeout",
            Entry::PollAction { .. } => "poll_action",
            Entry::Pause { .. } => "pause",
            Entry::Resume { .. } => "resume",
            Entry::Drain { .. } => "drain",
            Entry::SetBacklog { .. } => "set_backlog",
            Entry::End { .. } => "end",
        }
    }
}

/// The line, the time in seconds, the call with its arguments and what it gave.
impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.now.as_nanos();
        let (secs, micros) = (nanos / 1_000_000_000, nanos / 1000 % 1_000_000);
        write!(f, "{:>6}  {secs:>6}.{micros:06} s  {:?}", self.line, self.entry)
    }
}

impl<R: BufRead> Replay<R> {
    /// Begins with a record. Give it a reader that has a buffer.
    ///
    /// # Errors
    /// [`Foreign`](ReplayError::Foreign) for what is no record, [`Version`](ReplayError::Version) for one of
    /// another version, [`Damaged`](ReplayError::Damaged) if its first line makes no sense,
    /// [`TooLarge`](ReplayError::TooLarge) for one of a pool with more tasks or workers than are done again here.
    pub fn new(reader: R) -> Result<Self, ReplayError> {
        let mut lines = Lines { reader, count: 0, sum: Sum::new(), line: Vec::new() };
        let first = lines.next_of(FIRST_LINE_MAX)?.ok_or(ReplayError::Foreign)?;
        let title: Title = serde_json::from_slice(first).map_err(|_| ReplayError::Foreign)?;
        if title.format == flight::FORMAT {
            return Self::of_flight(&title, lines);
        }
        if title.format != FORMAT {
            return Err(ReplayError::Foreign);
        }
        if title.version != VERSION {
            return Err(ReplayError::Version(title.version));
        }
        let head: Head =
            serde_json::from_slice(first).map_err(|why| damaged(1, why.to_string()))?;
        check_sizes(&head)?;
        let storage = Heap::with_capacity(head.slots, head.workers_max);
        let scheduler = match &head.queues {
            None => Scheduler::new(storage, head.config),
            Some(queues) => Scheduler::with_queues(storage, head.config, queues),
        };
        let scheduler = scheduler.map_err(|why| damaged(1, why.to_string()))?;
        let source = Source::Lines(lines);
        Ok(Self { source, head, scheduler, now: Instant::EPOCH, is_over: false })
    }

    /// Begins with the oldest checkpoint of a flight record whose first line was read.
    fn of_flight(title: &Title, mut lines: Lines<R>) -> Result<Self, ReplayError> {
        if title.version != flight::VERSION {
            return Err(ReplayError::Version(title.version));
        }
        let wrong = |why: String| damaged(1, why);
        let first = lines.line.strip_suffix(b"\n").unwrap_or(&lines.line);
        let (head, mut regions) = Regions::read(first, &mut lines.reader).map_err(wrong)?;
        let region = regions.next().ok_or_else(|| wrong("no checkpoint of it is whole".into()))?;
        let scheduler: Scheduler<Heap> = postcard::from_bytes(&region.checkpoint)
            .map_err(|why| wrong(format!("its checkpoint makes no sense: {why}")))?;
        // It may be read and lead nowhere all the same, if it was not a scheduler that wrote it.
        unwound(|| scheduler.check())
            .map_err(|why| wrong(format!("its checkpoint is none of a scheduler: {why}")))?;
        let source = Source::Flight(Flight {
            regions,
            entries: region.entries,
            at: 0,
            polls: 0,
            clock: Instant::EPOCH,
            options: None,
            calls: region.calls,
        });
        Ok(Self { source, head, scheduler, now: Instant::EPOCH, is_over: false })
    }

    /// Returns how many calls were made before the first that there is: of a flight record those that it has no more.
    pub fn calls_before(&self) -> u64 {
        match &self.source {
            Source::Lines(_) => 0,
            Source::Flight(flight) => flight.calls,
        }
    }

    /// Makes the next call, and returns it; `None` after the last one.
    ///
    /// # Errors
    /// [`Differs`](ReplayError::Differs) if it gave something else than what is recorded,
    /// [`BreaksOff`](ReplayError::BreaksOff) where the record ends too early, and
    /// [`Damaged`](ReplayError::Damaged) if its line makes no sense. Nothing that follows means anything then.
    ///
    /// # Panics
    /// If an invariant of the scheduler does not hold after it: the scheduler has a bug.
    pub fn step(&mut self) -> Result<Option<Replayed>, ReplayError> {
        let step = self.advance()?;
        if step.is_some() {
            self.scheduler.check();
        }
        Ok(step)
    }

    /// As [`step`](Self::step), without the check of all invariants, which costs O(slots).
    pub(super) fn advance(&mut self) -> Result<Option<Replayed>, ReplayError> {
        if self.is_over {
            return Ok(None);
        }
        let (line, entry) = match &mut self.source {
            Source::Lines(lines) => lines.next_entry()?,
            Source::Flight(flight) => flight.next_entry(&self.scheduler)?,
        };
        let Some(Recorded { entry, is_told }) = entry else {
            self.is_over = true;
            return Ok(None);
        };
        let gave = self.call(&entry);
        let is_alike = if is_told { gave == entry } else { gave.is_as_brief() };
        if !is_alike {
            let (recorded, now) = (format!("{entry:?}"), format!("{gave:?}"));
            return Err(ReplayError::Differs { line, recorded, now });
        }
        Ok(Some(Replayed { line, now: self.now, entry: gave }))
    }

    /// Returns what the pool was made with.
    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the scheduler as it is after the latest call.
    pub const fn scheduler(&self) -> &Scheduler<Heap> {
        &self.scheduler
    }

    /// Makes a call, and returns it with what it gave.
    fn call(&mut self, entry: &Entry) -> Entry {
        let (scheduler, latest) = (&mut self.scheduler, &mut self.now);
        let mut at = |now: Instant| {
            *latest = now.max(*latest);
            now
        };
        match *entry {
            Entry::Submit { now, .. } => Entry::Submit { now, gave: scheduler.submit(at(now)) },
            Entry::SubmitWith { now, options, .. } => {
                Entry::SubmitWith { now, options, gave: scheduler.submit_with(at(now), options) }
            }
            Entry::Cancel { now, task, .. } => {
                Entry::Cancel { now, task, gave: scheduler.cancel(at(now), task) }
            }
            Entry::AddWorker { now, route, .. } => {
                Entry::AddWorker { now, route, gave: scheduler.add_worker(at(now), route) }
            }
            Entry::RemoveWorker { now, worker, .. } => {
                Entry::RemoveWorker { now, worker, gave: scheduler.remove_worker(at(now), worker) }
            }
            Entry::Accept { now, worker, offer, not_before, .. } => {
                let gave = scheduler.accept(at(now), worker, offer, not_before);
                Entry::Accept { now, worker, offer, not_before, gave }
            }
            Entry::EvictAbsent { now, .. } => {
                Entry::EvictAbsent { now, gave: scheduler.evict_absent(at(now)) }
            }
            Entry::HandleEvent { now, event, .. } => {
                Entry::HandleEvent { now, event, gave: scheduler.handle_event(at(now), event) }
            }
            Entry::HandleTimeout { now } => {
                scheduler.handle_timeout(at(now));
                Entry::HandleTimeout { now }
            }
            Entry::PollAction { .. } => Entry::PollAction { gave: scheduler.poll_action() },
            Entry::Pause { now, queue, .. } => {
                Entry::Pause { now, queue, gave: scheduler.pause(at(now), queue) }
            }
            Entry::Resume { now, queue, .. } => {
                Entry::Resume { now, queue, gave: scheduler.resume(at(now), queue) }
            }
            Entry::Drain { now, deadline } => {
                scheduler.drain(at(now), deadline);
                Entry::Drain { now, deadline }
            }
            Entry::SetBacklog { count } => {
                scheduler.set_backlog(count);
                Entry::SetBacklog { count }
            }
            Entry::End { sum } => Entry::End { sum },
        }
    }
}

/// Reads line by line, none longer than [`LINE_MAX`].
#[derive(Debug)]
struct Lines<R> {
    reader: R,
    count: u64,
    sum: Sum,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Returns the next call with its line; `None` in its place at the end.
    fn next_entry(&mut self) -> Result<(u64, Option<Recorded>), ReplayError> {
        let (sum, line) = (self.sum.0, self.count + 1);
        let Some(text) = self.next_of(LINE_MAX)? else {
            return Err(ReplayError::BreaksOff { line });
        };
        let entry: Entry =
            serde_json::from_slice(text).map_err(|why| damaged(line, why.to_string()))?;
        match entry {
            Entry::End { sum: recorded } if recorded != sum => {
                Err(damaged(line, "a line before it was changed".into()))
            }
            Entry::End { .. } => Ok((line, None)),
            entry => Ok((line, Some(Recorded { entry, is_told: true }))),
        }
    }

    /// Returns the next whole line, of so many bytes at most; `None` if there is no more.
    fn next_of(&mut self, most: u64) -> Result<Option<&[u8]>, ReplayError> {
        self.line.clear();
        let mut reader = (&mut self.reader).take(most);
        reader.read_until(b'\n', &mut self.line).map_err(ReplayError::Unreadable)?;
        self.count += 1;
        let Some((b'\n', text)) = self.line.split_last() else {
            let is_long = self.line.len() as u64 == most;
            let why = || damaged(self.count, format!("it is longer than {most} bytes"));
            return if is_long { Err(why()) } else { Ok(None) };
        };
        self.sum.add(&self.line);
        Ok(Some(text))
    }
}

impl Flight {
    /// Returns the next call with its number; `None` in its place at the end. Where a region ends the scheduler has to
    /// be what it was then.
    fn next_entry(
        &mut self,
        scheduler: &Scheduler<Heap>,
    ) -> Result<(u64, Option<Recorded>), ReplayError> {
        let number = self.calls + 1;
        while self.polls == 0 {
            if self.at == self.entries.len() {
                self.begin_region(number, scheduler)?;
                continue;
            }
            let next = flight::next_call(&self.entries[self.at..]);
            let next = next.map_err(|why| damaged(number, why.to_string()))?;
            let (call, rest) = next.expect("it is not at the end");
            self.at = self.entries.len() - rest.len();
            let (entry, is_told) = match call {
                Call::Clock(nanos) => {
                    let since = self.clock.as_nanos().saturating_add(nanos);
                    self.clock = Instant::from_nanos(since);
                    continue;
                }
                Call::Polls(polls) => {
                    self.polls = polls;
                    continue;
                }
                Call::Entry(Entry::End { .. }) => return Ok((number, None)),
                Call::Entry(entry) => {
                    if let Entry::SubmitWith { options, .. } = &entry {
                        self.options = Some(*options);
                    }
                    (entry, true)
                }
                Call::Taken => (self.taken(number)?, false),
                Call::Done(slot) => (self.done(number, slot, scheduler)?, true),
            };
            self.calls = number;
            return Ok((number, Some(Recorded { entry, is_told })));
        }
        self.calls = number;
        self.polls -= 1;
        let entry = Entry::PollAction { gave: None };
        Ok((number, Some(Recorded { entry, is_told: false })))
    }

    /// Goes on with the next region, whose checkpoint is to be what the scheduler has come to.
    fn begin_region(
        &mut self,
        number: u64,
        scheduler: &Scheduler<Heap>,
    ) -> Result<(), ReplayError> {
        let next = self.regions.next().ok_or(ReplayError::BreaksOff { line: number })?;
        let is_same = postcard::to_stdvec(scheduler).is_ok_and(|now| now == next.checkpoint);
        if !is_same {
            return Err(ReplayError::Differs {
                line: number,
                recorded: "a checkpoint of the scheduler".into(),
                now: "it is another one".into(),
            });
        }
        (self.entries, self.at) = (next.entries, 0);
        (self.clock, self.options) = (Instant::EPOCH, None);
        Ok(())
    }

    /// Returns the entry of a task that was taken as the last one.
    fn taken(&self, number: u64) -> Result<Entry, ReplayError> {
        let options = self.options.ok_or_else(|| damaged(number, "nothing says how".into()))?;
        // Which id it got follows from what was before.
        let gave = Ok(TaskId::from_parts(0, 0));
        Ok(Entry::SubmitWith { now: self.clock, options, gave })
    }

    /// Returns the entry of an answer that ended the task in flight of a slot.
    fn done(
        &self,
        number: u64,
        slot: u32,
        scheduler: &Scheduler<Heap>,
    ) -> Result<Entry, ReplayError> {
        let held = scheduler.in_flight_at(slot).ok_or_else(|| ReplayError::Differs {
            line: number,
            recorded: format!("the task of slot {slot} is done"),
            now: "it is not in flight".into(),
        })?;
        let (link, task, attempt) = held;
        let event = Event::Replied { link, task, attempt, verdict: Verdict::Done };
        Ok(Entry::HandleEvent { now: self.clock, event, gave: Ok(()) })
    }
}

/// Refuses what there would be no room for, or too much.
pub(super) fn check_sizes(head: &Head) -> Result<(), ReplayError> {
    let Head { slots, workers_max, .. } = *head;
    if slots > SLOTS_MAX || workers_max > WORKERS_MAX {
        return Err(ReplayError::TooLarge { slots, workers_max });
    }
    Ok(())
}

fn damaged(line: u64, why: String) -> ReplayError {
    ReplayError::Damaged { line, why }
}

/// Why a record is not done again, or no further.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no record.
    Foreign,
    /// It is of that version, and this library reads another one.
    Version(u32),
    /// It has no calls before that line: a flight record that has been written over. It can be replayed, and no more.
    BeginsLate {
        /// Which one, from 1 on.
        line: u64,
    },
    /// A line of it makes no sense, or is not what it was when it was written.
    Damaged {
        /// Which one, from 1 on.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Its pool had more tasks or workers than are done again here.
    TooLarge {
        /// How many tasks, those of second attempts included. At most 4,194,304 are done again.
        slots: u32,
        /// How many workers. At most 131,072 are done again.
        workers_max: u32,
    },
    /// It ends before that line, without saying that it is over: the process was killed, or could not write
    /// any more. What came before is good.
    BreaksOff {
        /// Which one, from 1 on.
        line: u64,
    },
    /// The scheduler decides otherwise than then.
    Differs {
        /// At which line, from 1 on.
        line: u64,
        /// The call, and what it gave then.
        recorded: String,
        /// The call, and what it gives now.
        now: String,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the record cannot be read: {why}"),
            Self::Foreign => f.write_str(
                "this is no record of a pool: give the file that `Builder::record` wrote to",
            ),
            Self::Version(version) => write!(
                f,
                "a record of version {version}, and this library reads version {VERSION}: use the \
                 library that wrote it"
            ),
            Self::BeginsLate { line } => write!(
                f,
                "the record begins with call {line}, and estimates and tests need all of them: replay it, or record \
                 with a larger `bytes_max`"
            ),
            Self::Damaged { line, why } => write!(
                f,
                "line {line} is damaged: {why}. Take the record from where it was written once more"
            ),
            Self::TooLarge { slots, workers_max } => write!(
                f,
                "the record is of a pool with {slots} tasks and {workers_max} workers, and at most {SLOTS_MAX} and \
                 {WORKERS_MAX} are done again: record one with a lower `tasks_max` or `workers_max`"
            ),
            Self::BreaksOff { line } => write!(
                f,
                "the record breaks off before its line {line}: the process was killed, or could not \
                 write any more; what came before is good"
            ),
            Self::Differs { line, recorded, now } => write!(
                f,
                "line {line}: the scheduler decides otherwise than then\n  then: {recorded}\n  now:  {now}\n\
                 To do again what it did then, use the version of the library that wrote the record"
            ),
        }
    }
}

impl error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreadable(why) => Some(why),
            _ => None,
        }
    }
}
