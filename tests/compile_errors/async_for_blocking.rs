//~1 not async (give those to `Worker::new`)
async fn handle(height: u64) -> Result<u64, String> {
    Ok(height)
}

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let _ = chargehand::Worker::blocking(timer, 1, handle);
}

fn main() {}
