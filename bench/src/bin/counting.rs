//! The program with an allocator that counts: only for figures of memory, since counting takes time.

use std::process::ExitCode;

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    chargehand_bench::main(Some(|| ALLOCATOR.current_usage()))
}
