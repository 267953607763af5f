//! What the library's files want around them, as far as threads share it or it says something of them: the
//! rest is left out.

/// Mistakes that are made on purpose, to see whether they are found.
pub(crate) mod planted {
    use std::sync::Mutex;

    /// Not one of loom's: it is no part of what is tried.
    static MISTAKE: Mutex<&str> = Mutex::new("");

    /// Does the steps of that name in the wrong order from now on, and no others.
    pub fn reorder(name: &'static str) {
        *MISTAKE.lock().expect("nobody panics in there") = name;
    }

    pub(crate) fn reordered(name: &str) -> bool {
        *MISTAKE.lock().expect("nobody panics in there") == name
    }

    pub(crate) const fn planted(_name: &str) -> bool {
        false
    }
}

pub(crate) mod error {
    /// Why there is no answer.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum TaskError {
        Cancelled,
        Closed,
        TimedOut,
    }

    #[derive(Debug)]
    pub(crate) enum WorkerError {}
}

pub(crate) mod events {
    #[derive(Debug)]
    pub(crate) struct EventFeed;
    #[derive(Debug)]
    pub(crate) struct Started;
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct TaskProgress;
}

pub(crate) mod limits {
    use crate::payload::DecodeLimits;

    pub(crate) struct Limits {
        pub(crate) frame_bytes_max: u32,
        pub(crate) queue_max: usize,
        pub(crate) queues: Vec<()>,
        pub(crate) decode: DecodeLimits,
    }

    impl Limits {
        pub(crate) fn memory_max(&self) -> usize {
            1 << 20
        }

        pub(crate) fn ahead_max(&self) -> usize {
            8
        }
    }
}

pub(crate) mod payload {
    use alloc::sync::Arc;

    use crate::budget::{Account, Charge};

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct DecodeLimits;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Check;

    impl Check {
        pub(crate) const RAW: Self = Self;
    }

    /// A request.
    #[derive(Debug, Default)]
    pub(crate) struct Body(pub(crate) Vec<u8>, Option<Box<Charge>>);

    impl Body {
        pub(crate) const EMPTY: Self = Self(Vec::new(), None);

        pub(crate) fn of(bytes: Vec<u8>) -> Self {
            Self(bytes, None)
        }

        pub(crate) fn is_uncharged(&self) -> bool {
            self.0.len() > 1 && self.1.is_none()
        }

        pub(crate) fn as_slice(&self) -> &[u8] {
            &self.0
        }

        pub(crate) fn charge(&mut self, account: &Arc<Account>) {
            self.1 = Some(Box::new(account.charge(self.0.len())));
        }
    }

    /// An answer.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(crate) struct Answer(pub(crate) Vec<u8>);

    impl Answer {
        pub(crate) const EMPTY: Self = Self(Vec::new());

        pub(crate) fn read<A>(
            &mut self,
            _limits: &DecodeLimits,
        ) -> Result<A, crate::error::TaskError> {
            unreachable!("no model reads answers")
        }

        pub(crate) fn take_bytes(
            &mut self,
            _spare: Vec<u8>,
        ) -> Result<Vec<u8>, crate::error::TaskError> {
            Ok(core::mem::take(&mut self.0))
        }
    }
}

pub(crate) mod stats {
    #[derive(Debug)]
    pub(crate) struct PoolStats;
}

pub(crate) mod erased {
    use std::marker::PhantomData;

    pub(crate) trait Kind {}

    #[derive(Debug)]
    pub(crate) struct Threads;

    impl Kind for Threads {}

    pub(crate) struct Reach<K>(PhantomData<K>);
}
