//! Input that is broken in some bytes, for tests of what reads text from outside.
//!
//! `MISO_MUTATED=1000000 cargo test -p miso-server broken` makes that many of each.

/// How many inputs a test makes.
pub(crate) fn rounds() -> u64 {
    std::env::var("MISO_MUTATED").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000)
}

/// Draws the same numbers each time: SplitMix64.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// A number below `bound`, which is above 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// `text` with up to three bytes changed, added or left out.
    pub(crate) fn broken(&mut self, text: &[u8]) -> Vec<u8> {
        const LIKELY: &[u8] = b" ()\n\r\0\"'\\~%&+-@|:=*?[]^,.0127\xff";
        let mut text = text.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(text.len() + 1);
            let byte = match self.below(2) {
                0 => LIKELY[self.below(LIKELY.len())],
                _ => self.below(256) as u8,
            };
            match self.below(3) {
                0 if at < text.len() => text[at] = byte,
                1 if at < text.len() => drop(text.remove(at)),
                _ => text.insert(at, byte),
            }
        }
        text
    }
}
