//! The decisions of `policy`, held by tables that read like sentences and by laws that hold for all input.

mod defaults;
