//! What the pieces cost in nanoseconds: `cargo bench -p chargehand-bench`.

use std::time::{Duration, Instant};

use chargehand_bench::pieces::PIECES;
use criterion::Criterion;

fn main() {
    let criterion = Criterion::default().configure_from_args();
    let mut criterion =
        criterion.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for piece in PIECES {
        let mut run = None;
        criterion.bench_function(piece.name, |bencher| {
            // Not before it is known that this one is wanted.
            let run = run.get_or_insert_with(piece.make);
            bencher.iter_custom(|cycles| {
                let begun = Instant::now();
                run(u32::try_from(cycles).expect("a few seconds of cycles"));
                begun.elapsed()
            });
        });
    }
    criterion.final_summary();
}
