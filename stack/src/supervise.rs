//! Starts again what dies, with growing pauses, and says so, to other terminals too.

use super::station::Station;
use super::{Member, Stack};
use crate::fleet_file::FleetFile;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// First and longest pause before a restart.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A process that lived so long is no repeated offender.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// How often the children are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Remembers who died when.
#[derive(Debug, Default)]
pub struct Supervisor {
    deaths: BTreeMap<String, Death>,
    announced: Option<FleetFile>,
}

#[derive(Debug, Clone, Copy)]
struct Death {
    restart_at: Instant,
    pause: Duration,
    restarted: bool,
}

impl Supervisor {
    /// Watches the whole fleet for ever, telling `say` what happens, and announces it anew when something changed.
    ///
    /// # Errors
    /// A process can neither be looked at nor started again.
    pub async fn watch(
        &mut self,
        stack: &mut Stack,
        station: &Station,
        mut say: impl FnMut(String),
    ) -> anyhow::Result<()> {
        loop {
            self.look(&mut stack.members, &mut say)?;
            for node in &mut stack.nats.nodes {
                if !node.is_running() {
                    say(format!("{} ended; starting it again", node.name()));
                    node.restart().await?;
                }
            }
            if !stack.postgres.is_running() {
                say("postgres ended; starting it again".to_owned());
                stack.postgres.restart().await?;
            }
            self.announce(station, stack.fleet_file(), &mut say);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Watches processes apart from the fleet, while somebody else uses the rest of the fleet.
    ///
    /// # Errors
    /// As [`Supervisor::watch`].
    pub async fn watch_members(
        &mut self,
        stack: &Stack,
        members: &mut [Member],
        station: &Station,
        mut say: impl FnMut(String),
    ) -> anyhow::Result<()> {
        loop {
            self.look(members, &mut say)?;
            self.announce(station, stack.fleet_file_with(members), &mut say);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A file that cannot be written is no reason to end a fleet: it is said once.
    fn announce(&mut self, station: &Station, now: FleetFile, say: &mut impl FnMut(String)) {
        if self.announced.as_ref() == Some(&now) {
            return;
        }
        if let Err(error) = station.announce(&now) {
            say(format!("{error:#}; other terminals may not find what was started again"));
        }
        self.announced = Some(now);
    }

    /// Looks once.
    fn look(&mut self, members: &mut [Member], say: &mut impl FnMut(String)) -> anyhow::Result<()> {
        let now = Instant::now();
        for member in members {
            let Some(status) = member.try_wait()? else { continue };
            let name = member.name().to_owned();
            match self.deaths.get_mut(&name) {
                Some(death) if !death.restarted => {
                    if now >= death.restart_at {
                        death.restarted = true;
                        member.restart()?;
                        say(format!("{name} started again"));
                    }
                }
                earlier => {
                    let pause = next_pause(earlier.as_deref(), now);
                    say(format!(
                        "{name} ended ({status}); starting it again in {:.1} s; log {}",
                        pause.as_secs_f32(),
                        member.log_path().display()
                    ));
                    self.deaths.insert(name, Death { restart_at: now + pause, pause, restarted: false });
                }
            }
        }
        Ok(())
    }
}

fn next_pause(earlier: Option<&Death>, now: Instant) -> Duration {
    match earlier {
        Some(death) if now < death.restart_at + FORGIVEN_AFTER => (death.pause * 2).min(PAUSE_MAX),
        _ => PAUSE_MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_forgiven() {
        let now = Instant::now();
        let mut pause = next_pause(None, now);
        assert_eq!(pause, PAUSE_MIN);
        for _ in 0..20 {
            pause = next_pause(Some(&Death { restart_at: now, pause, restarted: true }), now);
        }
        assert_eq!(pause, PAUSE_MAX);
        let later = now + FORGIVEN_AFTER;
        assert_eq!(next_pause(Some(&Death { restart_at: now, pause, restarted: true }), later), PAUSE_MIN);
    }
}
