//! The Gemini API.
//!
//! Pure and tabled in tests: [`wire`] reads ([`lenient`] is how), [`generate`] and [`interactions`] write requests and
//! judge answers, [`media`] picks the files in them, [`bounds`] limits what a request can cost,
//! [`sizes`] fits what a job asks to what the API makes, [`errors`] translates refusals,
//! [`usage`] counts. [`client`] moves bytes, [`download`] fetches files without giving the key away.

pub mod bounds;
pub mod client;
pub mod download;
pub mod errors;
pub mod generate;
pub mod interactions;
pub mod lenient;
pub mod media;
pub mod sizes;
pub mod usage;
pub mod wire;
