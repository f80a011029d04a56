//! The document `tenants`: words of today, and the `true` and `false` of older documents.

use schemas::{Encoding, Listing, PaidConsent, TenantsConfig, Unlisted, codec};
use serde_json::{Value, json};

fn read(document: &Value) -> TenantsConfig {
    let as_json = codec::decode::<TenantsConfig>(None, &serde_json::to_vec(document).expect("JSON"));
    let packed = Encoding::MessagePack.encode(document);
    let as_message_pack = Encoding::MessagePack.decode::<TenantsConfig>(&packed);
    assert_eq!(as_json, as_message_pack, "both encodings say the same");
    as_json.expect("a document")
}

#[test]
fn what_older_documents_say_is_read_as_it_was_meant() {
    let old = read(&json!({
        "default": { "allow_paid": false },
        "tenants": {
            "studio-a": { "allow_paid": true, "daily_micro_usd": 5_000_000 },
            "studio-b": { "allow_paid": false, "backends": ["local"] },
        },
        "fleet_daily_micro_usd": 7,
    }));
    assert_eq!(old.default.allow_paid, PaidConsent::WhenAsked);
    let of = |name: &str| old.of(&name.parse().expect("a name")).paid();
    assert_eq!(of("studio-a"), PaidConsent::Always);
    assert_eq!(of("studio-b"), PaidConsent::WhenAsked);
    assert_eq!(of("anybody"), PaidConsent::WhenAsked);
    assert_eq!(old.unlisted, Unlisted::Share, "as it was before the setting");
    // Written again, it has today's words, and no setting that older processes refuse to read.
    let again = serde_json::to_value(&old).expect("plain data");
    assert_eq!(again["default"], json!({ "allow_paid": "when_asked" }));
    assert_eq!(again["tenants"]["studio-a"]["allow_paid"], "always");
    assert!(again.get("unlisted").is_none(), "{again}");
    assert_eq!(read(&again), old);
}

#[test]
fn each_word_is_read_and_written() {
    for word in PaidConsent::ALL {
        let document =
            json!({ "default": { "allow_paid": word.as_str() }, "unlisted": "refuse", "tenants": {} });
        let read = read(&document);
        assert_eq!(read.default.allow_paid, word);
        assert_eq!(serde_json::to_value(&read).expect("plain data"), document);
        assert_eq!(word.to_string().parse(), Ok(word));
    }
}

#[test]
fn an_unknown_word_is_refused_with_its_field_and_the_words_there_are() {
    let error = |document: Value| {
        let packed = Encoding::MessagePack.encode(&document);
        let packed = Encoding::MessagePack.decode::<TenantsConfig>(&packed).expect_err("refused").to_string();
        let error = codec::decode::<TenantsConfig>(None, document.to_string().as_bytes());
        let error = error.expect_err("refused").to_string();
        assert!(packed.starts_with("field `") && packed.contains("never, when_asked or always"), "{packed}");
        error
    };
    let wrong = error(
        json!({ "default": { "allow_paid": "never" }, "tenants": { "x": { "allow_paid": "sometimes" } } }),
    );
    assert!(wrong.contains("tenants.x.allow_paid"), "{wrong}");
    assert!(wrong.contains("allow_paid is `sometimes`: use never, when_asked or always"), "{wrong}");
    // A word must be written as it is: money is not spent on a guess at what was meant.
    for other in [json!("Always"), json!("true"), json!(""), json!(1), json!(null), json!(["always"])] {
        let wrong = error(json!({ "default": { "allow_paid": other } }));
        assert!(
            wrong.contains("default.allow_paid") && wrong.contains("never, when_asked or always"),
            "{wrong}"
        );
    }
}

#[test]
fn a_jobs_word_counts_within_the_operators() {
    let table = [
        (PaidConsent::Never, [false, false, false]),
        (PaidConsent::WhenAsked, [false, false, true]),
        (PaidConsent::Always, [false, true, true]),
    ];
    for (word, expected) in table {
        let found = [Some(false), None, Some(true)].map(|job| word.permits(job));
        assert_eq!(found, expected, "{word}");
    }
}

#[test]
fn whoever_is_refused_spends_nothing_whatever_the_default_says() {
    let config = read(&json!({
        "default": { "allow_paid": "always" }, "unlisted": "refuse",
        "tenants": { "studio-a": { "allow_paid": "when_asked" } },
    }));
    let of = |name: &str| config.of(&name.parse().expect("a name"));
    assert_eq!((of("studio-a").listing, of("studio-a").paid()), (Listing::Own, PaidConsent::WhenAsked));
    assert_eq!((of("studio-z").listing, of("studio-z").paid()), (Listing::Refused, PaidConsent::Never));
}
