//! Any calls to the scheduler, and its naive model beside it.

#[path = "../../core/tests/equals_model/model/mod.rs"]
mod model;
#[path = "../../core/tests/equals_model/pair/mod.rs"]
#[expect(dead_code, reason = "the test that draws at random uses all of it")]
mod pair;

use chargehand_core::{Heap, Inline};

use pair::{Dice, Pair, random_config};
use rng::Rng;

/// How many steps follow from one input at most.
const STEPS_MAX: usize = 2_000;

/// The engine does what the naive model does, and all invariants hold after every call.
pub fn scheduler(data: &[u8]) {
    let Some((&size, rest)) = data.split_first() else { return };
    let rng = Rng::new(rest);
    const NONE: Dice = Dice { extra: None, hedging: None };
    let again = "the bytes that the fuzzer has kept".to_owned();
    match size % 4 {
        0 => run(Pair::with(again, rng, random_config, NONE, Inline::<1, 1>::new(), (1, 1))),
        1 => run(Pair::with(again, rng, random_config, NONE, Inline::<3, 2>::new(), (3, 2))),
        2 => run(Pair::with(again, rng, random_config, NONE, Heap::with_capacity(6, 5), (6, 5))),
        _ => run(Pair::with(again, rng, random_config, NONE, Heap::with_capacity(12, 4), (12, 4))),
    }
}

fn run<S: chargehand_core::Storage>(mut pair: Pair<S>) {
    for _ in 0..STEPS_MAX {
        if pair.rng.is_over() {
            break;
        }
        pair.step();
    }
    pair.shut_down();
}

mod rng {
    use crate::chunks::Choices;

    /// In place of the tests' generator: the fuzzer's bytes decide.
    #[derive(Clone, Debug)]
    pub(crate) struct Rng {
        bytes: Vec<u8>,
        at: usize,
    }

    impl Rng {
        pub(crate) fn new(bytes: &[u8]) -> Self {
            Self { bytes: bytes.to_vec(), at: 0 }
        }

        /// The same input once more: what is drawn of it there is not taken here.
        pub(crate) fn apart(&self, _salt: u64) -> Self {
            self.clone()
        }

        pub(crate) fn is_over(&self) -> bool {
            self.at >= self.bytes.len()
        }

        fn choose<T>(&mut self, choose: impl FnOnce(&mut Choices<'_>) -> T) -> T {
            let mut choices = Choices(&self.bytes[self.at..]);
            let chosen = choose(&mut choices);
            self.at = self.bytes.len() - choices.0.len();
            chosen
        }

        pub(crate) fn next(&mut self) -> u64 {
            (0..8).fold(0, |number, _| number << 8 | self.below(256))
        }

        pub(crate) fn below(&mut self, end: u64) -> u64 {
            self.choose(|choices| choices.below(end))
        }

        pub(crate) fn percent(&mut self, chance: u64) -> bool {
            self.below(100) < chance
        }

        pub(crate) fn index(&mut self, len: usize) -> usize {
            usize::try_from(self.below(len as u64)).expect("below a usize")
        }

        pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
            values[self.index(values.len())]
        }
    }
}
