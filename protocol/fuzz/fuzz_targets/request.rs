//! Any bytes, cut anywhere, give the same commands and the same error as in one piece. The first byte
//! says into pieces of what size to cut, and its lowest bit whether the client has authenticated. From
//! `protocol/`:
//!
//! ```text
//! cargo +nightly fuzz run request fuzz/corpus/request fuzz/seeds/request -- -max_len=4096
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use miso_protocol::request::{Limits, Parser, ProtocolError};

/// Of each command how many arguments it has, and their bytes one after another.
type Found = (Vec<(usize, Vec<u8>)>, Option<ProtocolError>);

fn read(bytes: &[u8], step: usize, limits: &Limits) -> Found {
    let (mut parser, mut found, mut from, mut to) = (Parser::new(), Vec::new(), 0, 0);
    while to < bytes.len() {
        to = (to + step).min(bytes.len());
        loop {
            match parser.next(&bytes[from..to], limits) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    assert!(length > 0 && length <= to - from);
                    let args = parser.args(&bytes[from..to]);
                    found.push((args.len(), args.iter().flatten().copied().collect()));
                    from += length;
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    // Short lines, so that the limit on them is met.
    let limits =
        Limits { inline_bytes: 1024, unauthenticated: first & 1 == 1, ..Limits::default() };
    let pieces = read(bytes, usize::from(first >> 1) + 1, &limits);
    assert_eq!(pieces, read(bytes, bytes.len().max(1), &limits));
});
