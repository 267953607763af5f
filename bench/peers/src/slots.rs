//! Jobs that are told apart by a number in their bodies.

use std::time::Instant;

use chargehand_bench::measure::{Job, Meter};

/// The number that a body begins with.
type Number = u64;

/// All jobs of a manager: each is sent again when it comes back.
#[derive(Debug)]
pub(crate) struct Slots {
    bodies: Vec<Vec<u8>>,
    starts: Vec<Option<Instant>>,
}

impl Slots {
    pub(crate) fn new(job: &Job) -> Self {
        let count = job.links * job.window;
        let body = |number: usize| {
            let mut body = (number as Number).to_le_bytes().to_vec();
            body.resize(job.bytes, b'!');
            body
        };
        Self { bodies: (0..count).map(body).collect(), starts: vec![None; count] }
    }

    pub(crate) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.bodies.len()
    }

    /// Returns a job's body, which is about to be sent.
    pub(crate) fn send(&mut self, number: usize, meter: &Meter) -> &[u8] {
        self.starts[number] = meter.start();
        &self.bodies[number]
    }

    /// Takes a result and returns its job's number.
    ///
    /// # Panics
    /// If it is no job's that was sent.
    pub(crate) fn came(&mut self, result: &[u8], meter: &Meter) -> usize {
        let number = Number::from_le_bytes(*result.first_chunk().expect("a number"));
        let number = usize::try_from(number).expect("a small one");
        assert_eq!(result, self.bodies[number], "a wrong result");
        meter.add(1);
        meter.stop(self.starts[number].take());
        number
    }
}

#[cfg(test)]
mod tests {
    use chargehand_bench::measure::{Peer, Place};

    use super::*;

    #[test]
    fn a_result_is_its_jobs() {
        let job = Job {
            peer: Peer::Redis,
            address: String::new(),
            links: 2,
            window: 3,
            bytes: 16,
            timed: true,
            place: Place::Free,
            processes: Vec::new(),
            seconds: 1.0,
        };
        let meter = Meter::new(true);
        let mut slots = Slots::new(&job);
        assert_eq!(slots.numbers(), 0..6);
        for number in [5, 0, 3] {
            let body = slots.send(number, &meter).to_vec();
            assert_eq!(body.len(), 16);
            assert_eq!(slots.came(&body, &meter), number);
        }
        assert_eq!(meter.count(), 3);
    }
}
