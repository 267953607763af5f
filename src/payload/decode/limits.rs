//! What a value may become, and what it has become so far.

use alloc::string::String;

use postcard::Error;

/// What each level counts of what nested values may take together.
pub(super) const LEVEL_BYTES: usize = 512;

/// How often a map's first entry counts: the smallest map has room for that many.
pub(super) const FIRST_ENTRY_TIMES: usize = 4;

/// The most elements that are announced to a collection, which may make room for them at once.
pub(super) const HINT_MAX: usize = 1 << 16;

/// How deep and how large a value may become that is decoded from a peer's bytes: an answer in a pool
/// ([`Builder::decode_limits`](crate::Builder::decode_limits)), a request at a worker
/// ([`Worker::decode_limits`](crate::Worker::decode_limits)), the details of a failure
/// ([`Failure::details_within`](crate::Failure::details_within)).
///
/// What would pass a limit is its own task's error, which names the limit; nothing else is harmed. How
/// values are counted, and what is not, is said at [`Pool::call`](crate::Pool::call). The defaults are
/// good for stacks of 512 KiB, also in a debug build.
///
/// ```
/// use chargehand::DecodeLimits;
///
/// // For syntax trees, on threads with 8 MiB of stack.
/// let deep = DecodeLimits::new().depth_max(1000);
/// // For bitmaps: a byte that stands for 64 values of 8 bytes.
/// let sparse = DecodeLimits::new().growth_times(512);
/// # let _ = (deep, sparse);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// How many options, enums, sequences and maps may lie in each other. Default 128.
    ///
    /// Each counts 512 bytes, and each value in a `Box` or a collection twice its size (half of the whole
    /// at most), of 512 bytes for each level: large values nest less deep. A stack that is safe has 4 KiB for each
    /// level, on every thread that polls the pool's driver or its futures, or runs the worker's handlers.
    /// 0 takes flat types only.
    pub depth_max: u32,
    /// How many bytes of memory a value may take however short its encoding. Default 256 KiB.
    pub growth_bytes: usize,
    /// How many bytes of memory it may take on top for each encoded byte. Default 32.
    pub growth_times: usize,
}

impl DecodeLimits {
    /// Returns the defaults.
    pub const fn new() -> Self {
        Self { depth_max: 128, growth_bytes: 256 << 10, growth_times: 32 }
    }

    /// Sets [`depth_max`](Self::depth_max).
    #[must_use]
    pub const fn depth_max(mut self, levels: u32) -> Self {
        self.depth_max = levels;
        self
    }

    /// Sets [`growth_bytes`](Self::growth_bytes).
    #[must_use]
    pub const fn growth_bytes(mut self, bytes: usize) -> Self {
        self.growth_bytes = bytes;
        self
    }

    /// Sets [`growth_times`](Self::growth_times).
    #[must_use]
    pub const fn growth_times(mut self, times: usize) -> Self {
        self.growth_times = times;
        self
    }

    /// Returns how large the values may be together that lie in each other, each behind a pointer.
    #[inline]
    pub(super) const fn nested_bytes_max(&self) -> usize {
        (self.depth_max as usize).saturating_mul(LEVEL_BYTES)
    }

    /// Returns the most memory that a value of `len` encoded bytes may take.
    #[inline]
    const fn growth(&self, len: usize) -> usize {
        len.saturating_mul(self.growth_times).saturating_add(self.growth_bytes)
    }

    /// Says which limit a value of `len` encoded bytes would pass, and what to do.
    pub(super) fn refusal(&self, refusal: Refusal, len: usize) -> String {
        let Self { depth_max, growth_bytes, growth_times } = self;
        let raise = "in the decode_limits of the pool for an answer, of the worker for a request";
        match refusal {
            Refusal::Depth => format!(
                "it nests deeper than {depth_max} levels, or its nested values are larger than {} \
                 bytes together: choose a flatter type, take the raw bytes, or raise depth_max {raise}",
                self.nested_bytes_max()
            ),
            Refusal::Growth => format!(
                "its {len} bytes would take more than {} in memory, {growth_bytes} and \
                 {growth_times} for each of them: choose a type with smaller elements, take the raw \
                 bytes, or raise growth_times {raise}",
                self.growth(len)
            ),
        }
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// The limit that a value would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Depth,
    Growth,
}

/// What a value takes as it is read.
#[derive(Debug)]
pub(super) struct Count {
    /// Bytes of memory so far.
    pub(super) grown: usize,
    grown_max: usize,
    /// What nested values may still take here.
    pub(super) room: usize,
    /// What one of them counts at most.
    value_max: usize,
    pub(super) refusal: Option<Refusal>,
}

impl Count {
    #[inline]
    pub(super) const fn new(limits: &DecodeLimits, len: usize) -> Self {
        let room = limits.nested_bytes_max();
        Self { grown: 0, grown_max: limits.growth(len), room, value_max: room / 2, refusal: None }
    }

    /// Counts `bytes` of memory.
    #[inline]
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.grown = self.grown.saturating_add(bytes);
        if self.grown > self.grown_max { Err(self.refuse(Refusal::Growth)) } else { Ok(()) }
    }

    /// Counts a level that nests. Whoever counts sets `room` back afterwards.
    #[inline]
    pub(super) fn nest_level(&mut self) -> Result<(), Error> {
        let rest = self.room.checked_sub(LEVEL_BYTES);
        self.room = rest.ok_or_else(|| self.refuse(Refusal::Depth))?;
        Ok(())
    }

    /// Counts a value of that size that lies behind a pointer. Whoever counts sets `room` back
    /// afterwards.
    ///
    /// The stack has several copies of it while it is read. One alone may be as large as it likes:
    /// its user knows that it is, and only those that hold each other can be many.
    #[inline]
    pub(super) fn nest(&mut self, size: usize) -> Result<(), Error> {
        let counted = size.saturating_mul(2).min(self.value_max);
        let rest = self.room.checked_sub(counted);
        self.room = rest.ok_or_else(|| self.refuse(Refusal::Depth))?;
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal) -> Error {
        self.refusal = Some(refusal);
        Error::SerdeDeCustom
    }
}
