//! The pages of `docs/` as a site: each is in its table of contents, and every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::process::root;

/// Pages beside those of `docs/` whose links are followed, too.
const OTHERS: [&str; 5] =
    ["README.md", "SECURITY.md", "ARCHITECTURE.md", "deploy/README.md", "sdk-compat/README.md"];

/// The table of contents.
pub(crate) const SUMMARY: &str = "SUMMARY.md";

/// The lines of a page that are no code, without what stands between backticks.
fn prose(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            let parts = line.split('`').step_by(2);
            lines.push(parts.collect::<Vec<_>>().join("``"));
        }
    }
    lines
}

/// The targets of the links of a page.
pub(crate) fn links(page: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in prose(page) {
        for part in line.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                all.push(target.to_owned());
            }
        }
    }
    all
}

/// The names by which the headings of a page are linked to.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut all = BTreeSet::new();
    for line in page.lines() {
        inside ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if inside || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        all.insert(name.to_lowercase());
    }
    all
}

/// What is wrong with a link of the page at `from`.
fn fault(from: &Path, page: &str, link: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|start| link.starts_with(start)) {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
    let path = match file {
        "" => from.to_owned(),
        file => from.parent().unwrap_or(Path::new("")).join(file),
    };
    if !file.is_empty() && !path.exists() {
        return Some(format!("{}: {link} leads nowhere", from.display()));
    }
    let anchor = anchor?;
    let text = if file.is_empty() { page.to_owned() } else { fs::read_to_string(&path).ok()? };
    let found = anchors(&text).contains(anchor);
    (!found).then(|| format!("{}: {link}: there is no such heading", from.display()))
}

/// The pages of `docs/`.
pub(crate) fn pages() -> Result<Vec<PathBuf>, String> {
    let folder = root().join("docs");
    let entries = fs::read_dir(&folder).map_err(|error| format!("docs: {error}"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut pages: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    Ok(pages)
}

/// Checks all pages, and prints what is wrong.
pub(crate) fn check() -> Outcome {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let pages = pages()?;
    let listed = links(&read(&root().join("docs").join(SUMMARY))?);
    let mut faults = Vec::new();
    for page in &pages {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != SUMMARY && !listed.contains(&name) {
            faults.push(format!("docs/{name} is not in docs/{SUMMARY}"));
        }
    }
    for path in pages.into_iter().chain(OTHERS.map(|page| root().join(page))) {
        let page = read(&path)?;
        faults.extend(links(&page).iter().filter_map(|link| fault(&path, &page, link)));
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(faults.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_they_are_links() {
        let page = "[a](x.md) and `[b](no)`\n```sh\n[c](no)\n```\n![d](y.svg) [`e`](z.md#at)\n";
        assert_eq!(links(page), ["x.md", "y.svg", "z.md#at"]);
    }

    #[test]
    fn headings_are_named_as_sites_name_them() {
        let page = "# One, two\n```sh\n# no\n```\n## `WAIT` answers 0\n#no\n";
        let all: Vec<String> = anchors(page).into_iter().collect();
        assert_eq!(all, ["one-two", "wait-answers-0"]);
        assert_eq!(fault(Path::new("p.md"), page, "#one-two"), None);
        assert!(fault(Path::new("p.md"), page, "#three").is_some());
        assert!(fault(Path::new("p.md"), page, "nowhere.md").is_some());
        assert_eq!(fault(Path::new("p.md"), page, "https://example.org/nowhere"), None);
    }
}
