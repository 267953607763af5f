//~1 this is no blocking handler: it is a function of
//~1 the answer `serde::Serialize`
//~ for an answer without `Serialize` derive it
struct Block;

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::blocking(timer, 1, |_: u64| Ok::<_, String>(Block));
}

fn main() {}
