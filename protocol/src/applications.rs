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
        uses: "Sessions: SET EX, GET, EXPIRE, DEL, SCAN",
        beyond: "Its `all` needs MGET",
    },
    Application {
        name: "express-rate-limit 8.7.5",
        uses: "A counter of requests with a deadline, in a store of INCR, PEXPIRE NX and PTTL (fifteen lines, \
               in `sdk-compat/apps/node/limits.test.js`)",
        beyond: "Its usual store, rate-limit-redis, counts in a script",
    },
    Application {
        name: "Django 5.2.19 (its own Redis cache)",
        uses: "Counters: SET EX, GET, INCRBY, DECRBY, EXISTS",
        beyond: "`get_many` needs MGET, `set_many` MSET, `clear` FLUSHDB",
    },
    Application {
        name: "django-redis 7.0.0",
        uses: "SET EX NX, TTL, EXPIRE, PERSIST, KEYS, SCAN, DEL",
        beyond: "The same; `incr`, `decr` and locks run scripts",
    },
    Application {
        name: "A shopping cart",
        uses: "HSET, HINCRBY, HDEL, HGETALL, HLEN, EXPIRE, DEL",
        beyond: "",
    },
];
