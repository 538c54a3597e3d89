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
pub const DIFFERENCES: &[Difference] = &[];
