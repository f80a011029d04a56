//! Where a fleet that stays listens: the options of `argosy up`, and what becomes of them.

use crate::exit::Usage;
use clap::Args;
use stack::ports::{Choice, Moved, Ports, Wishes, choose};
use stack::{StackOptions, is_free, kept_ports};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

/// Where it listens.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Where broker and pages listen: an IP address of this machine, 0.0.0.0 for all; not remembered. Database and
    /// simulators stay on loopback
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    listen: IpAddr,
    /// Plan all ports anew from this one on; without it each keeps the one that it had, at first from 4222 on
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    first_port: Option<u16>,
    /// One port by name (`broker`, `monitor`, `database`, or a process); repeatable, remembered
    #[arg(long = "port", value_name = "NAME=PORT", value_parser = named)]
    ports: Vec<(String, u16)>,
}

impl Listen {
    /// Decides where everything listens, remembers it, and says what is not as meant.
    ///
    /// # Errors
    /// The address is none of this machine's, or a port that was asked for is not to be had.
    pub(super) fn choose(&self, options: &mut StackOptions) -> anyhow::Result<()> {
        if let Err(error) = TcpListener::bind((self.listen, 0)) {
            let cure = "--listen takes an IP address of this machine, or 0.0.0.0 for all of them";
            return Err(Usage(format!("cannot listen on {}: {error}; {cure}", self.listen)).into());
        }
        let asked: BTreeMap<String, u16> = self.ports.iter().cloned().collect();
        let wishes = Wishes {
            first: self.first_port,
            asked: Ports::from_iter(asked),
            remembered: kept_ports::load(&options.dir)?,
        };
        let Choice { ports, moved } =
            choose(&options.services(), &wishes, |port| is_free(self.listen, port))?;
        // A plan that is made anew forgets those of what does not run this time, too.
        let before = if self.first_port.is_some() { &Ports::default() } else { &wishes.remembered };
        kept_ports::save(&options.dir, &ports.clone().over(before))?;
        if !moved.is_empty() {
            eprintln!("{}", moved_words(&moved));
        }
        if !self.listen.is_loopback() {
            eprintln!("{}", open_words(self.listen));
        }
        (options.listen, options.ports) = (self.listen, ports);
        Ok(())
    }
}

fn named(text: &str) -> Result<(String, u16), String> {
    let parts = text.split_once('=').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
    match parts {
        Some((name, port)) if port > 0 => Ok((name.to_owned(), port)),
        _ => Err("it has the form NAME=PORT, such as broker=4300".to_owned()),
    }
}

/// One line, however many moved.
fn moved_words(moved: &[Moved]) -> String {
    let words: Vec<String> =
        moved.iter().map(|one| format!("{} on {} instead of {}", one.name, one.to, one.from)).collect();
    let ports = if moved.len() == 1 { "a port is" } else { "ports are" };
    format!(
        "{ports} taken by others and left alone: {}; remembered, `--first-port {}` plans anew",
        words.join(", "),
        stack::ports::FIRST_PORT
    )
}

/// Who opens a fleet is told what that means.
fn open_words(listen: IpAddr) -> String {
    format!(
        "WARNING: broker and pages listen on {listen} and ask nobody for credentials: whoever reaches this machine can \
         submit jobs, spend what the tenants may, and change the configuration; keep it behind a firewall"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_by_name() {
        assert_eq!(named("broker=4300"), Ok(("broker".to_owned(), 4300)));
        for wrong in ["broker", "broker=", "broker=0", "broker=70000", "=x"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_moved_is_one_line() {
        let moved = |name: &str, from, to| Moved { name: name.to_owned(), from, to };
        let one = moved_words(&[moved("broker", 4222, 4235)]);
        assert!(
            one.starts_with("a port is taken by others and left alone: broker on 4235 instead of 4222"),
            "{one}"
        );
        let two = moved_words(&[moved("broker", 4222, 4235), moved("monitor", 4223, 4236)]);
        assert!(two.contains("4222, monitor on 4236 instead of 4223") && two.lines().count() == 1, "{two}");
        let open = open_words(Ipv4Addr::UNSPECIFIED.into());
        assert!(open.contains("0.0.0.0") && open.lines().count() == 1, "{open}");
    }
}
