//! Tables that read well on a terminal and are Markdown at the same time.

use std::fmt;

/// A table; the first column is text and stands left, the others stand right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).max(3)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} ")?;
                } else {
                    write!(f, "| {cell:>width$} ")?;
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let mark = if column == 0 { '-' } else { ':' };
                    write!(f, "|{}{mark}", "-".repeat(width + 1))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// `12345678` as `12 345 678`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Whether a figure holds; none if it tells nothing.
pub(crate) fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "cannot tell",
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, grouped};

    #[test]
    fn a_table_is_aligned_markdown() {
        let mut table = Table::new(&["what", "n"]);
        table.row(["counter".into(), "7".into()]);
        assert_eq!(table.to_string(), "| what    |   n |\n|---------|----:|\n| counter |   7 |\n");
    }

    #[test]
    fn digits_in_threes() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234), "1 234");
        assert_eq!(grouped(123_456), "123 456");
    }
}
