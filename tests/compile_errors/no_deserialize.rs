//~1 the request is owned (`String`, not `&str`) and `serde::Deserialize`
struct Block;

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::new(timer, |_: Block| async move { Ok::<_, String>(1) });
}

fn main() {}
