//! Bad bytes against every decoder of foreign input: no panic, no stack that ends, no memory out of
//! proportion to the input. A binary of its own because it counts its allocations.
//!
//! ```sh
//! cargo test -p tests --test fuzz                                   # a few thousand each, part of `make test`
//! FUZZ_SEED=7 cargo test -p tests --test fuzz -- --nocapture        # with another seed, and the figures
//! make fuzz INPUTS=10000000 SEED=7                                  # ten million in all, optimised
//! ```

mod comfyui;
mod gemini;
mod kept;
mod memory;
mod runpod;
mod target;
mod wire;
