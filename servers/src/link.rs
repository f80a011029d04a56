//! A link between two servers that can be cut and stalled: a small TCP proxy on loopback.
//!
//! It stands in for a network that fails between machines; network namespaces would do it without a proxy, but
//! they need rights that a test does not have everywhere.

use super::{ServerError, free_port};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes in hand for each direction.
const BUFFER_BYTES: usize = 64 * 1024;
/// Connections through one link; servers open a handful.
const CONNECTIONS_MAX: usize = 256;

/// What a link does with what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Passes it on.
    Open,
    /// Closes every connection and takes no new one.
    Cut,
    /// Keeps connections open and passes nothing on, as when packets are lost.
    Stalled,
}

/// A link; gone when dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<LinkState>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// A link to a port on 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(port: u16, dir: &Path) -> Result<Self, ServerError> {
        let own = free_port().map_err(ServerError::files(dir))?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, own)).await.map_err(ServerError::files(dir))?;
        let (state, watched) = watch::channel(LinkState::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, port, watched));
        Ok(Self { port: own, state, _tasks: tasks })
    }

    /// The port on 127.0.0.1 that leads over it.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it does, for connections that are there as well.
    pub fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, to: u16, state: watch::Receiver<LinkState>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((near, _)) = listener.accept().await else { continue };
        if *state.borrow() == LinkState::Cut || connections.len() >= CONNECTIONS_MAX {
            continue;
        }
        let state = state.clone();
        connections.spawn(async move {
            // Either end may go at any time: that is what closing is.
            let _ = join(near, to, state).await;
        });
    }
}

async fn join(near: TcpStream, to: u16, state: watch::Receiver<LinkState>) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let mut cut = state.clone();
    tokio::select! {
        ended = pass(near_read, far_write, state.clone()) => ended,
        ended = pass(far_read, near_write, state) => ended,
        _ = cut.wait_for(|state| *state == LinkState::Cut) => Ok(()),
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<LinkState>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        // What was read while the link stalled is passed on when it is open again.
        if read == 0 || state.wait_for(|state| *state != LinkState::Stalled).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    async fn echo() -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        (port, tasks)
    }

    async fn said(stream: &mut TcpStream, word: &[u8; 4]) -> io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_link_passes_stalls_and_is_cut() {
        let (port, _echo) = echo().await;
        let link = Link::to(port, Path::new(".")).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await.unwrap();
        assert_eq!(&said(&mut stream, b"open").await.unwrap(), b"open");
        link.set(LinkState::Stalled);
        let stalled = tokio::time::timeout(Duration::from_millis(50), said(&mut stream, b"late")).await;
        assert!(stalled.is_err(), "a stalled link passed {stalled:?}");
        link.set(LinkState::Open);
        let mut answer = [0; 4];
        tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"late", "nothing is lost by a stall");
        link.set(LinkState::Cut);
        let ended = tokio::time::timeout(LIMIT, stream.read(&mut answer)).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        let mut refused = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await.unwrap();
        assert!(said(&mut refused, b"gone").await.is_err());
        link.set(LinkState::Open);
        let mut again = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await.unwrap();
        assert_eq!(&said(&mut again, b"back").await.unwrap(), b"back");
    }
}
