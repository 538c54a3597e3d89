//! Strings, their bits, and HyperLogLogs.

use super::Row;
use crate::differential::compare::Order::Exact;

pub(super) const STRINGS: &[Row] = &[
    Row::new(&[("GET {string}", Exact)]).often(),
    Row::new(&[("SET {string} {value}", Exact)]).often(),
    Row::new(&[(
        "SET {string} {value} [NX|XX] [GET] [EX {seconds}|PX {ms}|EXAT {at}|PXAT {at-ms}|KEEPTTL]",
        Exact,
    )])
    .often(),
    Row::new(&[("SETEX {string} {seconds} {value}", Exact)]),
    Row::new(&[("PSETEX {string} {ms} {value}", Exact)]),
    Row::new(&[("SETNX {string} {value}", Exact)]),
    Row::new(&[("GETSET {string} {value}", Exact)]),
    Row::new(&[("GETDEL {string}", Exact)]),
    Row::new(&[(
        "GETEX {string} [EX {seconds}|PX {ms}|EXAT {at}|PXAT {at-ms}|PERSIST|EXAT 1|PXAT 1]",
        Exact,
    )]),
    Row::new(&[("MGET ({string})+", Exact)]),
    Row::new(&[("MSET ({string} {value})+", Exact)]),
    Row::new(&[("MSETNX ({string} {value})+", Exact)]),
    Row::new(&[("APPEND {string} {value}", Exact)]),
    Row::new(&[("STRLEN {string}", Exact)]),
    Row::new(&[("SETRANGE {string} {offset} {value}", Exact)]),
    Row::new(&[("SETRANGE {string} 536870912 {value}", Exact)]).rarely(),
    Row::new(&[("GETRANGE {string} {index} {index}", Exact)]),
    Row::new(&[("SUBSTR {string} {index} {index}", Exact)]),
    Row::new(&[("LCS {string} {string} [LEN|IDX] [MINMATCHLEN {small}] [WITHMATCHLEN]", Exact)]),
    Row::new(&[("LCS {string} {string} IDX [MINMATCHLEN {small}] [WITHMATCHLEN]", Exact)]),
    Row::new(&[("<INCR|DECR> {string}", Exact)]).often(),
    Row::new(&[("<INCRBY|DECRBY> {string} {int}", Exact)]).often(),
    Row::new(&[("INCRBYFLOAT {string} {float}", Exact)]),
    Row::new(&[("<EXPIRE|EXPIREAT> {string} {at}", Exact)]).rarely(),
];

pub(super) const BITMAPS: &[Row] = &[
    Row::new(&[("SETBIT {string} {bit} <0|1>", Exact)]).often(),
    Row::new(&[("SETBIT {string} <4294967295|4294967296|-1> 2", Exact)]).rarely(),
    Row::new(&[("GETBIT {string} {bit}", Exact)]),
    Row::new(&[("GETBIT {string} <4294967295|4294967296|-1>", Exact)]).rarely(),
    Row::new(&[("BITCOUNT {string} [{index} {index} [BYTE|BIT]]", Exact)]),
    Row::new(&[("BITPOS {string} <0|1> [{index} [{index} [BYTE|BIT]]]", Exact)]),
    Row::new(&[("BITPOS {string} <0|1> {index} {index} <BYTE|BIT>", Exact)]),
    Row::new(&[("BITOP <AND|OR|XOR> {string} ({string})+", Exact)]),
    Row::new(&[("BITOP NOT {string} {string}", Exact)]),
    Row::new(&[("BITOP <DIFF|DIFF1|ANDOR|ONE> {string} ({string})+", Exact)]).since(8, 2),
    Row::new(&[(
        "BITFIELD {string} [OVERFLOW <WRAP|SAT|FAIL>] (<GET {bits} {place}|SET {bits} {place} {int}|\
         INCRBY {bits} {place} {int}>)+",
        Exact,
    )])
    .often(),
    Row::new(&[(
        "BITFIELD {string} (<INCRBY {bits} {place} {int}|OVERFLOW <WRAP|SAT|FAIL> INCRBY {bits} {place} {int}>)+",
        Exact,
    )]),
    Row::new(&[("BITFIELD_RO {string} (GET {bits} {place})+", Exact)]),
    Row::new(&[("BITFIELD_RO {string} (<GET {bits} {place}|SET {bits} {place} {int}>)+", Exact)])
        .rarely(),
    Row::new(&[("SET {string} {value}", Exact)]),
    Row::new(&[("GET {string}", Exact)]),
];

pub(super) const HYPERLOGLOG: &[Row] = &[
    Row::new(&[("PFADD {hll} ({member})+", Exact)]).often(),
    Row::new(&[("PFADD {hll}", Exact)]),
    Row::new(&[("PFCOUNT ({hll})+", Exact)]).often(),
    Row::new(&[("PFCOUNT ({key})+", Exact)]),
    Row::new(&[("PFMERGE {hll} {key}", Exact)]),
    Row::new(&[("PFMERGE {hll} [{hll}] [{hll}]", Exact)]),
    Row::new(&[("PFMERGE {hll} ({hll})+", Exact)]),
    Row::new(&[("DEL {hll}", Exact)]),
];
