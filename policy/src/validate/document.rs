//! The four documents as bytes: read and checked by everybody who uses them.

use schemas::{Catalog, PolicyConfig, PriceList, TenantsConfig, codec};
use serde::de::DeserializeOwned;

use super::{ConfigError, guards};
use crate::cost;

/// The keys of the documents.
pub const KEYS: [&str; 4] = ["policy", "catalog", "prices", "tenants"];

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {document}: {reason}")]
pub struct Refused {
    /// Which.
    pub document: String,
    /// The field, what is wrong with it, and the cure.
    pub reason: String,
}

/// A document that processes follow.
pub trait Document: DeserializeOwned {
    /// Its key.
    const KEY: &'static str;

    /// Whether it can be used.
    ///
    /// # Errors
    /// The first field that is wrong.
    fn usable(&self) -> Result<(), ConfigError>;

    /// Whether it says nothing that its readers would not believe: it is refused when it is set, and used without
    /// that word where it is stored already.
    ///
    /// # Errors
    /// The first such field.
    fn believable(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Document for PolicyConfig {
    const KEY: &'static str = "policy";

    fn usable(&self) -> Result<(), ConfigError> {
        super::policy(self)
    }

    fn believable(&self) -> Result<(), ConfigError> {
        guards::policy(self)
    }
}

impl Document for Catalog {
    const KEY: &'static str = "catalog";

    fn usable(&self) -> Result<(), ConfigError> {
        super::catalog(self)
    }

    fn believable(&self) -> Result<(), ConfigError> {
        guards::catalog(self)
    }
}

impl Document for PriceList {
    const KEY: &'static str = "prices";

    fn usable(&self) -> Result<(), ConfigError> {
        cost::validate(self).map_err(|error| match error {
            cost::CostError::BadPrice { index, message } => {
                ConfigError { field: format!("prices[{index}]"), message }
            }
            other => ConfigError { field: "prices".to_owned(), message: other.to_string() },
        })
    }
}

impl Document for TenantsConfig {
    const KEY: &'static str = "tenants";

    fn usable(&self) -> Result<(), ConfigError> {
        super::tenants(self)
    }
}

/// Reads a document that is stored: what every reader does before it follows one.
///
/// # Errors
/// It cannot be read, or a field is wrong.
pub fn read<T: Document>(bytes: &[u8]) -> Result<T, Refused> {
    let refused = |reason: String| Refused { document: T::KEY.to_owned(), reason };
    let document: T = codec::decode(None, bytes).map_err(|error| refused(error.to_string()))?;
    document.usable().map_err(|error| refused(error.to_string()))?;
    Ok(document)
}

/// Checks a document that is to be set: as its readers do, and that it says nothing that they would not believe.
///
/// # Errors
/// As [`read`]; a word that would remove a guard; no document of that name.
pub fn check(key: &str, bytes: &[u8]) -> Result<(), Refused> {
    match key {
        "policy" => check_as::<PolicyConfig>(bytes),
        "catalog" => check_as::<Catalog>(bytes),
        "prices" => check_as::<PriceList>(bytes),
        "tenants" => check_as::<TenantsConfig>(bytes),
        _ => Err(Refused {
            document: key.to_owned(),
            reason: format!("there is none of this name: the documents are {}", KEYS.join(", ")),
        }),
    }
}

/// Checks whether a stored document can be used by its readers.
///
/// # Errors
/// As [`read`].
pub fn check_stored(key: &str, bytes: &[u8]) -> Result<(), Refused> {
    match key {
        "policy" => read::<PolicyConfig>(bytes).map(drop),
        "catalog" => read::<Catalog>(bytes).map(drop),
        "prices" => read::<PriceList>(bytes).map(drop),
        "tenants" => read::<TenantsConfig>(bytes).map(drop),
        _ => check(key, bytes),
    }
}

fn check_as<T: Document>(bytes: &[u8]) -> Result<(), Refused> {
    let document: T = read(bytes)?;
    let believable = document.believable();
    believable.map_err(|error| Refused { document: T::KEY.to_owned(), reason: error.to_string() })
}
