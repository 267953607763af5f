//! Predicts whether a reply is already readable after a flush.
//!
//! Where both ends share a CPU it often is, because the system lets the peer run within the write. Reading
//! at once then saves the way through the runtime's poller. Elsewhere such a read finds nothing.

/// After this many reads in a row that found nothing, the prediction is tried less often.
const MISSES_MAX: u8 = 16;
/// How many opportunities are then skipped before each try.
const PAUSE: u8 = 63;

/// How the prediction has fared lately.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    misses: u8,
    pause: u8,
    is_made: bool,
}

impl Guess {
    /// Returns whether to guess that there is more, and to read.
    pub(crate) fn is_worth_it(&mut self) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        self.is_made = true;
        true
    }

    /// Notes whether the next read found something.
    pub(crate) fn came_true(&mut self, is_true: bool) {
        if !core::mem::take(&mut self.is_made) {
            return;
        }
        if is_true {
            self.misses = 0;
        } else if self.misses + 1 < MISSES_MAX {
            self.misses += 1;
        } else {
            self.pause = PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many chances it takes until a guess is made.
    fn chances(guess: &mut Guess) -> Option<usize> {
        (1..1000).find(|_| guess.is_worth_it())
    }

    #[test]
    fn vain_guesses_become_rare_and_one_that_comes_true_brings_them_back() {
        let mut guess = Guess::default();
        for _ in 0..MISSES_MAX {
            assert_eq!(chances(&mut guess), Some(1));
            guess.came_true(false);
        }
        for _ in 0..3 {
            assert_eq!(chances(&mut guess), Some(1 + usize::from(PAUSE)));
            guess.came_true(false);
        }
        chances(&mut guess).unwrap();
        guess.came_true(true);
        for _ in 0..MISSES_MAX {
            assert_eq!(chances(&mut guess), Some(1));
            guess.came_true(false);
        }
        assert_ne!(chances(&mut guess), Some(1));
    }

    #[test]
    fn reads_that_were_no_guess_do_not_count() {
        let mut guess = Guess::default();
        for _ in 0..1000 {
            guess.came_true(false);
        }
        assert!(guess.is_worth_it());
    }
}
