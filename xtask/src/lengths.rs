//! `cargo xtask check lengths`: no file and no function is longer than one can hold in mind. `cargo xtask lengths`
//! prints how long they are.

use std::fmt::Write as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::Outcome;
use crate::arrows::read;
use crate::process::root;

/// The most lines of a file.
const FILE: usize = 900;

/// The most lines of a function, from its `fn` to its closing brace.
const FUNCTION: usize = 100;

/// The folders that are read.
const FOLDERS: [&str; 11] = [
    "crdt",
    "store",
    "protocol",
    "replication",
    "server",
    "tests/src",
    "tests/tests",
    "benches",
    "xtask",
    "sdk-compat/rust",
    "findings",
];

/// A function: its name, and the lines from its `fn` to its closing brace.
type Function = (String, usize);

/// Prints a table of all lengths.
pub(crate) fn print() -> Outcome {
    println!(
        "| folder | files | lines: median | p90 | most | functions | lines: median | p90 | most |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for folder in FOLDERS {
        let (mut files, mut functions) = (Vec::new(), Vec::new());
        for (name, text) in sources(folder)? {
            files.push(text.lines().count());
            functions.extend(measured(&name, &text)?.into_iter().map(|(_, lines)| lines));
        }
        if !files.is_empty() {
            println!("| {folder} | {} | {} |", figures(&mut files), figures(&mut functions));
        }
    }
    Ok(true)
}

/// Names each file and function that is too long.
pub(crate) fn check() -> Outcome {
    let mut faults = String::new();
    for folder in FOLDERS {
        for (name, text) in sources(folder)? {
            let lines = text.lines().count();
            if lines > FILE {
                let _ = writeln!(faults, "{name}: {lines} lines; {FILE} at most: split it");
            }
            for (function, lines) in measured(&name, &text)? {
                if lines > FUNCTION {
                    let _ = writeln!(
                        faults,
                        "{name}: fn {function} has {lines} lines; {FUNCTION} at most: split it"
                    );
                }
            }
        }
    }
    print!("{faults}");
    Ok(faults.is_empty())
}

/// The Rust files of a folder, by their names from the root on.
fn sources(folder: &str) -> Result<Vec<(String, String)>, String> {
    let path = root().join(folder);
    let mut files = Vec::new();
    if path.is_dir() {
        read(&root(), &path, &mut files)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    }
    files.retain(|(name, _)| !name.split('/').any(|part| part == "target"));
    Ok(files)
}

fn measured(name: &str, text: &str) -> Result<Vec<Function>, String> {
    let tokens: TokenStream = text.parse().map_err(|error| format!("{name}: {error}"))?;
    let mut found = Vec::new();
    functions(tokens, &mut found);
    Ok(found)
}

/// Adds the functions in `tokens`, and those within them.
fn functions(tokens: TokenStream, found: &mut Vec<Function>) {
    // The function whose body has not come yet: its name and first line.
    let mut open: Option<(String, usize)> = None;
    let mut is_fn = None;
    for tree in tokens {
        match tree {
            TokenTree::Ident(word) if word == "fn" => is_fn = Some(word.span().start().line),
            TokenTree::Ident(word) => {
                if let Some(line) = is_fn.take() {
                    open = Some((word.to_string(), line));
                }
            }
            // A type such as `fn(u8)` has no name.
            TokenTree::Group(group) => {
                is_fn = None;
                if group.delimiter() == Delimiter::Brace
                    && let Some((name, first)) = open.take()
                {
                    found.push((name, group.span_close().end().line - first + 1));
                }
                functions(group.stream(), found);
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => open = None,
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// How many, the median, the ninth of ten, and the greatest.
fn figures(lengths: &mut [usize]) -> String {
    lengths.sort_unstable();
    let at = |share: usize| lengths.get(lengths.len() * share / 10).copied().unwrap_or_default();
    let most = lengths.last().copied().unwrap_or_default();
    format!("{} | {} | {} | {most}", lengths.len(), at(5), at(9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_their_word_to_their_brace() {
        let text = "trait T { fn a(&self); fn b(f: fn(u8)) {\n} }\nfn c() -> [u8; 2]\nwhere\n{\n fn d() {\n }\n}\n";
        let found = measured("x.rs", text).unwrap();
        assert_eq!(found, [("b".to_owned(), 2), ("c".to_owned(), 6), ("d".to_owned(), 2)]);
    }
}
