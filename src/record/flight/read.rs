//! Reads a flight record: the regions that follow each other without a gap up to the latest.

use std::collections::VecDeque;
use std::format;
use std::io::Read;
use std::string::String;
use std::vec::Vec;

use super::{BlockHead, CALL, CLOCK, DONE, FlightHead, HEAD_BYTES, REGIONS, TAKEN};
use crate::record::entry::{Entry, Head};

/// No file of one is longer: 16 GiB.
const REGION_BYTES_MAX: u64 = 4 << 30;
/// No pool makes so many calls, nor are there so many regions of them.
const COUNT_MAX: u64 = 1 << 62;

/// What is left of the calls of a scheduler.
#[derive(Debug)]
pub(in crate::record) struct Regions(VecDeque<Region>);

/// A checkpoint, and the calls since.
#[derive(Debug)]
pub(in crate::record) struct Region {
    number: u64,
    /// How many calls were before it.
    pub(in crate::record) calls: u64,
    pub(in crate::record) checkpoint: Vec<u8>,
    pub(in crate::record) entries: Vec<u8>,
    /// Where the calls of each of its blocks begin, and how many were before.
    blocks: Vec<(usize, u64)>,
}

/// What comes next in a region.
#[derive(Debug)]
pub(in crate::record) enum Call {
    /// So many polls for actions: one at least.
    Polls(u8),
    Entry(Entry),
    /// It is so many nanoseconds later. This is no call.
    Clock(u64),
    /// A task was taken, as the last one.
    Taken,
    /// The task in that slot is done.
    Done(u32),
}

/// Takes the next off the front of some bytes: `None` where there are none.
pub(in crate::record) fn next_call(bytes: &[u8]) -> Result<Option<(Call, &[u8])>, postcard::Error> {
    match bytes.split_first() {
        None => Ok(None),
        Some((&CALL, rest)) => {
            let (entry, rest) = postcard::take_from_bytes(rest)?;
            Ok(Some((Call::Entry(entry), rest)))
        }
        Some((&CLOCK, rest)) => {
            let (nanos, rest) = postcard::take_from_bytes(rest)?;
            Ok(Some((Call::Clock(nanos), rest)))
        }
        Some((&TAKEN, rest)) => Ok(Some((Call::Taken, rest))),
        Some((&DONE, rest)) => {
            let (slot, rest) = postcard::take_from_bytes(rest)?;
            Ok(Some((Call::Done(slot), rest)))
        }
        Some((&polls, rest)) => Ok(Some((Call::Polls(polls), rest))),
    }
}

impl Regions {
    /// Reads all, behind the first line, which is given. The error says what is wrong.
    pub(in crate::record) fn read(
        first: &[u8],
        reader: &mut impl Read,
    ) -> Result<(Head, Self), String> {
        let head: FlightHead = serde_json::from_slice(first).map_err(|why| format!("{why}"))?;
        let FlightHead { head, region_bytes } = head;
        if region_bytes > REGION_BYTES_MAX {
            return Err(format!("no region has {region_bytes} bytes"));
        }
        let length = HEAD_BYTES as u64 + REGIONS * region_bytes;
        let mut bytes = Vec::new();
        let read = reader.take(length).read_to_end(&mut bytes);
        read.map_err(|why| format!("it cannot be read: {why}"))?;
        // The first line and its newline are gone already.
        let before = HEAD_BYTES.saturating_sub(first.len() + 1);
        let all = bytes.get(before..).unwrap_or_default();
        let region_bytes = usize::try_from(region_bytes).map_err(|why| format!("{why}"))?;
        let mut regions: Vec<Region> =
            all.chunks(region_bytes.max(1)).filter_map(Region::read).collect();
        regions.sort_by_key(|region| region.number);
        Ok((head, Self::latest(regions)))
    }

    /// Leaves those out before a gap: calls were left out there, or the file was damaged.
    fn latest(regions: Vec<Region>) -> Self {
        let mut latest: VecDeque<Region> = VecDeque::new();
        for region in regions {
            let follows = latest
                .back()
                .is_some_and(|last| last.number + 1 == region.number && last.ends_at(region.calls));
            if !follows {
                latest.clear();
            }
            latest.push_back(region);
        }
        Self(latest)
    }

    pub(in crate::record) fn next(&mut self) -> Option<Region> {
        self.0.pop_front()
    }
}

impl Region {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, checkpoint) = BlockHead::read(bytes)?;
        let (number, calls) = (head.region, head.calls);
        if head.index != 0 || number.max(calls) > COUNT_MAX {
            return None;
        }
        let mut this = Self {
            number,
            calls,
            checkpoint: checkpoint.into(),
            entries: Vec::new(),
            blocks: Vec::new(),
        };
        let mut at = super::BLOCK_HEAD_BYTES + checkpoint.len();
        let mut index = 1;
        while let Some((head, content)) = bytes.get(at..).and_then(BlockHead::read) {
            if (head.region, head.index) != (number, index) || head.calls > COUNT_MAX {
                break;
            }
            this.blocks.push((this.entries.len(), head.calls));
            this.entries.extend_from_slice(content);
            (at, index) = (at + super::BLOCK_HEAD_BYTES + content.len(), index + 1);
        }
        Some(this)
    }

    /// Whether so many calls were made by its end.
    fn ends_at(&self, calls: u64) -> bool {
        let (begin, mut count) = self.blocks.last().copied().unwrap_or((0, self.calls));
        let mut rest = &self.entries[begin..];
        while let Ok(Some((call, next))) = next_call(rest) {
            count += match call {
                Call::Polls(polls) => polls.into(),
                Call::Entry(_) | Call::Taken | Call::Done(_) => 1,
                Call::Clock(_) => 0,
            };
            rest = next;
        }
        rest.is_empty() && count == calls
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use chargehand_core::{Config, Heap, Instant, Route, Scheduler};

    use super::*;
    use crate::record::entry::Title;
    use crate::record::flight::{BLOCK_HEAD_BYTES, FORMAT, VERSION, first_line};
    use crate::record::{Replay, ReplayError};

    /// A block that holds so many polls.
    fn block(region: u64, index: u32, calls: u64, polls: &[u8]) -> Vec<u8> {
        let mut block = [&[0; BLOCK_HEAD_BYTES], polls].concat();
        let bytes = u32::try_from(polls.len()).expect("a few");
        BlockHead { region, index, bytes, calls }.write(&mut block);
        block
    }

    #[test]
    fn numbers_that_no_pool_comes_to_are_no_regions() {
        let region = |number, calls| {
            let blocks = [block(number, 0, calls, &[]), block(number, 1, calls, &[3, 4])];
            Region::read(&blocks.concat())
        };
        let whole = [region(6, 100).unwrap(), region(7, 107).unwrap()];
        assert_eq!(Regions::latest(whole.into()).0.len(), 2, "they follow each other");
        for (number, calls) in [(u64::MAX, 0), (6, u64::MAX), (u64::MAX, u64::MAX)] {
            assert!(region(number, calls).is_none(), "{number}, {calls}");
        }
        let late = [block(6, 0, 100, &[]), block(6, 1, u64::MAX, &[3, 4])].concat();
        let late = Region::read(&late).unwrap();
        assert!(late.entries.is_empty() && late.ends_at(100), "its calls are no calls");
        assert_eq!(Regions::latest(std::vec![late, region(7, 100).unwrap()]).0.len(), 2);
    }

    #[test]
    fn a_checkpoint_with_any_byte_changed_is_refused_or_replayed_and_never_panics() {
        let now = Instant::EPOCH;
        let mut config = Config::new(1);
        config.retries_max = 1;
        let mut scheduler = Scheduler::new(Heap::with_capacity(4, 2), config).expect("sizes");
        scheduler.add_worker(now, Route::Dial).expect("room");
        for _ in 0..3 {
            scheduler.submit(now).expect("room");
        }
        scheduler.check();
        let whole = postcard::to_stdvec(&scheduler).expect("plain data");
        let title = || Title { format: FORMAT.into(), version: VERSION };
        let head = || Head { title: title(), slots: 4, workers_max: 2, queues: None, config };
        let (mut refused, mut replayed) = (0, 0);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut checkpoint = whole.clone();
                checkpoint[at] = value;
                let mut bytes = first_line(head(), 64 << 10).expect("it is short");
                bytes.extend(block(0, 0, 0, &checkpoint));
                bytes.extend(block(0, 1, 0, &[3]));
                match Replay::new(Cursor::new(bytes)) {
                    Ok(mut replay) => {
                        replayed += 1;
                        while let Ok(Some(_)) = replay.step() {}
                    }
                    Err(error) => {
                        assert!(matches!(error, ReplayError::Damaged { .. }), "{error}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 100 && replayed > 100, "{refused} refused, {replayed} replayed");
    }

    #[test]
    fn calls_in_brief_that_nothing_explains_are_refused() {
        let config = Config::new(1);
        let scheduler = Scheduler::new(Heap::with_capacity(4, 2), config).expect("the defaults");
        let checkpoint = postcard::to_stdvec(&scheduler).expect("plain data");
        let replay = |calls: &[u8]| {
            let title = Title { format: FORMAT.into(), version: VERSION };
            let head = Head { title, slots: 4, workers_max: 2, queues: None, config };
            let mut bytes = first_line(head, 64 << 10).expect("it is short");
            bytes.extend(block(0, 0, 0, &checkpoint));
            bytes.extend(block(0, 1, 0, calls));
            let mut replay = Replay::new(Cursor::new(bytes)).expect("a checkpoint");
            replay.step()
        };
        assert!(matches!(replay(&[3]), Ok(Some(_))), "what is there is read");
        for calls in [&[TAKEN][..], &[CLOCK], &[CLOCK, 0xff], &[DONE], &[CLOCK, 5, TAKEN]] {
            let step = replay(calls);
            assert!(
                matches!(step, Err(ReplayError::Damaged { line: 1, .. })),
                "{calls:?}: {step:?}"
            );
        }
        // A slot that is free, one that there is not, and a time that no clock comes to.
        let late = [&[CLOCK][..], &[0xff; 9], &[1], &[CLOCK, 9, DONE, 0]].concat();
        for calls in [&[DONE, 0][..], &[DONE, 0xff, 0xff, 0xff, 0xff, 0x0f], &late] {
            let step = replay(calls);
            assert!(
                matches!(step, Err(ReplayError::Differs { line: 1, .. })),
                "{calls:?}: {step:?}"
            );
        }
    }
}
