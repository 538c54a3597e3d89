//! docs/settings.md and deploy/miso.toml, from the table of settings.

use std::fmt::Write as _;

use super::{SETTINGS, When, file};

/// The page.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# Settings\n\nGenerated from the server's own table by `cargo xtask docs`.\n\n\
         A value comes from the flag (`--maxmemory 100mb`), else the environment \
         (`MISO_MAXMEMORY`), else the file (`miso-server miso.toml`, `maxmemory = \"100mb\"`), else \
         the default.\n`CONFIG SET` changes those marked so while the server runs; `CONFIG REWRITE` \
         writes what differs from the defaults into the file. A secret is never shown, and not \
         written to the file if it came by the environment.\n\n\
         | setting | environment | default | `CONFIG SET` | expected | what it does |\n|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS.iter().filter(|setting| setting.when != When::Never) {
        let runtime = if setting.when == When::Any { "yes" } else { "" };
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let secret = if setting.secret { "; secret" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {default} | {runtime} | {}{secret} | {} |",
            setting.name,
            setting.variable(),
            setting.kind.expected(),
            setting.summary
        );
    }
    page.push_str("\nClients of Redis also ask `CONFIG GET` for these, which never change:\n\n");
    for setting in SETTINGS.iter().filter(|setting| setting.when == When::Never) {
        let answer = match setting.name {
            super::APPEND_ONLY => "`yes` if there is a data directory, else `no`".to_owned(),
            _ => format!("`{}`", setting.default),
        };
        let _ = writeln!(page, "- `{}`: {answer}", setting.name);
    }
    page
}

/// A configuration file that has every setting with its default, commented out.
pub(crate) fn configuration() -> String {
    let mut text = String::from(
        "# The settings of a node. Printed by `miso-server --print-config`.\n\
         #\n\
         # Each setting stands here with its default; take the # away and change the value. A flag\n\
         # (--maxmemory 100mb) wins over the environment (MISO_MAXMEMORY), and that over this file.\n\
         # `miso-server --config FILE --check-config` says whether a file is valid.\n",
    );
    for setting in SETTINGS.iter().filter(|setting| setting.when != When::Never) {
        let runtime = if setting.when == When::Any { ". CONFIG SET changes it" } else { "" };
        let value = file::written(setting, &setting.default_text());
        let _ = write!(
            text,
            "\n# {}\n# Expected: {}{runtime}\n#{} = {value}\n",
            setting.summary,
            setting.kind.expected(),
            setting.name
        );
    }
    text
}
