//! The page, the figures and the probes of a run.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use chargehand::Pool;
use chargehand_status::{ServeError, Status};
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::args::RunArgs;
use crate::console::Console;
use crate::failure::Failure;

/// What the page is headed with.
const NAME: &str = "chargehand run";

/// Serves until it is dropped.
#[derive(Debug)]
pub(super) struct Page(JoinHandle<Result<(), ServeError>>);

impl Drop for Page {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves what the arguments ask for, from before the first task is begun.
pub(super) async fn serve(
    args: &RunArgs,
    pool: &Pool,
    console: &Console,
    numbers: Vec<RangeInclusive<u64>>,
) -> Result<Option<Page>, Failure> {
    let Some(address) = &args.page.status else { return Ok(None) };
    let cannot = |why: String| Failure::input(format!("--status {address}: {why}"));
    let mut status = Status::new(pool).name(NAME).numbers(numbers);
    if let Some(path) = &args.page.status_token {
        status = status.actions(token(path)?);
    }
    if args.links.insecure {
        status = status.insecure();
    }
    let listener = TcpListener::bind(address).await.map_err(|error| cannot(error.to_string()))?;
    let at = listener.local_addr().map_err(Failure::run)?;
    let mut serving = Box::pin(status.serve_on(listener));
    // It fails at once where it may not serve there.
    if let Some(Err(error)) = (&mut serving).now_or_never() {
        return Err(match error {
            ServeError::Exposed => cannot(
                "whoever reaches this address would see the run: bind 127.0.0.1 and come by `ssh -L`, or give \
                 --insecure where the network itself is trusted"
                    .to_owned(),
            ),
            error => cannot(error.to_string()),
        });
    }
    let page = Page(tokio::spawn(serving));
    console.say(&format!("status at http://{at}/"));
    Ok(Some(page))
}

/// Reads the token that lets in whoever has it.
pub(crate) fn token(path: &Path) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::input(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let token = text.trim();
    let is_token = token.len() >= 16 && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token {
        return Err(wrong(
            "a token is 16 characters or more of printable ASCII, drawn at random: `openssl rand -hex 16`",
        ));
    }
    Ok(token.to_owned())
}
