//! What cargo-mutants says of a mutant.

use serde_json::Value;

/// A change of the source that the tests are to notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// As cargo-mutants lists it: place, and what is changed.
    pub(super) name: String,
    /// From the top of the workspace.
    pub(super) file: String,
    pub(super) genre: Genre,
    /// What stands there instead.
    pub(super) replacement: String,
    /// Line and column, from 1.
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
    /// One that this program does not know: cargo-mutants tries it.
    Other,
}

impl Mutant {
    /// Reads what `cargo mutants --list --json` prints.
    pub(super) fn read_all(json: &[u8]) -> Result<Vec<Mutant>, String> {
        let all: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let all = all.as_array().into_iter().flatten();
        let all = all.map(|value| Mutant::read(value).ok_or_else(|| value.to_string()));
        all.collect::<Result<_, _>>().map_err(|value| format!("cargo-mutants lists {value}"))
    }

    fn read(value: &Value) -> Option<Mutant> {
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        let place = |name: &str| {
            let place = &value["span"][name];
            let number = |name: &str| usize::try_from(place[name].as_u64()?).ok();
            Some((number("line")?, number("column")?))
        };
        let genre = match value["genre"].as_str()? {
            "FnValue" => Genre::FnValue,
            "BinaryOperator" => Genre::BinaryOperator,
            "UnaryOperator" => Genre::UnaryOperator,
            "MatchArm" => Genre::MatchArm,
            "MatchArmGuard" => Genre::MatchArmGuard,
            "StructField" => Genre::StructField,
            _ => Genre::Other,
        };
        let (start, end) = (place("start")?, place("end")?);
        let (name, file, replacement) = (text("name")?, text("file")?, text("replacement")?);
        Some(Mutant { name, file, genre, replacement, start, end })
    }
}
