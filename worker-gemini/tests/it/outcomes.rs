//! The table of outcomes: what each answer becomes, whether it may be asked for again, and what is booked.

use schemas::{Failure, FailureCode, Kind, Usage};
use worker_gemini::gemini::wire::{GenerateReply, Interaction};
use worker_gemini::gemini::{errors, generate, interactions, usage};

const TABLE: &str = include_str!("../tables/outcomes.txt");

/// What an answer became.
struct Ended {
    files: usize,
    failure: Option<Failure>,
    usage: Vec<Usage>,
}

fn generated(answer: &str) -> Ended {
    let reply: GenerateReply =
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
    let files = generate::media(&reply).len();
    let usage = usage::of_tokens(reply.tokens.as_ref(), Kind::Image, files > 0);
    let failure = (files == 0).then(|| errors::charged(generate::failure(&reply), &usage));
    Ended { files, failure, usage }
}

fn interaction(answer: &str) -> Ended {
    let reply: Interaction = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
    assert!(reply.status.is_terminal(), "{answer}");
    let files = interactions::media(&reply, Kind::Image).len();
    let usage = usage::of_interaction(&reply, Kind::Image, files > 0);
    let failure = (files == 0).then(|| errors::charged(interactions::failure(&reply), &usage));
    Ended { files, failure, usage }
}

fn refused(answer: &str) -> Ended {
    let (status, body) = answer.split_once(' ').expect("a status and a body");
    let failure = errors::refused(status.parse().expect("a status"), body, None, "some-model", 0);
    Ended { files: 0, failure: Some(failure), usage: Vec::new() }
}

/// May be started again without anybody's word: what the policy does with these codes.
fn comes_again(code: FailureCode) -> bool {
    use FailureCode as Code;
    matches!(
        code,
        Code::Transient
            | Code::RateLimited
            | Code::Timeout
            | Code::QuotaExhausted
            | Code::BackendDown
            | Code::Interrupted
            | Code::OutOfMemory
            | Code::OutcomeUnknown
    )
}

/// As the runtime books: the usage where there is one, else all of the reservation where the work was done or
/// may have been, and nothing where it was refused.
fn booked(ended: &Ended, was_taken: bool) -> &'static str {
    use FailureCode as Code;
    if !ended.usage.is_empty() {
        return if ended.usage.iter().any(|part| part.quantity > 0) { "counted" } else { "nothing" };
    }
    match ended.failure.as_ref().map(|failure| failure.code) {
        None | Some(Code::UnusableResult | Code::NotStored | Code::OutcomeUnknown | Code::Timeout) => "all",
        Some(Code::Transient) if was_taken => "all",
        Some(_) => "nothing",
    }
}

#[test]
fn every_outcome() {
    let mut rows = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [family, answer, outcome, again, charge] = cells[..] else { panic!("five cells: {line}") };
        let ended = match family {
            "generate" => generated(answer),
            "interaction" => interaction(answer),
            "http" => refused(answer),
            family => panic!("{family}?"),
        };
        match &ended.failure {
            None => assert_eq!(
                format!("{} file{}", ended.files, if ended.files == 1 { "" } else { "s" }),
                outcome,
                "{line}"
            ),
            Some(failure) => {
                assert_eq!(failure.code.as_str(), outcome, "{line}");
                assert!(!failure.message.is_empty(), "{line}");
                assert!(
                    !answer.contains("\"words\"") || failure.provider_words.as_deref() == Some("words"),
                    "{line}"
                );
            }
        }
        let code = ended.failure.as_ref().map(|failure| failure.code);
        assert_eq!(code.is_some_and(comes_again), again == "yes", "{line}");
        assert_eq!(booked(&ended, family == "interaction"), charge, "{line}");
        if usage::is_charged(&ended.usage) {
            assert!(!code.is_some_and(comes_again), "charged, and asked for again: {line}");
        }
        rows += 1;
    }
    assert!(rows > 60, "{rows}");
}

#[test]
fn a_failure_names_the_end_and_the_shape_and_quotes_the_provider() {
    let failure = |answer: &str| generated(answer).failure.expect("no picture");
    let words = failure(
        r#"{"candidates":[{"content":{"parts":[{"text":"Hmm.","thought":true},{"text":"I will not."}]},"finishReason":"STOP"}]}"#,
    );
    assert_eq!(words.message, "Gemini made no picture: STOP, only text of its thoughts, text");
    assert_eq!(words.provider_words.as_deref(), Some("I will not."));
    let call = failure(
        r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"Malformed function call: draw()","content":{"parts":[{"functionCall":{"name":"draw"}}]}}]}"#,
    );
    assert!(call.message.contains("MALFORMED_FUNCTION_CALL, only functionCall"), "{}", call.message);
    assert_eq!(call.provider_words.as_deref(), Some("Malformed function call: draw()"));
    let sound = failure(
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"audio/wav","data":"YQ=="}}]}}]}"#,
    );
    assert!(sound.message.contains("inlineData of audio/wav"), "{}", sound.message);
    let long =
        format!(r#"{{"candidates":[{{"finishReason":"OTHER","finishMessage":"{}"}}]}}"#, "ä".repeat(5_000));
    let quoted = failure(&long).provider_words.expect("quoted").len();
    assert!(quoted <= Failure::PROVIDER_WORDS_MAX_BYTES && quoted > 1_900, "{quoted}");
    let both = interaction(
        r#"{"status":"failed","errors":[{"code":13,"message":"one"}],"steps":[{"type":"model_output","error":{"code":13,"message":"two"}}]}"#,
    );
    assert_eq!(both.failure.expect("failed").provider_words.as_deref(), Some("one\ntwo"));
}

#[test]
fn what_is_no_answer_is_unreadable() {
    for odd in
        ["<html>Sign in</html>", "", "null", "[]", "[1]", "7", "\"words\"", "{\"candidates\": [", "[null]"]
    {
        assert!(serde_json::from_str::<GenerateReply>(odd).is_err(), "{odd}");
        assert!(serde_json::from_str::<Interaction>(odd).is_err(), "{odd}");
    }
}
