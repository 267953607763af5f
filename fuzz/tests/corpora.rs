//! Every input that was ever of interest, run once more.

use std::fs;
use std::path::Path;

use chargehand_fuzz::TARGETS;

#[test]
fn what_must_hold_holds_for_all_inputs_that_are_kept() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, check) in TARGETS {
        let mut count = 0;
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|error| panic!("corpus/{name}: {error}"))
            .map(|entry| entry.expect("the folder can be read").path())
            .collect();
        files.sort();
        for file in files {
            // Shown where it panics.
            println!("{}", file.display());
            check(&fs::read(&file).expect("it can be read"));
            count += 1;
        }
        assert!(count > 0, "there is nothing for {name}");
    }
}

#[test]
fn every_target_takes_nothing_and_any_single_byte() {
    for (_, check) in TARGETS {
        check(&[]);
        for byte in 0..=u8::MAX {
            check(&[byte]);
            check(&[byte; 40]);
        }
    }
}
