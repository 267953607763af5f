//! Why a pool does what it does, asked of the pool, of a task, and of a height.

use std::time::Duration;

use chargehand::core::{Idles, Waits};
use chargehand::explain::{Explanation, Find, Lacks, Rule, Stream, TaskNow};
use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, QueueOptions, Rate, TaskOptions};
use futures_util::FutureExt;

const SECOND: Duration = Duration::from_secs(1);
const NORMAL: QueueOptions = QueueOptions::new();

fn explain(world: &World, pool: &Pool) -> Explanation {
    world.run(pool.explain()).unwrap()
}

fn in_queue(pool: &Pool, name: &str) -> Pool {
    pool.with(TaskOptions::new().queue(pool.queue(name).unwrap()))
}

#[test]
fn a_pool_without_tasks_and_one_without_workers_say_so() {
    let world = World::new(1);
    let pool = world.pool(|builder| builder);
    let text = explain(&world, &pool).to_string();
    assert!(text.contains("nothing is to be done"), "{text}");
    let mut task = world.run(pool.submit::<u64, u64>(&1)).unwrap();
    let explanation = explain(&world, &pool);
    let nearest = explanation.nearest().unwrap();
    assert_eq!((nearest.why, nearest.count, &*nearest.queue), (Waits::NoWorker, 1, "default"));
    let text = explanation.to_string();
    assert!(text.contains("start one that dials in"), "it says what would change it: {text}");
    let told = world.run(task.explain()).unwrap();
    assert!(matches!(told.now, TaskNow::Waits { why: Waits::NoWorker, .. }), "{told:?}");
}

#[test]
fn tasks_are_grouped_by_queue_and_reason_and_those_nearest_to_being_sent_come_first() {
    let world = World::new(1);
    world.worker(Script::new().concurrency(8).takes(60 * SECOND));
    let pool = world.pool(|builder| {
        builder
            .queue("slow", NORMAL.rate(Rate::per_second(1)))
            .queue("still", NORMAL.paused())
            .queue("narrow", NORMAL.in_flight_max(1))
    });
    for (name, count) in [("slow", 3), ("still", 4), ("narrow", 2)] {
        for number in 0..count {
            let queue = in_queue(&pool, name);
            world.run(queue.submit::<u64, u64>(&number)).unwrap().detach();
        }
    }
    world.advance(SECOND / 2);
    let explanation = explain(&world, &pool);
    assert_eq!(explanation.in_flight, 2);
    let told: Vec<_> =
        explanation.waiting.iter().map(|it| (&*it.queue, it.why.name(), it.count)).collect();
    assert_eq!(
        told,
        [("slow", "queue_rate", 2), ("narrow", "queue_in_flight", 1), ("still", "paused", 4)]
    );
    let left = explanation.waiting[0].left.unwrap();
    assert!(left <= SECOND && left > Duration::ZERO, "{left:?}");
    let worker = &explanation.workers[0];
    assert_eq!(worker.why, Idles::Room);
    let text = worker.why(explanation.nearest());
    assert!(text.contains("waits for its queue's rate"), "{text}");
}

#[test]
fn a_worker_says_why_it_gets_nothing_and_a_height_where_it_is() {
    let world = World::new(1);
    world.worker(Script::new().concurrency(1).takes(60 * SECOND));
    let pool = world.pool(|builder| builder);
    let mut heights = world.run(async { pool.process::<u64>(1..=1000) });
    assert!(world.run(async { heights.next().now_or_never() }).is_none());
    world.advance(SECOND);
    let explanation = explain(&world, &pool);
    assert_eq!(explanation.workers[0].why, Idles::Full);
    assert!(explanation.workers[0].why(None).contains("1 of 1"));
    assert_eq!(explanation.nearest().map(|it| it.why), Some(Waits::NoRoom));
    let rest = &explanation.outside[0];
    assert_eq!((rest.of, rest.why), (Stream::Range(1, 1000), Lacks::Nothing));
    let ask = |height| {
        let found = world.run(pool.explain_task(Find::Height(height))).unwrap();
        (found.len(), found.into_iter().next())
    };
    let (count, first) = ask(1);
    let first = first.unwrap();
    assert_eq!(count, 1);
    let TaskNow::With { by, is_away, .. } = &first.now else { panic!("{first:?}") };
    assert_eq!((*by, *is_away), (Rule::LeastLoaded, false));
    assert!(first.to_string().contains("held the fewest"), "{first}");
    let (_, second) = ask(2);
    assert!(matches!(second.unwrap().now, TaskNow::Waits { why: Waits::NoRoom, .. }));
    let (_, last) = ask(1000);
    assert!(matches!(last.unwrap().now, TaskNow::Outside(Lacks::Nothing)));
    assert_eq!(ask(1001).0, 0, "no range has it");
}

#[test]
fn what_waits_for_a_key_names_the_task_that_has_it() {
    let world = World::new(1);
    world.worker(Script::new().concurrency(4).takes(60 * SECOND));
    let pool = world.pool(|builder| builder);
    let keyed = pool.with(TaskOptions::new().key("account 7"));
    let mut tasks = [1, 2].map(|number: u64| world.run(keyed.submit::<u64, _>(&number)).unwrap());
    world.advance(SECOND);
    let first = world.run(tasks[0].explain()).unwrap();
    let second = world.run(tasks[1].explain()).unwrap();
    let TaskNow::Waits { why: Waits::Key, keeper, .. } = second.now else { panic!("{second:?}") };
    assert_eq!(keeper, Some(first.name));
}

#[test]
fn submitted_tasks_that_the_pool_has_no_room_for_say_so() {
    let world = World::new(1);
    let pool = world.pool(|builder| builder.tasks_max(2).queue_max(8));
    let mut tasks: Vec<_> =
        (0..5_u64).map(|number| world.run(pool.submit::<u64, _>(&number)).unwrap()).collect();
    let explanation = explain(&world, &pool);
    let outside = &explanation.outside[0];
    assert_eq!((outside.of, outside.count), (Stream::Calls, Some(3)));
    assert_eq!(outside.why, Lacks::Room);
    assert!(outside.remedy().contains("tasks_max"));
    let last = world.run(tasks[4].explain()).unwrap();
    assert!(matches!(last.now, TaskNow::Outside(Lacks::Room)), "{last:?}");
}

#[test]
fn a_range_whose_outcomes_nobody_takes_says_so() {
    let world = World::new(1);
    world.worker(Script::new().concurrency(4));
    let pool = world.pool(|builder| builder);
    let mut heights = pool.process::<u64>(1..=1000).ahead(16);
    assert!(world.run(async { heights.next().now_or_never() }).is_none());
    world.advance(SECOND);
    let explanation = explain(&world, &pool);
    let rest = explanation.outside.first().expect("some are left");
    assert_eq!(rest.why, Lacks::Taking, "{explanation}");
}

/// Whatever waits has a reason, and no reason is that it is next: there is nothing left to do when it is said.
#[test]
fn at_any_moment_all_that_waits_has_a_reason() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..=20 {
        let world = World::new(seed);
        for number in 0..3 {
            let script = Script::new().concurrency(2).takes(SECOND * (number + 1));
            world.worker(if number == 0 {
                script.percent(50, Act::Fail("no".into()))
            } else {
                script
            });
        }
        let pool = world.pool(|builder| {
            builder
                .configure(|config| config.retries_max = 1)
                .queue("slow", NORMAL.rate(Rate::per_second(2)))
                .queue("narrow", NORMAL.in_flight_max(1))
        });
        let queues = ["default", "slow", "narrow"].into_iter().cycle();
        for (number, queue) in (0..40_u64).zip(queues) {
            world.run(in_queue(&pool, queue).submit::<u64, _>(&number)).unwrap().detach();
        }
        for _ in 0..60 {
            world.advance(SECOND / 4);
            let explanation = explain(&world, &pool);
            let stats = world.run(pool.stats()).unwrap().tasks;
            let told: u32 = explanation.waiting.iter().map(|it| it.count).sum();
            assert_eq!(told, stats.waiting + stats.resting, "{explanation}");
            for waiting in &explanation.waiting {
                assert!(!matches!(waiting.why, Waits::Turn | Waits::Stopping), "{explanation}");
                seen.insert(waiting.why.name());
            }
        }
    }
    for name in ["no_room", "queue_rate", "queue_in_flight", "rests"] {
        assert!(seen.contains(name), "never came by {name}: {seen:?}");
    }
}
