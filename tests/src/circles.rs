//! Circles of files: files of a crate that use each other, directly or around a corner. They are found from the text:
//! `use` declarations and paths that begin with `crate`, `self`, `super` or a module that the file declares.
//!
//! A `mod` line and a re-export are no use: a module may hold its children and pass their names on. A name that a
//! module re-exports is followed to the file that defines it. Code behind `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path inside its crate; the root's is empty.
type Module = Vec<String>;

/// How many re-exports of a name are followed.
const HOPS_MAX: usize = 8;

/// The files of a crate by their module.
#[derive(Debug, Default)]
pub struct Sources {
    texts: BTreeMap<Module, String>,
}

impl Sources {
    /// Reads all files below a crate's `src`.
    ///
    /// # Errors
    /// A folder or file cannot be read.
    pub fn read(src: &Path) -> std::io::Result<Self> {
        let mut sources = Self::default();
        sources.read_folder(src, &mut Vec::new())?;
        Ok(sources)
    }

    fn read_folder(&mut self, folder: &Path, module: &mut Module) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // Programs of a crate use its library, never the other way round.
                if module.is_empty() && stem == "bin" {
                    continue;
                }
                module.push(stem);
                self.read_folder(&path, module)?;
                module.pop();
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path)?;
                match (module.is_empty(), stem.as_str()) {
                    (true, "main") => {}
                    (true, "lib") => self.add(&[], &text),
                    (false, "mod") => self.add(module, &text),
                    _ => self.add(&[module.as_slice(), &[stem]].concat(), &text),
                }
            }
        }
        Ok(())
    }

    /// Adds one file.
    pub fn add(&mut self, module: &[String], text: &str) {
        self.texts.insert(module.to_vec(), code(text));
    }

    /// The groups of files that use each other, each by the paths of its modules (`lib` for the root).
    #[must_use]
    pub fn circles(&self) -> Vec<Vec<String>> {
        let arrows: BTreeMap<&Module, BTreeSet<Module>> =
            self.texts.keys().map(|module| (module, self.used_by(module))).collect();
        let reach: BTreeMap<&Module, BTreeSet<Module>> =
            arrows.keys().map(|module| (*module, reachable(module, &arrows))).collect();
        let mut grouped = BTreeSet::new();
        let mut circles = Vec::new();
        for module in arrows.keys() {
            if grouped.contains(*module) || !reach[module].contains(*module) {
                continue;
            }
            let circle: Vec<&Module> =
                reach[module].iter().filter(|other| reach[other].contains(*module)).collect();
            grouped.extend(circle.iter().copied().cloned());
            circles.push(circle.into_iter().map(&name).collect());
        }
        circles
    }

    /// The files that a file uses, itself left out.
    fn used_by(&self, module: &Module) -> BTreeSet<Module> {
        let (declared, text) = split(&self.texts[module]);
        let uses = declared.into_iter().filter(|(public, _)| !public).map(|(_, path)| path);
        let inline = paths(&text, |first| self.is_child(module, first));
        let all = uses.chain(inline).filter_map(|path| self.resolve(module, &path, HOPS_MAX));
        all.filter(|used| used != module).collect()
    }

    fn is_child(&self, module: &Module, name: &str) -> bool {
        self.texts.contains_key(&[module.as_slice(), &[name.to_owned()]].concat())
    }

    /// The file that a path leads to; none for a path into another crate.
    fn resolve(&self, from: &Module, path: &[String], hops: usize) -> Option<Module> {
        let mut rest = path.iter().map(String::as_str).peekable();
        let mut at: Module = match rest.next()? {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from.split_last()?.1.to_vec(),
            first if self.is_child(from, first) => [from.as_slice(), &[first.to_owned()]].concat(),
            _ => return None,
        };
        while let Some(next) = rest.peek() {
            if *next == "super" {
                at.pop()?;
            } else if self.is_child(&at, next) {
                at.push((*next).to_owned());
            } else {
                break;
            }
            rest.next();
        }
        let Some(name) = rest.next() else { return Some(at) };
        self.passed_on(&at, name, hops).or(Some(at))
    }

    /// Where a name comes from that a module re-exports.
    fn passed_on(&self, module: &Module, name: &str, hops: usize) -> Option<Module> {
        let hops = hops.checked_sub(1)?;
        let declared = declarations(self.texts.get(module)?);
        let path = declared.into_iter().find(|(_, path)| path.last().is_some_and(|last| last == name))?.1;
        self.resolve(module, &path, hops)
    }
}

fn name(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("/") }
}

fn reachable(from: &Module, arrows: &BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&Module> = arrows[from].iter().collect();
    while let Some(module) = next.pop() {
        if found.insert(module.clone()) {
            next.extend(arrows.get(module).into_iter().flatten());
        }
    }
    found
}

/// The text without comments and without what only tests compile.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path that a file declares by `use`, and whether it passes the name on.
fn declarations(text: &str) -> Vec<(bool, Vec<String>)> {
    split(text).0
}

/// The `use` declarations of a file, and the text without them.
fn split(text: &str) -> (Vec<(bool, Vec<String>)>, String) {
    let (mut found, mut remains) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        let is_declaration = before.is_empty()
            || before.starts_with("pub") && !before.contains(['=', '(', '{'])
            || before.starts_with("pub(");
        let (tree, after) = rest[at + 4..].split_once(';').unwrap_or_default();
        if is_declaration {
            let mut paths = Vec::new();
            spread(tree, &[], &mut paths);
            found.extend(paths.into_iter().map(|path| (before.starts_with("pub"), path)));
            remains.push_str(&rest[..at]);
            rest = after;
        } else {
            remains.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
        }
    }
    remains.push_str(rest);
    (found, remains)
}

/// Spreads `a::{b, c::{d, e}}` into its paths; `x as y` is `x`.
fn spread(tree: &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let (head, inner) = match tree.find('{') {
        Some(at) => (&tree[..at], Some(tree[at + 1..].trim_end().trim_end_matches('}'))),
        None => (tree.split(" as ").next().unwrap_or_default(), None),
    };
    let mut path = prefix.to_vec();
    path.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    let Some(inner) = inner else {
        if path.last().is_some_and(|last| last == "self" && path.len() > 1) {
            path.pop();
        }
        return found.push(path);
    };
    let (mut depth, mut from) = (0_usize, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                spread(&inner[from..at], &path, found);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inner[from..].trim().is_empty() {
        spread(&inner[from..], &path, found);
    }
}

/// The paths inside code that begin inside the crate.
fn paths(text: &str, is_child: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    for word in text.split(|letter: char| !is_part(letter)) {
        let parts: Vec<String> = word.split("::").map(str::to_owned).collect();
        let begins_here = matches!(parts[0].as_str(), "crate" | "self" | "super") || is_child(&parts[0]);
        if parts.len() > 1 && begins_here {
            found.push(parts);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        let mut sources = Sources::default();
        for (module, text) in files {
            let module: Module =
                module.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            sources.add(&module, text);
        }
        sources
    }

    #[test]
    fn a_circle_is_found_directly_and_around_corners() {
        let direct = [("", "mod a;\nmod b;"), ("a", "use crate::b::B;"), ("b", "fn x() { crate::a::y() }")];
        assert_eq!(sources(&direct).circles(), [["a", "b"]]);
        let nested = [
            ("", "mod a;\nmod b;"),
            ("a", "mod c;\nfn x() { c::run() }"),
            ("a/c", "use crate::b::{self, B};"),
            ("b", "use crate::{a::{X as Y}};"),
        ];
        assert_eq!(sources(&nested).circles(), [["a", "a/c", "b"]]);
        let parent = [("", "mod a;"), ("a", "mod c;\nuse c::C;\npub struct A;"), ("a/c", "use super::A;")];
        assert_eq!(sources(&parent).circles(), [["a", "a/c"]]);
    }

    #[test]
    fn holding_a_module_and_passing_its_names_on_is_no_use() {
        let passed_on = [
            ("", "mod a;\nmod b;\npub use a::A;"),
            ("a", "mod c;\npub use c::C;\npub(crate) use c::D;"),
            ("a/c", "use crate::b::B;"),
            (
                "b",
                "use std::fmt;\n// crate::a::C is not used\n#[cfg(test)]\nmod tests {\n use crate::a::C;\n}",
            ),
        ];
        assert!(sources(&passed_on).circles().is_empty(), "{:?}", sources(&passed_on).circles());
        let followed = [
            ("", "mod a;\nmod b;\npub use a::A;"),
            ("a", "use crate::b::B;\npub struct A;"),
            ("b", "use crate::A;"),
        ];
        assert_eq!(sources(&followed).circles(), [["a", "b"]], "a re-exported name is its file's");
    }
}
