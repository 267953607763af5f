//! A pool that runs, live in the terminal.

mod draw;
mod feed;
mod tables;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use self::feed::{Feed, look};
use self::view::View;
use crate::args::TopArgs;
use crate::failure::Failure;
use crate::look::{Client, History};

/// So soon a key that was not pressed is not waited for: a signal or new figures may be there.
const GLANCE: Duration = Duration::from_millis(100);
/// How long it may take to end once it is told to.
const TO_END: Duration = Duration::from_secs(2);

/// Shows it until somebody ends it, and returns the exit code.
pub(crate) fn run(args: &TopArgs) -> ExitCode {
    show(args).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn show(args: &TopArgs) -> Result<(), Failure> {
    let client = Client::new(&args.url);
    let mut view = View::new(&args.url.to_string());
    let history: History = client.read_json("api/history")?;
    view.take(look(&client, view.wanted())?);
    view.remember(&history);
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::unheard(
            "it is shown in a terminal, and here is none: `chargehand status` says it once",
        ));
    }
    let (_runtime, is_told) = signals().map_err(Failure::run)?;
    let feed = Feed::start(client, view.wanted());
    let mut screen = Screen::open().map_err(lost)?;
    while !is_told.load(Ordering::Relaxed) {
        if let Some(news) = feed.take() {
            match news {
                Ok(look) => view.take(look),
                Err(why) => view.miss(&why),
            }
        }
        screen.0.draw(|frame| draw::draw(frame, &mut view)).map_err(lost)?;
        if event::poll(GLANCE).map_err(lost)? {
            if let Event::Key(key) = event::read().map_err(lost)? {
                if key.kind != KeyEventKind::Release && view.press(key) {
                    break;
                }
                feed.want(view.wanted());
            }
        }
    }
    Ok(())
}

/// The terminal, which is as it was again once this is dropped; and at a panic before that is said.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may be that there is no terminal any more.
        let _ = ratatui::try_restore();
    }
}

/// Notes signals that end it. They do as long as the runtime is there.
fn signals() -> io::Result<(Runtime, Arc<AtomicBool>)> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let is_told = Arc::new(AtomicBool::new(false));
    let guard = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let (mut signal, is_told) = (signal(kind)?, Arc::clone(&is_told));
        runtime.spawn(async move {
            signal.recv().await;
            is_told.store(true, Ordering::Relaxed);
            // Reading keys of a terminal that is gone never comes back, and takes a CPU.
            tokio::time::sleep(TO_END).await;
            let _ = ratatui::try_restore();
            process::exit(0);
        });
    }
    drop(guard);
    Ok((runtime, is_told))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped by")]
fn lost(error: io::Error) -> Failure {
    Failure::unheard(format!("the terminal cannot be used any more: {error}"))
}
