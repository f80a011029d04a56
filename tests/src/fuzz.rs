//! Bad bytes by the million: foreign input changed at random, from a seed, so that every run can be repeated.
//!
//! A small fuzzer of our own on purpose. Coverage-guided ones (`cargo-fuzz`, and `bolero` under its engines)
//! need a nightly compiler, and `bolero` without them only draws random bytes, which never get past the
//! first token of a decoder. Here valid input is the start, kept input the next start, and changes know
//! JSON's and MessagePack's grammar.

pub mod corpus;
pub mod mutate;
pub mod nest;
pub mod random;
