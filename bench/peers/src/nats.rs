//! NATS: request and reply, with a queue group of workers.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use chargehand_bench::measure::{Job, Meter};
use futures_util::StreamExt;
use futures_util::future::select_all;

const SUBJECT: &str = "work";
const GROUP: &str = "workers";

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn work(job: &Job) {
    let mut links = Vec::new();
    for _ in 0..job.links {
        let client = connect(job).await;
        links.push(tokio::spawn(async move {
            let mut jobs =
                client.queue_subscribe(SUBJECT, GROUP.into()).await.expect("the broker stays");
            while let Some(message) = jobs.next().await {
                let reply = message.reply.expect("a request");
                client.publish(reply, message.payload).await.expect("the broker stays");
            }
        }));
    }
    for link in links {
        link.await.expect("a worker");
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn manage(job: &Job, meter: &Arc<Meter>) {
    let client = connect(job).await;
    let mut callers = Vec::new();
    for _ in 0..job.links * job.window {
        let (client, meter) = (client.clone(), Arc::clone(meter));
        let body = Bytes::from(vec![b'!'; job.bytes]);
        callers.push(tokio::spawn(async move {
            loop {
                let start = meter.start();
                match client.request(SUBJECT, body.clone()).await {
                    Ok(result) => assert_eq!(result.payload, body, "a wrong result"),
                    // The workers come a little later.
                    Err(_) if meter.count() == 0 => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                }
                meter.add(1);
                meter.stop(start);
            }
        }));
    }
    let (ended, ..) = select_all(callers).await;
    panic!("a caller ended: {:?}", ended.err());
}

async fn connect(job: &Job) -> Client {
    async_nats::connect(&job.address).await.expect("the broker listens")
}
