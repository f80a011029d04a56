//! A limit on warnings and errors that repeat: each place in the code logs some lines, and then none until the time is
//! over. What one message or one attempt logs is logged again for each of thousands that meet the same trouble.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one place within [`WINDOW`].
const LINES_MAX: u32 = 10;

/// As often as a loop logs that it fails ([`crate::trouble`]).
const WINDOW: Duration = Duration::from_secs(30);

/// Holds back warnings and errors of a place in the code that logged [`LINES_MAX`] of them a moment ago.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    places: Mutex<HashMap<Identifier, Place>>,
}

impl<S: Subscriber> Layer<S> for LogLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // The line below is one of a kind for all places.
        if *metadata.level() > Level::WARN || metadata.target() == module_path!() {
            return true;
        }
        let follows = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.entry(metadata.callsite()).or_default().line(Instant::now())
        };
        match follows {
            Follows::Log { unlogged: 0 } => true,
            Follows::Log { unlogged } => {
                let place = metadata.file().unwrap_or_default();
                tracing::warn!(unlogged, place, "lines like the next one were not logged");
                true
            }
            Follows::HoldBack => false,
        }
    }
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// It is logged; so many before it were not.
    Log { unlogged: u64 },
    /// It is counted.
    HoldBack,
}

/// The lines of one place in the code.
#[derive(Debug, Default)]
struct Place {
    since: Option<Instant>,
    lines: u32,
    unlogged: u64,
}

impl Place {
    fn line(&mut self, now: Instant) -> Follows {
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES_MAX {
            self.unlogged += 1;
            return Follows::HoldBack;
        }
        self.lines += 1;
        Follows::Log { unlogged: std::mem::take(&mut self.unlogged) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, MutexGuard};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_place_logs_some_lines_in_each_half_minute_and_says_how_many_it_did_not() {
        let (mut place, begun) = (Place::default(), Instant::now());
        let mut logged = Vec::new();
        for tenth in 0..=900 {
            match place.line(begun + Duration::from_millis(tenth * 100)) {
                Follows::Log { unlogged } => logged.push((tenth, unlogged)),
                Follows::HoldBack => {}
            }
        }
        assert_eq!(logged.len(), 31, "ten in each of three half minutes, and one: {logged:?}");
        assert_eq!(logged[..10].iter().map(|(_, unlogged)| unlogged).sum::<u64>(), 0);
        assert_eq!([logged[10], logged[20], logged[30]], [(300, 290), (600, 290), (900, 290)]);
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().expect("sound")
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.bytes().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_thousands_log_is_ten_lines_and_other_places_and_levels_are_not_in_each_others_way() {
        let written = Written::default();
        let into = written.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || into.clone()).finish();
        tracing::subscriber::with_default(lines.with(LogLimit::default()), || {
            for nth in 0..5_000 {
                tracing::warn!(attempt = nth, "handing back");
                tracing::info!(attempt = nth, "as usual");
            }
            tracing::error!("another place");
        });
        let text = String::from_utf8(written.bytes().clone()).expect("text");
        let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
        assert_eq!((count("handing back"), count("as usual"), count("another place")), (10, 5_000, 1));
    }
}
