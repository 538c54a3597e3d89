//! `cargo xtask docs`: the reference pages, written by the server from the tables that it runs on.

use crate::build::{build, built};
use crate::process::{program, root};
use crate::{Outcome, links};
use std::fs;

const PAGES: [(&str, &str); 6] = [
    ("docs/commands.md", "--print-command-reference"),
    ("docs/settings.md", "--print-settings-reference"),
    ("docs/errors.md", "--print-error-reference"),
    ("docs/metrics.md", "--print-metric-reference"),
    ("docs/compatibility.md", "--print-compatibility"),
    ("deploy/miso.toml", "--print-config"),
];

pub(crate) fn run(args: &[String]) -> Outcome {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("docs takes --check or nothing".to_owned()),
    };
    build()?;
    let mut fresh = true;
    for (page, flag) in PAGES {
        let text = program(built("miso-server")).args([flag]).quietly()?;
        if text.is_empty() {
            return Err(format!("miso-server {flag} writes nothing"));
        }
        let path = root().join(page);
        if fs::read(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            println!("{page} is stale: run `cargo xtask docs`");
            fresh = false;
        } else {
            fs::write(&path, text).map_err(|error| format!("{page}: {error}"))?;
            println!("{page} is written anew");
        }
    }
    Ok(if check { links::check()? && fresh } else { fresh })
}
