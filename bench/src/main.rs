//! See the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    chargehand_bench::main(None)
}
