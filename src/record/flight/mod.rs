//! A record that never grows: the latest calls of a scheduler, in a file of a fixed size.
//!
//! The file begins with a line that says what the pool was made with, filled up to [`HEAD_BYTES`]. Behind it are
//! [`REGIONS`] regions of one size, which are written in turn. Each begins with a checkpoint, all of the scheduler as
//! it was then, and goes on with the calls made since. So whatever is overwritten, the calls that are left can be made
//! again, from the oldest checkpoint on.
//!
//! A call is a byte 0 and an [`Entry`](super::entry::Entry), with what it gave. Calls of which there are many are shorter, since the
//! rest follows from the state before them:
//!
//! - polls for actions are a byte from 1 on that says how many there were, and not what they gave;
//! - a task that was taken with the options of the last one whose entry is in the region is the byte [`TAKEN`];
//! - an answer that ended a task in flight is [`DONE`] and the slot of that task.
//!
//! The time of the latter two is that of the last [`CLOCK`] in the region, which says how many nanoseconds it is after the one
//! before it, or after the beginning.
//!
//! Regions consist of blocks. Each says of which round it is, how many calls were before it, and has a sum over
//! itself: what is left of an earlier round, or was not written to its end, is told from what belongs there.

mod read;
mod write;

use std::format;
use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::entry::{Head, Sum};

pub(super) use self::read::{Call, Regions, next_call};
pub use self::write::FlightRecorder;
pub(super) use self::write::Recorder;

/// By which it is known.
pub(super) const FORMAT: &str = "chargehand flight record";
pub(super) const VERSION: u32 = 2;
/// Room for the first line: that of a pool with as many queues as may be fits.
const HEAD_BYTES: usize = 64 << 10;
const REGIONS: u64 = 4;
/// What each block begins with.
const MAGIC: [u8; 4] = *b"CHFR";
const BLOCK_HEAD_BYTES: usize = 36;
/// Stands before a call that is written with all that it was.
const CALL: u8 = 0;
const POLLS_MAX: u8 = 252;
const CLOCK: u8 = 253;
const TAKEN: u8 = 254;
const DONE: u8 = 255;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct FlightHead {
    #[serde(flatten)]
    head: Head,
    region_bytes: u64,
}

/// What a block says of itself, before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockHead {
    /// The number of its region since the begin, from 0 on: its place is that modulo [`REGIONS`].
    region: u64,
    /// Its place there. The first one is a checkpoint, the others are calls.
    index: u32,
    /// Of its content.
    bytes: u32,
    /// How many calls there were before it.
    calls: u64,
}

impl BlockHead {
    /// Writes it to the front of a block, which has room for it there.
    fn write(self, block: &mut [u8]) {
        let (head, content) = block.split_at_mut(BLOCK_HEAD_BYTES);
        head[..4].copy_from_slice(&MAGIC);
        head[4..12].copy_from_slice(&self.region.to_le_bytes());
        head[12..16].copy_from_slice(&self.index.to_le_bytes());
        head[16..20].copy_from_slice(&self.bytes.to_le_bytes());
        head[20..28].copy_from_slice(&self.calls.to_le_bytes());
        let sum = sum(&head[..28], content);
        head[28..].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads the block at the front of some bytes: `None` where there is none, or not all of it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_at_checked(BLOCK_HEAD_BYTES)?;
        let u32_at = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let u64_at = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let this =
            Self { region: u64_at(4)?, index: u32_at(12)?, bytes: u32_at(16)?, calls: u64_at(20)? };
        let content = rest.get(..this.bytes as usize)?;
        let is_whole = head[..4] == MAGIC && u64_at(28)? == sum(&head[..28], content);
        is_whole.then_some((this, content))
    }
}

/// Eight bytes at a time: a file of a flight record is much longer than most.
fn sum(head: &[u8], content: &[u8]) -> u64 {
    let mut sum = Sum::new();
    for part in [head, content] {
        let mut words = part.chunks_exact(8);
        for word in &mut words {
            sum.add_word(word.try_into().map_or(0, u64::from_le_bytes));
        }
        sum.add(words.remainder());
    }
    sum.0
}

/// Returns the first line, filled up.
fn first_line(mut head: Head, region_bytes: u64) -> Result<Vec<u8>, String> {
    (head.title.format, head.title.version) = (FORMAT.into(), VERSION);
    let mut line = serde_json::to_vec(&FlightHead { head, region_bytes })
        .map_err(|error| format!("its first line cannot be written: {error}"))?;
    if line.len() >= HEAD_BYTES {
        return Err(format!("its first line has {} bytes, of {HEAD_BYTES}", line.len()));
    }
    line.push(b'\n');
    line.resize(HEAD_BYTES, 0);
    Ok(line)
}
