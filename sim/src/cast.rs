//! The workers of a run.

use std::cell::Cell;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use chargehand::testing::{Act, ManualTimer, Request, Script, WorkerHandle, World};
use chargehand::{Context, Failure, Throttled, Worker};
use futures_util::future::{Either, select};

use crate::oracle::id_of;
use crate::plan::{ActKind, FRAME, Plan, THROTTLE, WorkerKind, WorkerPlan};
use crate::stage::{Shared, locked};

/// How long a worker is away that a request took down.
const DOWN: Duration = Duration::from_millis(100);
/// What is no answer of the type asked for.
const NO_REPLY: [u8; 3] = [0xff; 3];

/// Makes all workers of a plan, each with the number of its part.
pub(crate) fn make(world: &World, plan: &Plan, stage: &Shared) -> Vec<(usize, WorkerHandle)> {
    world.latency(plan.lines.latency / 10..=plan.lines.latency);
    world.throttle(plan.lines.bytes_per_second);
    if let Some(capacity) = plan.lines.capacity {
        world.wire_capacity(capacity);
    }
    let mut rival = None;
    let mut cast = Vec::new();
    for (number, worker) in plan.workers() {
        world.proven(worker.is_proven);
        let name = format!("w{number}");
        let handle = match worker.kind {
            WorkerKind::Real => host(world, number, worker, stage, plan.pool.frames.is_some()),
            kind => {
                let mut script = script(number, worker, stage).name(name.clone());
                match kind {
                    WorkerKind::DialsIn | WorkerKind::Clashes => script = script.dials_in(),
                    WorkerKind::Boasts => script = script.offers(u16::MAX),
                    WorkerKind::Scripted | WorkerKind::Real => {}
                }
                if let (WorkerKind::Clashes, Some(rival)) = (kind, &rival) {
                    script = script.calls_itself(rival);
                    stage.count("worker with the name of another");
                } else if matches!(kind, WorkerKind::DialsIn | WorkerKind::Clashes) {
                    rival = Some(name);
                }
                world.worker(script)
            }
        };
        cast.push((number, handle));
    }
    cast
}

/// Makes a worker that plays a script.
fn script(number: usize, plan: &WorkerPlan, stage: &Shared) -> Script {
    let name = format!("w{number}");
    let mut script = Script::new()
        .concurrency(plan.concurrency)
        .takes(Duration::ZERO..=plan.takes)
        .replies(reply(&name, stage))
        .on_begin(begins(&name, stage))
        .when(is_poison(stage), Act::Restart(DOWN));
    for &(kind, chance) in &plan.acts {
        let stage = Rc::clone(stage);
        let fits = move |request: &Request<'_>| {
            let does = stage.does(number, kind, chance, request.number);
            if does {
                stage.count(name_of(kind));
            }
            does
        };
        script = script.when(fits, act_of(kind));
    }
    script
}

fn reply(name: &str, stage: &Shared) -> impl Fn(&Request<'_>) -> crate::oracle::Reply + use<> {
    let (name, stage) = (name.to_owned(), Rc::clone(stage));
    move |request| {
        let id = id_of(request.body).unwrap_or(u64::MAX);
        let place = stage.oracle().place_of(&name, id, (request.task, request.attempt));
        stage.answer(id, place.map_or(crate::oracle::UNSEEN, |at| at as u64))
    }
}

fn begins(name: &str, stage: &Shared) -> impl Fn(&Request<'_>) + use<> {
    let (name, stage) = (name.to_owned(), Rc::clone(stage));
    move |request| {
        let id = id_of(request.body).unwrap_or(u64::MAX);
        stage.oracle().on_begin(&name, id, (request.task, request.attempt));
    }
}

fn is_poison(stage: &Shared) -> impl Fn(&Request<'_>) -> bool + use<> {
    let stage = Rc::clone(stage);
    move |request| {
        let is_poison = id_of(request.body).is_some_and(|id| stage.is_poison(id));
        if is_poison {
            stage.count("asked what takes it down");
        }
        is_poison
    }
}

fn act_of(kind: ActKind) -> Act {
    match kind {
        ActKind::Fail => Act::Fail("no".to_owned()),
        ActKind::Hang => Act::Hang,
        ActKind::Late => Act::Late(Duration::from_millis(300)),
        ActKind::Twice => Act::Twice,
        ActKind::Unusable => Act::Bytes(NO_REPLY.to_vec()),
        ActKind::Lie => Act::Lie,
        ActKind::Steal => Act::Steal,
        ActKind::Garbage => Act::Garbage,
        ActKind::Close => Act::Close,
        ActKind::Crash => Act::Restart(Duration::from_millis(200)),
        ActKind::Throttled => Act::Advise(Throttled::after(THROTTLE).into()),
        ActKind::KeyThrottled => Act::Advise(Throttled::after(THROTTLE).for_key().into()),
        ActKind::Pretend => Act::Pretend(Duration::from_millis(40)),
        ActKind::Flood => Act::Flood(4000),
        // Only this library's own do.
        ActKind::Progress => Act::Answer,
    }
}

pub(crate) const fn name_of(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Fail => "handler fails",
        ActKind::Hang => "handler hangs",
        ActKind::Late => "late answer",
        ActKind::Twice => "answer twice",
        ActKind::Unusable => "answer of another type",
        ActKind::Lie => "answer to a task never asked",
        ActKind::Steal => "answer to another worker's task",
        ActKind::Garbage => "frame that is no message",
        ActKind::Close => "link closed instead of an answer",
        ActKind::Crash => "crash instead of an answer",
        ActKind::Throttled => "a worker cannot now",
        ActKind::KeyThrottled => "a worker says that a key cannot now",
        ActKind::Pretend => "progress and no answer",
        ActKind::Flood => "a flood of progress",
        ActKind::Progress => "handler says how far it is",
    }
}

/// Makes one of this library's own workers.
fn host(
    world: &World,
    number: usize,
    plan: &WorkerPlan,
    stage: &Shared,
    is_short: bool,
) -> WorkerHandle {
    let (name, plan, stage) = (format!("w{number}"), plan.clone(), Rc::clone(stage));
    let itself: Rc<RefCell<Option<WorkerHandle>>> = Rc::default();
    let (mine, requests) = (Rc::clone(&itself), Rc::new(Cell::new(0)));
    let its_name = name.clone();
    let handle = world.host(&name, move || {
        let (stage, plan, mine) = (Rc::clone(&stage), plan.clone(), Rc::clone(&mine));
        let (name, timer) = (its_name.clone(), stage.timer.clone());
        let (concurrency, grace, wants) = (plan.concurrency, plan.grace, plan.wants.clone());
        let requests = Rc::clone(&requests);
        let handler = move |cx: Context, body: Vec<u8>| {
            requests.set(requests.get() + 1);
            let count = requests.get();
            let (asked, says) = ((cx.attempt(), count), Rc::clone(&stage));
            let chance = plan.acts.iter().find(|(kind, _)| *kind == ActKind::Progress);
            let chance = chance.map_or(0, |&(_, chance)| chance);
            let tells = says.does(number, ActKind::Progress, chance, count);
            let work = handle_request(
                (Rc::clone(&stage), plan.clone(), number),
                &name,
                &mine,
                asked,
                &body,
            );
            async move {
                if !tells {
                    return work.await;
                }
                says.count(name_of(ActKind::Progress));
                let telling = tell_progress(cx, says.timer.clone());
                match select(Box::pin(work), Box::pin(telling)).await {
                    Either::Left((result, _)) => result,
                    Either::Right((never, _)) => match never {},
                }
            }
        };
        let worker = Worker::raw(timer, handler).concurrency(concurrency);
        let worker = worker.progress_interval(Duration::from_millis(100)).grace(grace);
        let worker = wants.say(worker);
        if is_short { worker.frame_bytes_max(FRAME).memory_max(6 * FRAME) } else { worker }
    });
    *itself.borrow_mut() = Some(handle.clone());
    handle
}

/// Says again and again how far it is, whatever the handler does beside that.
async fn tell_progress(cx: Context, timer: ManualTimer) -> Infallible {
    for done in 1.. {
        cx.progress(done, 0);
        timer.sleep(Duration::from_millis(15)).await;
    }
    unreachable!("it takes longer than any run")
}

/// Does what one of this library's own workers does with a request.
fn handle_request(
    (stage, plan, number): (Shared, WorkerPlan, usize),
    name: &str,
    itself: &Rc<RefCell<Option<WorkerHandle>>>,
    (attempt, count): (u16, u64),
    body: &[u8],
) -> impl Future<Output = Result<Vec<u8>, Failure>> + use<> {
    let id = id_of(body).unwrap_or(u64::MAX);
    let serial = locked(&stage.oracle).on_begin(name, id, (None, attempt));
    let is_ending = |kind| kind != ActKind::Progress;
    let mut acts = plan.acts.iter().filter(|(kind, _)| is_ending(*kind));
    let act = acts.find(|(kind, chance)| stage.does(number, *kind, *chance, count));
    let act = act.map(|(kind, _)| *kind);
    let itself = itself.borrow().clone();
    let pause = Duration::from_millis(crate::dice::mixed(id ^ count) % 61).min(plan.takes);
    async move {
        if let Some(itself) = itself.filter(|_| stage.is_poison(id)) {
            stage.count("asked what takes it down");
            itself.dies().now();
            stage.fallen.borrow_mut().push(itself);
            std::future::pending::<()>().await;
        }
        if !pause.is_zero() {
            stage.timer.sleep(pause).await;
        }
        match act {
            Some(ActKind::Fail) => {
                stage.count(name_of(ActKind::Fail));
                return Err(Failure::new("no"));
            }
            Some(ActKind::Throttled) => {
                stage.count(name_of(ActKind::Throttled));
                return Err(Throttled::after(THROTTLE).into());
            }
            Some(ActKind::KeyThrottled) => {
                stage.count(name_of(ActKind::KeyThrottled));
                return Err(Throttled::after(THROTTLE).for_key().into());
            }
            Some(ActKind::Hang) => {
                stage.count(name_of(ActKind::Hang));
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        Ok(postcard::to_stdvec(&stage.answer(id, serial)).expect("it can be encoded"))
    }
}

/// Has those live again that a request took down and, once the faults are over, whoever is gone: one that
/// was asked to stop may end only then.
pub(crate) async fn revive(stage: Shared, cast: Vec<WorkerHandle>) {
    loop {
        stage.timer.sleep(DOWN).await;
        for fallen in stage.fallen.take() {
            fallen.revives().now();
        }
        if !stage.is_faulty() {
            cast.iter()
                .filter(|worker| !worker.is_alive())
                .for_each(|worker| worker.revives().now());
        }
    }
}
