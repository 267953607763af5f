use std::future::poll_fn;
use std::time::Duration;

use chargehand_core::io::Accept;
use chargehand_core::net::STAGGER;
use socket2::{Domain, Socket, Type};
use tokio::time::timeout;

use super::*;
use crate::Tokio;

/// Well within a pool's `connect_timeout` of 10 s.
const SOON: Duration = Duration::from_secs(5);

/// Returns an address that refuses connections.
fn refusing() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn reach(resolved: Vec<SocketAddr>) -> io::Result<TokioStream> {
    let name = Address::to_dial("name:9000").unwrap();
    let connecting = connect(&name, resolved, SocketOptions::new());
    timeout(SOON, connecting).await.expect("in time")
}

/// A listener with a full backlog: connection attempts get no answer.
struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _queue: Vec<std::net::TcpStream>,
}

impl BlackHole {
    fn new() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        let brief = Duration::from_millis(100);
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, brief) {
            queue.push(stream);
            assert!(queue.len() < 20, "its backlog never fills up");
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

#[tokio::test]
async fn a_good_address_is_reached_behind_others_that_refuse_or_never_answer() {
    let holes = [BlackHole::new(), BlackHole::new()];
    let mut listener = Tokio::bind("127.0.0.1:0").await.unwrap();
    let good = listener.local_addr().unwrap();
    let resolved = vec![refusing(), holes[0].address, holes[1].address, good];
    let begun = std::time::Instant::now();
    let stream = reach(resolved).await.unwrap();
    assert!(begun.elapsed() >= 2 * STAGGER, "each unresponsive address was given its time");
    assert_eq!(stream.get_ref().peer_addr().unwrap(), good);
    assert!(poll_fn(|cx| listener.poll_accept(cx)).await.is_ok());
}

#[tokio::test]
async fn if_every_address_fails_the_error_names_each_with_its_reason() {
    let dead = [refusing(), refusing()];
    let error = reach(dead.to_vec()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    for address in dead {
        let part = format!("{address}: Connection refused");
        assert!(error.to_string().contains(&part), "{error}");
    }
}

#[tokio::test]
async fn a_zone_names_an_interface_or_gives_its_number() {
    for text in ["[fe80::1%lo]:9000", "[fe80::1%25lo]:9000", "tcp://[fe80::1%1]:9000/"] {
        let resolved = resolve(&Address::to_dial(text).unwrap()).await.unwrap();
        let [SocketAddr::V6(address)] = resolved[..] else { panic!("{resolved:?}") };
        assert_eq!((address.scope_id(), address.port()), (1, 9000), "{text}");
    }
}
