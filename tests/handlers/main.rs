//! What handlers may know and share: their `Context`, the state of `with_state`, and the schema by which
//! both sides know that they speak of the same requests.

mod schemas;
mod sockets;
mod worlds;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::Context;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The contexts that handlers were given, in their order. Its clones are the same list.
#[derive(Clone, Debug, Default)]
struct Given(Arc<Mutex<Vec<Context>>>);

impl Given {
    fn note(&self, cx: &Context) {
        self.0.lock().expect("nobody panics with it").push(cx.clone());
    }

    fn all(&self) -> Vec<Context> {
        self.0.lock().expect("nobody panics with it").clone()
    }

    fn last(&self) -> Context {
        self.all().pop().expect("a handler has begun")
    }

    fn attempts(&self) -> Vec<u16> {
        self.all().iter().map(Context::attempt).collect()
    }

    fn timeouts(&self) -> Vec<Option<Duration>> {
        self.all().iter().map(Context::timeout).collect()
    }
}

/// Who asks, and who does it.
fn names(cx: &Context) -> (&str, &str) {
    (cx.manager(), cx.worker())
}
