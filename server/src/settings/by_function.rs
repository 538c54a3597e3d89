//! Limits that functions have each for itself.

use std::collections::BTreeMap;

use miso_protocol::names;
use parking_lot::RwLock;

use super::kind::{Kind, Rule, words};

/// `function=number`, separated by blanks or commas; empty: no function has a limit.
#[derive(Debug)]
pub(crate) struct ByFunction;

/// The text of limits.
pub(crate) fn text(limits: &BTreeMap<String, u64>) -> String {
    let words: Vec<String> = limits.iter().map(|(name, most)| format!("{name}={most}")).collect();
    words.join(" ")
}

impl Rule for ByFunction {
    fn normal(&self, text: &str) -> Option<String> {
        self.value(text).map(|limits| self::text(&limits))
    }

    fn expected(&self) -> String {
        "function=number, several separated by commas".into()
    }
}

impl Kind for ByFunction {
    type Value = BTreeMap<String, u64>;
    type Cell = RwLock<BTreeMap<String, u64>>;

    fn value(&self, normal: &str) -> Option<BTreeMap<String, u64>> {
        let one = |word: &str| {
            let (function, most) = word.rsplit_once('=')?;
            let most = most.parse().ok().filter(|most| *most > 0)?;
            names::is_name(function.as_bytes()).then(|| (function.to_owned(), most))
        };
        words(normal).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_functions() {
        let normal = |text| ByFunction.normal(text);
        assert_eq!(normal("").as_deref(), Some(""));
        assert_eq!(normal("b=2,a=1 a=3").as_deref(), Some("a=3 b=2"));
        assert_eq!(normal("a=b=4").as_deref(), Some("a=b=4"));
        for bad in ["a", "=1", "a=", "a=-1", "a=0", "a=x", "a#1=2"] {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }
}
