//! Names that people write differently, and how far one is from another.

/// Letters of a name that are compared.
const COMPARED_MAX_CHARS: usize = 64;

/// A name without what people write differently: `maxCost-microUSD` is `maxcostmicrousd`.
pub(super) fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .take(COMPARED_MAX_CHARS)
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many letters have to be put in, left out, changed, or swapped with the next, to make one name of the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The nearest of some names, and how far it is.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<(&'static str, usize)> {
    let name = plain(name);
    let near = known.iter().map(|known| (*known, distance(&name, &plain(known))));
    near.min_by_key(|(_, distance)| *distance)
}

/// The words of a name: `maxCost_usd` is `max`, `cost`, `usd`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "ab", 2),
            ("lane", "lane", 0),
            ("lane", "lnae", 1),
            ("lane", "line", 1),
            ("lane", "lanes", 1),
            ("allowpaid", "allowpay", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
