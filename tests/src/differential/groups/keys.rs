//! Keys of any type.

use super::Row;
use crate::differential::compare::Order::{Drawn, Exact, Kind, Near, Scan, Unordered};

pub(super) const KEYS: &[Row] = &[
    Row::new(&[("SET {string} {value}", Exact)]),
    Row::new(&[("HSET {hash} {field} {value}", Exact)]),
    Row::new(&[("SADD {set} ({member})+", Exact)]),
    Row::new(&[("ZADD {zset} {score} {member}", Exact)]).whole(),
    Row::new(&[("SADD {numbers} ({index})+", Exact)]),
    Row::new(&[("PFADD {hll} {member}", Exact)]),
    Row::new(&[("<DEL|UNLINK> ({any})+", Exact)]),
    Row::new(&[("<EXISTS|TOUCH> ({any})+", Exact)]),
    Row::new(&[("TYPE {any}", Exact)]),
    Row::new(&[("EXPIRE {any} {seconds} [NX|XX|GT|LT]", Exact)]),
    Row::new(&[("PEXPIRE {any} {ms} [NX|XX|GT|LT]", Exact)]),
    Row::new(&[("EXPIREAT {any} {at} [NX|XX|GT|LT]", Exact)]),
    Row::new(&[("PEXPIREAT {any} {at-ms} [NX|XX|GT|LT]", Exact)]),
    Row::new(&[("<EXPIRE|PEXPIRE> {any} {ms} [NX|XX|GT|LT] [NX|XX|GT|LT]", Exact)]).rarely(),
    Row::new(&[("<EXPIRE|PEXPIRE> {any} <0|-1> [NX|XX|GT|LT]", Exact)]).rarely(),
    Row::new(&[("<EXPIREAT|PEXPIREAT> {any} 1 [NX|XX|GT|LT]", Exact)]).rarely(),
    Row::new(&[("<TTL|EXPIRETIME> {any}", Near(20))]),
    Row::new(&[("<PTTL|PEXPIRETIME> {any}", Near(20_000))]),
    Row::new(&[("PERSIST {any}", Exact)]),
    Row::new(&[("<RENAME|RENAMENX> {key} {key}", Exact)]),
    Row::new(&[("COPY {key} {key} [REPLACE] [DB 0]", Exact)]),
    Row::new(&[("KEYS {pattern}", Unordered)]),
    Row::new(&[("SCAN 0 [MATCH {pattern}] COUNT 1000 [TYPE <string|hash|set|zset|list>]", Scan)]),
    Row::new(&[("KEYS *", Unordered), ("RANDOMKEY", Drawn)]),
    Row::new(&[("DBSIZE", Exact)]),
    // Without ALPHA: then ties are in no order. Of members that are no numbers Redis says so.
    Row::new(&[(
        "<SORT|SORT_RO> <{numbers}|{zset}|{set}> [BY {by}] [LIMIT {signed} {signed}] [GET {by}] \
         [GET #] [ASC|DESC]",
        Exact,
    )])
    .often()
    .whole(),
    Row::new(&[("<SORT|SORT_RO> {set} [LIMIT {signed} {signed}] [ASC|DESC] ALPHA [GET {by}]", Exact)]),
    Row::new(&[("<SORT|SORT_RO> {zset} BY nosort [GET {by}] [GET #] [ASC|DESC]", Unordered)]).whole(),
    Row::new(&[(
        "<SORT|SORT_RO> {numbers} <BY|GET|LIMIT 1|LIMIT 1 x|NOSORT|BY s* GET|LIMIT -1 99999999999999999999>",
        Exact,
    )])
    .whole()
    .rarely(),
    Row::new(&[("OBJECT <ENCODING|IDLETIME|REFCOUNT> {any}", Kind)]),
    Row::new(&[("MEMORY USAGE {any} [SAMPLES {count}]", Kind)]),
    Row::new(&[("<FLUSHDB|FLUSHALL> [ASYNC|SYNC]", Exact)]).rarely(),
];
