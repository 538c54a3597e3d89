//! The cluster's secrets: given as they are, or by files.

/// What lets nodes into the cluster.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    /// The secret that this node proves to know; none: nodes need none.
    pub(crate) own: Option<Vec<u8>>,
    /// Another that is accepted beside it.
    pub(crate) also: Option<Vec<u8>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Reads both, each as it was given or from a file.
    ///
    /// # Errors
    /// Which setting is wrong and what it is to be.
    pub(super) fn read(
        own: (String, Option<String>),
        also: (String, Option<String>),
    ) -> Result<Secrets, String> {
        let own = secret("cluster-secret", own)?;
        let also = secret("cluster-secret-also", also)?;
        if own.is_none() && also.is_some() {
            return Err(
                "cluster-secret-also: there is no cluster-secret beside it; expected both, or \
                        neither"
                    .into(),
            );
        }
        Ok(Secrets { own, also })
    }
}

/// A secret, as it is given or as its file holds it; none if neither.
///
/// # Errors
/// If both are given, or the file cannot be read or is empty.
fn secret(name: &str, (given, path): (String, Option<String>)) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = path else {
        return Ok(Some(given.into_bytes()).filter(|secret| !secret.is_empty()));
    };
    let invalid = |why: String| format!("{name}-file: {why}");
    if !given.is_empty() {
        return Err(invalid(format!("{name} is given too; expected one of the two")));
    }
    let mut secret = std::fs::read(&path).map_err(|error| {
        invalid(format!("cannot read {path}: {error}; expected a file with the cluster's secret"))
    })?;
    while secret.pop_if(|byte| matches!(byte, b'\r' | b'\n')).is_some() {}
    if secret.is_empty() {
        return Err(invalid(format!("{path} is empty; expected a file with the cluster's secret")));
    }
    Ok(Some(secret))
}

#[cfg(test)]
mod tests {
    use super::super::for_test;

    #[test]
    fn secrets_are_read_from_settings_and_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("writable");
            path.display().to_string()
        };
        let (new, empty) = (file("new", "the new one\r\n"), file("empty", "\n"));
        let settings = for_test(&[("cluster-secret", "old"), ("cluster-secret-also-file", &new)]);
        let read = settings.read_secrets().expect("both can be read");
        assert_eq!(read.own.as_deref(), Some(&b"old"[..]));
        assert_eq!(read.also.as_deref(), Some(&b"the new one"[..]));
        assert_eq!(format!("{read:?}"), "Secrets");
        for (given, said) in [
            (&[("cluster-secret-file", &*empty)][..], "cluster-secret-file: "),
            (&[("cluster-secret-also", "x")], "no cluster-secret beside it"),
            (&[("cluster-secret", "x"), ("cluster-secret-file", &new)], "expected one of the two"),
            (&[("cluster-secret-file", "/nowhere/x")], "cannot read /nowhere/x"),
        ] {
            let error = for_test(given).read_secrets().expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
