//! Bytes of a peer are messages or an error; and a message that was read comes back from the bytes that are made
//! of it. From `protocol/`:
//!
//! ```text
//! cargo +nightly fuzz run peer fuzz/corpus/peer fuzz/seeds/peer -- -max_len=4096
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use miso_protocol::peer::{frame, open};

fuzz_target!(|data: &[u8]| {
    for message in open(data.to_vec().into()) {
        let Ok(Some(body)) = message.map(|message| message.body) else { continue };
        let again = open(frame(body.clone())).next().expect("one message");
        assert_eq!(again.expect("it was made here").body, Some(body));
    }
});
