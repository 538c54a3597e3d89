//! Applications written for Redis that the tests run unchanged, on two nodes with a cut between them
//! (`sdk-compat/apps`), and what each needs beyond what is served. docs/compatibility.md shows this table.

/// An application.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    /// The package, with the version that is tested.
    pub name: &'static str,
    /// What it does with Redis.
    pub uses: &'static str,
    /// What it needs that is not served; empty: nothing.
    pub beyond: &'static str,
}

/// All of them.
pub const APPLICATIONS: &[Application] = &[
    Application {
        name: "connect-redis 10.0.0 (express-session on Express)",
        uses: "Sessions: SET EX, GET, EXPIRE, DEL, SCAN, MGET",
        beyond: "",
    },
    Application {
        name: "@keyv/redis 5.1.6",
        uses: "A cache: SET PX, GET, MGET, EXISTS, UNLINK, SCAN, MULTI",
        beyond: "",
    },
    Application { name: "cache-manager 7.2.9", uses: "A cache, over @keyv/redis", beyond: "" },
    Application {
        name: "express-rate-limit 8.7.5",
        uses: "A counter of requests with a deadline, in a store of INCR, PEXPIRE NX and PTTL (fifteen lines, \
               in `sdk-compat/apps/node/limits.test.js`)",
        beyond: "Its usual store, rate-limit-redis 6.0.1, counts in a script",
    },
    Application {
        name: "Flask-Caching 2.5.1",
        uses: "A cache of pages and results: SETEX, SETNX, GET, MGET, DEL, EXISTS, INCRBY, FLUSHDB, MULTI",
        beyond: "",
    },
    Application {
        name: "Django 5.2.19 (its own Redis cache)",
        uses: "A cache: SET EX NX, GET, MGET, MSET, EXPIRE, PERSIST, INCRBY, EXISTS, DEL, FLUSHDB, MULTI",
        beyond: "",
    },
    Application {
        name: "django-redis 7.0.0",
        uses: "The same, and TTL, KEYS, SCAN",
        beyond: "`incr` and `decr` count in a script, and without it read, add and set: of nodes that count while \
                 apart the later value stands. Locks need scripts",
    },
    Application {
        name: "A shopping cart",
        uses: "HSET, HINCRBY, HDEL, HGETALL, HLEN, EXPIRE, DEL",
        beyond: "",
    },
    Application {
        name: "A leaderboard",
        uses: "ZADD GT, ZINCRBY, ZREVRANK, ZRANGE REV and BYSCORE, ZCARD",
        beyond: "",
    },
    Application {
        name: "Sessions as Spring Session keeps them",
        uses: "HSET, HGETALL, PEXPIRE, DEL, MULTI, keyspace events of `del` and `expired`",
        beyond: "Its `RedisIndexedSessionRepository` is not run here, only the commands that it sends",
    },
];
