//! `cargo xtask check arrows`: the files of a crate do not import each other in a circle, and no file of the server
//! imports from a floor above its own.
//!
//! It reads the paths that begin with `crate`, `super`, `self` or a child module, in `use` and elsewhere. Code under
//! `#[cfg(test)]` is left out: a test may import everything that it tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use proc_macro2::{Delimiter, LexError, Spacing, TokenStream, TokenTree};

use crate::Outcome;
use crate::process::root;

/// The crates that are read.
const CRATES: [&str; 6] = ["crdt", "store", "protocol", "replication", "server", "benches"];

/// The floors of the server: a file or folder of `server/src`, and the number of its floor.
const FLOORS: [(&str, u8); 19] = [
    ("main", 7),
    ("front", 6),
    ("commands", 5),
    ("engine", 4),
    ("observe", 4),
    ("durability", 3),
    ("peers", 3),
    ("cluster", 3),
    ("status", 3),
    ("node", 2),
    ("settings", 1),
    ("tls", 2),
    ("clock", 1),
    ("process", 1),
    ("progress", 1),
    ("supervisor", 1),
    ("random", 1),
    ("mutated", 1),
    ("allocator", 1),
];

/// The arrows of a crate: for each file, the files that it imports from.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// A module's path from the root of its crate.
type Module = Vec<String>;

pub(crate) fn run() -> Outcome {
    let mut faults = String::new();
    for name in CRATES {
        let mut files = Vec::new();
        let source = root().join(name).join("src");
        read(&source, &source, &mut files)
            .map_err(|error| format!("cannot read {}: {error}", source.display()))?;
        let arrows = arrows(&files).map_err(|error| format!("{name}/src/{error}"))?;
        faults += &circles(name, &arrows);
        if name == "server" {
            faults += &upward(&arrows);
        }
    }
    print!("{faults}");
    Ok(faults.is_empty())
}

/// Reads the sources of a crate: their names from `src` on, and their text.
pub(crate) fn read(
    root: &Path,
    folder: &Path,
    files: &mut Vec<(String, String)>,
) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            read(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The module that a file is: `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module(file: &str) -> Module {
    let path = file.trim_end_matches(".rs");
    let mut parts: Module = path.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// What a file names and defines.
#[derive(Default)]
struct File {
    /// The paths that it names, from the root of the crate.
    paths: Vec<Module>,
    /// The names that its `use`s bring in, and the paths they stand for; `*` is everything in a module.
    names: Vec<(String, Module)>,
    /// The items and macros that it defines.
    items: BTreeSet<String>,
}

/// # Errors
/// If a file is not Rust; says which.
fn arrows(files: &[(String, String)]) -> Result<Arrows, String> {
    let modules: BTreeMap<Module, &str> =
        files.iter().rev().map(|(name, _)| (module(name), name.as_str())).collect();
    let mut read = BTreeMap::new();
    for (name, text) in files {
        let tokens = tokens(text).map_err(|error| format!("{name}: {error}"))?;
        read.insert(name.as_str(), file(&tokens, &module(name), &modules));
    }
    let to = |name: &str| {
        let paths = read[name].paths.iter();
        let files = paths.filter_map(|path| defined(path, &modules, &read, 0));
        files.filter(|file| *file != name).map(str::to_owned).collect()
    };
    Ok(read.keys().map(|name| ((*name).to_owned(), to(name))).collect())
}

/// The file that a path leads to: the file of its deepest module, or, if that only re-exports what the path names, the
/// file that defines it.
fn defined<'a>(
    path: &[String],
    modules: &BTreeMap<Module, &'a str>,
    files: &BTreeMap<&str, File>,
    followed: u8,
) -> Option<&'a str> {
    let (length, name) =
        (0..=path.len()).rev().find_map(|n| Some((n, *modules.get(&path[..n])?)))?;
    let Some(item) = path.get(length).filter(|_| followed < 8) else { return Some(name) };
    let file = &files[name];
    if file.items.contains(item) {
        return Some(name);
    }
    let follow = |to: &[String]| {
        let path = [to, &path[length + 1..]].concat();
        defined(&path, modules, files, followed + 1)
    };
    if let Some((_, to)) = file.names.iter().find(|(name, _)| name == item) {
        return follow(to);
    }
    let globs = file.names.iter().filter(|(name, _)| name == "*");
    let mut found = globs.filter_map(|(_, to)| follow(&[&to[..], &path[length..=length]].concat()));
    // An exported macro is a name of the root, in whichever file it is defined.
    let macros = || modules.values().find(|name| length == 0 && files[**name].items.contains(item));
    found
        .find(|found| files[found].items.contains(item))
        .or_else(|| macros().copied())
        .or(Some(name))
}

/// Reads a file that is the module `module`.
fn file(tokens: &[String], module: &Module, modules: &BTreeMap<Module, &str>) -> File {
    let (mut file, mut at) = (File::default(), 0);
    // The module around the token, and how many braces were open where each inline module began.
    let (mut inside, mut depth, mut begun) = (module.clone(), 0, Vec::new());
    let test = ["#", "[", "cfg", "(", "test", ")", "]"];
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1).map(String::as_str);
        match token.as_str() {
            "#" if tokens[at..].iter().map(String::as_str).take(7).eq(test) => {
                at = skip_item(tokens, at + 7);
                continue;
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                inside.extend(next.map(str::to_owned));
                begun.push(depth);
                depth += 1;
                at += 3;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if begun.last() == Some(&depth) {
                    begun.pop();
                    inside.pop();
                }
            }
            "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static" => {
                file.items.extend(next.map(str::to_owned));
            }
            "macro_rules" => file.items.extend(tokens.get(at + 2).cloned()),
            first if next == Some("::") && (at == 0 || tokens[at - 1] != "::") => {
                let child = [&inside[..], &[first.to_owned()]].concat();
                let base = match first {
                    "crate" => Some(Vec::new()),
                    "self" => Some(inside.clone()),
                    "super" => Some(inside[..inside.len().saturating_sub(1)].to_vec()),
                    _ => modules.contains_key(&child).then_some(child),
                };
                if let Some(base) = base {
                    let mut named = Vec::new();
                    tree(tokens, at + 1, base, &mut named);
                    file.paths.extend(named.iter().map(|(_, path)| path.clone()));
                    if at > 0 && tokens[at - 1] == "use" && begun.is_empty() {
                        file.names.extend(named);
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    file
}

/// Reads what follows a path, from its `::` on: more of it, or a group in braces. Adds each path and the name that it
/// makes known, and returns where that ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    mut path: Module,
    named: &mut Vec<(String, Module)>,
) -> usize {
    while tokens.get(at).is_some_and(|token| token == "::") {
        match tokens.get(at + 1).map(String::as_str) {
            Some("{") => {
                at += 2;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let name = tokens[at].clone();
                    at += 1;
                    match name.as_str() {
                        "," => {}
                        "self" => at = tree(tokens, at, path.clone(), named),
                        _ => at = tree(tokens, at, [&path[..], &[name]].concat(), named),
                    }
                }
                return at + 1;
            }
            Some("super") => drop(path.pop()),
            Some(name) => path.push(name.to_owned()),
            None => {}
        }
        at += 2;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if name == "*" {
        path.pop();
    }
    if tokens.get(at).is_some_and(|token| token == "as") {
        name = tokens.get(at + 1).cloned().unwrap_or_default();
        at += 2;
    }
    named.push((name, path));
    at
}

/// Where the item ends that begins at `at`: after its `;` or its braces.
fn skip_item(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    at
}

/// The tokens of `text`: words, `::` and single other characters. Comments and literals are left out.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let stream: TokenStream = text.parse().map_err(|error: LexError| error.to_string())?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(tokens)
}

fn flatten(stream: TokenStream, tokens: &mut Vec<String>) {
    let mut joint = false;
    for tree in stream {
        let was_joint = std::mem::take(&mut joint);
        match tree {
            TokenTree::Ident(word) => tokens.push(word.to_string()),
            TokenTree::Literal(_) => {}
            TokenTree::Punct(mark) => match tokens.last_mut() {
                Some(last) if was_joint && last == ":" && mark.as_char() == ':' => last.push(':'),
                _ => {
                    joint = mark.spacing() == Spacing::Joint;
                    tokens.push(mark.as_char().to_string());
                }
            },
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis | Delimiter::None => ("(", ")"),
                };
                tokens.push(open.to_owned());
                flatten(group.stream(), tokens);
                tokens.push(close.to_owned());
            }
        }
    }
}

/// A line for each circle: its files, and the shortest way round.
fn circles(name: &str, arrows: &Arrows) -> String {
    let mut report = String::new();
    let mut seen = BTreeSet::new();
    for file in arrows.keys() {
        let Some(way) = way_round(arrows, file).filter(|_| !seen.contains(file)) else { continue };
        let reach = |from: &str| reached(arrows, from);
        let circle: BTreeSet<String> =
            reach(file).into_iter().filter(|other| reach(other).contains(file)).collect();
        let _ = writeln!(
            report,
            "{name}: {} files import each other ({}), such as {}. Move what both sides need into a file that imports \
             neither, or hand it in as an argument",
            circle.len(),
            circle.iter().cloned().collect::<Vec<_>>().join(", "),
            way.join(" -> "),
        );
        seen.extend(circle);
    }
    report
}

/// All files that `from` imports, directly or not.
fn reached(arrows: &Arrows, from: &str) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for next in &arrows[file] {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    reached
}

/// The shortest way along arrows from `file` to itself.
fn way_round(arrows: &Arrows, file: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![file.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in &arrows[way.last()?] {
                let way = [&way[..], std::slice::from_ref(next)].concat();
                if next == file {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// A line for each file of the server that has no floor or imports from a floor above its own.
fn upward(arrows: &Arrows) -> String {
    let mut report = String::new();
    let floor = |file: &str| {
        let part = file.split('/').next().unwrap_or(file).trim_end_matches(".rs");
        FLOORS.iter().find(|(name, _)| *name == part).map(|(_, floor)| *floor)
    };
    for (file, to) in arrows {
        let Some(own) = floor(file) else {
            let _ = writeln!(
                report,
                "server: {file} has no floor; give it one in FLOORS of xtask/src/arrows.rs"
            );
            continue;
        };
        for other in to.iter().filter(|other| floor(other).is_some_and(|floor| floor > own)) {
            let _ = writeln!(
                report,
                "server: {file} (floor {own}) imports {other} (floor {}). Move what it needs down, or have {other} hand \
                 it in",
                floor(other).unwrap_or_default(),
            );
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Arrows {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        arrows(&files.iter().map(owned).collect::<Vec<_>>()).expect("the files are Rust")
    }

    fn imports(arrows: &Arrows, file: &str) -> Vec<String> {
        arrows[file].iter().cloned().collect()
    }

    #[test]
    fn a_path_leads_to_the_file_of_its_deepest_module() {
        let arrows = of(&[
            (
                "lib.rs",
                "mod a; mod b; mod c; pub use a::deep::Thing; pub use c::*; const X: u8 = 1;",
            ),
            ("a/mod.rs", "pub mod deep;"),
            ("a/deep.rs", "use super::super::b; use crate::{c::{self, X as Y}, X};"),
            ("b.rs", "fn f() { crate::a::g::<u8>(); self::h(); }"),
            ("c.rs", "mod inline { use super::own; use super::super::b::B; } pub(crate) fn f() {}"),
        ]);
        assert_eq!(imports(&arrows, "lib.rs"), ["a/deep.rs", "c.rs"]);
        assert_eq!(imports(&arrows, "a/mod.rs"), [""; 0]);
        assert_eq!(imports(&arrows, "a/deep.rs"), ["b.rs", "c.rs", "lib.rs"]);
        assert_eq!(imports(&arrows, "b.rs"), ["a/mod.rs"]);
        assert_eq!(imports(&arrows, "c.rs"), ["b.rs"]);
    }

    #[test]
    fn a_re_export_leads_to_the_file_that_defines_it() {
        let arrows = of(&[
            ("lib.rs", "pub use a::{A as B, inner::*}; pub use b::*;"),
            ("a/mod.rs", "pub struct A; pub use crate::c::C;"),
            ("a/inner.rs", "pub fn g() {}"),
            ("b.rs", "macro_rules! m { () => {} } pub trait T {}"),
            ("c.rs", "pub enum C {}"),
            ("x.rs", "use crate::B;"),
            ("y.rs", "use crate::a::C; use crate::T;"),
            ("z.rs", "use crate::g; fn f() { crate::m!(); }"),
        ]);
        assert_eq!(imports(&arrows, "x.rs"), ["a/mod.rs"]);
        assert_eq!(imports(&arrows, "y.rs"), ["b.rs", "c.rs"]);
        assert_eq!(imports(&arrows, "z.rs"), ["a/inner.rs", "b.rs"]);
    }

    #[test]
    fn comments_literals_and_tests_import_nothing() {
        let text = r##"
            // use crate::a;
            /* crate::a::b */
            const S: &[&str] = &["crate::a::\"b", r#"crate::a " ::b"#];
            const C: char = '"';
            fn f<'a>(x: &'a str) -> char { '\'' }
            #[cfg(test)]
            mod tests { use crate::a; fn f() { if true {} } }
            #[cfg(test)]
            use crate::a::{b, c};
        "##;
        assert_eq!(imports(&of(&[("a.rs", ""), ("x.rs", text)]), "x.rs"), [""; 0]);
    }

    #[test]
    fn a_circle_is_named_with_its_shortest_way_round() {
        let arrows = of(&[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a::A; use crate::d::D;"),
            ("d.rs", ""),
        ]);
        let report = circles("x", &arrows);
        assert_eq!(report.lines().count(), 1, "{report}");
        assert!(report.contains("x: 3 files import each other (a.rs, b.rs, c.rs)"), "{report}");
        assert!(report.contains("a.rs -> b.rs -> c.rs -> a.rs"), "{report}");
    }

    #[test]
    fn an_arrow_up_and_a_file_without_a_floor_are_named() {
        let arrows = of(&[
            ("main.rs", "mod node; mod peers; mod odd; use peers::start;"),
            ("node/mod.rs", "use crate::peers::Peer;"),
            ("peers.rs", "use crate::settings::Settings;"),
            ("settings.rs", ""),
            ("odd.rs", ""),
        ]);
        let report = upward(&arrows);
        assert_eq!(report.lines().count(), 2, "{report}");
        assert!(report.contains("node/mod.rs (floor 2) imports peers.rs (floor 3)"), "{report}");
        assert!(report.contains("odd.rs has no floor"), "{report}");
    }
}
