//! Sockets that can misbehave: an axum server whose connections, one or all, can be cut at any moment.
//!
//! Providers lose answers, restart and go away; a client can only be tested against that if the simulator closes
//! real TCP connections. Answering with an error status instead was rejected: it is a different failure.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{Error, clock};

/// Pause after a failed `accept` (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Decides whether connections live. One per simulator.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    offline_until_ms: AtomicU64,
    alive: Mutex<CancellationToken>,
}

impl Gate {
    /// Cuts every connection and closes new ones at once until `for_ms` of wall time have passed.
    pub(crate) fn go_offline(&self, for_ms: u64) {
        self.offline_until_ms.store(clock::now_ms().saturating_add(for_ms), Ordering::SeqCst);
        self.cut_all();
    }

    /// Cuts every connection that exists now; new ones are welcome.
    pub(crate) fn cut_all(&self) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *alive).cancel();
    }

    pub(crate) fn is_offline(&self) -> bool {
        clock::now_ms() < self.offline_until_ms.load(Ordering::SeqCst)
    }

    fn admit(&self) -> CancellationToken {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).child_token()
    }
}

/// The connection a request came on; handlers take it to lose their answer.
#[derive(Debug, Clone)]
pub(crate) struct Conn(CancellationToken);

impl Conn {
    /// Closes the connection without another byte: whatever the handler returns is never sent.
    pub(crate) fn cut(&self) {
        self.0.cancel();
    }
}

impl Connected<IncomingStream<'_, GatedListener>> for Conn {
    fn connect_info(stream: IncomingStream<'_, GatedListener>) -> Self {
        Self(stream.io().kill.clone())
    }
}

/// A listener that turns connections away while its gate is offline.
#[derive(Debug)]
pub(crate) struct GatedListener {
    inner: TcpListener,
    gate: Arc<Gate>,
}

impl axum::serve::Listener for GatedListener {
    type Io = GatedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.inner.accept().await {
                Ok((stream, _)) if self.gate.is_offline() => drop(stream),
                Ok((stream, addr)) => {
                    // Answers are small and latencies are the model's business, not Nagle's.
                    stream.set_nodelay(true).ok();
                    return (GatedStream::new(stream, self.gate.admit()), addr);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A TCP stream with a kill switch.
#[derive(Debug)]
pub(crate) struct GatedStream {
    inner: TcpStream,
    kill: CancellationToken,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl GatedStream {
    fn new(inner: TcpStream, kill: CancellationToken) -> Self {
        Self { inner, killed: Box::pin(kill.clone().cancelled_owned()), kill }
    }

    /// Ready with an error once killed; otherwise leaves a waker so that a parked read notices the kill.
    fn check(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Error> {
        if self.kill.is_cancelled() || self.killed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(std::io::ErrorKind::ConnectionReset.into());
        }
        Poll::Pending
    }
}

impl AsyncRead for GatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Poll::Ready(error) = self.check(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.kill.is_cancelled() {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A bound listener, not yet serving: the address is known before the router that may need it is built.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: GatedListener,
    pub(crate) addr: SocketAddr,
}

/// Binds `listen`. A simulator that was killed can take its old address again (`SO_REUSEADDR`, tokio's default).
pub(crate) async fn bind(listen: SocketAddr, gate: Arc<Gate>) -> Result<Bound, Error> {
    let fail = |source| Error::Bind { addr: listen, source };
    let inner = TcpListener::bind(listen).await.map_err(fail)?;
    let addr = inner.local_addr().map_err(fail)?;
    Ok(Bound { listener: GatedListener { inner, gate }, addr })
}

impl Bound {
    /// Serves `app` as a task of `tasks`; it ends when `tasks` is dropped.
    pub(crate) fn serve(self, app: Router, tasks: &mut JoinSet<()>) {
        tasks.spawn(async move {
            let service = app.into_make_service_with_connect_info::<Conn>();
            if let Err(error) = axum::serve(self.listener, service).await {
                tracing::error!(%error, "simulator: the listener ended");
            }
        });
    }
}
