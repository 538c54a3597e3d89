//! The configuration file: TOML, a line `name = value` for each setting.
//!
//! What is wrong is said with file, line and column. `CONFIG REWRITE` puts changed values in the
//! places of the old ones and appends what is new, so comments, order and untouched values stay.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Given, Invalid, SETTINGS, Setting, Settings, Source, When, find};

/// A setting in the file.
#[derive(PartialEq, Eq, Debug)]
struct Entry {
    /// Its text in normal form.
    text: String,
    /// Where its value stands, in bytes.
    span: Range<usize>,
}

/// Line and column of a byte of `text`, as editors count them: from 1.
fn position(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or(before);
    format!("{}:{}", before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// A value of the file as text; else what it is instead.
fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map(|n| n.to_string())
            .map_err(|_| "an integer that is too large"),
        DeValue::Boolean(yes) => Ok((if *yes { "yes" } else { "no" }).to_owned()),
        DeValue::Array(all) => {
            let all: Vec<String> =
                all.iter().map(|item| text_of(item.get_ref())).collect::<Result<_, _>>()?;
            Ok(all.join(","))
        }
        DeValue::Float(_) => Err("a number with a point"),
        DeValue::Datetime(_) => Err("a date"),
        DeValue::Table(_) => Err("a table"),
    }
}

/// The settings in the text of a file, by their places in [`SETTINGS`].
///
/// # Errors
/// Line and column of the first thing that is wrong, what it is, and what is allowed.
fn parse(text: &str) -> Result<BTreeMap<usize, Entry>, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        let at = position(text, error.span().map_or(0, |span| span.start));
        format!("{at}: not valid TOML: {message}; expected lines as: maxmemory = \"100mb\"")
    })?;
    // In the order of the file, so that the first fault is the one that is named.
    let mut items: Vec<_> = table.get_ref().iter().collect();
    items.sort_by_key(|(key, _)| key.span().start);
    let mut entries = BTreeMap::new();
    for (key, value) in items {
        let name = key.get_ref().as_ref();
        let known = find(name).filter(|(_, setting)| setting.when != When::Never);
        let Some((row, setting)) = known else {
            let at = position(text, key.span().start);
            let name = name.escape_debug();
            return Err(format!("{at}: {name}: unknown setting, expected one that --help lists"));
        };
        let span = value.span();
        let wrong = |why: String| format!("{}: {name}: {why}", position(text, span.start));
        let given = text_of(value.get_ref()).map_err(|found| {
            wrong(format!("found {found}, expected {}", setting.kind.expected()))
        })?;
        let entry = setting.accept(&given).map_err(wrong)?;
        entries.insert(row, Entry { text: entry, span: value.span() });
    }
    Ok(entries)
}

/// Reads a file: the texts of its settings in normal form, by their places in [`SETTINGS`].
///
/// # Errors
/// Where something is wrong, what it is, and what is allowed.
pub(super) fn read(path: &Path) -> Result<BTreeMap<usize, String>, Invalid> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Invalid(format!("{shown}: cannot read the configuration: {error}; expected a TOML file"))
    })?;
    let entries = parse(&text).map_err(|why| Invalid(format!("{shown}:{why}")))?;
    Ok(entries.into_iter().map(|(row, entry)| (row, entry.text)).collect())
}

/// A value as the file holds it.
pub(super) fn written(setting: &Setting, text: &str) -> toml::Value {
    match text.parse() {
        Ok(n) if setting.kind.is_number() => toml::Value::Integer(n),
        _ => toml::Value::from(text),
    }
}

/// The text of the file with the settings as they are now.
///
/// # Errors
/// If the old text is not valid: where, and why.
fn rewritten(old: &str, texts: &[Given]) -> Result<String, String> {
    let mut entries = parse(old)?;
    let (mut changed, mut added) = (Vec::new(), String::new());
    for (row, (setting, given)) in SETTINGS.iter().zip(texts).enumerate() {
        let from_environment = setting.secret && given.source == Source::Environment;
        if setting.when == When::Never || from_environment {
            continue;
        }
        let value = written(setting, &given.text);
        match entries.remove(&row) {
            Some(entry) if entry.text == given.text => {}
            Some(entry) => changed.push((entry.span, value)),
            None if given.text == setting.default_text() => {}
            None => added.push_str(&format!("{} = {value}\n", setting.name)),
        }
    }
    let mut new = old.to_owned();
    changed.sort_by_key(|(span, _)| span.start);
    for (span, value) in changed.into_iter().rev() {
        new.replace_range(span, &value.to_string());
    }
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    Ok(new + &added)
}

/// Replaces a file as a whole: a reader finds the old text or the new one, also after a crash. A file
/// that is new is for this user alone.
///
/// # Errors
/// If it cannot be read or written.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // A link goes on leading to the file.
    let (path, permissions) = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (path.to_owned(), fs::Permissions::from_mode(0o600))
        }
        path => {
            let path = path?;
            let permissions = fs::metadata(&path)?.permissions();
            (path, permissions)
        }
    };
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}.tmp", std::process::id()));
    let write = || {
        // It may hold secrets: other users of the host must not read it, not even for a moment.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text)?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&beside)))
}

impl Settings {
    /// Writes what differs from the defaults into the file that was read. A secret that came by the
    /// environment is not written.
    ///
    /// # Errors
    /// Why the file cannot be written, in Redis's words; none of its text if there is no file.
    pub(crate) fn rewrite(&self) -> Result<(), Option<String>> {
        let path = self.file.as_ref().ok_or(None)?;
        let failed = |error: io::Error| Some(error.to_string());
        let old = fs::read_to_string(path).map_err(failed)?;
        let new = rewritten(&old, &self.texts.read());
        let new = new.map_err(|why| Some(format!("{}:{why}", path.display())))?;
        replace(path, new.as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::for_test;

    fn wrong(text: &str) -> String {
        parse(text).expect_err("it is not valid")
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            wrong("# a node\nport = 1\nmaxmemory = \"12xb\"\n"),
            "3:13: maxmemory: invalid value '12xb', expected a number of bytes, as 1048576, 100mb or 1gb"
        );
        assert_eq!(
            wrong("port = 1\n  nonsense = 2\n"),
            "2:3: nonsense: unknown setting, expected one that --help lists"
        );
        assert_eq!(
            wrong("port = 1.5"),
            "1:8: port: found a number with a point, expected an integer from 0 to 65535"
        );
        assert_eq!(
            wrong("[port]\nx = 1\n"),
            "1:1: port: found a table, expected an integer from 0 to 65535"
        );
        for (text, at) in [("port = \n", "1:8: "), ("port = 1\n\u{e9}\u{e9} = \u{0}", "2:")] {
            let why = wrong(text);
            assert!(why.starts_with(at) && why.contains("not valid TOML"), "{why}");
            assert!(!why.contains('\n'), "{why}");
        }
        // Answers for tools cannot be set, and no name breaks the line.
        assert!(wrong("save = \"\"").contains("unknown setting"));
        assert!(!wrong("\"a\\nb\" = 1").contains('\n'));
        // The first fault of the file, not of the alphabet.
        assert!(wrong("timeout = \"x\"\nbind = \"y\"\n").starts_with("1:11: timeout"));
    }

    #[test]
    fn rewriting_keeps_what_did_not_change() {
        let old = "# a node\nmaxmemory = \"1mb\" # small\ntimeout = 7 # short\n\
                   join = [\n  \"a:1\", # first\n  \"b:2\",\n]";
        let settings = for_test(&[
            ("maxmemory", "1048576"),
            ("timeout", "9"),
            ("maxclients", "5"),
            ("join", "a:1,b:2"),
            ("node-name", "\"n\""),
        ]);
        let new = rewritten(old, &settings.texts.read()).expect("the old text is valid");
        let expected = "# a node\nmaxmemory = \"1mb\" # small\ntimeout = 9 # short\n\
                        join = [\n  \"a:1\", # first\n  \"b:2\",\n]\n\
                        node-name = '\"n\"'\nmaxclients = 5\n";
        assert_eq!(new, expected);
        let again = rewritten(&new, &settings.texts.read());
        assert_eq!(again.as_deref(), Ok(expected));
        assert!(rewritten("nonsense = 1", &settings.texts.read()).is_err());
    }

    #[test]
    fn a_secret_of_the_environment_is_not_written() {
        let settings = for_test(&[("requirepass", "pw"), ("node-name", "n")]);
        let from = |source| {
            settings.texts.write().iter_mut().for_each(|given| given.source = source);
            let new = |old| rewritten(old, &settings.texts.read()).expect("the old text is valid");
            (new(""), new("requirepass = \"old\"\n"))
        };
        let (empty, old) = from(Source::Environment);
        assert_eq!(empty, "node-name = \"n\"\n");
        assert_eq!(old, "requirepass = \"old\"\nnode-name = \"n\"\n");
        let (empty, old) = from(Source::Command);
        assert_eq!(empty, "node-name = \"n\"\nrequirepass = \"pw\"\n");
        assert_eq!(old, "requirepass = \"pw\"\nnode-name = \"n\"\n");
    }

    #[test]
    fn a_file_is_replaced_in_its_place() {
        let directory = std::env::temp_dir().join(format!("miso-rewrite-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("there is a directory for temporary files");
        let (path, link) = (directory.join("miso.toml"), directory.join("link.toml"));
        fs::write(&path, "timeout = 7\n").expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        std::os::unix::fs::symlink(&path, &link).expect("it is writable");
        let mut settings = for_test(&[("timeout", "9")]);
        assert_eq!(settings.rewrite(), Err(None));
        settings.file = Some(link.clone());
        settings.rewrite().expect("the file is writable");
        assert_eq!(read(&path).expect("it is valid").values().collect::<Vec<_>>(), ["9"]);
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(fs::read_dir(&directory).expect("it is readable").count(), 2);
        fs::remove_dir_all(directory).expect("it is ours");
    }
}
