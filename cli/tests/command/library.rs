//! The command and programs of the library's users, at either end: a task is a string.

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool, TaskError, Worker};
use tokio::runtime::Builder;

use super::support::{Folder, all_done, listening_worker, results, run, run_of};

#[test]
fn a_worker_of_strings_serves_a_run() {
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (listener, at) = runtime.block_on(async {
        let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("an address");
        (listener, at)
    });
    let worker = Worker::new(Tokio::new(), |task: String| async move {
        Ok::<_, Failure>(format!("{task} of Rust"))
    });
    runtime.spawn(worker.serve(TcpListener::new(listener)));
    let folder = Folder::new("of-rust");
    let ended = run(&mut run_of(&folder, "a\nb\n", &["--worker", &format!("tcp://{at}")]));
    assert_eq!(results(&all_done(&ended, 2)), ["a of Rust", "b of Rust"]);
}

#[test]
fn a_pool_has_tasks_done_by_processes_of_a_worker() {
    let (_worker, address) =
        listening_worker("tcp://127.0.0.1:0", &["--shell", "--exec", "echo $1; exit $1"]);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connector = TcpConnector::new(Tokio::new(), &address).expect("an address");
        let (pool, driver) =
            Pool::builder(Tokio::new()).connect(connector).build().expect("a pool");
        let driver = tokio::spawn(driver);
        assert_eq!(pool.call::<String, _>("0").await.as_deref(), Ok("0"));
        let failed = pool.call::<String, _>("3").await;
        assert!(
            matches!(&failed, Err(TaskError::Failed(failure)) if failure.text() == "exit code 3"),
            "{failed:?}"
        );
        pool.stop().await.expect("it runs");
        driver.await.expect("no panic");
    });
}
