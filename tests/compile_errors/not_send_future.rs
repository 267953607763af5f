//~ future cannot be sent between threads safely
//~ has type `Rc<u64>` which is not `Send`
//~ `Send` if the pool is `Threaded`; `Pool::local_builder` takes any.
async fn case(pool: chargehand::Pool) {
    let handler = |height: u64| async move {
        let shared = std::rc::Rc::new(height);
        std::future::ready(()).await;
        Ok::<_, String>(*shared)
    };
    let _ = pool.add_in_process(handler, chargehand::WorkerOptions::new()).await;
}

fn main() {}
