//! What MISO answers otherwise than Redis on purpose. docs/compatibility.md shows this table, and the
//! differential test lets exactly these differences pass.

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// A word by which the differential test finds it.
    pub name: &'static str,
    /// The commands that show it.
    pub commands: &'static str,
    /// What MISO does, and when.
    pub here: &'static str,
    /// What Redis 8.2 does.
    pub redis: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "cursor",
        commands: "SCAN, HSCAN, SSCAN, ZSCAN",
        here: "A cursor that no scan has given ends the scan, or is refused if it is no number",
        redis: "Goes on at some place of its table",
        reason: "A cursor is a place in another table",
    },
    Difference {
        name: "hexadecimal",
        commands: "ZADD, ZINCRBY, INCRBYFLOAT and others that take a number with a fraction",
        here: "`0x1f` is no number",
        redis: "`0x1f` is 31 where C's `strtod` reads it, and no number elsewhere",
        reason: "Numbers are read in one way on all nodes; no client writes them so",
    },
    Difference {
        name: "fixed-point",
        commands: "INCRBYFLOAT, HINCRBYFLOAT",
        here: "Adds in decimal digits, 17 after the point: 1000 and 0.015 are 1000.015",
        redis: "Adds in binary, and prints what it rounds: 1000.01500000000000001",
        reason: "Nodes that add the same numbers in any order must come to the same digits",
    },
    Difference {
        name: "hyperloglog",
        commands: "GET, SET GET, APPEND, INCR and others of strings, on a HyperLogLog",
        here: "WRONGTYPE; MGET answers nil, LCS that the key holds no string",
        redis: "Takes it for the string that holds its registers",
        reason: "A HyperLogLog merges register by register; a string that anything may write into could not",
    },
];
