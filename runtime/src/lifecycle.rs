//! Two-stage shutdown. The first SIGTERM or SIGINT asks everybody to finish (`soft`); the second, or the
//! end of the grace period, asks them to let go (`hard`).

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two tokens.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// Take nothing new; finish what you have.
    pub soft: CancellationToken,
    /// Hand back what you have, now.
    pub hard: CancellationToken,
}

impl Lifecycle {
    /// Listens for signals until the hard stop.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub async fn listen(self) -> Result<(), std::io::Error> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for token in [&self.soft, &self.hard] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = self.hard.cancelled() => return Ok(()),
            }
            token.cancel();
        }
        Ok(())
    }
}
