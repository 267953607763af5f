use std::future::poll_fn;
use std::time::Duration;

use chargehand_core::io::{Accept, Dial};
use chargehand_core::net::STAGGER;
use smol::future::{or, zip};

use super::*;
use crate::{Smol, SmolListener};

/// Well within a pool's `connect_timeout` of 10 s.
const SOON: Duration = Duration::from_secs(5);

async fn listener() -> (SmolListener, SocketAddr) {
    let listener = Smol::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Returns an address at which nobody listens.
fn refusing() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn reach(resolved: Vec<SocketAddr>) -> io::Result<SmolStream> {
    let name = Address::to_dial("name:9000").unwrap();
    let connecting = connect(&name, resolved, SocketOptions::new());
    let late = async {
        Timer::after(SOON).await;
        panic!("not in time")
    };
    or(connecting, late).await
}

/// An address whose listener takes nobody in: what is sent to it gets no answer.
#[cfg(target_os = "linux")]
struct BlackHole {
    address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _queue: Vec<TcpStream>,
}

#[cfg(target_os = "linux")]
impl BlackHole {
    fn new() -> Self {
        use rustix::net;

        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
        net::bind(&listener, &any).unwrap();
        net::listen(&listener, 0).unwrap();
        let address = net::getsockname(&listener).unwrap().try_into().unwrap();
        let mut queue = Vec::new();
        let brief = Duration::from_millis(100);
        while let Ok(stream) = TcpStream::connect_timeout(&address, brief) {
            queue.push(stream);
            assert!(queue.len() < 20, "its queue has no end");
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_first_address_that_swallows_everything_does_not_keep_the_second_one_away() {
    smol::block_on(async {
        let holes = [BlackHole::new(), BlackHole::new()];
        let (mut listener, good) = listener().await;
        let resolved = vec![holes[0].address, holes[1].address, good];
        let begun = std::time::Instant::now();
        let stream = reach(resolved).await.unwrap();
        assert!(begun.elapsed() >= 2 * STAGGER, "each has its time");
        assert_eq!(stream.get_ref().peer_addr().unwrap(), good);
        assert!(poll_fn(|cx| listener.poll_accept(cx)).await.is_ok());
    });
}

#[test]
fn a_first_address_that_refuses_does_not_keep_the_second_one_away() {
    smol::block_on(async {
        let (_listener, good) = listener().await;
        let stream = reach(vec![refusing(), good]).await.unwrap();
        assert_eq!(stream.get_ref().peer_addr().unwrap(), good);
    });
}

#[test]
fn where_no_address_answers_the_error_names_each_with_its_reason() {
    smol::block_on(async {
        let dead = [refusing(), refusing()];
        let error = reach(dead.to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        for address in dead {
            let part = format!("{address}: Connection refused");
            assert!(error.to_string().contains(&part), "{error}");
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_zone_is_an_interface_by_name_or_number_and_one_that_is_not_there_is_told() {
    smol::block_on(async {
        for text in ["[fe80::1%lo]:9000", "[fe80::1%25lo]:9000", "tcp://[fe80::1%1]:9000/"] {
            let resolved = resolve(&Address::to_dial(text).unwrap()).await.unwrap();
            let [SocketAddr::V6(address)] = resolved[..] else { panic!("{resolved:?}") };
            assert_eq!((address.scope_id(), address.port()), (1, 9000), "{text}");
        }
        let error = Smol::new().dial("[fe80::1%nosuch]:9000").await.unwrap_err();
        assert!(error.to_string().contains("no network interface \"nosuch\""), "{error}");
    });
}

#[test]
fn what_is_no_address_is_told_by_either_end_in_the_same_words() {
    smol::block_on(async {
        for text in ["host:9000/path", "ws://host:9000", "host"] {
            let dialled = Smol::new().dial(text).await.unwrap_err().to_string();
            let bound = Smol::bind(text).await.unwrap_err().to_string();
            assert_eq!(dialled, bound);
            assert!(dialled.contains(text), "{dialled}");
        }
    });
}

#[test]
fn a_scheme_and_a_slash_are_taken_by_either_end() {
    smol::block_on(async {
        let mut listener = Smol::bind("tcp://127.0.0.1:0/").await.unwrap();
        let address = format!("tcp://{}/", listener.local_addr().unwrap());
        let dialling = Smol::new().dial(&address);
        let (dialled, accepted) = zip(dialling, poll_fn(|cx| listener.poll_accept(cx))).await;
        assert!(dialled.is_ok());
        assert!(accepted.is_ok());
    });
}
