//! The request parser against what was sent, against another parser, and against noise.

use miso_protocol::request::{Limits, Parser, ProtocolError};
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

type Command = Vec<Vec<u8>>;

fn encode(command: &Command) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for arg in command {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// An inline command that gives `command`, every byte escaped.
fn encode_inline(command: &Command) -> Vec<u8> {
    let quoted = |arg: &Vec<u8>| {
        let escaped: String = arg.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"")
    };
    let mut line = command.iter().map(quoted).collect::<Vec<_>>().join(" ").into_bytes();
    line.extend_from_slice(b"\r\n");
    line
}

/// Feeds `bytes` in pieces that end at `cuts`, in a buffer that moves, as a connection does.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Command>, Option<ProtocolError>) {
    let limits = Limits::default();
    let (mut parser, mut commands, mut buffer) = (Parser::new(), Vec::new(), Vec::new());
    let mut from = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    for end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        loop {
            match parser.next(&buffer, &limits) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let args = parser.args(&buffer).iter().map(<[u8]>::to_vec).collect();
                    commands.push(args);
                    buffer = buffer.split_off(length);
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let arg = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec(prop::collection::vec(arg, 1..8), 0..6)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..12)
}

/// Bytes that look like a command more often than not.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let parts: &[&[u8]] = &[
        b"*",
        b"$",
        b"\r\n",
        b"1",
        b"2",
        b"3",
        b"0",
        b"-1",
        b"+",
        b"*1\r\n",
        b"*2\r\n",
        b"$1\r\n",
        b"$0\r\n",
        b"$2\r\n",
        b"$02\r\n",
        b"a",
        b"bc",
        b"$1\r\na\r\n",
        b"$2\r\nab\r\n",
        b":1\r\n",
        b"\"",
        b"'",
        b" ",
        b"\n",
        b"\\x4",
    ];
    let parts = parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>();
    prop::collection::vec(prop::sample::select(parts), 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_was_sent_arrives(sent in commands(), inline: bool, cuts in cuts()) {
        let encode = if inline { encode_inline } else { encode };
        let bytes: Vec<u8> = sent.iter().flat_map(encode).collect();
        prop_assert_eq!(read(&bytes, &cuts), (sent, None));
    }

    /// However noise is cut, the same commands and the same error come out of it.
    #[test]
    fn cuts_change_nothing(bytes in prop_oneof![nearly(), any::<Vec<u8>>()], cuts in cuts()) {
        prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
    }

    /// One changed byte never makes the parser panic, or read past the end.
    #[test]
    fn a_changed_byte(sent in commands(), at: usize, byte: u8, cuts in cuts()) {
        let mut bytes: Vec<u8> = sent.iter().flat_map(encode).collect();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let (found, _) = read(&bytes, &cuts);
        let total: usize = found.iter().flatten().map(Vec::len).sum();
        prop_assert!(total <= bytes.len());
    }
}

/// What the other parser makes of `bytes`, if it is a command written the one way that Redis accepts:
/// an array of bulk strings, lengths without signs and leading zeros, CR LF everywhere.
fn by_oracle(bytes: &[u8]) -> Option<(Command, usize)> {
    let Ok(Some((OwnedFrame::Array(elements), length))) = decode(bytes) else { return None };
    let bulk = |element| match element {
        OwnedFrame::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    let command: Command = elements.into_iter().map(bulk).collect::<Option<_>>()?;
    (encode(&command) == bytes[..length]).then_some((command, length))
}

/// Both accept the same commands. The other parser is lenient and recursive: it sees short input
/// only, on a stack that its depth cannot exhaust.
#[test]
fn as_another_parser() {
    let run = || {
        let cases = prop_oneof![
            nearly(),
            commands().prop_map(|commands| commands.iter().flat_map(encode).collect()),
        ];
        let config = ProptestConfig { cases: 4096, ..ProptestConfig::default() };
        proptest!(config, |(bytes in cases)| {
            let mut parser = Parser::new();
            let ours = match parser.next(&bytes, &Limits::default()) {
                Ok(Some(length)) if bytes[0] == b'*' && !bytes.starts_with(b"*-") => {
                    let args = parser.args(&bytes).iter().map(<[u8]>::to_vec).collect();
                    Some((args, length))
                }
                _ => None,
            };
            prop_assert!(bytes.len() < 4096);
            prop_assert_eq!(ours, by_oracle(&bytes));
        });
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(run);
    thread.expect("a thread").join().expect("both accept the same");
}
