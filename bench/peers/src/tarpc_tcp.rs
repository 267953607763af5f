//! tarpc over TCP with bincode: calls to a server, which is the worker. No broker.

use std::sync::Arc;

use chargehand_bench::measure::{Job, Meter};
use futures_util::StreamExt;
use futures_util::future::select_all;
use serde_bytes::ByteBuf;
use tarpc::server::{BaseChannel, Channel};
use tarpc::{client, context};
use tokio::net::{TcpListener, TcpStream};
use tokio_serde::formats::Bincode;
use tokio_util::codec::LengthDelimitedCodec;

use crate::lines;

/// The job.
#[tarpc::service]
trait Work {
    /// Returns what it gets.
    async fn nothing(body: ByteBuf) -> ByteBuf;
}

#[derive(Clone, Copy)]
struct Server;

impl Work for Server {
    async fn nothing(self, _: context::Context, body: ByteBuf) -> ByteBuf {
        body
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn work(job: &Job) {
    let listener = TcpListener::bind(&job.address).await.expect("a free port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP");
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let transport = tarpc::serde_transport::new(framed, Bincode::default());
        let calls = BaseChannel::with_defaults(transport).execute(Server.serve());
        tokio::spawn(calls.for_each(|call| async {
            tokio::spawn(call);
        }));
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn manage(job: &Job, meter: &Arc<Meter>) {
    let mut callers = Vec::new();
    for _ in 0..job.links {
        let stream = lines::connect(&job.address);
        stream.set_nonblocking(true).expect("a socket");
        let stream = TcpStream::from_std(stream).expect("a socket");
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let transport = tarpc::serde_transport::new(framed, Bincode::default());
        let client = WorkClient::new(client::Config::default(), transport).spawn();
        for _ in 0..job.window {
            let (client, meter) = (client.clone(), Arc::clone(meter));
            let body = ByteBuf::from(vec![b'!'; job.bytes]);
            callers.push(tokio::spawn(async move {
                loop {
                    let start = meter.start();
                    let result = client.nothing(context::current(), body.clone()).await;
                    assert_eq!(result.expect("the worker stays"), body, "a wrong result");
                    meter.add(1);
                    meter.stop(start);
                }
            }));
        }
    }
    let (ended, ..) = select_all(callers).await;
    panic!("a caller ended: {:?}", ended.err());
}
