//! A command that runs servers of its own takes no others: one that was named is refused, never passed over.

use super::session::Session;
use crate::exit::Usage;
use runtime::address::Address;
use stack::{StackOptions, reached_at};
use std::net::SocketAddr;

/// The ports that go without saying.
const BROKER_PORT: u16 = 4222;
const DATABASE_PORT: u16 = 5432;

/// Refuses a broker or a database that somebody named, unless it is the very one that is about to run.
pub(crate) fn check(session: &Session, options: &StackOptions) -> Result<(), Usage> {
    let own =
        |name: &str| options.ports.of(name).map(|port| SocketAddr::new(reached_at(options.listen), port));
    if let Some(named) = session.named_broker().filter(|named| is_other(named, own("broker"), BROKER_PORT)) {
        return Err(Usage(format!(
            "`up` runs a broker of its own and cannot use the one at {named}: leave --nats, ARGOSY_NATS__URL and \
             `nats.url` away. For a fleet on that broker run `argosy topology apply` with --nats once, and start \
             ledger, router and workers with ARGOSY_NATS__URL"
        )));
    }
    let database = session.named_database();
    if let Some(named) = database.filter(|named| is_other(named, own("database"), DATABASE_PORT)) {
        return Err(Usage(format!(
            "`up` runs a database of its own and cannot use the one at {named}: leave --database and \
             ARGOSY_LEDGER__DATABASE_URL away. For a ledger on that one start `ledger` with it by hand"
        )));
    }
    Ok(())
}

/// Whether an address leads elsewhere than to a server of our own.
fn is_other(named: &Address, own: Option<SocketAddr>, usual_port: u16) -> bool {
    !named.parts().all(|part| own.is_some() && socket(&part.bare(), usual_port) == own)
}

/// Host and port of a URL, where the host is an address of digits, or this machine.
fn socket(url: &str, usual_port: u16) -> Option<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next()?.replace("localhost", "127.0.0.1");
    host.parse().ok().or_else(|| Some(SocketAddr::new(host.parse().ok()?, usual_port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_server_may_be_named() {
        let own: SocketAddr = "127.0.0.1:4222".parse().expect("an address");
        for (named, other) in [
            ("nats://127.0.0.1:4222", false),
            ("127.0.0.1", false),
            ("nats://user:word@localhost:4222/", false),
            ("nats://127.0.0.1:4222,nats://localhost", false),
            ("nats://127.0.0.1:4223", true),
            ("nats://broker:4222", true),
            ("nats://127.0.0.1:4222,nats://broker:4222", true),
        ] {
            assert_eq!(is_other(&named.into(), Some(own), BROKER_PORT), other, "{named}");
        }
        assert!(is_other(&"nats://127.0.0.1:4222".into(), None, BROKER_PORT));
        let database = "postgres://argosy:word@127.0.0.1:4224/argosy".into();
        assert!(!is_other(&database, "127.0.0.1:4224".parse().ok(), DATABASE_PORT));
    }
}
