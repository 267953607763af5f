// What a trait may say does not reach errors of lifetimes alone, but its name does.
//~1 implementation of `OwnedRequest` is not general enough
//~ `&str` must implement `OwnedRequest<'0>`, for any lifetime
fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::new(timer, |_: &str| async move { Ok::<_, String>(1) });
}

fn main() {}
