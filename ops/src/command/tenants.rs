//! `argosy tenants`: who may use paid backends, and for how much. A change of the document `tenants` in one command.

use super::session::Session;
use crate::exit::Usage;
use crate::money;
use crate::say::{say, say_json};
use crate::table::{Align, Table};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use client::documents;
use schemas::{MicroUsd, PaidConsent, Tenant, TenantConfig, TenantsConfig, Unlisted};

/// Whose jobs may use paid backends, and for how much. A change holds everywhere within moments.
#[derive(Debug, Args)]
#[command(
    after_help = "The word on paid backends is `never` (no, whatever a job says), `when_asked` (only jobs with \
    --allow-paid) or `always` (all but jobs with --no-paid). Tenants without an entry of their own share the default \
    and its budgets.\n\nExamples:\n  \
    argosy tenants\n  \
    argosy tenants set studio-a --paid when_asked --daily-usd 5\n  \
    argosy tenants default --paid never --unlisted refuse\n  \
    argosy tenants remove studio-a"
)]
pub(crate) struct Tenants {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Change a tenant's entry. A new one begins as a copy of the default
    Set {
        /// Which
        tenant: Tenant,
        #[command(flatten)]
        change: Change,
    },
    /// Change what holds for tenants without an entry
    Default {
        #[command(flatten)]
        change: Change,
        /// Whether such tenants share the default and its budgets, or have their jobs refused
        #[arg(long, value_name = "WORD", value_parser = unlisted())]
        unlisted: Option<Unlisted>,
    },
    /// Remove a tenant's entry: the default holds for it from then on
    Remove {
        /// Which
        tenant: Tenant,
    },
}

#[derive(Debug, Clone, Copy, Args)]
struct Change {
    /// The word on paid backends
    #[arg(long, value_name = "WORD", value_parser = paid())]
    paid: Option<PaidConsent>,
    /// Budget of a day (UTC) in dollars, or `none` for no limit
    #[arg(long, value_name = "USD", value_parser = budget)]
    daily_usd: Option<Budget>,
    /// Budget of a month (UTC) in dollars, or `none` for no limit
    #[arg(long, value_name = "USD", value_parser = budget)]
    monthly_usd: Option<Budget>,
}

#[derive(Debug, Clone, Copy)]
struct Budget(Option<MicroUsd>);

fn paid() -> impl clap::builder::TypedValueParser<Value = PaidConsent> {
    PossibleValuesParser::new(PaidConsent::ALL.map(PaidConsent::as_str))
        .try_map(|word| word.parse::<PaidConsent>())
}

fn unlisted() -> impl clap::builder::TypedValueParser<Value = Unlisted> {
    PossibleValuesParser::new(["share", "refuse"])
        .map(|word| if word == "refuse" { Unlisted::Refuse } else { Unlisted::Share })
}

fn budget(text: &str) -> Result<Budget, money::NotAnAmount> {
    if text == "none" { Ok(Budget(None)) } else { money::parse(text).map(|amount| Budget(Some(amount))) }
}

impl Change {
    const fn is_empty(self) -> bool {
        self.paid.is_none() && self.daily_usd.is_none() && self.monthly_usd.is_none()
    }

    fn apply(self, config: &mut TenantConfig) {
        config.allow_paid = self.paid.unwrap_or(config.allow_paid);
        config.daily_micro_usd = self.daily_usd.map_or(config.daily_micro_usd, |budget| budget.0);
        config.monthly_micro_usd = self.monthly_usd.map_or(config.monthly_micro_usd, |budget| budget.0);
    }
}

impl Tenants {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let nothing = || Usage("nothing to change: give --paid, --daily-usd or --monthly-usd".to_owned());
        let jetstream = &session.broker().await?.jetstream;
        let (_, tenants) = match self.action {
            None => documents::tenants(jetstream).await?,
            Some(Action::Set { change, .. }) if change.is_empty() => return Err(nothing().into()),
            Some(Action::Default { change, unlisted: None }) if change.is_empty() => {
                return Err(nothing().into());
            }
            Some(action) => documents::change_tenants(jetstream, |tenants| action.apply(tenants)).await?,
        };
        if session.json {
            return say_json(&tenants);
        }
        say(text(&tenants));
        Ok(())
    }
}

impl Action {
    fn apply(&self, tenants: &mut TenantsConfig) -> Result<(), Usage> {
        match self {
            Self::Set { tenant, change } => {
                let default = &tenants.default;
                change.apply(tenants.tenants.entry(tenant.clone()).or_insert_with(|| default.clone()));
            }
            Self::Default { change, unlisted } => {
                change.apply(&mut tenants.default);
                tenants.unlisted = unlisted.unwrap_or(tenants.unlisted);
            }
            Self::Remove { tenant } => {
                let removed = tenants.tenants.remove(tenant);
                removed.ok_or_else(|| {
                    Usage(format!("tenant {tenant} has no entry: `argosy tenants` lists them"))
                })?;
            }
        }
        Ok(())
    }
}

fn text(tenants: &TenantsConfig) -> Table {
    let columns = [
        ("tenant", Align::Left),
        ("paid backends", Align::Left),
        ("daily", Align::Right),
        ("monthly", Align::Right),
        ("backends", Align::Flow),
    ];
    let limit =
        |limit: Option<MicroUsd>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let row = |name: String, config: &TenantConfig| {
        let backends = config.backends.as_ref().map_or_else(
            || "all".to_owned(),
            |backends| backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        );
        let paid = config.allow_paid.to_string();
        vec![name, paid, limit(config.daily_micro_usd), limit(config.monthly_micro_usd), backends]
    };
    let mut rows: Vec<_> =
        tenants.tenants.iter().map(|(name, config)| row(name.to_string(), config)).collect();
    rows.push(match tenants.unlisted {
        Unlisted::Share => row("(all others, together)".to_owned(), &tenants.default),
        Unlisted::Refuse => vec!["(all others)".to_owned(), "refused".to_owned()],
    });
    if tenants.fleet_daily_micro_usd.is_some() || tenants.fleet_monthly_micro_usd.is_some() {
        let (daily, monthly) = (limit(tenants.fleet_daily_micro_usd), limit(tenants.fleet_monthly_micro_usd));
        rows.push(vec!["(the whole fleet)".to_owned(), String::new(), daily, monthly]);
    }
    rows.iter_mut().for_each(|row| row.resize(columns.len(), String::new()));
    Table::new(&columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Screen;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        tenants: Tenants,
    }

    fn change(document: &str, line: &str) -> Result<TenantsConfig, String> {
        let words = std::iter::once("tenants").chain(line.split(' '));
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let mut tenants = serde_json::from_str(document).expect("a document");
        parsed.tenants.action.expect("an action").apply(&mut tenants).map_err(|error| error.to_string())?;
        Ok(tenants)
    }

    const OLD: &str = r#"{
        "default": { "allow_paid": false, "daily_micro_usd": 100000, "backends": ["local", "cloud"] },
        "tenants": { "studio-a": { "allow_paid": true, "monthly_micro_usd": 7 } }
    }"#;

    #[test]
    fn a_new_entry_brings_no_more_than_the_default_had() {
        let changed = change(OLD, "set studio-b --paid always").expect("changed");
        let entry = &changed.tenants[&"studio-b".parse().expect("a name")];
        assert_eq!(entry.daily_micro_usd, Some(MicroUsd(100_000)));
        assert_eq!(entry.backends.as_ref().map(Vec::len), Some(2));
        assert_eq!(entry.allow_paid, PaidConsent::Always);
        assert_eq!(changed.default.allow_paid, PaidConsent::WhenAsked, "the others are as they were");
        let shown = text(&changed).set(Screen::PLAIN);
        assert!(shown.contains("(all others, together)") && shown.contains("$0.10"), "{shown}");
    }

    #[test]
    fn only_what_is_named_changes() {
        let changed = change(OLD, "set studio-a --paid never --daily-usd 0.5").expect("changed");
        let entry = &changed.tenants[&"studio-a".parse().expect("a name")];
        let amounts = (entry.daily_micro_usd, entry.monthly_micro_usd);
        assert_eq!(
            (entry.allow_paid, amounts),
            (PaidConsent::Never, (Some(MicroUsd(500_000)), Some(MicroUsd(7))))
        );
        let changed = change(OLD, "default --daily-usd none --unlisted refuse").expect("changed");
        assert_eq!((changed.default.daily_micro_usd, changed.unlisted), (None, Unlisted::Refuse));
        assert!(text(&changed).set(Screen::PLAIN).contains("refused"));
        assert!(change(OLD, "remove studio-a").expect("changed").tenants.is_empty());
    }

    #[test]
    fn what_is_not_there_or_not_known_is_refused() {
        let unknown = change(OLD, "set studio-a --paid sometimes").expect_err("refused");
        assert!(unknown.contains("never, when_asked, always"), "{unknown}");
        assert!(change(OLD, "remove studio-z").expect_err("refused").contains("studio-z has no entry"));
        assert!(change(OLD, "set studio-a --daily-usd -1").is_err());
        assert!(
            change(OLD, "set studio-a --daily-usd 1.0000001").expect_err("refused").contains("six decimal")
        );
    }
}
