//! Writes a flight record: the driver puts calls together, and a thread of its own has them written.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::string::{String, ToString};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::vec::Vec;
use std::{fmt, format, mem};

use chargehand_core::{Heap, Instant, Scheduler, TaskOptions};
use postcard::Serializer;
use serde::Serialize;

use super::{
    BLOCK_HEAD_BYTES, BlockHead, CALL, CLOCK, DONE, HEAD_BYTES, POLLS_MAX, REGIONS, TAKEN,
    first_line,
};
use crate::payload::encode::Onto;
use crate::record::entry::{Entry, Head};

/// How long a file is where nothing else is said.
const BYTES_DEFAULT: u64 = 64 << 20;
/// How many bytes of calls are put together before they are handed over, and in any case with each poll.
const LOCAL_BYTES_MAX: usize = 64 << 10;
/// The longest call. Those of a record are shorter.
const CALL_BYTES_MAX: usize = 4 << 10;
/// How much room has to be left in a region for it to be gone on with.
const SLACK: u64 = (LOCAL_BYTES_MAX + CALL_BYTES_MAX + 2 * BLOCK_HEAD_BYTES) as u64;
/// How much may wait to be written. Where the disk is slower, calls are left out until it has caught up.
const BACKLOG_BYTES_MAX: usize = 16 << 20;
/// How long calls are collected before they are written, so that each write is of many.
const COLLECT: Duration = Duration::from_millis(20);

/// A file of a fixed size for the latest calls of a pool's scheduler, with whatever it decided: see
/// [`Builder::flight_recorder`](crate::Builder::flight_recorder).
#[derive(Debug)]
pub struct FlightRecorder {
    file: File,
    bytes: u64,
}

impl FlightRecorder {
    /// Creates the file, of 64 MiB at most: some millions of tasks, where most go well.
    ///
    /// # Errors
    /// As [`OpenOptions::create_new`]: that it is there already, say.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::of(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    /// Takes a file that is open for writing, as [`create`](Self::create) does a new one. What it has is written over
    /// and not cut off: give an empty one.
    pub const fn of(file: File) -> Self {
        Self { file, bytes: BYTES_DEFAULT }
    }

    /// Sets how long the file may become, in bytes. A quarter of it has to have room for the scheduler twice: with
    /// 16,384 tasks and 1024 workers, as by default, 16 MiB are enough.
    #[must_use]
    pub const fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

/// The driver's side.
pub(in crate::record) struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Calls that are not handed over yet, behind room for a block's head.
    local: Vec<u8>,
    local_calls: u64,
    /// Polls since the last other call, whose number is not among those bytes yet.
    polls: u8,
    /// What the region says of time so far.
    clock: Instant,
    /// The options of the last task in the region whose entry has them.
    options: Option<TaskOptions>,
    /// Calls that were handed over, or left out.
    calls: u64,
    region_bytes: u64,
    /// How much is left of the region.
    room: u64,
    /// Calls are left out: the disk has to catch up.
    is_behind: bool,
    /// Nothing more is recorded.
    has_ended: bool,
    /// Why, until it was told.
    why: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// The thread waits for a piece.
    is_idle: bool,
    is_over: bool,
    /// Why nothing can be written any more.
    failed: Option<String>,
}

#[derive(Debug)]
struct Piece {
    is_checkpoint: bool,
    /// How many calls were before it.
    calls: u64,
    /// Behind room for a block's head.
    bytes: Vec<u8>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Begins with the file of a pool whose scheduler has not been called yet.
    pub(in crate::record) fn begin(
        recorder: FlightRecorder,
        head: Head,
        scheduler: &Scheduler<Heap>,
    ) -> Self {
        let region_bytes = recorder.bytes.saturating_sub(HEAD_BYTES as u64) / REGIONS;
        let shared = Arc::new(Shared::default());
        let mut this = Self {
            shared: Arc::clone(&shared),
            thread: None,
            local: no_calls(),
            local_calls: 0,
            polls: 0,
            clock: Instant::EPOCH,
            options: None,
            calls: 0,
            region_bytes,
            room: 0,
            is_behind: false,
            has_ended: false,
            why: None,
        };
        let mut file = recorder.file;
        let begun = first_line(head, region_bytes).and_then(|line| {
            file.write_all(&line).map_err(|error| error.to_string())?;
            let tape = Tape { file, region_bytes, region: None, index: 0, at: 0 };
            let thread = thread::Builder::new().name("flight recorder".into());
            thread.spawn(move || tape.write_all(&shared)).map_err(|error| error.to_string())
        });
        match begun {
            Ok(thread) => this.thread = Some(thread),
            Err(why) => this.end(why),
        }
        if !this.has_ended {
            this.begin_region(scheduler);
        }
        this
    }

    /// Takes in a call that was made.
    #[inline]
    pub(in crate::record) fn note(&mut self, entry: &Entry, scheduler: &Scheduler<Heap>) {
        self.write_polls();
        if let Entry::SubmitWith { options, .. } = entry {
            self.options = Some(*options);
        }
        self.local.push(CALL);
        encode(entry, &mut self.local);
        self.noted(scheduler);
    }

    /// Takes in that a task was taken. Returns `false` where its entry has to say how.
    #[inline]
    pub(in crate::record) fn note_taken(
        &mut self,
        now: Instant,
        options: &TaskOptions,
        scheduler: &Scheduler<Heap>,
    ) -> bool {
        if self.options.as_ref() != Some(options) || !self.write_clock(now) {
            return false;
        }
        self.write_polls();
        self.local.push(TAKEN);
        self.noted(scheduler);
        true
    }

    /// Takes in that the task in flight of a slot is done. Returns `false` where its entry has to say it.
    #[inline]
    pub(in crate::record) fn note_done(
        &mut self,
        now: Instant,
        slot: u32,
        scheduler: &Scheduler<Heap>,
    ) -> bool {
        if !self.write_clock(now) {
            return false;
        }
        self.write_polls();
        self.local.push(DONE);
        encode(&slot, &mut self.local);
        self.noted(scheduler);
        true
    }

    /// Counts a call whose bytes are written.
    #[inline]
    fn noted(&mut self, scheduler: &Scheduler<Heap>) {
        self.local_calls += 1;
        if self.local.len() >= LOCAL_BYTES_MAX && !self.has_ended {
            self.push(scheduler);
        }
    }

    /// Has the region say what time it is. Returns `false` for an earlier one, which it cannot.
    #[inline]
    fn write_clock(&mut self, now: Instant) -> bool {
        if now > self.clock {
            self.local.push(CLOCK);
            encode(&(now.as_nanos() - self.clock.as_nanos()), &mut self.local);
            self.clock = now;
        }
        now == self.clock
    }

    /// Takes in that it was polled for an action.
    #[inline]
    pub(in crate::record) fn note_poll(&mut self) {
        if self.polls == POLLS_MAX {
            self.write_polls();
        }
        self.polls += 1;
        self.local_calls += 1;
    }

    #[inline]
    fn write_polls(&mut self) {
        if self.polls > 0 {
            self.local.push(mem::take(&mut self.polls));
        }
    }

    /// Hands over what there is. Returns why the record ends, once.
    pub(in crate::record) fn hand_over(&mut self, scheduler: &Scheduler<Heap>) -> Option<String> {
        if self.has_ended {
            self.forget_local();
            return self.why.take();
        }
        if self.local_calls > 0 {
            self.push(scheduler);
        }
        self.why.take()
    }

    fn push(&mut self, scheduler: &Scheduler<Heap>) {
        self.write_polls();
        let calls = self.calls;
        self.calls += mem::take(&mut self.local_calls);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if let Some(why) = state.failed.take() {
            return self.end(why);
        }
        if self.is_behind {
            // What is left out is no part of any region.
            self.local.truncate(BLOCK_HEAD_BYTES);
            if state.bytes <= BACKLOG_BYTES_MAX / 2 {
                self.is_behind = false;
                drop(state);
                self.begin_region(scheduler);
            }
            return;
        }
        let length = self.local.len();
        let last = state.pieces.back_mut().filter(|piece| !piece.is_checkpoint);
        if let Some(piece) = last {
            piece.bytes.extend_from_slice(&self.local[BLOCK_HEAD_BYTES..]);
            self.local.truncate(BLOCK_HEAD_BYTES);
            state.bytes += length - BLOCK_HEAD_BYTES;
            self.room = self.room.saturating_sub((length - BLOCK_HEAD_BYTES) as u64);
        } else {
            let bytes = mem::replace(&mut self.local, no_calls());
            state.pieces.push_back(Piece { is_checkpoint: false, calls, bytes });
            state.bytes += length;
            self.room = self.room.saturating_sub(length as u64);
        }
        self.is_behind = state.bytes > BACKLOG_BYTES_MAX;
        if mem::take(&mut state.is_idle) {
            self.shared.changed.notify_one();
        }
        drop(state);
        if self.room < SLACK && !self.is_behind {
            self.begin_region(scheduler);
        }
    }

    /// Begins a region with all of the scheduler, as it is after the latest call.
    fn begin_region(&mut self, scheduler: &Scheduler<Heap>) {
        let mut bytes = no_calls();
        encode(scheduler, &mut bytes);
        let (needed, all) = (2 * bytes.len() as u64 + 2 * SLACK, self.region_bytes);
        if needed > all {
            let file = HEAD_BYTES as u64 + REGIONS * needed;
            return self.end(format!(
                "its file is too short for a pool of this size, which needs {file} bytes (`bytes_max`)"
            ));
        }
        self.room = all - bytes.len() as u64;
        (self.clock, self.options) = (Instant::EPOCH, None);
        let mut state = self.shared.lock();
        state.bytes += bytes.len();
        state.pieces.push_back(Piece { is_checkpoint: true, calls: self.calls, bytes });
        if mem::take(&mut state.is_idle) {
            self.shared.changed.notify_one();
        }
    }

    fn end(&mut self, why: String) {
        self.forget_local();
        (self.has_ended, self.why) = (true, Some(why));
    }

    fn forget_local(&mut self) {
        self.local.truncate(BLOCK_HEAD_BYTES);
        (self.local_calls, self.polls) = (0, 0);
    }

    /// Notes the end, and waits until all is written.
    pub(in crate::record) fn finish(&mut self, scheduler: &Scheduler<Heap>) {
        self.note(&Entry::End { sum: 0 }, scheduler);
        self.hand_over(scheduler);
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // Nobody is left to tell of an error; the record breaks off then.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("calls", &self.calls).finish_non_exhaustive()
    }
}

fn no_calls() -> Vec<u8> {
    // Room for what is collected while the pool is not at its limit, so that this does not grow step by step.
    let mut bytes = Vec::with_capacity(LOCAL_BYTES_MAX / 4);
    bytes.resize(BLOCK_HEAD_BYTES, 0);
    bytes
}

#[inline]
fn encode(value: &impl Serialize, to: &mut Vec<u8>) {
    let encoded = value.serialize(&mut Serializer { output: Onto(to) });
    encoded.expect("plain data, and a vector takes all of it");
}

/// The file, in the thread that writes it.
struct Tape {
    file: File,
    region_bytes: u64,
    /// The one that is written; `None` before the first.
    region: Option<u64>,
    index: u32,
    /// How far it is written.
    at: u64,
}

impl Tape {
    fn write_all(mut self, shared: &Shared) {
        loop {
            let mut state = shared.lock();
            while state.pieces.is_empty() {
                if state.is_over {
                    return;
                }
                state.is_idle = true;
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.is_idle = false;
            if !state.is_over {
                let is_on = |state: &mut State| !state.is_over;
                let waited = shared.changed.wait_timeout_while(state, COLLECT, is_on);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let pieces = mem::take(&mut state.pieces);
            drop(state);
            for piece in pieces {
                let length = piece.bytes.len();
                let written = self.write(piece);
                let mut state = shared.lock();
                state.bytes -= length;
                if let Err(error) = written {
                    state.failed = Some(error.to_string());
                    return;
                }
            }
        }
    }

    fn write(&mut self, piece: Piece) -> io::Result<()> {
        let Piece { is_checkpoint, calls, bytes: mut block } = piece;
        if is_checkpoint {
            self.region = Some(self.region.map_or(0, |region| region + 1));
            (self.index, self.at) = (0, 0);
        }
        let region = self.region.unwrap_or(0);
        let too_long = |_| io::Error::other("a block of it is longer than 4 GiB");
        let bytes = u32::try_from(block.len() - BLOCK_HEAD_BYTES).map_err(too_long)?;
        BlockHead { region, index: self.index, bytes, calls }.write(&mut block);
        let begin = HEAD_BYTES as u64 + region % REGIONS * self.region_bytes;
        self.file.seek(SeekFrom::Start(begin + self.at))?;
        self.file.write_all(&block)?;
        self.index += 1;
        self.at += block.len() as u64;
        Ok(())
    }
}
