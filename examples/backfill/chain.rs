//! The demo chain: a file of blocks, each linked to its parent by a hash.
//!
//! Block `n` is the record at `(n - 1) * RECORD`: its number, how many transactions it pretends to
//! hold, its parent's hash, and the SHA-256 of those three. Block 1's parent is all zeros.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::io::{FdFlags, fcntl_setfd};
use sha2::{Digest, Sha256};

use crate::block::{Block, Hash};
use crate::files::nameless;

/// How long the demo chain is where nothing else is asked for.
pub(crate) const BLOCKS: u64 = 100_000;
/// How long it may be: 76 MB.
pub(crate) const BLOCKS_MAX: u64 = 1_000_000;

const HEADER: usize = 8 + 4 + 32;
const RECORD: usize = HEADER + 32;

/// A chain's file, open for reading. Any number of threads and processes may read it at once.
#[derive(Debug)]
pub(crate) struct Chain {
    file: File,
    blocks: u64,
}

impl Chain {
    /// Makes a chain's file, in one step: no reader ever sees a part of it.
    pub(crate) fn make(path: &Path, blocks: u64) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", process::id()));
        let part = PathBuf::from(name);
        let made = File::create_new(&part).and_then(|file| write(&file, blocks));
        made.and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
            // What it failed with is what counts.
            let _ = fs::remove_file(&part);
        })
    }

    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let blocks = length / RECORD as u64;
        if blocks == 0 || length % RECORD as u64 != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a demo chain"));
        }
        Ok(Self { file, blocks })
    }

    /// Reads a block and checks it.
    pub(crate) fn block(&self, height: u64) -> Result<Block, String> {
        if !(1..=self.blocks).contains(&height) {
            return Err(format!("the chain has blocks 1..={}, not {height}", self.blocks));
        }
        let mut record = [0; RECORD];
        self.file
            .read_exact_at(&mut record, (height - 1) * RECORD as u64)
            .map_err(|error| format!("cannot read block {height}: {error}"))?;
        let (header, hash) = record.split_at(HEADER);
        let (number, rest) = header.split_at(8);
        let (transactions, parent) = rest.split_at(4);
        let block = Block {
            number: u64::from_le_bytes(number.try_into().expect("8 bytes")),
            hash: Hash(hash.try_into().expect("32 bytes")),
            parent: Hash(parent.try_into().expect("32 bytes")),
            transactions: u32::from_le_bytes(transactions.try_into().expect("4 bytes")),
        };
        if block.number != height || block.hash != hash_of(header) {
            return Err(format!("block {height} is damaged: its number or hash is wrong"));
        }
        Ok(block)
    }
}

/// A chain in a file without a name: however this process ends, nothing of it is left behind.
#[derive(Debug)]
pub(crate) struct TemporaryChain {
    path: PathBuf,
    _file: File,
}

impl TemporaryChain {
    pub(crate) fn make(blocks: u64) -> io::Result<Self> {
        let file = nameless("chain")?;
        write(&file, blocks)?;
        // From now on every process that is started inherits it.
        fcntl_setfd(&file, FdFlags::empty())?;
        Ok(Self { path: format!("/dev/fd/{}", file.as_raw_fd()).into(), _file: file })
    }

    /// Returns where processes find it that are started while this is there.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes the first blocks of the demo chain: there is only one.
fn write(file: &File, blocks: u64) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let mut parent = Hash::default();
    for number in 1..=blocks {
        // Any number will do; this one varies and is the same in every run.
        let transactions = u32::from(parent.0[0]) % 100;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&number.to_le_bytes());
        header[8..12].copy_from_slice(&transactions.to_le_bytes());
        header[12..].copy_from_slice(&parent.0);
        let hash = hash_of(&header);
        file.write_all(&header)?;
        file.write_all(&hash.0)?;
        parent = hash;
    }
    file.flush()
}

fn hash_of(header: &[u8]) -> Hash {
    Hash(Sha256::digest(header).into())
}
