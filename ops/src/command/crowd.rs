//! Progress for people: a bar on a terminal, lines elsewhere, nothing where JSON was asked for.

use crate::screen::draws_bars;
use indicatif::{ProgressBar, ProgressStyle};
use runtime::escape;
use trials::audience::Audience;

/// A bar on a terminal, lines elsewhere.
pub(crate) struct Crowd {
    bar: Option<ProgressBar>,
    lines: bool,
    told: usize,
}

/// Without a terminal, progress is told in so many lines.
const LINES: usize = 10;

impl Crowd {
    pub(crate) fn new(jobs: usize, quiet: bool) -> Self {
        let on_terminal = draws_bars() && !quiet;
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs ended  {elapsed}");
        let bar = on_terminal.then(|| {
            ProgressBar::new(jobs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, lines: !on_terminal && !quiet, told: 0 }
    }

    /// Tells lines beside the one who tells of progress.
    pub(crate) fn teller(&self) -> impl FnMut(String) + use<> {
        let (bar, lines) = (self.bar.clone(), self.lines);
        move |line| match &bar {
            Some(bar) => bar.println(escape::line(&line)),
            None if lines => eprintln!("{line}"),
            None => {}
        }
    }

    pub(crate) fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

impl Audience for Crowd {
    fn ended(&mut self, ended: usize, all: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(ended as u64);
        }
        let tenth = ended * LINES / all.max(1);
        if self.lines && tenth > self.told {
            self.told = tenth;
            eprintln!("{ended} of {all} jobs ended");
        }
    }

    fn line(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(escape::line(line)),
            None if self.lines => eprintln!("{line}"),
            None => {}
        }
    }
}
