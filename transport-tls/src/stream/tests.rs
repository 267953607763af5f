use std::future::poll_fn;
use std::sync::Arc;

use futures_util::future::join;
use futures_util::{AsyncReadExt, AsyncWriteExt, FutureExt};

use super::*;
use crate::testing::*;
use crate::{TlsAccept, TlsDial};

/// Returns both ends of a connection.
async fn connected(ends: (Memory, Memory)) -> (TlsStream<Memory>, TlsStream<Memory>) {
    let issuer = Issuer::new("one");
    let mut client = client(&issuer, None);
    client.resumption = rustls::client::Resumption::disabled();
    let mut server = server(None, issuer.issue(NAME, -1..30));
    server.send_tls13_tickets = 0;
    let (client, server) =
        (TlsDial::new((), Arc::new(client)), TlsAccept::new((), Arc::new(server)));
    let (near, far) = shake(ends, &client, &server).await;
    (near.unwrap(), far.unwrap())
}

#[test]
fn the_end_is_told_from_a_connection_that_is_cut_off_even_between_records() {
    run(async {
        let (mut near, mut far) = connected(Memory::pair()).await;
        near.write_all(b"bye").await.unwrap();
        near.close().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"bye");
        assert_eq!(near.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);

        let (mut near, mut far) = connected(Memory::pair()).await;
        near.write_all(b"bye").await.unwrap();
        near.flush().await.unwrap();
        near.io.cut();
        let mut read = Vec::new();
        let error = far.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((&read[..], error.kind()), (&b"bye"[..], io::ErrorKind::UnexpectedEof));
        assert!(error.to_string().contains("cut off"), "{error}");
        let error = far.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "and it stays so");
    });
}

#[test]
fn a_record_that_was_tampered_with_or_replayed_is_refused_and_nothing_of_it_is_read() {
    run(async {
        for is_replayed in [false, true] {
            let (mut near, mut far) = connected(Memory::pair()).await;
            near.write_all(b"pay 1").await.unwrap();
            near.flush().await.unwrap();
            {
                let mut bytes = far.io.take_input();
                if is_replayed {
                    bytes.extend_from_within(..);
                } else {
                    *bytes.last_mut().unwrap() ^= 1;
                }
                far.io.put_input(&bytes);
            }
            let mut read = Vec::new();
            let error = far.read_to_end(&mut read).await.unwrap_err();
            assert_eq!(&read[..], if is_replayed { &b"pay 1"[..] } else { b"" });
            assert!(error.to_string().contains("TLS"), "{error}");
            // The other end hears of it.
            let error = near.read(&mut [0]).await.unwrap_err();
            assert!(error.to_string().contains("has given up"), "{error}");
        }
    });
}

#[test]
fn a_writer_waits_where_the_reader_does_and_holds_no_more_than_rustls_takes() {
    run(async {
        let (near, far) = Memory::pair();
        let (mut near, mut far) = connected((near, far)).await;
        near.io.room = 1000;
        let mut taken = 0;
        while let Some(count) = near.write(&[1; 5000]).now_or_never() {
            taken += count.unwrap();
            assert!(taken <= 80_000, "it has a limit");
        }
        assert!(taken > 10_000, "{taken}");
        let all = vec![1; taken];
        let mut read = vec![0; taken];
        join(async { near.flush().await.unwrap() }, async {
            far.read_exact(&mut read).await.unwrap();
        })
        .await;
        assert!(read == all);
        // A writer that had to wait is woken.
        let ((), count) = join(
            async {
                let mut left = 200_000;
                while left > 0 {
                    left -= far.read(&mut [0; 4096]).await.unwrap();
                }
            },
            async {
                near.write_all(&vec![2; 200_000]).await.unwrap();
                near.flush().await.unwrap();
            },
        )
        .await;
        let () = count;
    });
}

#[test]
fn several_buffers_leave_as_one_record() {
    run(async {
        let (mut near, mut far) = connected(Memory::pair()).await;
        let before = near.io.sent();
        let slices = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b"body")];
        let count =
            poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, &slices)).await.unwrap();
        assert_eq!(count, 8);
        near.flush().await.unwrap();
        // A header of 5 bytes, the type, and a tag of 16.
        assert_eq!(near.io.sent() - before, 8 + 22);
        let mut read = [0; 8];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"headbody");
        let none = [IoSlice::new(b"")];
        let count = poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, &none)).await.unwrap();
        assert_eq!(count, 0);
        assert_eq!(near.write(b"").await.unwrap(), 0);
        assert_eq!(near.read(&mut []).await.unwrap(), 0);
    });
}

#[test]
fn a_peer_whose_record_never_ends_does_not_keep_the_thread() {
    run(async {
        let (mut near, mut far) = connected(Memory::pair()).await;
        near.write_all(&[1; 10_000]).await.unwrap();
        near.flush().await.unwrap();
        (far.io.chunk, far.io.reads) = (1, 0);
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut far).poll_read(cx, &mut [0; 100])
        })
        .await
        .unwrap();
        assert!(polls > 10_000 / READS_MAX, "{polls}");
        assert!(far.io.reads > 10_000);
    });
}

#[test]
fn a_stream_below_that_takes_nothing_is_an_error_and_no_busy_loop() {
    run(async {
        let (mut near, _far) = connected(Memory::pair()).await;
        near.write_all(b"x").await.unwrap();
        near.io.takes_nothing = true;
        let error = near.write(b"y").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        assert_eq!(near.flush().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert_eq!(near.close().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
    });
}

#[test]
fn a_refusal_that_came_before_a_write_failed_is_what_the_writer_hears() {
    run(async {
        let issuer = Issuer::new("one");
        let client = client(&issuer, None);
        let server = server(Some(&issuer), issuer.issue(NAME, -1..30));
        let client = TlsDial::new((), Arc::new(client));
        let (near, far) =
            shake(Memory::pair(), &client, &TlsAccept::new((), Arc::new(server))).await;
        assert!(far.is_err());
        let mut near = near.unwrap();
        let error = near.write_all(b"x").await.unwrap_err();
        assert!(error.to_string().contains("asks for a certificate"), "{error}");
    });
}
