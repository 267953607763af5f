//! A test in a world of `testing`, of what a record tells.

use std::fmt::{self, Write};
use std::format;
use std::string::String;
use std::vec::Vec;

use chargehand_core::{Lane, Route, Useless, Verdict};

use super::told::{End, Member, Sample, Told, nanos};
use super::{Figures, Recording};

/// So many arrivals are told apart; beyond that they are taken together.
const ARRIVALS_MAX: usize = 200;

impl Recording {
    /// Returns the source of a test named `name`, in a [`World`](crate::testing) with the record's workers, tasks and
    /// policies: each worker takes from its shortest time to its longest, fails and hangs as often as it did, and loses
    /// its links when it did. Begin with that where something went wrong: it is the story and not the same run, which
    /// [`Replay`](super::super::Replay) is. It needs the features `testing` and the crate `serde_json`.
    pub fn test_source(&self, name: &str) -> String {
        let mut source = String::new();
        // Nothing fails that writes into a string.
        let _ = self.write_test(&mut source, name);
        source
    }

    fn write_test(&self, out: &mut String, name: &str) -> fmt::Result {
        let Figures { tasks, done, failed, other, .. } = self.observed();
        writeln!(
            out,
            "//! Made by `chargehand replay FILE --test {name}`. Then {done} of {tasks} tasks were done,"
        )?;
        writeln!(out, "//! {failed} failed, and {other} ended otherwise or not at all.")?;
        out.push_str(HEAD);
        let config = serde_json::to_string(&self.setup.config).unwrap_or_default();
        writeln!(out, "/// The policies of the pool.\nconst CONFIG: &str = r#\"{config}\"#;\n")?;
        write_arrivals(out, &self.told)?;
        writeln!(out, "#[test]\nfn {name}() {{\n    let world = World::new(1);")?;
        let begin = self.told.tasks.first().map(|task| task.at).unwrap_or_default();
        for (index, member) in self.told.workers.iter().enumerate() {
            write_worker(out, index, member)?;
            for visit in &member.visits {
                let Some(to) = visit.to else { continue };
                let at = nanos(to.saturating_since(begin));
                // One that never came back is gone.
                let is_last = member.visits.last().is_some_and(|last| last.from == visit.from);
                let what = if is_last { "dies" } else { "loses_link" };
                writeln!(out, "    world.at(nanos({at}), w{index}.{what}());")?;
            }
        }
        write_pool(out, self)?;
        out.push_str(TAIL);
        Ok(())
    }
}

const HEAD: &str = "#![allow(clippy::unreadable_literal, reason = \"they are a machine's\")]

use std::time::Duration;

use chargehand::core::Config;
use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, Task};

const fn nanos(count: u64) -> Duration {
    Duration::from_nanos(count)
}

";

fn write_worker(out: &mut String, index: usize, member: &Member) -> fmt::Result {
    let offer = member.visits.first().map(|visit| visit.offer);
    let runs = offer.map_or(1, |offer| offer.runs.clamp(1, u16::MAX.into()));
    let took = || member.samples.iter().filter(|it| !matches!(it.end, End::Never));
    let span = |it: Option<&Sample>| it.map_or(0, |it| nanos(it.took));
    let (least, most) =
        (span(took().min_by_key(|it| it.took)), span(took().max_by_key(|it| it.took)));
    let of = |is: fn(&Sample) -> bool| {
        let count = member.samples.iter().filter(|it| is(it)).count();
        (100 * count).checked_div(member.samples.len()).unwrap_or(0)
    };
    let fails = of(|it| {
        matches!(
            it.end,
            End::Replied(Verdict::Failed)
                | End::Useless(Useless::Permanent | Useless::RetryAfter(_) | Useless::Final)
        )
    });
    let hangs = of(|it| matches!(it.end, End::Never));
    // It has a name where something happens to it.
    let is_named = member.visits.iter().any(|visit| visit.to.is_some());
    let binding = if is_named { format!("let w{index} = ") } else { String::new() };
    writeln!(out, "    {binding}world.worker(\n        Script::new()")?;
    writeln!(out, "            .name(\"w{index}\")\n            .concurrency({runs})")?;
    write!(out, "            .takes(nanos({least})..=nanos({most}))")?;
    if fails > 0 {
        write!(out, "\n            .percent({fails}, Act::Fail(\"as recorded\".to_owned()))")?;
    }
    if hangs > 0 {
        write!(out, "\n            .percent({hangs}, Act::Hang)")?;
    }
    if member.route == Route::Await {
        write!(out, "\n            .dials_in()")?;
    }
    writeln!(out, ",\n    );")
}

fn write_pool(out: &mut String, recording: &Recording) -> fmt::Result {
    let setup = &recording.setup;
    writeln!(out, "    let pool: Pool = world.pool(|builder| {{")?;
    writeln!(
        out,
        "        let config = serde_json::from_str::<Config>(CONFIG).expect(\"as recorded\");"
    )?;
    writeln!(
        out,
        "        let builder = builder.tasks_max({}).workers_max({});",
        setup.slots.saturating_sub(setup.config.hedges_max),
        setup.workers_max
    )?;
    writeln!(out, "        builder.configure(|policies| *policies = config)\n    }});")
}

/// Writes how many tasks there are, and when those that are single came.
fn write_arrivals(out: &mut String, told: &Told) -> fmt::Result {
    let is_bulk = |options: Option<chargehand_core::TaskOptions>| {
        options.is_some_and(|options| options.lane == Lane::Bulk)
    };
    let singles: Vec<_> = told.tasks.iter().filter(|task| !is_bulk(task.options)).collect();
    let bulk = told.tasks.len() - singles.len();
    writeln!(out, "const SINGLES: u64 = {};\nconst BULK: u64 = {bulk};", singles.len())?;
    let begin = told.tasks.first().map(|task| task.at).unwrap_or_default();
    let each = singles.len().div_ceil(ARRIVALS_MAX).max(1);
    let mut arrivals: Vec<(u64, u64)> = Vec::new();
    for some in singles.chunks(each) {
        let at = nanos(some[0].at.saturating_since(begin));
        match arrivals.last_mut() {
            Some(last) if last.0 == at => last.1 += some.len() as u64,
            _ => arrivals.push((at, some.len() as u64)),
        }
    }
    let arrivals: Vec<String> =
        arrivals.iter().map(|(at, count)| format!("({at}, {count})")).collect();
    writeln!(out, "/// When single tasks came, in nanoseconds, and how many.")?;
    writeln!(out, "const ARRIVALS: &[(u64, u64)] = &[{}];\n", arrivals.join(", "))
}

const TAIL: &str = "    let of_range = pool.clone();
    let bulk = world.spawn(async move { of_range.map::<u64, _>(0..BULK).each(|_, _| ()).await });
    let mut calls: Vec<Task<u64>> = Vec::new();
    for &(at, count) in ARRIVALS {
        world.advance(nanos(at).saturating_sub(world.elapsed()));
        for number in 0..count {
            calls.push(world.run(pool.submit::<u64, _>(&number)).expect(\"it is queued\"));
        }
    }
    let singles: Vec<_> = calls.into_iter().map(|call| world.run(call)).collect();
    let bulk = world.run(bulk);
    let ended = singles.len() as u64 + bulk.done + bulk.failed;
    assert_eq!(ended, SINGLES + BULK, \"each task has one outcome\");
}
";
