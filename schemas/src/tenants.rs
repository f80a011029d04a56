//! Whose jobs may do what, and who may spend: the document `tenants` of the `CONFIG` bucket, hot reloaded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Backend, MicroUsd, Tenant};

/// Whose jobs may do what: the key `tenants`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantsConfig {
    /// For tenants without an entry of their own, who share its budgets.
    pub default: TenantConfig,
    /// By name.
    #[serde(default)]
    pub tenants: BTreeMap<Tenant, TenantConfig>,
    /// Tenants without an entry of their own: `share` the default, or `refuse` their jobs.
    #[serde(default, skip_serializing_if = "Unlisted::is_share")]
    pub unlisted: Unlisted,
    /// What the whole fleet may spend in a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_daily_micro_usd: Option<MicroUsd>,
    /// What the whole fleet may spend in a month (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_monthly_micro_usd: Option<MicroUsd>,
}

/// One tenant's policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// Whether the tenant's jobs may use paid backends: `never`, `when_asked` or `always`.
    pub allow_paid: PaidConsent,
    /// Only these backends; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
    /// Its share of our own slots beside the other tenants that wait, 1 to 1,000: who has 2 gets twice as much as who has
    /// 1. Absent: 1. For `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Budget of a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_micro_usd: Option<MicroUsd>,
    /// Budget of a month (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_micro_usd: Option<MicroUsd>,
}

impl TenantConfig {
    /// The largest weight.
    pub const WEIGHT_MAX: u32 = 1_000;

    /// Its share of our own slots beside other tenants.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.weight.unwrap_or(1).clamp(1, Self::WEIGHT_MAX))
    }
}

/// The operator's word on paid backends. A job's own word counts only within it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaidConsent {
    /// No, whatever the job says.
    #[default]
    Never,
    /// Only jobs that ask for it: `allow_paid: true`.
    WhenAsked,
    /// Unless the job forbids it: `allow_paid: false`.
    Always,
}

impl PaidConsent {
    /// All words.
    pub const ALL: [Self; 3] = [Self::Never, Self::WhenAsked, Self::Always];

    /// Its token in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::WhenAsked => "when_asked",
            Self::Always => "always",
        }
    }

    /// Whether a job may use paid backends, given its own word.
    #[must_use]
    pub const fn permits(self, job_allows: Option<bool>) -> bool {
        match self {
            Self::Never => false,
            Self::WhenAsked => matches!(job_allows, Some(true)),
            Self::Always => !matches!(job_allows, Some(false)),
        }
    }
}

impl fmt::Display for PaidConsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is none of the three.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allow_paid is `{0}`: use never, when_asked or always")]
pub struct UnknownConsent(String);

impl FromStr for PaidConsent {
    type Err = UnknownConsent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|word| word.as_str() == text);
        known.ok_or_else(|| UnknownConsent(text.to_owned()))
    }
}

impl Serialize for PaidConsent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Documents of the first versions have `true` and `false`, which are `always` and `when_asked`: that is how those
/// versions took them.
impl<'de> Deserialize<'de> for PaidConsent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl de::Visitor<'_> for Words {
            type Value = PaidConsent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("allow_paid to be never, when_asked or always")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PaidConsent, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bool<E: de::Error>(self, is_allowed: bool) -> Result<PaidConsent, E> {
                Ok(if is_allowed { PaidConsent::Always } else { PaidConsent::WhenAsked })
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for PaidConsent {
    fn schema_name() -> Cow<'static, str> {
        "PaidConsent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The operator's word on paid backends. A job's own word counts only within it.",
            "oneOf": [
                { "const": "never", "description": "No, whatever the job says." },
                { "const": "when_asked", "description": "Only jobs that ask for it: `allow_paid: true`." },
                { "const": "always", "description": "Unless the job forbids it: `allow_paid: false`." },
                {
                    "type": "boolean",
                    "deprecated": true,
                    "description": "Older documents: `true` is `always`, `false` is `when_asked`.",
                },
            ],
        })
    }
}

/// What becomes of tenants without an entry of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unlisted {
    /// The default holds for them, and they share one budget: the default's.
    #[default]
    Share,
    /// Their jobs are refused.
    Refuse,
}

impl Unlisted {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_share(&self) -> bool {
        matches!(self, Self::Share)
    }
}

/// Where a tenant's policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    /// An entry of its own.
    Own,
    /// The default, whose budgets it shares with all other unlisted tenants.
    Default,
    /// The default, and its jobs are not taken in.
    Refused,
}

/// The policy that holds for one tenant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TenantPolicy<'a> {
    /// Where it comes from.
    pub listing: Listing,
    /// Backends and budgets. For the word on paid backends ask [`Self::paid`].
    pub config: &'a TenantConfig,
}

impl TenantPolicy<'_> {
    /// The operator's word on paid backends. A job that was taken in before its tenant was refused spends nothing.
    #[must_use]
    pub const fn paid(&self) -> PaidConsent {
        match self.listing {
            Listing::Own | Listing::Default => self.config.allow_paid,
            Listing::Refused => PaidConsent::Never,
        }
    }
}

impl TenantsConfig {
    /// The policy that holds for a tenant.
    #[must_use]
    pub fn of(&self, tenant: &Tenant) -> TenantPolicy<'_> {
        match (self.tenants.get(tenant), self.unlisted) {
            (Some(config), _) => TenantPolicy { listing: Listing::Own, config },
            (None, Unlisted::Share) => TenantPolicy { listing: Listing::Default, config: &self.default },
            (None, Unlisted::Refuse) => TenantPolicy { listing: Listing::Refused, config: &self.default },
        }
    }
}
