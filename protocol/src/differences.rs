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
    Difference {
        name: "no places",
        commands: "GEOSEARCH, GEORADIUS and others, on a sorted set with scores that GEOADD has not made",
        here: "Takes each score for a place as well as it can",
        redis: "The same in another way",
        reason: "An infinity or a fraction is no place; what it is taken for is undefined",
    },
    Difference {
        name: "digits of places",
        commands: "GEOPOS, GEOSEARCH and GEORADIUS with WITHCOORD",
        here: "Coordinates with 17 digits after the point, as in Redis 7: 13.36138933897018433",
        redis: "As few digits as tell the same number: 13.361389338970184",
        reason: "The same number; clients of Redis 7 compare texts",
    },
    Difference {
        name: "digits of ZSCAN",
        commands: "ZSCAN",
        here: "A score in as few digits as tell it, as all other commands print it: -9.6",
        redis: "17 digits while the set is small: -9.5999999999999996",
        reason: "The same number; one set has one form, however it is kept",
    },
    Difference {
        name: "names",
        commands: "ZRANGEBYLEX, ZLEXCOUNT, ZREMRANGEBYLEX, ZRANGE BYLEX, where scores differ",
        here: "The members from the first that is within to the last",
        redis: "Other members: it is undefined",
        reason: "Ranges by name are for members of one score",
    },
    Difference {
        name: "zero",
        commands: "ZUNION, ZINTER, ZUNIONSTORE and others that multiply or add scores",
        here: "0",
        redis: "-0, where 0 was multiplied by a negative weight",
        reason: "Scores are sums that nodes make in any order: they have one zero",
    },
];
