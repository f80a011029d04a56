//! Whether a job may use paid backends, and whose word that is: the operator's for the tenant first, the job's
//! within it.

use std::borrow::Cow;

use schemas::{Listing, PaidConsent};

use super::PlanInput;

/// Whose word decides. Preferring a paid backend is a wish, not consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// The job allows it, and its tenant's word leaves that to the job.
    Job,
    /// The tenant's word is `always`, and the job is silent.
    Tenant,
    /// The job forbids it.
    ForbiddenByJob,
    /// The tenant's word is `when_asked`, and the job is silent.
    NotAsked,
    /// The tenant's word is `never`.
    Never,
    /// The tenant has no entry of its own, and the default's word is `never`.
    NeverByDefault,
    /// The tenant has no entry of its own, and such tenants are refused.
    Refused,
}

impl Consent {
    pub(super) fn of(input: &PlanInput<'_>) -> Self {
        let paid = input.tenant.paid();
        match (paid, input.job.constraints.allow_paid) {
            (PaidConsent::Never, _) => match input.tenant.listing {
                Listing::Own => Self::Never,
                Listing::Default => Self::NeverByDefault,
                Listing::Refused => Self::Refused,
            },
            (_, Some(false)) => Self::ForbiddenByJob,
            (_, Some(true)) => Self::Job,
            (PaidConsent::WhenAsked, None) => Self::NotAsked,
            (PaidConsent::Always, None) => Self::Tenant,
        }
    }

    /// What speaks against a paid backend, without names: a list of these is made for most jobs.
    pub(super) const fn against(self) -> Option<&'static str> {
        match self {
            Self::Job | Self::Tenant => None,
            Self::ForbiddenByJob => Some("it costs money and the job forbids that"),
            Self::NotAsked => Some("it costs money and the job does not allow that"),
            Self::Never => Some("it costs money and the tenant's word is never"),
            Self::NeverByDefault => Some("it costs money and the default word for unlisted tenants is never"),
            Self::Refused => Some("it costs money and unlisted tenants are refused"),
        }
    }

    /// The field that would have to be another.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Job | Self::ForbiddenByJob | Self::NotAsked => "constraints.allow_paid",
            Self::Tenant | Self::Never | Self::NeverByDefault | Self::Refused => "tenant",
        }
    }

    /// Whose word it is, and the one command that changes a no. Short, since each job's decision carries it.
    pub(super) fn words(self, input: &PlanInput<'_>) -> Cow<'static, str> {
        let tenant = input.job.tenant.as_str();
        let of_tenant = |word: &str| Cow::Owned(["the word of tenant ", tenant, word].concat());
        let set_tenant = |[before, name, after]: [&str; 3]| {
            let (command, word) = ("; to allow paid backends: argosy tenants set ", " --paid when_asked");
            Cow::Owned([before, name, after, command, tenant, word].concat())
        };
        match self {
            Self::Job => "the job allows paid backends (constraints.allow_paid), and its tenant's word permits it".into(),
            Self::Tenant => of_tenant(" is always, and the job does not forbid paid backends"),
            Self::ForbiddenByJob => {
                "the job forbids paid backends (constraints.allow_paid); to allow them: argosy submit --allow-paid"
                    .into()
            }
            Self::NotAsked => {
                of_tenant(" is when_asked, and the job does not ask; to ask: argosy submit --allow-paid")
            }
            Self::Never => set_tenant(["the word of tenant ", tenant, " is never"]),
            Self::NeverByDefault => set_tenant(["the default word for unlisted tenants is never", "", ""]),
            Self::Refused => set_tenant(["unlisted tenants are refused", "", ""]),
        }
    }
}
