//! End to end with real servers and our real binaries, and the workspace's own rules.

mod tidy;
