//! What a plan has happen to a pool when it is time: workers come and go, things break, queues stop, and the
//! manager ends early.

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use chargehand::testing::{WorkerHandle, World};

use super::maker::Maker;
use super::{CLOSING, check_stats, is_dialled, lateness};
use crate::jobs;
use crate::plan::{Ending, FaultKind, Plan};
use crate::stage::Shared;

/// Has workers join and leave the pool when it is time.
pub(super) fn come_and_go(
    world: &World,
    plan: &Plan,
    cast: &BTreeMap<usize, WorkerHandle>,
    stage: &Shared,
) {
    for (number, worker) in plan.workers() {
        let (handle, stage, worker) = (cast[&number].clone(), Rc::clone(stage), worker.clone());
        if !is_dialled(worker.kind) {
            continue;
        }
        world.spawn(async move {
            if let Some(joins) = worker.joins {
                stage.sleep_until(joins).await;
                let pool = stage.pool_after(0).await;
                let added = pool.add(handle.connector(), worker.wants.options()).await;
                stage.count(if added.is_ok() { "worker added" } else { "worker not added" });
                if let Ok(id) = added {
                    stage.members.borrow_mut().insert(number, (handle, Some(id)));
                }
            }
            if let Some(leaves) = worker.leaves {
                stage.sleep_until(leaves).await;
                let pool = stage.pool_after(0).await;
                let member = stage.members.borrow_mut().remove(&number);
                if let Some((_, Some(id))) = member {
                    let removed = pool.remove(id).await;
                    stage.count(if removed.is_ok() {
                        "worker removed"
                    } else {
                        "worker not removed"
                    });
                }
            }
        });
    }
}

/// Has the faults of a plan happen when it is time.
pub(super) fn break_things(
    world: &World,
    plan: &Plan,
    cast: &BTreeMap<usize, WorkerHandle>,
    stage: &Shared,
    maker: &Rc<Maker>,
) {
    for fault in plan.faults() {
        let (fault, stage, maker) = (fault.clone(), Rc::clone(stage), Rc::clone(maker));
        let worker = cast.get(&fault.worker).cloned();
        world.spawn(async move {
            stage.sleep_until(fault.at).await;
            let until = fault.at + fault.span;
            match fault.kind {
                FaultKind::LateManager => {
                    stage.count(name_of_fault(fault.kind));
                    return maker.gate.shut(until);
                }
                FaultKind::ClockJumps => {
                    stage.count(name_of_fault(fault.kind));
                    return stage.timer.advance(fault.span);
                }
                _ => {}
            }
            // It may have been left out.
            let Some(worker) = worker else { return };
            stage.count(name_of_fault(fault.kind));
            match fault.kind {
                FaultKind::LosesLink => worker.loses_link().now(),
                FaultKind::Garbles => worker.garbles().now(),
                FaultKind::Dies => {
                    worker.dies().now();
                    stage.sleep_until(until).await;
                    worker.revives().now();
                }
                FaultKind::Stops => {
                    worker.stops().now();
                    stage.sleep_until(until).await;
                    worker.revives().now();
                }
                FaultKind::HalfOpen => {
                    worker.loses_network().now();
                    stage.sleep_until(until).await;
                    worker.regains_network().now();
                }
                FaultKind::LateManager | FaultKind::ClockJumps => {}
            }
        });
    }
}

/// Stops queues for a while. Nothing of them is sent meanwhile.
pub(super) fn pause(world: &World, plan: &Plan, stage: &Shared) {
    for pause in plan.pauses() {
        let (pause, stage) = (pause.clone(), Rc::clone(stage));
        world.spawn(async move {
            stage.sleep_until(pause.at).await;
            let pool = stage.pool_after(0).await;
            let name = jobs::name_of_queue(pause.queue);
            let queue = pool.queue(&name).expect("it is one of the pool's");
            let sent = async || {
                let stats = pool.stats().await.ok()?;
                let queue = stats.queues.into_iter().find(|queue| *queue.name == *name);
                queue.map(|queue| (queue.stats.is_paused, queue.stats.sent))
            };
            if pool.pause(&queue).await.is_err() {
                return;
            }
            stage.count("queue paused");
            let before = sent().await;
            stage.sleep_until(pause.at + pause.span).await;
            if let (Some(before), Some(after)) = (before, sent().await) {
                if before != after {
                    stage.oracle().found(|| format!("{name} is paused: {after:?}, was {before:?}"));
                }
            }
            let _ = pool.resume(&queue).await;
        });
    }
}

/// Stops or kills the manager in the middle, where that is the plan.
pub(super) fn end_early(
    world: &World,
    plan: &Plan,
    stage: &Shared,
    maker: &Rc<Maker>,
) -> impl Future<Output = ()> + use<> {
    let (stage, maker, ending, late) =
        (Rc::clone(stage), Rc::clone(maker), plan.ending, lateness(plan));
    let listener = world.listener();
    world.spawn(async move {
        match ending {
            Ending::Idle => {}
            Ending::Drain { at, within } => {
                stage.sleep_until(at).await;
                stage.count("pool stopped in the middle");
                stage.oracle().is_ending = true;
                let (pool, begun) = (stage.pool_after(0).await, stage.now());
                let stats = pool.stop_within(within).await.expect("the driver lives until then");
                check_stats(&stage, &stats);
                let took = stage.now().checked_sub(begun).unwrap();
                if took > within + CLOSING + late {
                    stage.oracle().found(|| format!("it took {took:?} to stop within {within:?}"));
                }
            }
            Ending::Restart { at, away } => {
                stage.sleep_until(at).await;
                stage.count("manager killed and started again");
                {
                    let mut oracle = stage.oracle();
                    oracle.is_ending = true;
                    oracle.begin_epoch();
                }
                stage.pool.borrow_mut().take();
                maker.gate.kill();
                stage.timer.sleep(away).await;
                let mut driving = None;
                maker.begin(listener, |driver| driving = Some(driver));
                driving.expect("it has begun").await;
            }
        }
    })
}

const fn name_of_fault(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::LosesLink => "link lost",
        FaultKind::Dies => "worker killed",
        FaultKind::HalfOpen => "network away",
        FaultKind::Garbles => "message garbled",
        FaultKind::Stops => "worker stopped politely",
        FaultKind::LateManager => "manager polled late",
        FaultKind::ClockJumps => "clock jumps",
    }
}
