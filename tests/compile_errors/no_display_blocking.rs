//~1 this is no blocking handler: it is a function of
//~1 the error `Display`
//~ take its text, as with `.map_err(|error| format!("{error:?}"))`
#[derive(Debug)]
struct Broken;

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::blocking(timer, 1, |height: u64| if height > 1 { Err(Broken) } else { Ok(height) });
}

fn main() {}
