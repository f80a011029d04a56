//! The simulators over their real sockets.
