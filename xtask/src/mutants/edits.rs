//! Mutants as edits of a source file that puts each of them behind a switch.
//!
//! A program is built once with all mutants of a sample in it; a number in its environment says which of
//! them is on. The technique is known as mutant schemata (Untch, Offutt, Harrold: "Mutation analysis using
//! mutant schemata", 1993).

use std::collections::HashMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::mutant::{Genre, Mutant};

/// What a file is to look like: its mutants, each behind its switch.
pub(super) struct Switched {
    pub(super) text: String,
    /// Where each mutant of this number stands in the text: a compiler's error there is its error.
    pub(super) places: Vec<(u32, Range<usize>)>,
    /// The numbers of those that cannot stand behind a switch: constants, and what the grammar refuses.
    pub(super) left: Vec<u32>,
}

/// Puts the mutants of one file, each with its number, behind their switches.
///
/// # Errors
/// If the file is no Rust.
pub(super) fn switched(text: &str, mutants: &[(u32, &Mutant)]) -> Result<Switched, String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    let lines = Lines::of(text);
    let wanted = mutants
        .iter()
        .map(|(number, mutant)| (lines.range(mutant), *number, *mutant))
        .fold(HashMap::<usize, Vec<_>>::new(), |mut all, (range, number, mutant)| {
            all.entry(range.start).or_default().push((range, number, mutant));
            all
        });
    let mut finder = Finder { text, wanted: &wanted, edits: Vec::new(), constant: 0 };
    finder.visit_file(&file);
    let mut edits = finder.edits;
    // What is inserted at a place stands before what begins there; what encloses stands before what is within.
    edits.sort_by_key(|edit| {
        (edit.range.start, !edit.range.is_empty(), usize::MAX - edit.range.end, edit.number)
    });
    let found: Vec<u32> = edits.iter().map(|edit| edit.number).collect();
    let left = mutants.iter().map(|(number, _)| *number).filter(|number| !found.contains(number));
    let mut out = Output { source: text, text: String::new(), places: Vec::new() };
    out.render(0..text.len(), &edits);
    Ok(Switched { text: out.text, places: out.places, left: left.collect() })
}

/// Where lines begin, in bytes.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Lines { text, starts: starts.collect() }
    }

    /// A place by its line and its column, both counted from 1, columns in characters.
    fn at(&self, (line, column): (usize, usize)) -> usize {
        let start = self.starts[line - 1];
        let rest = &self.text[start..];
        start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at)
    }

    fn range(&self, mutant: &Mutant) -> Range<usize> {
        self.at(mutant.start)..self.at(mutant.end)
    }
}

/// What stands in the place of a range of the source, or is put there if it is empty.
struct Edit {
    number: u32,
    range: Range<usize>,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    /// A part of the range, with the edits within it.
    Source(Range<usize>),
}

/// The source with its edits.
struct Output<'a> {
    source: &'a str,
    text: String,
    places: Vec<(u32, Range<usize>)>,
}

impl Output<'_> {
    fn render(&mut self, range: Range<usize>, edits: &[Edit]) {
        let mut at = range.start;
        let mut edits = edits;
        while let Some((edit, later)) = edits.split_first() {
            edits = later;
            if edit.range.start < at || edit.range.end > range.end {
                continue; // within one that is rendered, or outside
            }
            self.text.push_str(&self.source[at..edit.range.start]);
            let begins = self.text.len();
            for part in &edit.parts {
                match part {
                    Part::Text(text) => self.text.push_str(text),
                    Part::Source(part) => self.render(part.clone(), later),
                }
            }
            self.places.push((edit.number, begins..self.text.len()));
            at = edit.range.end;
        }
        self.text.push_str(&self.source[at..range.end]);
    }
}

/// A mutant: where it stands, and its number.
type Wanted<'a> = (Range<usize>, u32, &'a Mutant);

/// Finds the expressions that mutants change, and makes their edits.
struct Finder<'a> {
    text: &'a str,
    /// By where they begin.
    wanted: &'a HashMap<usize, Vec<Wanted<'a>>>,
    edits: Vec<Edit>,
    /// How many constants enclose what is visited: nothing there can ask for a switch.
    constant: usize,
}

/// The condition that a mutant is on.
fn on(number: u32) -> String {
    format!("crate::mutant({number})")
}

impl<'a> Finder<'a> {
    /// The mutants of a genre that begin at a place.
    fn at(&self, start: usize, genre: Genre) -> Vec<Wanted<'a>> {
        if self.constant > 0 {
            return Vec::new();
        }
        let all = self.wanted.get(&start).into_iter().flatten();
        all.filter(|(_, _, mutant)| mutant.genre == genre).cloned().collect()
    }

    fn edit(&mut self, number: u32, range: Range<usize>, parts: Vec<Part>) {
        self.edits.push(Edit { number, range, parts });
    }

    /// `then` if the mutant is on, else what is there.
    fn either(&mut self, number: u32, range: Range<usize>, then: Vec<Part>) {
        let mut parts = vec![Part::Text(format!("(if {} {{ ", on(number)))];
        parts.extend(then);
        parts.push(Part::Text(" } else { ".to_owned()));
        parts.push(Part::Source(range.clone()));
        parts.push(Part::Text(" })".to_owned()));
        self.edit(number, range, parts);
    }

    fn function(
        &mut self,
        signature: &syn::Signature,
        block: &syn::Block,
        visit: impl FnOnce(&mut Self),
    ) {
        let constant = usize::from(signature.constness.is_some());
        self.constant += constant;
        if let Some(first) = block.stmts.first() {
            let start = first.span().byte_range().start;
            for (_, number, mutant) in self.at(start, Genre::FnValue) {
                let text = format!("if {} {{ return {}; }} ", on(number), mutant.replacement);
                self.edit(number, start..start, vec![Part::Text(text)]);
            }
        }
        visit(self);
        self.constant -= constant;
    }

    fn constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.constant += 1;
        visit(self);
        self.constant -= 1;
    }
}

/// Whether a condition has a `let`, which stands in no parentheses.
fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.function(&node.sig, &node.block, |finder| visit::visit_item_fn(finder, node));
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.sig, &node.block, |finder| visit::visit_impl_item_fn(finder, node));
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.function(&node.sig, block, |finder| visit::visit_trait_item_fn(finder, node));
        }
    }

    fn visit_item_const(&mut self, node: &'ast syn::ItemConst) {
        self.constant(|finder| visit::visit_item_const(finder, node));
    }

    fn visit_item_static(&mut self, node: &'ast syn::ItemStatic) {
        self.constant(|finder| visit::visit_item_static(finder, node));
    }

    fn visit_impl_item_const(&mut self, node: &'ast syn::ImplItemConst) {
        self.constant(|finder| visit::visit_impl_item_const(finder, node));
    }

    fn visit_trait_item_const(&mut self, node: &'ast syn::TraitItemConst) {
        self.constant(|finder| visit::visit_trait_item_const(finder, node));
    }

    fn visit_expr_const(&mut self, node: &'ast syn::ExprConst) {
        self.constant(|finder| visit::visit_expr_const(finder, node));
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        self.constant(|finder| visit::visit_variant(finder, node));
    }

    fn visit_type(&mut self, node: &'ast syn::Type) {
        self.constant(|finder| visit::visit_type(finder, node));
    }

    fn visit_pat(&mut self, node: &'ast syn::Pat) {
        self.constant(|finder| visit::visit_pat(finder, node));
    }

    fn visit_generic_argument(&mut self, node: &'ast syn::GenericArgument) {
        self.constant(|finder| visit::visit_generic_argument(finder, node));
    }

    fn visit_expr_repeat(&mut self, node: &'ast syn::ExprRepeat) {
        self.visit_expr(&node.expr);
        self.constant(|finder| finder.visit_expr(&node.len));
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let operator = node.op.span().byte_range().start;
        let [left, right] = [&node.left, &node.right].map(|side| side.span().byte_range());
        for (_, number, mutant) in self.at(operator, Genre::BinaryOperator) {
            if has_let(&node.left) || has_let(&node.right) {
                continue;
            }
            let then = vec![
                Part::Text("(".to_owned()),
                Part::Source(left.clone()),
                Part::Text(format!(") {} (", mutant.replacement)),
                Part::Source(right.clone()),
                Part::Text(")".to_owned()),
            ];
            self.either(number, left.start..right.end, then);
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let range = node.span().byte_range();
        for (_, number, _) in self.at(range.start, Genre::UnaryOperator) {
            let operand = node.expr.span().byte_range();
            self.either(number, range.clone(), vec![Part::Source(operand)]);
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let start = node.span().byte_range().start;
        for (_, number, _) in self.at(start, Genre::MatchArm) {
            if let Some((_, guard)) = &node.guard {
                let range = guard.span().byte_range();
                let parts = vec![
                    Part::Text(format!("!{} && (", on(number))),
                    Part::Source(range.clone()),
                    Part::Text(")".to_owned()),
                ];
                self.edit(number, range, parts);
            } else {
                let end = node.pat.span().byte_range().end;
                self.edit(number, end..end, vec![Part::Text(format!(" if !{}", on(number)))]);
            }
        }
        if let Some((_, guard)) = &node.guard {
            for (range, number, mutant) in
                self.at(guard.span().byte_range().start, Genre::MatchArmGuard)
            {
                self.either(number, range, vec![Part::Text(mutant.replacement.clone())]);
            }
        }
        visit::visit_arm(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        // Only from a value that has a name can a field be taken.
        if let Some(rest) = &node.rest
            && matches!(&**rest, syn::Expr::Path(_) | syn::Expr::Field(_) | syn::Expr::Unary(_))
        {
            let rest = &self.text[rest.span().byte_range()];
            for field in &node.fields {
                let syn::Member::Named(name) = &field.member else { continue };
                let range = field.span().byte_range();
                for (_, number, _) in self.at(range.start, Genre::StructField) {
                    let value = field.expr.span().byte_range();
                    let taken = format!("{name}: if {} {{ ({rest}).{name} }} else {{ ", on(number));
                    let parts =
                        vec![Part::Text(taken), Part::Source(value), Part::Text(" }".to_owned())];
                    self.edit(number, range.clone(), parts);
                }
            }
        }
        visit::visit_expr_struct(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mutant of what stands in the text at the first place of these words.
    fn mutant(text: &str, genre: Genre, words: &str, replacement: &str) -> Mutant {
        let at = text.find(words).expect("the words are in the text");
        let place = |at: usize| {
            let before = &text[..at];
            let line = before.rfind('\n').map_or(0, |end| end + 1);
            (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
        };
        let replacement = replacement.to_owned();
        let (start, end) = (place(at), place(at + words.len()));
        Mutant { name: words.to_owned(), file: String::new(), genre, replacement, start, end }
    }

    /// The text with one mutant, whose number is 7.
    fn one(text: &str, genre: Genre, words: &str, replacement: &str) -> String {
        let mutant = mutant(text, genre, words, replacement);
        let switched = switched(text, &[(7, &mutant)]).expect("it is Rust");
        if switched.left.is_empty() { switched.text } else { format!("left {:?}", switched.left) }
    }

    #[test]
    fn each_genre_has_its_switch() {
        assert_eq!(
            one("fn f() -> u8 {\n    3\n}", Genre::FnValue, "3", "0"),
            "fn f() -> u8 {\n    if crate::mutant(7) { return 0; } 3\n}"
        );
        assert_eq!(
            one("fn f() -> bool { a.b() < c as u8 }", Genre::BinaryOperator, "<", "=="),
            "fn f() -> bool { (if crate::mutant(7) { (a.b()) == (c as u8) } else { a.b() < c as u8 }) }"
        );
        assert_eq!(
            one("fn f() { n += 1; }", Genre::BinaryOperator, "+=", "-="),
            "fn f() { (if crate::mutant(7) { (n) -= (1) } else { n += 1 }); }"
        );
        assert_eq!(
            one("fn f() -> bool { !b }", Genre::UnaryOperator, "!", ""),
            "fn f() -> bool { (if crate::mutant(7) { b } else { !b }) }"
        );
        assert_eq!(
            one("fn f() { match n { 0 => a(), _ => b() } }", Genre::MatchArm, "0 => a()", ""),
            "fn f() { match n { 0 if !crate::mutant(7) => a(), _ => b() } }"
        );
        assert_eq!(
            one("fn f() { match n { 0 if x => a(), _ => b() } }", Genre::MatchArm, "0 if x", ""),
            "fn f() { match n { 0 if !crate::mutant(7) && (x) => a(), _ => b() } }"
        );
        assert_eq!(
            one(
                "fn f() { match n { 0 if x => a(), _ => b() } }",
                Genre::MatchArmGuard,
                "x",
                "true"
            ),
            "fn f() { match n { 0 if (if crate::mutant(7) { true } else { x }) => a(), _ => b() } }"
        );
        assert_eq!(
            one("fn f() { S { a: 1, ..*self.s } }", Genre::StructField, "a: 1", ""),
            "fn f() { S { a: if crate::mutant(7) { (*self.s).a } else { 1 }, ..*self.s } }"
        );
    }

    #[test]
    fn what_cannot_ask_for_a_switch_is_left() {
        for text in [
            "const N: usize = 4 + 1;",
            "const fn f() -> u8 { 4 + 1 }",
            "fn f() { [0; 4 + 1] }",
            "fn f() { if let Some(n) = m && 4 + 1 {} }",
        ] {
            let words = if text.contains("&&") { "&&" } else { "+" };
            assert_eq!(one(text, Genre::BinaryOperator, words, "||"), "left [7]", "{text}");
        }
    }

    #[test]
    fn mutants_of_one_place_and_within_each_other_stand_together() {
        let text = "fn é(a: u8) -> bool { a + 1 == 2 && !b }";
        let mutants = [
            mutant(text, Genre::FnValue, "a + 1 == 2 && !b", "true"),
            mutant(text, Genre::FnValue, "a + 1 == 2 && !b", "false"),
            mutant(text, Genre::BinaryOperator, "+", "-"),
            mutant(text, Genre::BinaryOperator, "+", "*"),
            mutant(text, Genre::BinaryOperator, "&&", "||"),
            mutant(text, Genre::UnaryOperator, "!", ""),
        ];
        let numbered: Vec<(u32, &Mutant)> = (0..).zip(&mutants).collect();
        let switched = switched(text, &numbered).expect("it is Rust");
        assert!(switched.left.is_empty());
        for (number, mutant) in numbered {
            let places = switched.places.iter().filter(|(n, _)| *n == number);
            let texts: Vec<&str> = places.map(|(_, range)| &switched.text[range.clone()]).collect();
            assert!(!texts.is_empty(), "{}", mutant.name);
            let has = |text: &&str| text.contains(&on(number));
            assert!(texts.iter().all(has), "{texts:?}");
        }
        syn::parse_file(&switched.text).expect("the result is Rust");
    }
}
