//! Streams in memory and certificates made on the spot.

use std::collections::VecDeque;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use chargehand_core::io::{Accept, Dial, Exposure};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::{Either, select};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{TlsAccept, TlsDial, TlsError, TlsStream};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const NAME: &str = "worker-1.example.org";

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    is_closed: bool,
    /// So many bytes may go through before the connection is cut.
    left: Option<usize>,
    passed: usize,
    wakers: Vec<Waker>,
}

/// One end of a connection in memory.
pub(crate) struct Memory {
    input: Arc<Mutex<Pipe>>,
    output: Arc<Mutex<Pipe>>,
    /// How many bytes a read or a write moves at most, and how many wait to be read.
    pub(crate) chunk: usize,
    pub(crate) room: usize,
    pub(crate) reads: usize,
    /// Writes take nothing, and say so.
    pub(crate) takes_nothing: bool,
}

impl Memory {
    /// Returns the two ends of a connection.
    pub(crate) fn pair() -> (Self, Self) {
        let (one, other) = (Arc::<Mutex<Pipe>>::default(), Arc::<Mutex<Pipe>>::default());
        let end = |input: &Arc<Mutex<Pipe>>, output: &Arc<Mutex<Pipe>>| Self {
            input: Arc::clone(input),
            output: Arc::clone(output),
            chunk: usize::MAX,
            room: 1 << 20,
            reads: 0,
            takes_nothing: false,
        };
        (end(&one, &other), end(&other, &one))
    }

    /// Cuts the connection once that many bytes have left this end.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.output.lock().unwrap().left = Some(bytes);
    }

    /// Returns how many bytes have left this end.
    pub(crate) fn sent(&self) -> usize {
        self.output.lock().unwrap().passed
    }

    /// Returns a handle by which to go on asking that.
    pub(crate) fn meter(&self) -> impl Fn() -> usize + use<> {
        let output = Arc::clone(&self.output);
        move || output.lock().unwrap().passed
    }

    /// Takes what is there to be read.
    pub(crate) fn take_input(&self) -> Vec<u8> {
        self.input.lock().unwrap().bytes.drain(..).collect()
    }

    /// Has this to be read.
    pub(crate) fn put_input(&self, bytes: &[u8]) {
        self.input.lock().unwrap().bytes.extend(bytes);
    }

    /// Ends the direction to the other end, as a process that is killed does.
    pub(crate) fn cut(&self) {
        let mut pipe = self.output.lock().unwrap();
        pipe.is_closed = true;
        pipe.wake();
    }
}

impl Pipe {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for pipe in [&self.input, &self.output] {
            let mut pipe = pipe.lock().unwrap();
            pipe.is_closed = true;
            pipe.wake();
        }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reads += 1;
        let mut pipe = self.input.lock().unwrap();
        if pipe.bytes.is_empty() && !pipe.is_closed {
            return pipe.wait(cx);
        }
        let count = buffer.len().min(self.chunk).min(pipe.bytes.len());
        for (place, byte) in buffer.iter_mut().zip(pipe.bytes.drain(..count)) {
            *place = byte;
        }
        pipe.wake();
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.output.lock().unwrap();
        if self.takes_nothing {
            return Poll::Ready(Ok(0));
        }
        if pipe.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.room.saturating_sub(pipe.bytes.len());
        let mut count = bytes.len().min(self.chunk).min(room);
        if let Some(left) = &mut pipe.left {
            count = count.min(*left);
            *left -= count;
            if *left == 0 {
                pipe.is_closed = true;
                pipe.bytes.extend(&bytes[..count]);
                pipe.passed += count;
                pipe.wake();
                return Poll::Ready(Ok(bytes.len()));
            }
        }
        if count == 0 {
            return pipe.wait(cx);
        }
        pipe.bytes.extend(&bytes[..count]);
        pipe.passed += count;
        pipe.wake();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut();
        Poll::Ready(Ok(()))
    }
}

/// Gives one end of a connection to whoever dials or accepts first.
pub(crate) struct Once(pub(crate) Mutex<Option<Memory>>);

impl Once {
    pub(crate) fn new(end: Memory) -> Self {
        Self(Mutex::new(Some(end)))
    }
}

impl Dial for Once {
    type Stream = Memory;
    type Error = io::Error;
    type Dialling = Ready<io::Result<Memory>>;

    fn dial(&self, _: &str) -> Self::Dialling {
        ready(self.0.lock().unwrap().take().ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn exposure(&self, address: &str) -> Exposure {
        Exposure::of_address(address)
    }
}

impl Accept for Once {
    type Stream = Memory;
    type Peer = &'static str;
    type Error = io::Error;
    type Opening = Ready<io::Result<Memory>>;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, &'static str)>> {
        let opening = self.dial("");
        Poll::Ready(Ok((opening, "the peer")))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Open
    }
}

/// An authority of a test's.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// When a certificate is good, in days from now.
pub(crate) type Days = std::ops::Range<i32>;

impl Issuer {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, name: &str, days: Days) -> Issued {
        self.issue_all(&[name.to_owned()], days)
    }

    pub(crate) fn issue_all(&self, names: &[String], days: Days) -> Issued {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (day(days.start).into(), day(days.end).into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Issued { chain: vec![certificate.der().clone()], key }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// Returns the time that many days from now.
pub(crate) fn day(days: i32) -> SystemTime {
    let span = DAY * days.unsigned_abs();
    if days < 0 { SystemTime::now() - span } else { SystemTime::now() + span }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes a client's configuration, with a certificate or without.
pub(crate) fn client(trusted: &Issuer, own: Option<Issued>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(trusted.roots());
    match own {
        Some(own) => builder.with_client_auth_cert(own.chain, own.key).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// Makes a server's configuration, which asks for certificates where it is to trust anyone's.
pub(crate) fn server(trusted: Option<&Issuer>, own: Issued) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    match trusted {
        Some(issuer) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(issuer.roots(), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    }
    .with_single_cert(own.chain, own.key)
    .unwrap()
}

/// Runs a test, for 20 seconds at most.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    run_for(Duration::from_secs(20), test)
}

/// Runs a long test, for so long at most.
pub(crate) fn run_for<T>(at_most: Duration, test: impl Future<Output = T>) -> T {
    smol::block_on(async {
        let late = smol::Timer::after(at_most);
        match select(std::pin::pin!(test), late).await {
            Either::Left((output, _)) => output,
            Either::Right(_) => panic!("the test hangs"),
        }
    })
}

pub(crate) type Opened = Result<TlsStream<Memory>, TlsError>;

/// Has a client and a server do a handshake over two ends.
pub(crate) async fn shake(
    ends: (Memory, Memory),
    client: &TlsDial<()>,
    server: &TlsAccept<()>,
) -> (Opened, Opened) {
    let dial = client.over(Once::new(ends.0));
    let mut accept = server.over(Once::new(ends.1));
    let accepting = async {
        let accepted = std::future::poll_fn(|cx| accept.poll_accept(cx)).await;
        accepted.unwrap().0.await
    };
    futures_util::future::join(dial.dial(&format!("{NAME}:9000")), accepting).await
}
