//~1 this is no handler: it is an async function of
//~1 the answer `serde::Serialize`
//~ for an answer without `Serialize` derive it
struct Block;

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Pool::builder(timer).in_process(1, |_: u64| async move { Ok::<_, String>(Block) });
}

fn main() {}
