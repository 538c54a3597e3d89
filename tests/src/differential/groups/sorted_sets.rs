//! Sorted sets and places.

use super::Row;
use crate::differential::compare::Order::{self, Drawn, DrawnPairs, Exact, ScanPairs, Unordered};

const MEMBERS: (&str, Order) = ("ZRANGE {zset} 0 -1", Exact);
const SCORES: (&str, Order) = ("ZRANGE {zset} 0 -1 WITHSCORES", Exact);

pub(super) const SORTED_SETS: &[Row] = &[
    Row::new(&[("ZADD {zset} ({score} {member})+", Exact)]).often(),
    Row::new(&[("ZADD {zset} [NX|XX] [GT|LT] [CH] [INCR] ({score} {member})+", Exact)]).often(),
    Row::new(&[("ZADD {zset} [NX|XX|GT|LT|XX GT|XX LT] [CH] ({score} {member})+", Exact)]).often(),
    Row::new(&[("ZADD {zset} [NX|XX|GT|LT] [CH] INCR {score} {member}", Exact)]),
    // Whole: by names alone only members of one score have an order.
    Row::new(&[("ZADD {lex} (0 {member})+", Exact)]).whole().often(),
    Row::new(&[("ZINCRBY {zset} {score} {member}", Exact)]),
    Row::new(&[("ZREM {zset} ({member})+", Exact)]),
    Row::new(&[("ZSCORE {zset} {member}", Exact)]),
    Row::new(&[("ZMSCORE {zset} ({member})+", Exact)]),
    Row::new(&[("ZCARD {zset}", Exact)]),
    Row::new(&[("ZCOUNT {zset} {min} {max}", Exact)]),
    Row::new(&[("ZLEXCOUNT {lex} {lexmin} {lexmax}", Exact)]),
    Row::new(&[("ZRANGE {zset} {index} {index} [REV] [WITHSCORES]", Exact)]),
    Row::new(&[(
        "ZRANGE {zset} {min} {max} BYSCORE [REV] [LIMIT {signed} {signed}] [WITHSCORES]",
        Exact,
    )]),
    Row::new(&[("ZRANGE {lex} {lexmin} {lexmax} BYLEX [REV] [LIMIT {signed} {signed}]", Exact)]),
    Row::new(&[(
        "ZRANGE {zset} {index} {index} [BYSCORE|BYLEX] [LIMIT 0 1] [WITHSCORES] [REV]",
        Exact,
    )])
    .rarely(),
    Row::new(&[("ZRANGESTORE {zset} {zset} {index} {index} [REV]", Exact)]),
    Row::new(&[(
        "ZRANGESTORE {zset} {zset} {min} {max} BYSCORE [REV] [LIMIT {signed} {signed}]",
        Exact,
    )]),
    Row::new(&[(
        "ZRANGESTORE {lex} {lex} {lexmin} {lexmax} BYLEX [REV] [LIMIT {signed} {signed}]",
        Exact,
    )]),
    Row::new(&[("ZREVRANGE {zset} {index} {index} [WITHSCORES]", Exact)]),
    Row::new(&[(
        "<ZRANGEBYSCORE|ZREVRANGEBYSCORE> {zset} {min} {max} [WITHSCORES] [LIMIT {signed} {signed}]",
        Exact,
    )]),
    Row::new(&[("ZRANGEBYLEX {lex} {lexmin} {lexmax} [LIMIT {signed} {signed}]", Exact)]),
    Row::new(&[("ZREVRANGEBYLEX {lex} {lexmax} {lexmin} [LIMIT {signed} {signed}]", Exact)]),
    Row::new(&[("<ZRANK|ZREVRANK> {zset} {member}", Exact)]),
    Row::new(&[("<ZRANK|ZREVRANK> {zset} {member} WITHSCORE", Exact)]).since(7, 2),
    Row::new(&[("ZREMRANGEBYRANK {zset} {index} {signed}", Exact)]).rarely(),
    Row::new(&[("ZREMRANGEBYSCORE {zset} {min} {max}", Exact)]).rarely(),
    Row::new(&[("ZREMRANGEBYLEX {lex} {lexmin} {lexmax}", Exact)]).rarely(),
    Row::new(&[("<ZPOPMIN|ZPOPMAX> {zset} [{count}]", Exact)]),
    Row::new(&[("ZMPOP #({zset}) <MIN|MAX> [COUNT {count}]", Exact)]),
    Row::new(&[MEMBERS, ("ZRANDMEMBER {same} [{signed}]", Drawn)]),
    Row::new(&[SCORES, ("ZRANDMEMBER {same} {signed} WITHSCORES", DrawnPairs)]),
    Row::new(&[("ZSCAN {zset} 0 [MATCH {pattern}] [COUNT 1000]", ScanPairs)]),
    Row::new(&[(
        "<ZUNION|ZINTER> #(<{zset}|{set}>) [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]",
        Exact,
    )]),
    Row::new(&[(
        "<ZUNION|ZINTER> 2 {zset} {zset} WEIGHTS {score} {score} [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]",
        Exact,
    )]),
    Row::new(&[("ZDIFF #({zset}) [WITHSCORES]", Exact)]),
    Row::new(&[("ZINTERCARD #({zset}) [LIMIT {count}]", Exact)]),
    Row::new(&[(
        "<ZUNIONSTORE|ZINTERSTORE> {zset} #(<{zset}|{set}>) [AGGREGATE <SUM|MIN|MAX>]",
        Exact,
    )]),
    Row::new(&[(
        "<ZUNIONSTORE|ZINTERSTORE> {zset} 2 {zset} {zset} WEIGHTS {score} {float}",
        Exact,
    )]),
    Row::new(&[("ZDIFFSTORE {zset} #({zset})", Exact)]),
];

pub(super) const GEO: &[Row] = &[
    Row::new(&[("GEOADD {geo} [NX|XX] [CH] ({longitude} {latitude} {member})+", Exact)]).often(),
    Row::new(&[("GEOADD {geo} ({longitude} {latitude} {member})+", Exact)]).often(),
    Row::new(&[("GEOADD {geo} <180|-180.1|200|10> <85.05|85.06|-86|10> {member}", Exact)]).rarely(),
    Row::new(&[("GEODIST {geo} {member} {member} [m|km|ft|mi|MI|yd]", Exact)]),
    Row::new(&[("<GEOHASH|GEOPOS> {geo} ({member})+", Exact)]),
    Row::new(&[(
        "GEOSEARCH {geo} <FROMMEMBER {member}|FROMLONLAT {longitude} {latitude}> \
         <BYRADIUS {distance} <km|mi>|BYBOX {distance} {distance} km> <ASC|DESC> [COUNT {count}] \
         [WITHCOORD] [WITHDIST] [WITHHASH]",
        Exact,
    )])
    .often(),
    Row::new(&[(
        "GEOSEARCH {geo} <FROMMEMBER {member}|FROMLONLAT {longitude} {latitude}> \
         <BYRADIUS {distance} km|BYBOX {distance} {distance} mi> [WITHCOORD] [WITHDIST] [WITHHASH]",
        Unordered,
    )]),
    Row::new(&[(
        "GEOSEARCHSTORE {geo} {geo} <FROMMEMBER {member}|FROMLONLAT {longitude} {latitude}> \
         <BYRADIUS {distance} km|BYBOX {distance} {distance} km> [ASC|DESC] [COUNT {count}]",
        Exact,
    )]),
    Row::new(&[(
        "GEOSEARCHSTORE {zset} {geo} FROMLONLAT {longitude} {latitude} BYRADIUS {distance} km STOREDIST",
        Exact,
    )]),
    Row::new(&[(
        "<GEORADIUS|GEORADIUS_RO> {geo} {longitude} {latitude} {distance} <km|mi> [WITHCOORD] [WITHDIST] \
         [WITHHASH] [COUNT {count}] <ASC|DESC>",
        Exact,
    )]),
    Row::new(&[(
        "<GEORADIUSBYMEMBER|GEORADIUSBYMEMBER_RO> {geo} {member} {distance} <km|ft> [WITHCOORD] [WITHDIST] \
         [COUNT {count}] <ASC|DESC>",
        Exact,
    )]),
    Row::new(&[("GEORADIUS {geo} {longitude} {latitude} {distance} km STORE {geo}", Exact)]),
    Row::new(&[("GEORADIUSBYMEMBER {geo} {member} {distance} km STOREDIST {zset}", Exact)]),
    Row::new(&[("ZREM {geo} ({member})+", Exact)]),
    Row::new(&[("ZSCORE {geo} {member}", Exact)]),
    Row::new(&[("ZRANGE {geo} 0 -1 WITHSCORES", Exact)]),
];
