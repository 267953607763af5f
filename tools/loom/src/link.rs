//! The library's files, with loom's lock and atomics beneath them.

pub(crate) mod lock {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Loom's lock, with the methods of the library's.
    #[derive(Debug)]
    pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
            work(&mut self.0.lock().expect("nobody panics in there"))
        }
    }

    impl<T: Default> Default for Lock<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }
}

pub(crate) use crate::around::erased;

pub(crate) mod schema {
    /// What a worker wants: nothing that is tried here.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Wanted {
        pub(crate) queues: Option<Box<[std::sync::Arc<str>]>>,
        pub(crate) rate: Option<chargehand_core::Rate>,
    }
}

#[path = "../../../src/link/alarm.rs"]
pub(crate) mod alarm;
#[path = "../../../src/link/party.rs"]
pub(crate) mod party;
#[path = "../../../src/link/ready.rs"]
pub(crate) mod ready;
