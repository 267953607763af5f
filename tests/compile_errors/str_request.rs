// What a trait may say does not reach errors of lifetimes alone: `HandlerFn` explains these words.
//~1 implementation of `serde_core::de::Deserialize` is not general enough
//~ `&str` must implement `serde_core::de::Deserialize<'0>`, for any lifetime
fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::new(timer, |_: &str| async move { Ok::<_, String>(1) });
}

fn main() {}
