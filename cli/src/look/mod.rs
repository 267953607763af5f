//! Sub-commands that ask a pool that runs, or have it do something, over its status page.

mod endpoint;
mod figures;
mod text;

use std::process::ExitCode;

use serde_json::json;

pub(crate) use self::endpoint::{Client, Endpoint, encoded};
pub(crate) use self::figures::{
    Event, Explained, Failed, History, Latency, Overview, Page, Queue, Range, Worker,
};
pub(crate) use self::text::{bytes, ended, micros, millis, open, time_of_day, workers_by_state};
use crate::args::{ActArgs, ExplainArgs, Format, LookArgs, QueueCommand, Sort, WorkersArgs};
use crate::failure::{Failure, print};
use crate::run::token;

/// How many workers the endpoint gives at once.
pub(crate) const WORKERS_AT_ONCE: u64 = 200;
/// The exit code of `status` where the pool is stuck or has ended.
const NOT_RUNNING: u8 = 1;

/// Says how a pool stands, and returns the exit code.
pub(crate) fn status(args: &LookArgs) -> ExitCode {
    let client = Client::new(&args.url);
    let looked = client.get("api/overview").and_then(|text| Ok((client.parse(&text)?, text)));
    let (overview, json): (Overview, String) = match looked {
        Ok(looked) => looked,
        Err(failure) => return failure.report(),
    };
    let text = match args.output {
        Format::Json => json.trim_end().to_owned() + "\n",
        Format::Human => text::overview(&overview),
    };
    let printed = print(&text);
    let is_up = matches!(&*overview.life, "running" | "starting");
    if printed == ExitCode::SUCCESS && !is_up { ExitCode::from(NOT_RUNNING) } else { printed }
}

/// Lists the workers of a pool, and returns the exit code.
pub(crate) fn workers(args: &WorkersArgs) -> ExitCode {
    let listed = all_workers(args).map(|page| match args.look.output {
        Format::Json => {
            let (total, matched) = (page.total, page.matched);
            let shown = json!({ "v": 1, "total": total, "matched": matched, "rows": page.rows });
            format!("{shown}\n")
        }
        Format::Human => text::workers(&page),
    });
    listed.map_or_else(|failure| failure.report(), |text| print(&text))
}

fn all_workers(args: &WorkersArgs) -> Result<Page, Failure> {
    let client = Client::new(&args.look.url);
    // The endpoint's list is of when it last asked its pool: so have it ask now.
    client.get("api/overview")?;
    let mut all = Page::default();
    loop {
        let offset = all.rows.len() as u64;
        let query = workers_query(args.sort, args.desc, offset);
        let more = format!("{query}&state={}&find={}", encoded(&args.only), encoded(&args.find));
        let page: Page = client.read_json(&more)?;
        let is_last = page.rows.is_empty() || offset + page.rows.len() as u64 >= page.matched;
        all.rows.extend(page.rows);
        if is_last {
            let (total, matched) = (page.total, page.matched);
            return Ok(Page { total, matched, ..all });
        }
    }
}

/// Says why tasks wait and workers get none, and returns the exit code.
pub(crate) fn explain(args: &ExplainArgs) -> ExitCode {
    let client = Client::new(&args.look.url);
    let (task, queue, worker) = (&args.task, &args.queue, &args.worker);
    let [asks_task, asks_worker] = [task, worker].map(|text| encoded(text));
    let path =
        format!("api/explain?task={asks_task}&queue={}&worker={asks_worker}", encoded(queue));
    let told = client.get(&path).and_then(|text| {
        let explained: Explained = client.parse(&text)?;
        let at = &args.look.url;
        if !task.is_empty() && explained.tasks.is_empty() {
            return Err(Failure::input(format!("{at}: it has no task {task} now")));
        }
        if !worker.is_empty() && explained.workers.is_empty() {
            return Err(Failure::input(format!("{at}: it has no worker {worker} now")));
        }
        Ok(match args.look.output {
            Format::Json => text.trim_end().to_owned() + "\n",
            Format::Human => text::explained(&explained, args),
        })
    });
    told.map_or_else(|failure| failure.report(), |text| print(&text))
}

/// Returns the path of a part of the workers.
pub(crate) fn workers_query(sort: Sort, desc: bool, offset: u64) -> String {
    let sort = sort.name();
    format!("api/workers?sort={sort}&desc={desc}&offset={offset}&limit={WORKERS_AT_ONCE}")
}

/// Pauses a queue or lets it go on, and returns the exit code.
pub(crate) fn queue(command: &QueueCommand) -> ExitCode {
    let (args, what) = match command {
        QueueCommand::Pause(args) => (args, "pause"),
        QueueCommand::Resume(args) => (args, "resume"),
    };
    let path = format!("api/queues/{}/{what}", encoded(&args.name));
    act(&args.act, &path, what, Some(&args.name))
}

/// Has a pool drain, and returns the exit code.
pub(crate) fn drain(args: &ActArgs) -> ExitCode {
    act(args, "api/drain", "drain", None)
}

fn act(args: &ActArgs, path: &str, what: &str, queue: Option<&str>) -> ExitCode {
    let token = args.token_file.as_deref().map(token).transpose();
    let done = token.and_then(|token| Client::new(&args.url).post(path, token.as_deref()));
    let text = done.map(|said| match args.output {
        Format::Json => {
            let said = said.trim();
            let shown = match queue {
                Some(queue) => json!({ "v": 1, "done": what, "queue": queue, "said": said }),
                None => json!({ "v": 1, "done": what, "said": said }),
            };
            format!("{shown}\n")
        }
        Format::Human => {
            let said = crate::console::printable(said.trim());
            queue.map_or_else(|| format!("{said}\n"), |queue| format!("{queue}: {said}\n"))
        }
    });
    text.map_or_else(|failure| failure.report(), |text| print(&text))
}
