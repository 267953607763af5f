//~1 this is no handler: it is an async function of
//~1 the error `Display`
//~ take its text, as with `.map_err(|error| format!("{error:?}"))`
#[derive(Debug)]
struct Broken;

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Pool::builder(timer).in_process(1, |height: u64| async move { if height > 1 { Err(Broken) } else { Ok(height) } });
}

fn main() {}
