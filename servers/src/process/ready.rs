//! Waiting for a child to be ready: a file, a line of its log, an HTTP route. Each wait ends early when the
//! child ends, and by its deadline otherwise.

use super::{POLL_INTERVAL, ProcessError, Supervised};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One look at an HTTP route: a healthy process on this machine answers in milliseconds.
const HTTP_LOOK: Duration = Duration::from_secs(1);

impl Supervised {
    /// Waits until `look` yields something. `awaited` is the verb phrase of the error: "open its port".
    pub async fn wait_until<T>(
        &mut self,
        awaited: &str,
        within: Duration,
        mut look: impl AsyncFnMut(&Supervised) -> Option<T>,
    ) -> Result<T, ProcessError> {
        let deadline = Instant::now() + within;
        loop {
            // The status is taken before the look: what a child did before it ended still counts.
            let ended = self.try_wait()?;
            if let Some(value) = look(self).await {
                return Ok(value);
            }
            if let Some(status) = ended {
                let (name, log, tail) = (self.name().to_owned(), self.log_path().to_owned(), self.log_tail());
                return Err(ProcessError::Ended { name, status, log, tail });
            }
            if Instant::now() >= deadline {
                return Err(self.deadline(awaited, within));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for a file with a whole first line, and returns its text. Delete the file before a restart.
    pub async fn wait_for_file(&mut self, path: &Path, within: Duration) -> Result<String, ProcessError> {
        self.wait_until(&format!("write {}", path.display()), within, async |_| {
            std::fs::read_to_string(path).ok().filter(|text| text.contains('\n'))
        })
        .await
    }

    /// Waits for a line of its log, counted from its latest start, and returns the line.
    pub async fn wait_for_log(&mut self, needle: &str, within: Duration) -> Result<String, ProcessError> {
        self.wait_until(&format!("log {needle:?}"), within, async |child| {
            child.log.line_with(needle).ok().flatten()
        })
        .await
    }

    /// Waits until `GET path` is answered with 200: `/readyz`, say.
    pub async fn wait_for_http(
        &mut self,
        address: SocketAddr,
        path: &str,
        within: Duration,
    ) -> Result<(), ProcessError> {
        self.wait_until(&format!("answer 200 at http://{address}{path}"), within, async |_| {
            let status = tokio::time::timeout(HTTP_LOOK, status_of(address, path)).await.ok()?.ok()?;
            (status == 200).then_some(())
        })
        .await
    }

    pub(super) fn deadline(&self, awaited: &str, within: Duration) -> ProcessError {
        ProcessError::Deadline {
            name: self.name().to_owned(),
            awaited: awaited.to_owned(),
            within,
            log: self.log_path().to_owned(),
            tail: self.log_tail(),
        }
    }
}

/// The status of a GET. By hand, because it is a dozen lines and a client wants a TLS provider first.
async fn status_of(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0_u8; "HTTP/1.1 200".len()];
    stream.read_exact(&mut head).await?;
    let head = String::from_utf8_lossy(&head);
    head.rsplit(' ')
        .next()
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
