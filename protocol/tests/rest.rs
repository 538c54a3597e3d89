//! REST: any words come back from a body and from a path, and any replies are JSON that says the same.

use miso_protocol::reply::{Reply, Resp};
use miso_protocol::rest::commands::{self, Commands};
use miso_protocol::rest::json::{Strings, one, several};
use proptest::prelude::*;
use serde_json::Value;

fn words(commands: &Commands) -> Vec<Vec<Vec<u8>>> {
    let list = |at| commands.args(at).iter().map(<[u8]>::to_vec).collect();
    (0..commands.len()).map(list).collect()
}

fn encoded(word: &[u8]) -> String {
    word.iter().map(|byte| format!("%{byte:02x}")).collect()
}

/// A reply, and what its JSON is to say.
#[derive(Clone, Debug)]
enum Said {
    Nil,
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Said>),
}

impl Said {
    fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Said::Nil => reply.null(),
            Said::Integer(n) => reply.integer(*n),
            Said::Bulk(bytes) => reply.bulk(bytes),
            Said::Array(all) => {
                reply.array(all.len());
                all.iter().for_each(|said| said.write(reply));
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Said::Nil => Value::Null,
            Said::Integer(n) => (*n).into(),
            Said::Bulk(bytes) => String::from_utf8_lossy(bytes).into(),
            Said::Array(all) => all.iter().map(Said::json).collect::<Vec<_>>().into(),
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let leaf = prop_oneof![
        Just(Said::Nil),
        any::<i64>().prop_map(Said::Integer),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Said::Bulk),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Said::Array))
}

proptest! {
    #[test]
    fn words_come_back_from_a_body(all in prop::collection::vec(prop::collection::vec(any::<String>(), 0..5), 1..5)) {
        let expected: Vec<Vec<Vec<u8>>> =
            all.iter().map(|words| words.iter().map(|word| word.clone().into_bytes()).collect()).collect();
        let body = serde_json::to_vec(&all).expect("strings are JSON");
        prop_assert_eq!(words(&commands::pipeline(&body).expect("commands")), expected.clone());
        let first = serde_json::to_vec(&all[0]).expect("strings are JSON");
        prop_assert_eq!(words(&commands::command(&first).expect("a command")), &expected[..1]);
    }

    #[test]
    fn words_come_back_from_a_path(
        path in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 1..5),
        body in prop::collection::vec(any::<u8>(), 1..9),
        options in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 0..4),
    ) {
        let text: String = path.iter().map(|word| format!("/{}", encoded(word))).collect();
        let query: Vec<String> = options.iter().map(|word| encoded(word)).collect();
        let read = commands::path(&text, Some(&query.join("&")), &body).expect("a command");
        let expected: Vec<Vec<u8>> = path.into_iter().chain([body]).chain(options).collect();
        prop_assert_eq!(words(&read), [expected]);
    }

    #[test]
    fn any_bytes_are_commands_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        for read in [
            commands::command(&bytes),
            commands::pipeline(&bytes),
            commands::path(&text, Some(&text), &bytes),
        ] {
            match read {
                Ok(commands) => prop_assert!(!commands.is_empty()),
                Err(why) => prop_assert!(!why.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn json_says_what_replies_say(all in prop::collection::vec(said(), 0..6)) {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Resp::V2);
        all.iter().for_each(|said| said.write(&mut reply));
        let json: Value = serde_json::from_slice(&several(&out, Strings::Plain)).expect("JSON");
        let expected: Vec<Value> =
            all.iter().map(|said| serde_json::json!({ "result": said.json() })).collect();
        prop_assert_eq!(json, Value::from(expected));
        let coded: Value = serde_json::from_slice(&several(&out, Strings::Base64)).expect("JSON");
        prop_assert_eq!(coded.as_array().map(Vec::len), Some(all.len()));
    }

    #[test]
    fn even_bytes_that_are_no_reply_end(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let shown = one(&bytes, Strings::Plain);
        prop_assert!(shown.len() < 10_000);
    }
}
