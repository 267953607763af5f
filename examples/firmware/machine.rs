//! A machine in QEMU whose UART is a stream of this process, and blocks for it to hash.

use std::error::Error;
use std::path::Path;
use std::process::Stdio;

use chargehand::tokio::TokioStream;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::process::{Child, ChildStdin, Command};

/// The longest block in bytes; with it a message stays below the firmware's limit.
pub(crate) const BLOCK_BYTES_MAX: u64 = 400;
/// The firmware's limit of a message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512;

/// What the firmware is asked for, as in `examples/embedded/src/block.rs`.
#[derive(Serialize)]
pub(crate) struct Block {
    pub(crate) height: u64,
    /// How long it is to work on it at least.
    pub(crate) millis: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Block {
    /// Makes a block of some bytes, other ones for each height, with many zeros among them.
    pub(crate) fn new(height: u64, millis: u32) -> Self {
        let mut random = height;
        let bytes = (0..height % BLOCK_BYTES_MAX)
            .map(|_| splitmix64(&mut random).to_le_bytes()[0] & 0x1f)
            .collect();
        Self { height, millis, bytes }
    }

    /// Returns what the answer must be.
    pub(crate) fn sum(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// Starts the machine: its process, its monitor, and its UART.
pub(crate) async fn start(
    firmware: &Path,
) -> Result<(Child, ChildStdin, TokioStream), Box<dyn Error + Send + Sync>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let serial = format!("tcp:{},nodelay=on", listener.local_addr()?);
    let mut machine = Command::new("qemu-system-arm")
        .args(["-M", "lm3s6965evb", "-cpu", "cortex-m3", "-display", "none"])
        .args(["-monitor", "stdio", "-serial", &serial, "-kernel"])
        .arg(firmware)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("qemu-system-arm: {error}"))?;
    let monitor = machine.stdin.take().ok_or("QEMU has no monitor")?;
    tokio::select! {
        accepted = listener.accept() => {
            let (stream, _) = accepted?;
            stream.set_nodelay(true)?;
            Ok((machine, monitor, TokioStream::new(stream)))
        }
        status = machine.wait() => Err(format!("QEMU ended at once: {}", status?).into()),
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
