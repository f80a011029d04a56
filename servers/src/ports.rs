//! Free ports for servers that will be restarted on the same port.
//!
//! Port 0 hands out ephemeral ports. A server that is killed gives such a port back to the pool, and any
//! outgoing connection may take it before the restart; a client that keeps dialling it can even connect to
//! itself. So the ports come from below the ephemeral range (32768 on Linux, 49152 elsewhere). Two processes
//! may still pick the same one: whoever starts a server on it finds out, and picks again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const RANGE_START: u16 = 15_000;
const RANGE_LENGTH: u16 = 17_000;
/// Whoever listens on loopback takes a connection at once.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// A machine on which a hundred random ports of seventeen thousand are taken has none to spare.
const TRIES: u16 = 100;

/// A port on 127.0.0.1 that nobody listens on just now.
///
/// # Errors
/// None was free in a hundred tries.
pub fn free_port() -> std::io::Result<u16> {
    // The seed of a fresh hasher is the randomness the standard library offers.
    let random = RandomState::new().build_hasher().finish();
    first_free(u16::try_from(random % u64::from(RANGE_LENGTH)).unwrap_or_default())
}

/// Whether a server may listen on the port, on this address and on loopback, and nobody answers there now. Some systems
/// let a server listen on one address while another listens on all: its clients would meet either.
#[must_use]
pub fn is_free(listen: IpAddr, port: u16) -> bool {
    let binds = |host: IpAddr| TcpListener::bind((host, port)).is_ok();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&local, ANSWER_WITHIN).is_err()
        && binds(listen)
        && binds(Ipv4Addr::LOCALHOST.into())
}

/// Where processes of this machine reach what listens there: loopback where it listens everywhere.
#[must_use]
pub fn reached_at(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

fn first_free(start: u16) -> std::io::Result<u16> {
    (0..TRIES)
        .map(|step| RANGE_START + (start + step) % RANGE_LENGTH)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::AddrInUse, "no free port on 127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over_for_the_next() {
        let held = (0..RANGE_LENGTH)
            .step_by(100)
            .find_map(|start| {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, RANGE_START + start)).ok()?;
                Some((start, listener))
            })
            .expect("one of 170 ports is free");
        let port = first_free(held.0).unwrap();
        assert!(port > RANGE_START + held.0 && port < RANGE_START + held.0 + TRIES, "{port}");
    }

    #[test]
    fn a_port_is_taken_while_somebody_listens_there() {
        let all = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        for held in [IpAddr::from(Ipv4Addr::LOCALHOST), all] {
            let listener = TcpListener::bind((held, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            for listen in [Ipv4Addr::LOCALHOST.into(), all] {
                assert!(!is_free(listen, port), "{held} holds {port}, {listen}");
            }
        }
        let port = free_port().unwrap();
        assert!(is_free(all, port), "{port}");
    }

    #[test]
    fn what_listens_everywhere_is_reached_on_loopback() {
        for (listen, reached) in
            [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")]
        {
            assert_eq!(reached_at(listen.parse().unwrap()).to_string(), reached);
        }
    }

    #[test]
    fn the_range_wraps_around() {
        let port = first_free(RANGE_LENGTH - 1).unwrap();
        assert!((RANGE_START..RANGE_START + RANGE_LENGTH).contains(&port), "{port}");
    }
}
