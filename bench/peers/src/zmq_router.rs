//! `ZeroMQ`: a ROUTER that hands out, DEALERs that work. No broker, and nothing but windows: no
//! deadline, no heartbeat, no second try.

use std::sync::Arc;

use chargehand_bench::measure::{Job, Meter};
use zmq::{Context, DEALER, DONTWAIT, Error, POLLIN, ROUTER, SNDMORE, Socket};

use crate::slots::Slots;

/// What a worker says when it comes.
const READY: &[u8] = b"";

pub(crate) fn work(job: &Job) {
    let context = Context::new();
    let sockets: Vec<Socket> = (0..job.links)
        .map(|_| {
            let socket = context.socket(DEALER).expect("a socket");
            socket.connect(&format!("tcp://{}", job.address)).expect("an address");
            socket.send(READY, 0).expect("room");
            socket
        })
        .collect();
    loop {
        let mut items: Vec<_> = sockets.iter().map(|socket| socket.as_poll_item(POLLIN)).collect();
        zmq::poll(&mut items, -1).expect("sockets");
        for socket in &sockets {
            loop {
                match socket.recv_msg(DONTWAIT) {
                    Ok(body) => socket.send(body, 0).expect("room"),
                    Err(Error::EAGAIN) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

pub(crate) fn manage(job: &Job, meter: &Arc<Meter>) {
    let mut slots = Slots::new(job);
    let mut unused = slots.numbers();
    let context = Context::new();
    let socket = context.socket(ROUTER).expect("a socket");
    socket.bind(&format!("tcp://{}", job.address)).expect("a free port");
    loop {
        socket.poll(POLLIN, -1).expect("a socket");
        loop {
            let from = match socket.recv_msg(DONTWAIT) {
                Ok(from) => from,
                Err(Error::EAGAIN) => break,
                Err(error) => panic!("{error}"),
            };
            let body = socket.recv_msg(0).expect("a second part");
            if *body == *READY {
                for number in unused.by_ref().take(job.window) {
                    socket.send(&*from, SNDMORE).expect("room");
                    socket.send(slots.send(number, meter), 0).expect("room");
                }
            } else {
                let number = slots.came(&body, meter);
                socket.send(from, SNDMORE).expect("room");
                socket.send(slots.send(number, meter), 0).expect("room");
            }
        }
    }
}
