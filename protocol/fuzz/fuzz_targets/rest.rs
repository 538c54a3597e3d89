//! Any body and any path are commands or an error; and words that were read come back from the JSON, and
//! from the path, that is made of them. From `protocol/`:
//!
//! ```text
//! cargo +nightly fuzz run rest fuzz/corpus/rest fuzz/seeds/rest -- -max_len=4096
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use miso_protocol::rest::commands::{self, Commands};

fn words(commands: &Commands) -> Vec<Vec<Vec<u8>>> {
    let list = |at| commands.args(at).iter().map(<[u8]>::to_vec).collect();
    (0..commands.len()).map(list).collect()
}

/// A JSON string of bytes that are UTF-8, every character escaped.
fn json(word: &[u8]) -> String {
    let text = std::str::from_utf8(word).expect("JSON holds UTF-8 alone");
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

fn array(words: &[Vec<u8>]) -> String {
    format!("[{}]", words.iter().map(|word| json(word)).collect::<Vec<_>>().join(","))
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            let Ok(read) = commands::command(data) else { return };
            let read = words(&read);
            let again = commands::command(array(&read[0]).as_bytes()).expect("an array of strings");
            assert_eq!(words(&again), read);
        }
        1 => {
            let Ok(read) = commands::pipeline(data) else { return };
            let read = words(&read);
            let all: Vec<String> = read.iter().map(|words| array(words)).collect();
            let again = commands::pipeline(format!("[{}]", all.join(",")).as_bytes());
            assert_eq!(words(&again.expect("an array of arrays")), read);
        }
        _ => {
            let mut parts = data.splitn(3, |byte| *byte == 0);
            let mut text =
                || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
            let (path, query) = (text(), text());
            let body = parts.next().unwrap_or_default();
            drop(commands::query_token(Some(&query)));
            let Ok(read) = commands::path(&path, Some(&query), body) else { return };
            let read = words(&read);
            let hex = |byte: &u8| format!("%{byte:02x}");
            let part = |word: &Vec<u8>| format!("/{}", word.iter().map(hex).collect::<String>());
            let again: String = read[0].iter().map(part).collect();
            let again = commands::path(&again, None, b"").expect("a path of encoded parts");
            assert_eq!(words(&again), read);
        }
    }
});
