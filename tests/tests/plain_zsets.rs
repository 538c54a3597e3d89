//! Sorted sets, bitmaps, HyperLogLogs and places: the answers of Redis 8.2.3 in both protocols (of places,
//! the digits are those of 7.2), and what nodes make of it that cannot hear each other.

use miso_tests::{Cluster, Node, Resp, Session, Way, all_say, wait_until};

/// What a fresh node answers in both protocols.
#[track_caller]
fn check(script: &str) {
    for resp in Resp::BOTH {
        Node::start().session_in(resp).script(script);
    }
}

const SCORES: &str = r#"
    ZADD z 1 a 2 b 3 c => 3
    ZADD z 1 a 4 d => 1
    ZADD z CH 5 a 4 d => 1
    ZADD z NX 9 a 6 e => 1
    ZADD z XX 9 a 7 f => 0
    ZADD z XX CH 8 a => 1
    ZADD none XX 1 a => 0
    EXISTS none => 0
    ZADD z GT CH 7 a 10 b => 1
    ZADD z LT CH 7 a 20 b => 1
    ZADD z GT CH 1 new => 1
    ZADD z INCR 2 a => "9" || ,9
    ZADD z NX INCR 2 a => nil
    ZADD z XX INCR 2 absent => nil
    ZADD z GT INCR -2 a => nil
    ZADD z LT INCR -2 a => "7" || ,7
    ZADD z NX INCR 2 fresh => "2" || ,2
    ZADD z NX XX 1 a => -ERR XX and NX options at the same time are not compatible
    ZADD z NX GT 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
    ZADD z GT LT 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
    ZADD z INCR 1 a 2 b => -ERR INCR option supports a single increment-element pair
    ZADD z 1 => -ERR wrong number of arguments for 'zadd' command
    ZADD z 1 a 2 => -ERR syntax error
    ZADD z NX CH => -ERR syntax error
    ZADD z x a => -ERR value is not a valid float
    ZADD z nan a => -ERR value is not a valid float
    ZADD z 1 a x b => -ERR value is not a valid float
    ZADD z inf up -inf down +inf up2 => 3
    ZADD z INCR -inf up => -ERR resulting score is not a number (NaN)
    ZINCRBY z -inf up => -ERR resulting score is not a number (NaN)
    ZINCRBY z x a => -ERR value is not a valid float
    ZINCRBY z 1.5 a => "8.5" || ,8.5
    ZINCRBY z -3 brand => "-3" || ,-3
    ZINCRBY fresh 0.5 m => "0.5" || ,0.5
    ZINCRBY z 1 => -ERR wrong number of arguments for 'zincrby' command
    ZSCORE z a => "8.5" || ,8.5
    ZSCORE z absent => nil
    ZSCORE none a => nil
    ZMSCORE z a absent b up down => ["8.5", nil, "10", "inf", "-inf"] || [,8.5, nil, ,10, ,inf, ,-inf]
    ZMSCORE none a b => [nil, nil]
    ZCARD z => 11
    ZCARD none => 0
    ZRANK z a => 7
    ZRANK z absent => nil
    ZRANK none a => nil
    ZRANK z a WITHSCORE => [7, "8.5"] || [7, ,8.5]
    ZRANK z absent WITHSCORE => nil
    ZREVRANK z a => 3
    ZREVRANK z a WITHSCORE => [3, "8.5"] || [3, ,8.5]
    ZREVRANK none a WITHSCORE => nil
    ZRANK z a WITHSCORES => -ERR syntax error
    ZREM z a absent b => 2
    ZREM none a => 0
    ZREM z => -ERR wrong number of arguments for 'zrem' command
    ZRANGE z 0 -1 WITHSCORES => ["down", "-inf", "brand", "-3", "new", "1", "fresh", "2", "c", "3", "d", "4", "e", "6", "up", "inf", "up2", "inf"] || [["down", ,-inf], ["brand", ,-3], ["new", ,1], ["fresh", ,2], ["c", ,3], ["d", ,4], ["e", ,6], ["up", ,inf], ["up2", ,inf]]
    ZADD n 1e20 a 123456789012345678 b 1.5e-9 c -0.1 d 3.0e300 e 1e-6 f 0.0001234567 g => 7
    ZRANGE n 0 -1 WITHSCORES => ["d", "-0.1", "c", "1.5e-9", "f", "0.000001", "g", "1.234567e-4", "b", "123456789012345680", "a", "1e+20", "e", "3e+300"] || [["d", ,-0.1], ["c", ,0.0000000015], ["f", ,0.000001], ["g", ,0.0001234567], ["b", ,123456789012345680], ["a", ,100000000000000000000], ["e", ,3000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000]]
    SET s x => OK
    ZADD s 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZINCRBY s 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZREM s a => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZSCORE s a => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZMSCORE s a => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZCARD s => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZRANK s a => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZADD gone 1 a => 1
    ZREM gone a => 1
    EXISTS gone => 0
"#;

#[test]
fn scores_are_set_counted_and_told() {
    check(SCORES);
}

const RANGES: &str = r#"
    ZADD z 1 a 2 b 3 c 3 d 4 e => 5
    ZRANGE z 0 -1 => ["a", "b", "c", "d", "e"]
    ZRANGE z 0 -1 WITHSCORES => ["a", "1", "b", "2", "c", "3", "d", "3", "e", "4"] || [["a", ,1], ["b", ,2], ["c", ,3], ["d", ,3], ["e", ,4]]
    ZRANGE z 1 2 => ["b", "c"]
    ZRANGE z -2 -1 => ["d", "e"]
    ZRANGE z 3 1 => []
    ZRANGE z 5 9 => []
    ZRANGE z -100 0 => ["a"]
    ZRANGE z 0 100 REV => ["e", "d", "c", "b", "a"]
    ZRANGE z 0 1 REV WITHSCORES => ["e", "4", "d", "3"] || [["e", ,4], ["d", ,3]]
    ZREVRANGE z 0 1 WITHSCORES => ["e", "4", "d", "3"] || [["e", ,4], ["d", ,3]]
    ZREVRANGE z -1 -1 => ["a"]
    ZRANGE z x 1 => -ERR value is not an integer or out of range
    ZRANGE z 0 1 BAD => -ERR syntax error
    ZRANGE z 0 1 LIMIT 0 1 => -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
    ZREVRANGE z 0 1 REV => -ERR syntax error
    ZRANGE none 0 -1 => []
    ZRANGE none 0 -1 WITHSCORES => []
    ZRANGE z 2 3 BYSCORE => ["b", "c", "d"]
    ZRANGE z (2 3 BYSCORE WITHSCORES => ["c", "3", "d", "3"] || [["c", ,3], ["d", ,3]]
    ZRANGE z 3 2 BYSCORE => []
    ZRANGE z 3 2 BYSCORE REV => ["d", "c", "b"]
    ZRANGE z (3 -inf BYSCORE REV WITHSCORES => ["b", "2", "a", "1"] || [["b", ,2], ["a", ,1]]
    ZRANGE z -inf +inf BYSCORE LIMIT 1 2 => ["b", "c"]
    ZRANGE z -inf +inf BYSCORE LIMIT -1 2 => []
    ZRANGE z -inf +inf BYSCORE LIMIT 1 -1 => ["b", "c", "d", "e"]
    ZRANGE z -inf +inf BYSCORE LIMIT 9 1 => []
    ZRANGE z -inf +inf BYSCORE LIMIT 0 0 => []
    ZRANGE z -inf +inf BYSCORE LIMIT x 0 => -ERR value is not an integer or out of range
    ZRANGE z -inf +inf BYSCORE LIMIT 0 => -ERR syntax error
    ZRANGE z -inf +inf BYSCORE BYLEX => -ERR syntax error
    ZRANGE z a 2 BYSCORE => -ERR min or max is not a float
    ZRANGE z 0 nan BYSCORE => -ERR min or max is not a float
    ZRANGEBYSCORE z 2 (4 => ["b", "c", "d"]
    ZRANGEBYSCORE z -inf inf WITHSCORES LIMIT 1 3 => ["b", "2", "c", "3", "d", "3"] || [["b", ,2], ["c", ,3], ["d", ,3]]
    ZRANGEBYSCORE z 2 4 BYSCORE => -ERR syntax error
    ZRANGEBYSCORE z 2 => -ERR wrong number of arguments for 'zrangebyscore' command
    ZREVRANGEBYSCORE z 4 2 WITHSCORES => ["e", "4", "d", "3", "c", "3", "b", "2"] || [["e", ,4], ["d", ,3], ["c", ,3], ["b", ,2]]
    ZREVRANGEBYSCORE z (4 (1 LIMIT 1 1 => ["c"]
    ZREVRANGEBYSCORE z 1 4 => []
    ZCOUNT z -inf +inf => 5
    ZCOUNT z (1 3 => 3
    ZCOUNT z 3 1 => 0
    ZCOUNT z x 1 => -ERR min or max is not a float
    ZCOUNT none 0 1 => 0
    ZADD l 0 a 0 b 0 c 0 d 0 e => 5
    ZRANGEBYLEX l - + => ["a", "b", "c", "d", "e"]
    ZRANGEBYLEX l [b (d => ["b", "c"]
    ZRANGEBYLEX l (b [d LIMIT 1 1 => ["d"]
    ZRANGEBYLEX l + - => []
    ZRANGEBYLEX l b d => -ERR min or max not valid string range item
    ZRANGEBYLEX l [b [d WITHSCORES => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
    ZREVRANGEBYLEX l + [c => ["e", "d", "c"]
    ZREVRANGEBYLEX l (d - => ["c", "b", "a"]
    ZRANGE l [b [d BYLEX => ["b", "c", "d"]
    ZRANGE l [d [b BYLEX REV => ["d", "c", "b"]
    ZRANGE l [d [b BYLEX REV WITHSCORES => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
    ZRANGE l [d [b BYLEX REV LIMIT 1 1 => ["c"]
    ZLEXCOUNT l - + => 5
    ZLEXCOUNT l [b (d => 2
    ZLEXCOUNT l x y => -ERR min or max not valid string range item
    ZLEXCOUNT none - + => 0
    ZRANGESTORE dst z 1 2 => 2
    ZRANGE dst 0 -1 WITHSCORES => ["b", "2", "c", "3"] || [["b", ,2], ["c", ,3]]
    ZRANGESTORE dst z (2 +inf BYSCORE LIMIT 1 5 => 2
    ZRANGE dst 0 -1 WITHSCORES => ["d", "3", "e", "4"] || [["d", ,3], ["e", ,4]]
    ZRANGESTORE dst z 0 1 REV => 2
    ZRANGE dst 0 -1 WITHSCORES => ["d", "3", "e", "4"] || [["d", ,3], ["e", ,4]]
    ZRANGESTORE dst z 0 1 WITHSCORES => -ERR syntax error
    ZRANGESTORE dst z 8 9 => 0
    EXISTS dst => 0
    ZRANGESTORE dst none 0 1 => 0
    SET s x => OK
    ZRANGESTORE s z 0 0 => 1
    TYPE s => zset
    ZRANGESTORE z z 0 2 => 3
    ZRANGE z 0 -1 => ["a", "b", "c"]
    ZREMRANGEBYRANK z 0 0 => 1
    ZRANGE z 0 -1 => ["b", "c"]
    ZREMRANGEBYRANK z -1 -1 => 1
    ZREMRANGEBYRANK z x 1 => -ERR value is not an integer or out of range
    ZREMRANGEBYRANK none 0 1 => 0
    ZADD z 1 a 2 b 3 c 4 d => 3
    ZREMRANGEBYSCORE z (1 3 => 2
    ZREMRANGEBYSCORE z x 3 => -ERR min or max is not a float
    ZRANGE z 0 -1 => ["a", "d"]
    ZREMRANGEBYLEX l [b [c => 2
    ZREMRANGEBYLEX l b c => -ERR min or max not valid string range item
    ZREMRANGEBYLEX l - + => 3
    EXISTS l => 0
    SET s x => OK
    ZRANGE s 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZRANGESTORE d s 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZCOUNT s 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZREMRANGEBYSCORE s 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
"#;

#[test]
fn ranges_go_by_rank_score_and_member() {
    check(RANGES);
}

const ENDS: &str = r#"
    ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g => 7
    ZPOPMIN z => ["a", "1"] || ["a", ,1]
    ZPOPMAX z => ["g", "7"] || ["g", ,7]
    ZPOPMIN z 2 => ["b", "2", "c", "3"] || [["b", ,2], ["c", ,3]]
    ZPOPMAX z 0 => []
    ZPOPMIN z -1 => -ERR value is out of range, must be positive
    ZPOPMIN z x => -ERR value is out of range, must be positive
    ZPOPMIN none => []
    ZPOPMAX none 3 => []
    ZPOPMAX z 99 => ["f", "6", "e", "5", "d", "4"] || [["f", ,6], ["e", ,5], ["d", ,4]]
    EXISTS z => 0
    ZADD z 1 a 2 b 3 c => 3
    ZMPOP 2 none z MIN => ["z", [["a", "1"]]] || ["z", [["a", ,1]]]
    ZMPOP 2 none z MAX COUNT 5 => ["z", [["c", "3"], ["b", "2"]]] || ["z", [["c", ,3], ["b", ,2]]]
    ZMPOP 1 none MIN => nil
    ZMPOP 0 z MIN => -ERR numkeys should be greater than 0
    ZMPOP x z MIN => -ERR numkeys should be greater than 0
    ZMPOP 1 z MIDDLE => -ERR syntax error
    ZMPOP 3 a z MIN => -ERR syntax error
    ZMPOP 1 z MIN COUNT 0 => -ERR count should be greater than 0
    ZMPOP 1 z MIN COUNT => -ERR syntax error
    ZMPOP 1 z MIN COUNT 1 COUNT 2 => -ERR syntax error
    ZRANDMEMBER none => nil
    ZRANDMEMBER none 3 => []
    ZRANDMEMBER none 3 WITHSCORES => []
    ZADD one 1.5 m => 1
    ZRANDMEMBER one => "m"
    ZRANDMEMBER one 5 => ["m"]
    ZRANDMEMBER one 5 WITHSCORES => ["m", "1.5"] || [["m", ,1.5]]
    ZRANDMEMBER one -3 => ["m", "m", "m"]
    ZRANDMEMBER one -2 WITHSCORES => ["m", "1.5", "m", "1.5"] || [["m", ,1.5], ["m", ,1.5]]
    ZRANDMEMBER one 0 => []
    ZRANDMEMBER one x => -ERR value is not an integer or out of range
    ZRANDMEMBER one 1 BAD => -ERR syntax error
    ZSCAN one 0 => ["0", ["m", "1.5"]]
    ZSCAN one 0 MATCH x* => ["0", []]
    ZSCAN one 0 MATCH m* COUNT 100 => ["0", ["m", "1.5"]]
    ZSCAN none 0 => ["0", []]
    ZSCAN one x => -ERR invalid cursor
    ZSCAN one 0 BAD => -ERR syntax error
    SET s x => OK
    ZPOPMIN s => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZMPOP 2 none s MIN => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZRANDMEMBER s => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZSCAN s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
"#;

#[test]
fn the_ends_are_taken_and_random_ones_told() {
    check(ENDS);
}

const ALGEBRA: &str = r#"
    ZADD a 1 x 2 y 3 z => 3
    ZADD b 10 y 20 z 30 w => 3
    SADD s y v => 2
    ZUNION 2 a b => ["x", "y", "z", "w"]
    ZUNION 2 a b WITHSCORES => ["x", "1", "y", "12", "z", "23", "w", "30"] || [["x", ,1], ["y", ,12], ["z", ,23], ["w", ,30]]
    ZUNION 2 a b WEIGHTS 2 0.5 WITHSCORES => ["x", "2", "y", "9", "w", "15", "z", "16"] || [["x", ,2], ["y", ,9], ["w", ,15], ["z", ,16]]
    ZUNION 2 a b AGGREGATE MIN WITHSCORES => ["x", "1", "y", "2", "z", "3", "w", "30"] || [["x", ,1], ["y", ,2], ["z", ,3], ["w", ,30]]
    ZUNION 2 a b AGGREGATE MAX WITHSCORES => ["x", "1", "y", "10", "z", "20", "w", "30"] || [["x", ,1], ["y", ,10], ["z", ,20], ["w", ,30]]
    ZUNION 3 a b s WITHSCORES => ["v", "1", "x", "1", "y", "13", "z", "23", "w", "30"] || [["v", ,1], ["x", ,1], ["y", ,13], ["z", ,23], ["w", ,30]]
    ZUNION 2 a a WITHSCORES => ["x", "2", "y", "4", "z", "6"] || [["x", ,2], ["y", ,4], ["z", ,6]]
    ZUNION 1 none => []
    ZINTER 2 a b WITHSCORES => ["y", "12", "z", "23"] || [["y", ,12], ["z", ,23]]
    ZINTER 3 a b s WITHSCORES => ["y", "13"] || [["y", ,13]]
    ZINTER 2 a b WEIGHTS 2 3 AGGREGATE MAX WITHSCORES => ["y", "30", "z", "60"] || [["y", ,30], ["z", ,60]]
    ZINTER 2 a none => []
    ZINTER 2 a a WITHSCORES => ["x", "2", "y", "4", "z", "6"] || [["x", ,2], ["y", ,4], ["z", ,6]]
    ZDIFF 2 a b => ["x"]
    ZDIFF 2 a b WITHSCORES => ["x", "1"] || [["x", ,1]]
    ZDIFF 3 a b s WITHSCORES => ["x", "1"] || [["x", ,1]]
    ZDIFF 2 a a => []
    ZDIFF 2 none a => []
    ZINTERCARD 2 a b => 2
    ZINTERCARD 2 a b LIMIT 1 => 1
    ZINTERCARD 2 a b LIMIT 0 => 2
    ZINTERCARD 2 a b LIMIT -1 => -ERR LIMIT can't be negative
    ZINTERCARD 2 a b LIMIT x => -ERR LIMIT can't be negative
    ZINTERCARD 2 a b WITHSCORES => -ERR syntax error
    ZUNIONSTORE d 2 a b => 4
    ZRANGE d 0 -1 WITHSCORES => ["x", "1", "y", "12", "z", "23", "w", "30"] || [["x", ,1], ["y", ,12], ["z", ,23], ["w", ,30]]
    ZUNIONSTORE d 2 a b WEIGHTS 1 -1 AGGREGATE SUM => 4
    ZRANGE d 0 -1 WITHSCORES => ["w", "-30", "z", "-17", "y", "-8", "x", "1"] || [["w", ,-30], ["z", ,-17], ["y", ,-8], ["x", ,1]]
    ZINTERSTORE d 2 a s => 1
    ZRANGE d 0 -1 WITHSCORES => ["y", "3"] || [["y", ,3]]
    ZDIFFSTORE d 2 a s => 2
    ZRANGE d 0 -1 WITHSCORES => ["x", "1", "z", "3"] || [["x", ,1], ["z", ,3]]
    ZUNIONSTORE a 2 a b => 4
    ZCARD a => 4
    ZINTERSTORE d 2 a none => 0
    EXISTS d => 0
    SET t x => OK
    ZUNIONSTORE t 1 b => 3
    TYPE t => zset
    EXPIRE t 100 => 1
    ZUNIONSTORE t 1 b => 3
    TTL t => -1
    ZADD i inf m => 1
    ZADD j -inf m => 1
    ZUNION 2 i j WITHSCORES => ["m", "0"] || [["m", ,0]]
    ZUNION 1 i WEIGHTS 0 WITHSCORES => ["m", "0"] || [["m", ,0]]
    ZUNION 0 a => -ERR at least 1 input key is needed for 'zunion' command
    ZINTER -1 a => -ERR at least 1 input key is needed for 'zinter' command
    ZDIFF x a => -ERR value is not an integer or out of range
    ZUNIONSTORE d 0 a => -ERR at least 1 input key is needed for 'zunionstore' command
    ZINTERCARD 0 a => -ERR at least 1 input key is needed for 'zintercard' command
    ZUNION 3 a b => -ERR syntax error
    ZUNION 2 a b WEIGHTS 1 => -ERR syntax error
    ZUNION 2 a b WEIGHTS 1 x => -ERR weight value is not a float
    ZUNION 2 a b AGGREGATE AVG => -ERR syntax error
    ZDIFF 2 a b WEIGHTS 1 1 => -ERR syntax error
    ZUNIONSTORE d 2 a b WITHSCORES => -ERR syntax error
    SET str x => OK
    ZUNION 2 a str => -WRONGTYPE Operation against a key holding the wrong kind of value
    ZUNIONSTORE d 1 str => -WRONGTYPE Operation against a key holding the wrong kind of value
"#;

#[test]
fn unions_intersections_and_differences() {
    check(ALGEBRA);
}

const BITS: &str = r#"
    SETBIT b 7 1 => 0
    SETBIT b 7 1 => 1
    SETBIT b 7 0 => 1
    GETBIT b 7 => 0
    SETBIT b 100 1 => 0
    STRLEN b => 13
    GETBIT b 100 => 1
    GETBIT b 4000 => 0
    GETBIT none 0 => 0
    SETBIT b -1 1 => -ERR bit offset is not an integer or out of range
    SETBIT b x 1 => -ERR bit offset is not an integer or out of range
    SETBIT b 4294967296 1 => -ERR bit offset is not an integer or out of range
    SETBIT b 1 2 => -ERR bit is not an integer or out of range
    SETBIT b 1 x => -ERR bit is not an integer or out of range
    GETBIT b -1 => -ERR bit offset is not an integer or out of range
    SET f foobar => OK
    BITCOUNT f => 26
    BITCOUNT f 0 0 => 4
    BITCOUNT f 1 1 => 6
    BITCOUNT f 0 -1 => 26
    BITCOUNT f -2 -1 => 7
    BITCOUNT f 5 30 BIT => 17
    BITCOUNT f 0 -5 BIT => 25
    BITCOUNT f 1 1 BYTE => 6
    BITCOUNT f 3 1 => 0
    BITCOUNT f -1 -3 => 0
    BITCOUNT f 0 => -ERR syntax error
    BITCOUNT f 0 1 BAD => -ERR syntax error
    BITCOUNT f x 1 => -ERR value is not an integer or out of range
    BITCOUNT none => 0
    BITCOUNT none 0 -1 => 0
    SET p "\xff\xf0\x00" => OK
    BITPOS p 0 => 12
    BITPOS p 1 => 0
    BITPOS p 1 2 => -1
    BITPOS p 0 0 0 => -1
    BITPOS p 0 1 => 12
    BITPOS p 1 -1 => -1
    BITPOS p 0 4 11 BIT => -1
    BITPOS p 0 4 13 BIT => 12
    BITPOS p 1 5 -1 BIT => 5
    BITPOS p 1 5 => -1
    BITPOS p 0 5 => -1
    SET full "\xff\xff" => OK
    BITPOS full 0 => 16
    BITPOS full 0 0 -1 => -1
    BITPOS full 0 1 => 16
    BITPOS full 0 0 -1 BIT => -1
    BITPOS none 0 => 0
    BITPOS none 1 => -1
    BITPOS p 2 => -ERR The bit argument must be 1 or 0.
    BITPOS p x => -ERR value is not an integer or out of range
    BITPOS p 0 x => -ERR value is not an integer or out of range
    BITPOS p 0 1 2 BAD => -ERR syntax error
    SET e "" => OK
    BITPOS e 0 => -1
    BITPOS e 1 => -1
    BITCOUNT e => 0
    SET x abc => OK
    SET y "\xff\x0f" => OK
    BITOP AND d x y => 3
    GET d => "a\x02\x00"
    BITOP OR d x y none => 3
    GET d => "\xffoc"
    BITOP XOR d x y => 3
    GET d => "\x9emc"
    BITOP NOT d y => 2
    GET d => "\x00\xf0"
    BITOP NOT d x y => -ERR BITOP NOT must be called with a single source key.
    BITOP NAND d x => -ERR syntax error
    BITOP AND d none => 0
    EXISTS d => 0
    EXPIRE x 100 => 1
    BITOP OR x x y => 3
    TTL x => -1
    SADD s m => 1
    BITOP AND d x s => -WRONGTYPE Operation against a key holding the wrong kind of value
    SETBIT s 1 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    GETBIT s 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    BITCOUNT s => -WRONGTYPE Operation against a key holding the wrong kind of value
    BITPOS s 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    EXPIRE b 100 => 1
    SETBIT b 3 1 => 0
    TTL b => 100
"#;

#[test]
fn bits_of_strings() {
    check(BITS);
}

const FIELDS: &str = r#"
    BITFIELD k INCRBY i5 100 1 GET u4 0 => [1, 0]
    BITFIELD k => []
    BITFIELD k SET u8 0 255 GET u8 0 GET i8 0 => [0, 255, -1]
    BITFIELD k INCRBY u8 0 10 => [9]
    BITFIELD k OVERFLOW SAT INCRBY u8 0 255 OVERFLOW FAIL INCRBY u8 0 1 => [255, nil]
    BITFIELD k OVERFLOW SAT SET u4 #1 300 GET u4 #1 => [15, 15]
    BITFIELD k OVERFLOW FAIL SET i4 0 8 GET i4 0 => [nil, -1]
    BITFIELD k SET u4 0 -1 GET u4 0 => [15, 15]
    BITFIELD k OVERFLOW SAT INCRBY i8 0 -500 GET i8 0 => [-128, -128]
    BITFIELD k SET i64 0 -9223372036854775808 INCRBY i64 0 -1 => [-9223372036854775808, 9223372036854775807]
    BITFIELD k OVERFLOW SAT INCRBY u63 #1 9223372036854775807 INCRBY u63 #1 9 => [9223372036854775807, 9223372036854775807]
    BITFIELD k GET u64 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
    BITFIELD k GET i65 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
    BITFIELD k GET i0 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
    BITFIELD k GET x8 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
    BITFIELD k GET u8 -1 => -ERR bit offset is not an integer or out of range
    BITFIELD k GET u8 x => -ERR bit offset is not an integer or out of range
    BITFIELD k SET u8 0 x => -ERR value is not an integer or out of range
    BITFIELD k OVERFLOW BAD GET u8 0 => -ERR Invalid OVERFLOW type specified
    BITFIELD k GET u8 => -ERR syntax error
    BITFIELD k BAD u8 0 => -ERR syntax error
    BITFIELD none GET u8 0 => [0]
    EXISTS none => 0
    BITFIELD new OVERFLOW FAIL INCRBY u2 0 9 => [nil]
    STRLEN new => 1
    BITFIELD_RO k GET u8 0 GET i8 #1 => [127, -1]
    BITFIELD_RO k => []
    BITFIELD_RO k SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
    BITFIELD_RO none GET u8 0 => [0]
    SADD s m => 1
    BITFIELD s GET u8 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
    BITFIELD s SET u8 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
    STRLEN k => 16
"#;

#[test]
fn integers_within_strings() {
    check(FIELDS);
}

const COUNTS: &str = r#"
    PFADD h a b c => 1
    PFADD h a => 0
    PFADD h => 0
    PFADD empty => 1
    PFADD empty => 0
    PFCOUNT empty => 0
    PFADD g c d e f => 1
    PFCOUNT h => 3
    PFCOUNT h g => 6
    PFCOUNT h g none => 6
    PFCOUNT none => 0
    PFMERGE m h g => OK
    PFCOUNT m => 6
    PFMERGE m none => OK
    PFCOUNT m => 6
    PFMERGE alone => OK
    EXISTS alone => 1
    PFMERGE h g => OK
    PFCOUNT h => 6
    SET s x => OK
    PFADD s a => -WRONGTYPE Key is not a valid HyperLogLog string value.
    PFCOUNT s => -WRONGTYPE Key is not a valid HyperLogLog string value.
    PFCOUNT h s => -WRONGTYPE Key is not a valid HyperLogLog string value.
    PFMERGE m s => -WRONGTYPE Key is not a valid HyperLogLog string value.
    PFMERGE s h => -WRONGTYPE Key is not a valid HyperLogLog string value.
    SADD set x => 1
    PFADD set a => -WRONGTYPE Operation against a key holding the wrong kind of value
    PFCOUNT set => -WRONGTYPE Operation against a key holding the wrong kind of value
    PFMERGE m set => -WRONGTYPE Operation against a key holding the wrong kind of value
    PFCOUNT => -ERR wrong number of arguments for 'pfcount' command
"#;

#[test]
fn hyperloglogs_count_and_merge() {
    check(COUNTS);
}

const PLACES: &str = r#"
    GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2
    GEOADD g 13.361389 38.115556 Palermo => 0
    GEOADD g NX 1 1 Palermo => 0
    GEOADD g XX CH 13.583333 37.316667 Agrigento => 0
    GEOADD g CH 13.583333 37.316667 Agrigento 13.361389 38.115556 Palermo => 1
    GEOADD g NX XX 1 1 x => -ERR syntax error
    GEOADD g 1 1 => -ERR wrong number of arguments for 'geoadd' command
    GEOADD g 1 1 a 2 => -ERR syntax error
    GEOADD g x 1 a => -ERR value is not a valid float
    GEOADD g 181 1 a => -ERR invalid longitude,latitude pair 181.000000,1.000000
    GEOADD g 1 86.5 a => -ERR invalid longitude,latitude pair 1.000000,86.500000
    GEOADD g -180 -85.05112878 corner 180 85.05112878 other => 2
    ZREM g corner other => 2
    ZSCORE g Palermo => "3479099956230698" || ,3479099956230698
    GEODIST g Palermo Catania => "166274.1516"
    GEODIST g Palermo Catania km => "166.2742"
    GEODIST g Palermo Catania MI => "103.3182"
    GEODIST g Palermo Catania ft => "545518.8700"
    GEODIST g Palermo Palermo => "0.0000"
    GEODIST g Palermo none => nil
    GEODIST none a b => nil
    GEODIST g Palermo Catania yd => -ERR unsupported unit provided. please use M, KM, FT, MI
    GEOHASH g Palermo Catania none => ["sqc8b49rny0", "sqdtr74hyu0", nil]
    GEOHASH none a => [nil]
    GEOHASH g => []
    GEOPOS g Palermo none Catania => [["13.36138933897018433", "38.11555639549629859"], nil, ["15.08726745843887329", "37.50266842333162032"]] || [[,13.361389338970184, ,38.1155563954963], nil, [,15.087267458438873, ,37.50266842333162]]
    GEOPOS none a => [nil]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC => ["Catania", "Agrigento", "Palermo"]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km => ["Agrigento", "Palermo", "Catania"]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km DESC WITHDIST => [["Palermo", "190.4424"], ["Agrigento", "130.4235"], ["Catania", "56.4413"]]
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST WITHHASH => [["Catania", "56.4413", 3479447370796909, ["15.08726745843887329", "37.50266842333162032"]], ["Agrigento", "130.4235", 3479030013248308, ["13.5833314061164856", "37.31666804993816555"]], ["Palermo", "190.4424", 3479099956230698, ["13.36138933897018433", "38.11555639549629859"]]] || [["Catania", "56.4413", 3479447370796909, [,15.087267458438873, ,37.50266842333162]], ["Agrigento", "130.4235", 3479030013248308, [,13.583331406116486, ,37.316668049938166]], ["Palermo", "190.4424", 3479099956230698, [,13.361389338970184, ,38.1155563954963]]]
    GEOSEARCH g FROMMEMBER Palermo BYRADIUS 100 km ASC WITHHASH => [["Palermo", 3479099956230698], ["Agrigento", 3479030013248308]]
    GEOSEARCH g FROMMEMBER none BYRADIUS 100 km => -ERR could not decode requested zset member
    GEOSEARCH none FROMMEMBER none BYRADIUS 100 km => []
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 => ["Catania"]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 2 DESC => ["Palermo", "Agrigento"]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 ANY => ["Agrigento"]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY => -ERR the ANY argument requires COUNT argument
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 0 => -ERR COUNT must be > 0
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT x => -ERR value is not an integer or out of range
    GEOSEARCH g FROMLONLAT 15 37 => -ERR wrong number of arguments for 'geosearch' command
    GEOSEARCH g BYRADIUS 200 km ASC => -ERR wrong number of arguments for 'geosearch' command
    GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 200 km => -ERR syntax error
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km BYBOX 1 1 km => -ERR syntax error
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS x km => -ERR need numeric radius
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS -1 km => -ERR radius cannot be negative
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1 yd => -ERR unsupported unit provided. please use M, KM, FT, MI
    GEOSEARCH g FROMLONLAT 15 37 BYBOX x 1 km => -ERR need numeric width
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 x km => -ERR need numeric height
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 -1 km => -ERR height or width cannot be negative
    GEOSEARCH g FROMLONLAT 200 37 BYRADIUS 1 km => -ERR invalid longitude,latitude pair 200.000000,37.000000
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km BAD => -ERR syntax error
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 20000 km ASC => ["Catania", "Agrigento", "Palermo"]
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 0 km => []
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 100 km => 1
    ZRANGE d 0 -1 WITHSCORES => ["Catania", "3479447370796909"] || [["Catania", ,3479447370796909]]
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST => 3
    ZRANGE d 0 -1 => ["Catania", "Agrigento", "Palermo"]
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km WITHDIST => -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 1 km => 0
    EXISTS d => 0
    GEOSEARCHSTORE d none FROMLONLAT 15 37 BYRADIUS 1 km => 0
    GEORADIUS g 15 37 200 km => ["Agrigento", "Palermo", "Catania"]
    GEORADIUS g 15 37 200 km WITHDIST WITHCOORD COUNT 1 ASC => [["Catania", "56.4413", ["15.08726745843887329", "37.50266842333162032"]]] || [["Catania", "56.4413", [,15.087267458438873, ,37.50266842333162]]]
    GEORADIUS g 15 37 200 km STORE d => 3
    ZCARD d => 3
    GEORADIUS g 15 37 200 km STOREDIST d WITHDIST => -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
    GEORADIUS g 15 37 x km => -ERR need numeric radius
    GEORADIUS g 15 37 -1 km => -ERR radius cannot be negative
    GEORADIUS_RO g 15 37 200 km DESC => ["Palermo", "Agrigento", "Catania"]
    GEORADIUS_RO g 15 37 200 km STORE d => -ERR syntax error
    GEORADIUSBYMEMBER g Agrigento 100 km => ["Agrigento", "Palermo"]
    GEORADIUSBYMEMBER g none 100 km => -ERR could not decode requested zset member
    GEORADIUSBYMEMBER none none 100 km => []
    GEORADIUSBYMEMBER g Agrigento 100 km STOREDIST d => 2
    ZRANGE d 0 -1 => ["Agrigento", "Palermo"]
    GEORADIUSBYMEMBER_RO g Agrigento 100 km WITHDIST => [["Agrigento", "0.0000"], ["Palermo", "90.9778"]]
    GEORADIUSBYMEMBER_RO g Agrigento 100 km STORE d => -ERR syntax error
    SET s x => OK
    GEOADD s 1 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
    GEODIST s a b => -WRONGTYPE Operation against a key holding the wrong kind of value
    GEOPOS s a => -WRONGTYPE Operation against a key holding the wrong kind of value
    GEOHASH s a => -WRONGTYPE Operation against a key holding the wrong kind of value
    GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km => -WRONGTYPE Operation against a key holding the wrong kind of value
"#;

#[test]
fn places_are_set_and_searched() {
    check(PLACES);
}

/// Waits until what `second` writes has a later time than what was written on `first`.
fn later(first: &mut Session, second: &mut Session) {
    let time = |session: &mut Session| {
        let parts = session.run("TIME").items();
        let n = |at: usize| parts[at].text().parse::<u64>().expect("a number");
        n(0) * 1_000 + n(1) / 1_000
    };
    let written = time(first);
    wait_until("the next moment", || time(second) > written);
}

#[test]
fn scores_of_two_nodes_come_together() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(
        "ZADD z 10 sum 1 set 1 gone 5 most 5 least 1 kept => 6\nZADD pops 1 a 2 b 3 c => 3\n\
         WAIT 1 20000 => 1",
    );
    cluster.net().between(0, 1, Way::Cut);
    s[0].script(
        "ZINCRBY z 2 sum => \"12\"\nZADD z 10 set => 0\nZREM z gone => 1\nZADD z GT 9 most => 0\n\
         ZADD z LT 1 least => 0\nZREM z kept => 1\nZPOPMIN pops => [\"a\", \"1\"]",
    );
    let (first, second) = s.split_at_mut(1);
    later(&mut first[0], &mut second[0]);
    s[1].script(
        "ZINCRBY z 3 sum => \"13\"\nZINCRBY z 2 set => \"3\"\nZINCRBY z 2 gone => \"3\"\n\
         ZADD z GT 7 most => 0\nZADD z LT 3 least => 0\nZADD z 2 kept => 0\n\
         ZPOPMIN pops => [\"a\", \"1\"]",
    );
    cluster.net().heal();
    // The sum; 10 and what was added beside it; the unseen increment; the greatest; the least.
    all_say(
        &mut s,
        "ZRANGE z 0 -1 WITHSCORES",
        "[\"least\", \"1\", \"gone\", \"2\", \"kept\", \"2\", \"most\", \"9\", \"set\", \"12\", \"sum\", \"15\"]",
    );
    all_say(&mut s, "ZREVRANK z sum", "0");
    all_say(&mut s, "ZRANGE pops 0 -1", "[\"b\", \"c\"]");
}

/// Two nodes store results under one key: both results are there, the same on both nodes.
#[test]
fn results_that_two_nodes_store_are_both_there() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(
        "ZADD a 1 x 2 y => 2\nZADD b 3 z => 1\nZADD d 9 old => 1\n\
         GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2\n\
         PFADD h e1 => 1\nSET bits \"\\x00\" => OK\nWAIT 1 20000 => 1",
    );
    cluster.net().between(0, 1, Way::Cut);
    s[0].script(
        "ZUNIONSTORE d 1 a => 2\nGEOSEARCHSTORE near g FROMMEMBER Palermo BYRADIUS 1 km => 1\n\
         PFADD other e2 => 1\nPFMERGE h other => OK\nSETBIT bits 0 1 => 0",
    );
    let (first, second) = s.split_at_mut(1);
    later(&mut first[0], &mut second[0]);
    s[1].script(
        "ZUNIONSTORE d 1 b => 1\nGEOSEARCHSTORE near g FROMMEMBER Catania BYRADIUS 1 km => 1\n\
         DEL h => 1\nSETBIT bits 7 1 => 0",
    );
    cluster.net().heal();
    all_say(&mut s, "ZRANGE d 0 -1", "[\"x\", \"y\", \"z\"]");
    all_say(&mut s, "ZRANGE near 0 -1", "[\"Palermo\", \"Catania\"]");
    // The delete has seen e1 alone.
    all_say(&mut s, "PFCOUNT h", "1");
    // The later of the whole strings.
    all_say(&mut s, "GET bits", "\"\\x01\"");
}

#[test]
fn an_object_with_names_is_left_alone() {
    let node = Node::start();
    node.session().script(
        "GCOUNTER.ADD object name 1 => 1\nZADD object 1 m => -WRONGTYPE ...\n\
         ZUNIONSTORE object 1 none => -WRONGTYPE ...\nBITOP NOT object none => -WRONGTYPE ...\n\
         SETBIT object 1 1 => -WRONGTYPE ...\nPFADD object e => -WRONGTYPE ...\n\
         GEOADD object 1 1 m => -WRONGTYPE ...\nGCOUNTER.GET object name => 1",
    );
}

/// A key with a deadline keeps it when members change, and a new life has nothing of the old one.
#[test]
fn sorted_sets_expire_as_a_whole() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        "ZADD z 1 a 2 b => 2\nEXPIRE z 100 => 1\nZADD z 3 c => 1\nZINCRBY z 1 a => \"2\"\n\
         TTL z => 100\nPEXPIRE z 1 => 1",
    );
    wait_until("it to expire", || s.run("ZCARD z").integer() == 0);
    s.script(
        "ZRANGE z 0 -1 => []\nZSCORE z a => nil\nZRANK z a => nil\nZCOUNT z -inf inf => 0\n\
         ZPOPMIN z => []\nZINCRBY z 1 a => \"1\"\nTTL z => -1\nZRANGE z 0 -1 => [\"a\"]",
    );
}
