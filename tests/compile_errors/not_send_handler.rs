//~ `Rc<Cell<u64>>` cannot be sent between threads safely
//~ `Send` if the pool is `Threaded`; `Pool::local_builder` takes any.
// The first line is rustc's own, and names the type that is not `Send`. `diagnostic::do_not_recommend` would put
// a text of ours in its place, and rustc would no longer say which type it is.
use std::cell::Cell;
use std::rc::Rc;

fn case<T: chargehand::core::io::Timer>(timer: T) {
    let count = Rc::new(Cell::new(0_u64));
    let _ = chargehand::Pool::builder(timer).in_process(1, move |height: u64| {
        count.set(height);
        async move { Ok::<_, String>(height) }
    });
}

fn main() {}
