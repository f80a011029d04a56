//! Lists as text: one operation a line, `<milliseconds> <word> <what> <key>=<value>...`; `#` begins a remark.

use std::fmt::Write as _;

use super::{Operation, Order};
use crate::simulation::process::PROCESSES;
use crate::simulation::provider::Trouble;

const BACKENDS: [&str; 3] = ["local", "cloud", "gemini"];
const LANES: [&str; 4] = ["interactive", "standard", "batch", "none"];
const TROUBLES: [(Trouble, &str); 6] = [
    (Trouble::Lost, "lost"),
    (Trouble::Busy, "busy"),
    (Trouble::Quota, "quota"),
    (Trouble::Hang, "hang"),
    (Trouble::Down, "down"),
    (Trouble::Fail, "fail"),
];

/// A list with the seed of everything that it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The seed.
    pub seed: u64,
    /// The operations by time, milliseconds from the beginning.
    pub operations: Vec<(i64, Operation)>,
}

/// Writes a list.
#[must_use]
pub fn write(list: &List) -> String {
    let mut text = format!("seed {}\n", list.seed);
    for (at_ms, operation) in &list.operations {
        let _ = writeln!(text, "{at_ms} {}", words(operation));
    }
    text
}

fn words(operation: &Operation) -> String {
    let name = |process: &usize| PROCESSES[*process].0;
    match operation {
        Operation::Submit(order) => order_words(order),
        Operation::Again { job } => format!("again {job}"),
        Operation::Cancel { job } => format!("cancel {job}"),
        Operation::Remake { consumer } => format!("remake {consumer}"),
        Operation::Purge { job } => format!("purge {job}"),
        Operation::Garble { job } => format!("garble {job}"),
        Operation::Redeliver { job } => format!("redeliver {job}"),
        Operation::Kill { process, for_ms } => format!("kill {} for={for_ms}", name(process)),
        Operation::Pause { process, for_ms } => format!("pause {} for={for_ms}", name(process)),
        Operation::Cut { process, for_ms } => format!("cut {} for={for_ms}", name(process)),
        Operation::Lossy { process, for_ms } => format!("lossy {} for={for_ms}", name(process)),
        Operation::Clock { process, off_ms, stamps_ms } => {
            format!("clock {} off={off_ms} stamps={stamps_ms}", name(process))
        }
        Operation::Drain { process, for_ms } => format!("drain {} for={for_ms}", name(process)),
        Operation::Trap { process, for_ms } => format!("trap {} for={for_ms}", name(process)),
        Operation::Snatch { process, for_ms, cancel_ms } => {
            let cancel = cancel_ms.map(|cancel_ms| format!(" cancel={cancel_ms}")).unwrap_or_default();
            format!("snatch {} for={for_ms}{cancel}", name(process))
        }
        Operation::Sever { process, for_ms } => format!("sever {} for={for_ms}", name(process)),
        Operation::StoreFull { for_ms } => format!("store-full all for={for_ms}"),
        Operation::Provider { backend, trouble, for_ms } => {
            let word = TROUBLES.iter().find(|(known, _)| known == trouble).map_or("", |(_, word)| word);
            format!("provider {} {word} for={for_ms}", BACKENDS[*backend])
        }
        Operation::Restart { backend } => format!("restart {}", BACKENDS[*backend]),
        Operation::LedgerAway { for_ms } => format!("ledger-away all for={for_ms}"),
        Operation::MakeRoom => "make-room events".to_owned(),
        Operation::ClaimsFull { for_ms } => format!("claims-full all for={for_ms}"),
        Operation::Unreadable { process, for_ms } => format!("unreadable {} for={for_ms}", name(process)),
        Operation::Older { process, for_ms } => format!("older {} for={for_ms}", name(process)),
        Operation::StandStill { for_ms } => format!("stand-still all for={for_ms}"),
        Operation::Broker { for_ms } => format!("broker all for={for_ms}"),
    }
}

fn order_words(order: &Order) -> String {
    let mut text = format!("submit {} lane={}", order.job, LANES[order.lane]);
    let mut flag = |is: bool, word: &str| {
        if is {
            text.push(' ');
            text.push_str(word);
        }
    };
    flag(order.large, "class=large");
    flag(order.generous, "tenant=generous");
    flag(order.paid == Some(true), "paid=yes");
    flag(order.paid == Some(false), "paid=no");
    flag(order.away, "away=yes");
    flag(order.invalid, "invalid=yes");
    if let Some(only) = order.only {
        flag(true, &format!("only={}", BACKENDS[only]));
    }
    if let Some(cost) = order.cost_micro_usd {
        flag(true, &format!("cost={cost}"));
    }
    if let Some(deadline_ms) = order.deadline_ms {
        flag(true, &format!("deadline={deadline_ms}"));
    }
    if let Some(key) = order.key {
        flag(true, &format!("key={key}"));
    }
    if let Some(uses) = order.uses {
        flag(true, &format!("uses={uses}"));
    }
    if let Some(input_ms) = order.input_ms {
        flag(true, &format!("input={input_ms}"));
    }
    text
}

/// Reads a list.
///
/// # Errors
/// The line that cannot be read, and why.
pub fn read(text: &str) -> Result<List, String> {
    let mut list = List { seed: 0, operations: Vec::new() };
    for (place, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |why: &str| format!("line {}: {why}: {line}", place + 1);
        let parts: Vec<&str> = line.split_whitespace().collect();
        if let ["seed", seed] = parts[..] {
            list.seed = seed.parse().map_err(|_| wrong("not a seed"))?;
            continue;
        }
        let [at, word, what, rest @ ..] = &parts[..] else { return Err(wrong("too short")) };
        let at_ms = at.parse().map_err(|_| wrong("not a time"))?;
        list.operations.push((at_ms, operation(word, what, rest).map_err(|why| wrong(&why))?));
    }
    list.operations.sort_by_key(|(at_ms, _)| *at_ms);
    Ok(list)
}

fn operation(word: &str, what: &str, rest: &[&str]) -> Result<Operation, String> {
    let job = || what.parse::<u32>().map_err(|_| "not a job's number".to_owned());
    let process = || {
        let at = PROCESSES.iter().position(|(name, _)| *name == what);
        at.ok_or_else(|| "not a process".to_owned())
    };
    let backend = || place(&BACKENDS, what);
    let for_ms = || number(rest, "for").and_then(|found| found.ok_or_else(|| "for= is missing".to_owned()));
    Ok(match word {
        "submit" => Operation::Submit(order(job()?, rest)?),
        "again" => Operation::Again { job: job()? },
        "cancel" => Operation::Cancel { job: job()? },
        "remake" => Operation::Remake { consumer: what.parse().map_err(|_| "not a consumer".to_owned())? },
        "purge" => Operation::Purge { job: job()? },
        "garble" => Operation::Garble { job: job()? },
        "redeliver" => Operation::Redeliver { job: job()? },
        "kill" => Operation::Kill { process: process()?, for_ms: for_ms()? },
        "pause" => Operation::Pause { process: process()?, for_ms: for_ms()? },
        "cut" => Operation::Cut { process: process()?, for_ms: for_ms()? },
        "lossy" => Operation::Lossy { process: process()?, for_ms: for_ms()? },
        "clock" => Operation::Clock {
            process: process()?,
            off_ms: number(rest, "off")?.unwrap_or_default(),
            stamps_ms: number(rest, "stamps")?.unwrap_or_default(),
        },
        "drain" => Operation::Drain { process: process()?, for_ms: for_ms()? },
        "trap" => Operation::Trap { process: process()?, for_ms: for_ms()? },
        "snatch" => {
            Operation::Snatch { process: process()?, for_ms: for_ms()?, cancel_ms: number(rest, "cancel")? }
        }
        "sever" => Operation::Sever { process: process()?, for_ms: for_ms()? },
        "store-full" => Operation::StoreFull { for_ms: for_ms()? },
        "provider" => {
            let trouble = TROUBLES.iter().find(|(_, word)| rest.first() == Some(word));
            let trouble = trouble.ok_or_else(|| "not a trouble".to_owned())?.0;
            Operation::Provider { backend: backend()?, trouble, for_ms: for_ms()? }
        }
        "restart" => Operation::Restart { backend: backend()? },
        "ledger-away" => Operation::LedgerAway { for_ms: for_ms()? },
        "make-room" => Operation::MakeRoom,
        "claims-full" => Operation::ClaimsFull { for_ms: for_ms()? },
        "unreadable" => Operation::Unreadable { process: process()?, for_ms: for_ms()? },
        "older" => Operation::Older { process: process()?, for_ms: for_ms()? },
        "stand-still" => Operation::StandStill { for_ms: for_ms()? },
        "broker" => Operation::Broker { for_ms: for_ms()? },
        _ => return Err("not an operation".to_owned()),
    })
}

fn order(job: u32, rest: &[&str]) -> Result<Order, String> {
    let has = |word: &str| rest.contains(&word);
    let paid = if has("paid=yes") { Some(true) } else { has("paid=no").then_some(false) };
    Ok(Order {
        job,
        lane: place(&LANES, value(rest, "lane").unwrap_or(LANES[1]))?,
        large: has("class=large"),
        generous: has("tenant=generous"),
        paid,
        only: value(rest, "only").map(|only| place(&BACKENDS, only)).transpose()?,
        away: has("away=yes"),
        cost_micro_usd: number(rest, "cost")?,
        deadline_ms: number(rest, "deadline")?,
        invalid: has("invalid=yes"),
        key: small(rest, "key")?,
        uses: small(rest, "uses")?,
        input_ms: number(rest, "input")?,
    })
}

fn place(words: &[&str], word: &str) -> Result<usize, String> {
    words.iter().position(|known| *known == word).ok_or_else(|| format!("`{word}` is not known"))
}

fn value<'a>(rest: &[&'a str], key: &str) -> Option<&'a str> {
    rest.iter().filter_map(|part| part.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn small(rest: &[&str], key: &str) -> Result<Option<u32>, String> {
    let wrong = |_| format!("{key} is not a number");
    number(rest, key)?.map(|found| u32::try_from(found).map_err(wrong)).transpose()
}

fn number(rest: &[&str], key: &str) -> Result<Option<i64>, String> {
    value(rest, key).map(|text| text.parse().map_err(|_| format!("{key} is not a number"))).transpose()
}
