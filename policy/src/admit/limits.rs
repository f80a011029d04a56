//! Limits of what a client writes that no configuration changes.

/// The longest label or label name, bytes.
pub const LABEL_MAX_BYTES: usize = 256;
/// The longest name of an input file, bytes: what file systems take.
pub const INPUT_NAME_MAX_BYTES: usize = 255;
