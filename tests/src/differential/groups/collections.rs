//! Hashes and sets.

use super::Row;
use crate::differential::compare::Order::{
    self, Drawn, DrawnPairs, Exact, Near, Pairs, Scan, ScanPairs, Unordered,
};

const FIELDS: (&str, Order) = ("HGETALL {hash}", Pairs);
const MEMBERS: (&str, Order) = ("SMEMBERS {set}", Unordered);
const CLEAR: (&str, Order) = ("DEL {same}", Exact);

pub(super) const HASHES: &[Row] = &[
    Row::new(&[("HSET {hash} ({field} {value})+", Exact)]).often(),
    Row::new(&[("HMSET {hash} ({field} {value})+", Exact)]),
    Row::new(&[("HSETNX {hash} {field} {value}", Exact)]),
    Row::new(&[("HGET {hash} {field}", Exact)]).often(),
    Row::new(&[("HMGET {hash} ({field})+", Exact)]),
    Row::new(&[FIELDS]),
    Row::new(&[("HDEL {hash} ({field})+", Exact)]),
    Row::new(&[("HEXISTS {hash} {field}", Exact)]),
    Row::new(&[("HLEN {hash}", Exact)]),
    Row::new(&[("<HKEYS|HVALS> {hash}", Unordered)]),
    Row::new(&[("HSTRLEN {hash} {field}", Exact)]),
    Row::new(&[("HINCRBY {hash} {field} {int}", Exact)]).often(),
    Row::new(&[("HINCRBYFLOAT {hash} {field} {float}", Exact)]),
    Row::new(&[("HKEYS {hash}", Unordered), ("HRANDFIELD {same} [{signed}]", Drawn)]),
    Row::new(&[FIELDS, ("HRANDFIELD {same} {signed} WITHVALUES", DrawnPairs)]),
    Row::new(&[("HSCAN {hash} 0 [MATCH {pattern}] [COUNT 1000]", ScanPairs)]),
    Row::new(&[("HEXPIRE {hash} {seconds} [NX|XX|GT|LT] FIELDS #({field})", Exact)]).since(7, 4),
    Row::new(&[("HPEXPIRE {hash} {ms} [NX|XX|GT|LT] FIELDS #({field})", Exact)]).since(7, 4),
    Row::new(&[("HEXPIREAT {hash} {at} [NX|XX|GT|LT] FIELDS #({field})", Exact)]).since(7, 4),
    Row::new(&[("HPEXPIREAT {hash} {at-ms} [NX|XX|GT|LT] FIELDS #({field})", Exact)]).since(7, 4),
    Row::new(&[("<HEXPIRE|HPEXPIREAT> {hash} 0 [NX|XX|GT|LT] FIELDS #({field})", Exact)])
        .since(7, 4)
        .rarely(),
    Row::new(&[("<HTTL|HEXPIRETIME> {hash} FIELDS #({field})", Near(20))]).since(7, 4),
    Row::new(&[("<HPTTL|HPEXPIRETIME> {hash} FIELDS #({field})", Near(20_000))]).since(7, 4),
    Row::new(&[("HPERSIST {hash} FIELDS #({field})", Exact)]).since(7, 4),
    Row::new(&[(
        "HGETEX {hash} [EX {seconds}|PX {ms}|EXAT {at}|PXAT {at-ms}|PERSIST|EXAT 1] FIELDS #({field})",
        Exact,
    )])
    .since(8, 0),
    Row::new(&[(
        "HSETEX {hash} [FNX|FXX] [EX {seconds}|PX {ms}|EXAT {at}|PXAT {at-ms}|KEEPTTL|EXAT 1] \
         FIELDS #({field} {value})",
        Exact,
    )])
    .since(8, 0),
    Row::new(&[("HGETDEL {hash} FIELDS #({field})", Exact)]).since(8, 0),
];

pub(super) const SETS: &[Row] = &[
    Row::new(&[("SADD {set} ({member})+", Exact)]).often(),
    Row::new(&[("SADD {set} {member}", Exact)]).often(),
    Row::new(&[("SREM {set} ({member})+", Exact)]),
    Row::new(&[MEMBERS]),
    Row::new(&[("SISMEMBER {set} {member}", Exact)]),
    Row::new(&[("SMISMEMBER {set} ({member})+", Exact)]),
    Row::new(&[("SCARD {set}", Exact)]),
    Row::new(&[MEMBERS, ("SPOP {same} [{count}]", Drawn), ("SCARD {same}", Exact), CLEAR]).rarely(),
    Row::new(&[MEMBERS, ("SRANDMEMBER {same} [{signed}]", Drawn)]),
    Row::new(&[("SMOVE {set} {set} {member}", Exact)]),
    Row::new(&[("SSCAN {set} 0 [MATCH {pattern}] [COUNT 1000]", Scan)]),
    Row::new(&[("<SINTER|SUNION|SDIFF> ({set})+", Unordered)]).often(),
    Row::new(&[("SINTERCARD #({set}) [LIMIT {count}]", Exact)]),
    Row::new(&[("<SINTERSTORE|SUNIONSTORE|SDIFFSTORE> {set} ({set})+", Exact)]),
];
