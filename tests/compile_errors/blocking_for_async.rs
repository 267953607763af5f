//~1 this is no handler: it is an async function
//~ a function that blocks, and is not async, is for `Worker::blocking`
fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::new(timer, |height: u64| Ok::<_, String>(height));
}

fn main() {}
