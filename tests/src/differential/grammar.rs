//! Commands as lines with gaps, and the words that fill them.
//!
//! | in a line | is |
//! |---|---|
//! | `GET` | this word |
//! | `{member}` | a random word of this kind, see [`Draw::word`] |
//! | `[NX \| XX]` | one of these, or nothing |
//! | `<MIN \| MAX>` | one of these |
//! | `(..)+` | this one to four times |
//! | `#(..)` | a count, and this as often |

use super::words::Draw;

/// A command's words.
pub(super) type Words = Vec<Vec<u8>>;

/// A part of a line.
#[derive(Clone, Debug)]
enum Part {
    Word(&'static str),
    Gap(&'static str),
    OneOf(Vec<Line>),
    Maybe(Vec<Line>),
    Repeated(Line),
    Counted(Line),
}

/// A line with gaps.
#[derive(Clone, Debug)]
pub(super) struct Line(Vec<Part>);

impl Line {
    /// Reads a line; panics if it is none.
    pub(super) fn new(text: &'static str) -> Line {
        let mut reader = Reader { text, at: 0 };
        let line = reader.line();
        assert_eq!(reader.at, text.len(), "a bracket without its partner: {text}");
        line
    }

    /// Fills the gaps.
    pub(super) fn fill(&self, draw: &mut Draw) -> Words {
        let mut words = Vec::new();
        self.add(draw, &mut words);
        words
    }

    /// The words with which it may begin.
    pub(super) fn names(&self) -> Vec<&'static str> {
        match self.0.first() {
            Some(Part::Word(word)) => vec![word],
            Some(Part::OneOf(lines)) => lines.iter().flat_map(Line::names).collect(),
            _ => Vec::new(),
        }
    }

    fn add(&self, draw: &mut Draw, words: &mut Words) {
        for part in &self.0 {
            match part {
                Part::Word(word) => words.push(word.as_bytes().to_vec()),
                Part::Gap(kind) => words.push(draw.word(kind)),
                Part::OneOf(lines) => draw.pick(lines).add(draw, words),
                Part::Maybe(lines) => {
                    if draw.chance(30) {
                        draw.pick(lines).add(draw, words);
                    }
                }
                Part::Repeated(line) => {
                    for _ in 0..draw.few() {
                        line.add(draw, words);
                    }
                }
                Part::Counted(line) => {
                    let count = draw.few();
                    words.push(count.to_string().into_bytes());
                    for _ in 0..count {
                        line.add(draw, words);
                    }
                }
            }
        }
    }
}

/// A line that is being read.
struct Reader {
    text: &'static str,
    at: usize,
}

impl Reader {
    fn rest(&self) -> &'static str {
        &self.text[self.at..]
    }

    /// Goes over `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    #[track_caller]
    fn expect(&mut self, text: &str) {
        assert!(self.take(text), "no '{text}' at {} of {}", self.at, self.text);
    }

    /// Reads up to a bracket that closes, a bar or the end.
    fn line(&mut self) -> Line {
        let mut parts = Vec::new();
        loop {
            while self.take(" ") {}
            if self.rest().is_empty() || self.rest().starts_with([')', ']', '>', '|']) {
                return Line(parts);
            }
            parts.push(self.part());
        }
    }

    fn part(&mut self) -> Part {
        if self.take("[") {
            return Part::Maybe(self.choice("]"));
        }
        if self.take("<") {
            return Part::OneOf(self.choice(">"));
        }
        if self.take("#(") {
            let line = self.line();
            self.expect(")");
            return Part::Counted(line);
        }
        if self.take("(") {
            let line = self.line();
            self.expect(")+");
            return Part::Repeated(line);
        }
        if self.take("{") {
            let rest = self.rest();
            let (kind, _) = rest.split_once('}').expect("a gap ends with }");
            self.at += kind.len() + 1;
            return Part::Gap(kind);
        }
        let rest = self.rest();
        let len = rest.find([' ', ')', ']', '>', '|']).unwrap_or(rest.len());
        self.at += len;
        Part::Word(&rest[..len])
    }

    fn choice(&mut self, end: &str) -> Vec<Line> {
        let mut lines = vec![self.line()];
        while self.take("|") {
            lines.push(self.line());
        }
        self.expect(end);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_line_has_names() {
        assert_eq!(Line::new("<GET|SET|<DEL>> {string}").names(), ["GET", "SET", "DEL"]);
    }

    #[test]
    fn a_line_gives_what_it_says() {
        let line = Line::new("SET <a|b> [NX] #(x y)");
        let mut seen = BTreeSet::new();
        let mut draw = Draw::new(1);
        for _ in 0..1000 {
            seen.insert(line.fill(&mut draw).join(&b' '));
        }
        let seen = |text: &str| seen.contains(text.as_bytes());
        assert!(
            seen("SET a NX 1 x y") && seen("SET b 2 x y x y") && seen("SET a 4 x y x y x y x y")
        );
        assert!(!seen("SET a 5 x y x y x y x y x y"));
    }
}
