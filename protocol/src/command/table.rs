//! The table of all commands, which finds a row by its name.

use super::Row;

/// All commands, found by name.
#[derive(Debug)]
pub struct Table {
    rows: Vec<&'static Row>,
    /// Of each row its subcommands.
    subcommands: Vec<Box<[&'static Row]>>,
    /// Of each row: counting its arguments anew would be a tenth of a short command.
    bounds: Vec<(usize, usize)>,
    /// Of each row, whether it or one of its subcommands touches objects.
    touching: Vec<bool>,
    /// Row numbers by hash of the name; open addressing, a power of two, at most half full.
    slots: Box<[u16]>,
}

const FREE: u16 = u16::MAX;

/// A hash of the name without its case: of its length, its first and its last eight bytes. Names that
/// differ in the middle alone share a slot and are told apart there.
fn hash(name: &[u8]) -> usize {
    // The bit that upper and lower case differ in; that other bytes lose it does no harm here.
    const CASE: u64 = !0x2020_2020_2020_2020;
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    let h = (first & CASE).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (last & CASE).rotate_left(29);
    let h = (h ^ name.len() as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (h ^ h >> 32) as usize
}

impl Table {
    /// The table of these rows; a row's number is its place among them.
    ///
    /// # Panics
    /// If two rows have one name: the table is written in the source.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = &'static Row>) -> Table {
        Table::with_subcommands(rows.into_iter().map(|row| (row, [])))
    }

    /// The table of these rows and the rows of their subcommands, for a server that keeps these beside
    /// their handlers.
    ///
    /// # Panics
    /// As [`Table::new`].
    #[must_use]
    pub fn with_subcommands<S: IntoIterator<Item = &'static Row>>(
        rows: impl IntoIterator<Item = (&'static Row, S)>,
    ) -> Table {
        let rows: Vec<(&'static Row, S)> = rows.into_iter().collect();
        let slots = vec![FREE; (rows.len() * 2 + 1).next_power_of_two()].into_boxed_slice();
        let mut table = Table {
            rows: Vec::new(),
            subcommands: Vec::new(),
            bounds: Vec::new(),
            touching: Vec::new(),
            slots,
        };
        for (row, subcommands) in rows {
            assert!(table.find(row.name.as_bytes()).is_none(), "{} is there twice", row.name);
            let number = u16::try_from(table.rows.len()).expect("fewer than 65535 commands");
            let mut at = hash(row.name.as_bytes()) & (table.slots.len() - 1);
            while table.slots[at] != FREE {
                at = (at + 1) & (table.slots.len() - 1);
            }
            table.slots[at] = number;
            let subcommands: Box<[_]> = subcommands.into_iter().collect();
            assert_eq!(row.is_parent(), !subcommands.is_empty(), "subcommands of {}", row.name);
            table.rows.push(row);
            table.bounds.push(row.bounds());
            let touches = row.touches() || subcommands.iter().any(|sub| sub.touches());
            table.touching.push(touches);
            table.subcommands.push(subcommands);
        }
        table
    }

    /// The number of the command `name`, in upper or lower case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let mut at = hash(name) & (self.slots.len() - 1);
        loop {
            let number = self.slots[at];
            let known = self.rows.get(usize::from(number))?.name.as_bytes();
            if known == name || known.eq_ignore_ascii_case(name) {
                return Some(number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Whether the command with this number, or one of its subcommands, touches objects; see
    /// [`Row::touches`].
    #[must_use]
    pub fn may_touch(&self, number: u16) -> bool {
        self.touching[usize::from(number)]
    }

    /// Whether the command with this number may have this many words; see [`Row::fits`].
    #[must_use]
    pub fn fits(&self, number: u16, words: usize) -> bool {
        let (least, most) = self.bounds[usize::from(number)];
        words >= least && words <= most
    }

    /// The row of a number that [`Table::find`] gave.
    #[must_use]
    pub fn row(&self, number: u16) -> &'static Row {
        self.rows[usize::from(number)]
    }

    /// The place of the subcommand `name` among those of a row.
    #[must_use]
    pub fn subcommand(&self, number: u16, name: &[u8]) -> Option<usize> {
        let mut rows = self.subcommands(number).iter();
        rows.position(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The subcommands of a row, in the order of their places.
    #[must_use]
    pub fn subcommands(&self, number: u16) -> &[&'static Row] {
        &self.subcommands[usize::from(number)]
    }

    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows with their subcommands, in the order of their numbers.
    pub fn all(&self) -> impl ExactSizeIterator<Item = (&'static Row, &[&'static Row])> + '_ {
        self.rows.iter().copied().zip(self.subcommands.iter().map(|rows| &**rows))
    }

    /// All rows, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'static Row> + '_ {
        self.rows.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        static ROWS: [Row; 3] = [
            Row { name: "PING", ..Row::EMPTY },
            Row { name: "GCOUNTER.ADD", ..Row::EMPTY },
            Row { name: "GCOUNTER.GET", ..Row::EMPTY },
        ];
        let table = Table::new(&ROWS);
        assert_eq!((table.len(), table.iter().len()), (3, 3));
        for (number, row) in ROWS.iter().enumerate() {
            let number = u16::try_from(number).ok();
            assert_eq!(table.find(row.name.as_bytes()), number);
            assert_eq!(table.find(row.name.to_ascii_lowercase().as_bytes()), number);
        }
        for unknown in ["", "PIN", "PINGS", "GCOUNTER.ADE", "gcounter_add", "\0\u{e9}"] {
            assert_eq!(table.find(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    #[should_panic(expected = "PING is there twice")]
    fn names_are_unique() {
        static ROWS: [Row; 2] = [Row { name: "PING", ..Row::EMPTY }; 2];
        let _ = Table::new(&ROWS);
    }
}
