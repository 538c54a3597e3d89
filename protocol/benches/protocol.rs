//! What RESP costs per command, in nanoseconds: `cargo bench -p miso-protocol`.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use miso_protocol::command::{Access, Arg, Flags, Group, NAME, OBJECT, Row, Table};
use miso_protocol::glob;
use miso_protocol::integer;
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::{Limits, Parser};

/// How many commands a client sends before it reads.
const DEPTH: usize = 64;

fn main() {
    divan::main();
}

fn pipeline() -> Vec<u8> {
    let command = |n: usize| {
        format!("*4\r\n$12\r\nGCOUNTER.ADD\r\n$14\r\no:{n:012}\r\n$5\r\ntotal\r\n$1\r\n1\r\n")
    };
    (0..DEPTH).map(command).collect::<String>().into_bytes()
}

/// Four arguments, 64 commands in the buffer: time per command.
#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let (bytes, limits) = (pipeline(), Limits::default());
    let mut parser = Parser::new();
    bencher.counter(ItemsCount::new(DEPTH)).bench_local(|| {
        let (mut at, mut sum) = (0, 0);
        while let Ok(Some(length)) = parser.next(black_box(&bytes[at..]), &limits) {
            sum += parser.args(&bytes[at..]).len();
            at += length;
        }
        sum
    });
}

/// The same in reads of 16 bytes, each of which stops within a command.
#[divan::bench]
fn parse_in_pieces(bencher: Bencher<'_, '_>) {
    let (bytes, limits) = (pipeline(), Limits::default());
    let mut parser = Parser::new();
    bencher.counter(ItemsCount::new(DEPTH)).bench_local(|| {
        let (mut at, mut to) = (0, 0);
        while to < bytes.len() {
            to = (to + 16).min(bytes.len());
            while let Ok(Some(length)) = parser.next(black_box(&bytes[at..to]), &limits) {
                at += length;
            }
        }
    });
}

#[divan::bench]
fn parse_inline(bencher: Bencher<'_, '_>) {
    let (bytes, limits) = (b"PING\r\n".repeat(DEPTH), Limits::default());
    let mut parser = Parser::new();
    bencher.counter(ItemsCount::new(DEPTH)).bench_local(|| {
        let mut at = 0;
        while let Ok(Some(length)) = parser.next(black_box(&bytes[at..]), &limits) {
            at += length;
        }
    });
}

const ADD: Row = Row {
    name: "GCOUNTER.ADD",
    args: &[OBJECT, NAME, Arg::integer("increment").optional()],
    access: Access::Write,
    group: Group::GCounter,
    flags: Flags::FAST,
    ..Row::EMPTY
};

macro_rules! rows {
    ($($name:literal)*) => { &[ADD, $(Row { name: $name, ..ADD },)*] };
}

/// As many as the server has, more or less.
static ROWS: &[Row] = rows!(
    "GCOUNTER.GET" "GCOUNTER.MADD" "GCOUNTER.MGET" "PNCOUNTER.ADD" "PNCOUNTER.SUB" "PNCOUNTER.GET"
    "PNCOUNTER.MADD" "PNCOUNTER.MGET" "GSET.ADD" "GSET.MEMBERS" "GSET.ISMEMBER" "GSET.CARD"
    "GSET.SCAN" "ORSET.ADD" "ORSET.REM" "ORSET.MEMBERS" "ORSET.ISMEMBER" "ORSET.CARD" "ORSET.SCAN"
    "MVREG.SET" "MVREG.GET" "MVREG.VALUE" "EWFLAG.SET" "EWFLAG.GET" "ORMAP.SET" "ORMAP.GET"
    "ORMAP.DEL" "ORMAP.GETALL" "MISO.DEL" "MISO.SCAN" "MISO.INFO" "SCAN" "TYPE" "EXISTS" "DEL"
    "HGET" "HGETALL" "PING" "ECHO" "HELLO" "AUTH" "SELECT" "CLIENT" "COMMAND" "CONFIG" "INFO"
    "MULTI" "EXEC" "DISCARD" "WATCH" "UNWATCH" "SUBSCRIBE" "UNSUBSCRIBE" "PUBLISH" "MONITOR"
);

/// A command's row by its name.
#[divan::bench(args = ["GCOUNTER.ADD", "orset.ismember", "PING", "nosuchcommand"])]
fn find(bencher: Bencher<'_, '_>, name: &str) {
    let table = Table::new(ROWS);
    bencher.bench(|| table.find(black_box(name.as_bytes())));
}

/// Whether a command has the right number of arguments.
#[divan::bench]
fn fits() -> bool {
    black_box(&ADD).fits(black_box(4))
}

/// 64 integer replies: time per reply.
#[divan::bench(args = [1, 1_234_567_890])]
fn reply_integer(bencher: Bencher<'_, '_>, n: i64) {
    let mut out = Vec::with_capacity(4096);
    bencher.counter(ItemsCount::new(DEPTH)).bench_local(|| {
        out.clear();
        let mut reply = Reply::new(&mut out, Resp::V2);
        (0..DEPTH).for_each(|_| reply.integer(black_box(n)));
    });
}

/// 64 bulk strings of 16 bytes: time per reply.
#[divan::bench]
fn reply_bulk(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(4096);
    bencher.counter(ItemsCount::new(DEPTH)).bench_local(|| {
        out.clear();
        let mut reply = Reply::new(&mut out, Resp::V2);
        (0..DEPTH).for_each(|_| reply.bulk(black_box(b"0123456789abcdef")));
    });
}

#[divan::bench(args = ["1", "1234567890", "-9223372036854775808"])]
fn parse_integer(text: &str) -> Option<i64> {
    integer::parse_i64(black_box(text.as_bytes()))
}

#[divan::bench]
fn glob_match() -> bool {
    glob::matches(black_box(b"user:*:cart"), black_box(b"user:8123456:cart"), false)
}
