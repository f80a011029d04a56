//! Whether the four documents are what the fleet goes by, and fit together.

use policy::validate::{self, Document};
use schemas::{Catalog, PolicyConfig, PriceList, TenantsConfig};

use super::{Finding, Verdict};
use client::documents::Stored;

const CHECK: &str = "documents";

/// Judges the documents as they are stored. A refused one is named with the revision that is used in its stead; so is
/// every word that its readers do not believe, and what does not fit between documents.
#[must_use]
pub fn documents(
    policy: &Stored<PolicyConfig>,
    catalog: &Stored<Catalog>,
    prices: &Stored<PriceList>,
    tenants: &Stored<TenantsConfig>,
    now_ms: i64,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        [judge(policy), judge(catalog), judge(prices), judge(tenants)].into_iter().flatten().collect();
    if let (Some((_, policy)), Some((_, catalog)), Some((_, prices))) =
        (&policy.used, &catalog.used, &prices.used)
    {
        for misfit in validate::across(policy, catalog, prices, now_ms) {
            let cure = "mend the document and set it with `argosy config set`";
            findings.push(Finding::not(Verdict::Warning, CHECK, misfit.to_string(), cure));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, "all four are good and fit together"));
    }
    findings
}

/// What is wrong with one document, if anything is.
fn judge<T: Document>(stored: &Stored<T>) -> Option<Finding> {
    let cure = format!("`argosy config show {0} > FILE`, mend it, `argosy config set {0} FILE`", T::KEY);
    let newest = stored.revision;
    if let Err(refused) = validate::check_stored(T::KEY, &stored.text) {
        let instead = match &stored.used {
            Some((used, _)) => {
                format!("every process uses revision {used} in its stead, and nothing new is paid")
            }
            None => "no earlier revision is good: processes that start end with exit code 78".to_owned(),
        };
        let seen = format!("revision {newest} of {refused}; it is refused, {instead}");
        return Some(Finding::not(Verdict::Bad, CHECK, seen, cure));
    }
    let doubted = validate::check(T::KEY, &stored.text).err()?;
    let seen = format!("revision {newest} of {doubted}; that word is not followed");
    Some(Finding::not(Verdict::Warning, CHECK, seen, cure))
}

#[cfg(test)]
mod tests {
    use policy::defaults;
    use serde_json::{Value, json};

    use super::*;

    const NOW_MS: i64 = schemas::samples::TIME_MS;

    fn stored<T: Document>(text: &str, used: Option<&str>) -> Stored<T> {
        let used = used.map(|text| (6, validate::read(text.as_bytes()).expect("a good document")));
        Stored { revision: 7, text: text.as_bytes().to_vec(), used }
    }

    fn shipped<T: Document>(text: &str) -> Stored<T> {
        stored(text, Some(text))
    }

    fn of_policy(policy: &Stored<PolicyConfig>) -> Vec<Finding> {
        let (catalog, prices) = (shipped(defaults::CATALOG_JSON), shipped(defaults::PRICES_JSON));
        documents(policy, &catalog, &prices, &shipped(defaults::TENANTS_JSON), NOW_MS)
    }

    #[test]
    fn the_shipped_documents_are_good_and_fit() {
        let findings = of_policy(&shipped(defaults::POLICY_JSON));
        assert!(matches!(&findings[..], [finding] if finding.verdict == Verdict::Good), "{findings:?}");
    }

    #[test]
    fn a_refused_document_is_named_with_what_is_used_in_its_stead() {
        let mut broken: Value = serde_json::from_str(defaults::POLICY_JSON).expect("JSON");
        broken["max_attempts"] = json!(0);
        let findings = of_policy(&stored(&broken.to_string(), Some(defaults::POLICY_JSON)));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.verdict, Verdict::Bad);
        for word in ["revision 7", "document policy", "max_attempts", "revision 6", "nothing new is paid"] {
            assert!(finding.seen.contains(word), "{word}: {}", finding.seen);
        }
        let findings = of_policy(&stored("[]", None));
        assert!(findings[0].verdict == Verdict::Bad && findings[0].seen.contains("78"), "{findings:?}");
    }

    #[test]
    fn a_word_that_is_not_believed_is_named() {
        let free: String = defaults::POLICY_JSON.replace("\"paid\": true", "\"paid\": false");
        let findings = of_policy(&shipped(&free));
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Warning), "{findings:?}");
        assert!(findings[0].seen.contains("backends[1].paid"), "{findings:?}");
    }

    #[test]
    fn a_price_that_is_missing_is_named() {
        let prices = defaults::PRICES_JSON.replace("\"ampere-24\"", "\"ampere-25\"");
        let findings = documents(
            &shipped(defaults::POLICY_JSON),
            &shipped(defaults::CATALOG_JSON),
            &shipped(&prices),
            &shipped(defaults::TENANTS_JSON),
            NOW_MS,
        );
        assert_eq!(findings.len(), 4, "one for each class of cloud: {findings:?}");
        assert!(findings.iter().all(|finding| finding.seen.contains("no price")), "{findings:?}");
    }
}
