//! A listener for HTTP that a stranger cannot fill: so many connections at once, and each lives only for a while.
//!
//! A connection has [`Bounds::unknown`] to send its request and to take the answer, however slowly it sends. Whoever
//! shows that it may, by a secret, gets more by [`Lifetime::extend`]. Connections beyond the bound wait in the kernel's
//! queue, which is short because each ends soon.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// After an error of `accept` (too many open files) it is tried again no sooner.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How much a listener lets in.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// How long a connection of a stranger lives.
    pub unknown: Duration,
}

/// A listener with bounds.
pub struct BoundedListener {
    listener: TcpListener,
    room: Arc<Semaphore>,
    bounds: Bounds,
}

impl BoundedListener {
    /// Puts bounds on a listener.
    #[must_use]
    pub fn new(listener: TcpListener, bounds: Bounds) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(bounds.connections)), bounds }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        loop {
            // Never closed: the loop waits until a connection has ended.
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    return (BoundedStream::new(stream, room, self.bounds.unknown), address);
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Until when a connection lives.
#[derive(Debug, Clone)]
pub struct Lifetime {
    until: Arc<Mutex<Instant>>,
}

impl Lifetime {
    /// From now on it lives for this long; never shorter than it would.
    pub fn extend(&self, by: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Instant::now() + by);
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, BoundedListener>> for Lifetime {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        stream.io().lifetime.clone()
    }
}

/// A connection that ends when its time is over.
pub struct BoundedStream {
    stream: TcpStream,
    lifetime: Lifetime,
    end: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl BoundedStream {
    fn new(stream: TcpStream, room: OwnedSemaphorePermit, lives: Duration) -> Self {
        let until = Instant::now() + lives;
        let lifetime = Lifetime { until: Arc::new(Mutex::new(until)) };
        Self { stream, lifetime, end: Box::pin(sleep_until(until)), _room: room }
    }

    /// Ready with an error when the time is over; else the task is woken then.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let until = self.lifetime.until();
            if self.end.deadline() != until {
                self.end.as_mut().reset(until);
            }
            ready!(self.end.as_mut().poll(context));
            if self.lifetime.until() <= Instant::now() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(over) = self.poll_end(context) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(over) = self.poll_end(context) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
