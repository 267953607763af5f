//~1 implementation of `OwnedRequest` is not general enough
fn case<T: chargehand::core::io::Timer>(timer: T) {
    let handler = |_: &[u8]| async move { Ok::<_, String>(1) };
    let _ = chargehand::Pool::builder(timer).in_process(1, handler);
}

fn main() {}
