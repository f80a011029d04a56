//! The judge judged: runs, sums, and the bound against exhaustive search.

mod bound;
mod brute;
mod plan;
mod runs;
