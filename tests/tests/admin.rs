//! Running a node: settings, users, figures, the slow log, memory and the end.

use miso_tests::{Frame, Node, Resp, Scratch, Session, Tool, wait_until};

/// The fields that clients and tools read from `INFO`, by section.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "Server",
        &[
            "redis_version",
            "redis_mode",
            "server_name",
            "miso_version",
            "os",
            "arch_bits",
            "process_id",
            "run_id",
            "tcp_port",
            "uptime_in_seconds",
            "executable",
            "config_file",
        ],
    ),
    ("Clients", &["connected_clients", "blocked_clients", "maxclients"]),
    (
        "Memory",
        &[
            "used_memory",
            "used_memory_human",
            "used_memory_rss",
            "used_memory_peak",
            "maxmemory",
            "maxmemory_policy",
            "mem_fragmentation_ratio",
        ],
    ),
    ("Persistence", &["loading", "async_loading", "aof_enabled", "rdb_last_save_time"]),
    (
        "Stats",
        &[
            "total_connections_received",
            "total_commands_processed",
            "instantaneous_ops_per_sec",
            "instantaneous_input_kbps",
            "instantaneous_output_kbps",
            "rejected_connections",
            "expired_keys",
            "evicted_keys",
            "keyspace_hits",
            "keyspace_misses",
            "pubsub_channels",
            "pubsub_patterns",
        ],
    ),
    ("Replication", &["role", "connected_slaves", "master_replid", "master_repl_offset"]),
    ("CPU", &["used_cpu_sys", "used_cpu_user"]),
    ("Cluster", &["cluster_enabled"]),
    ("Keyspace", &[]),
    ("Miso", &[]),
];

#[test]
fn info() {
    let node = Node::start();
    let mut s = node.session();
    s.script("GCOUNTER.ADD o n => 1\nGCOUNTER.ADD p n => 1");
    let text = s.run("INFO everything").text();
    assert!(text.lines().count() > 60 && text.ends_with("\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "lines end in CRLF");
    for (section, fields) in FIELDS {
        let start = text
            .find(&format!("# {section}\r\n"))
            .unwrap_or_else(|| panic!("no section {section}"));
        let body = &text[start..];
        let body = &body[..body.find("\r\n\r\n").unwrap_or(body.len())];
        for field in *fields {
            assert!(body.contains(&format!("\r\n{field}:")), "no {field} in {section}:\n{body}");
        }
        // Each section alone, whatever its case, and none other.
        let alone = s.run(&format!("INFO {}", section.to_lowercase())).text();
        assert!(alone.starts_with(&format!("# {section}\r\n")), "{alone}");
        assert_eq!(alone.matches("# ").count(), 1);
    }
    for (field, value) in [
        ("redis_mode", "standalone"),
        ("server_name", "miso"),
        ("role", "master"),
        ("connected_slaves", "0"),
        ("loading", "0"),
        ("cluster_enabled", "0"),
        ("tcp_port", &node.port()),
        ("process_id", &node.pid().to_string()),
        ("maxmemory_policy", "noeviction"),
        ("db0", "keys=2,expires=0,avg_ttl=0"),
    ] {
        assert_eq!(node.info(field), value, "{field}");
    }
    let two = s.run("INFO server clients").text();
    assert!(two.contains("# Server") && two.contains("# Clients") && !two.contains("# Memory"));
    let default = s.run("INFO").text();
    assert!(default.contains("# Keyspace") && !default.contains("# Commandstats"));
    assert!(matches!(node.session_in(Resp::V3).run("INFO"), Frame::Verbatim(_)));
    assert_eq!(s.run("INFO nosuch").text(), "");
}

#[test]
fn statistics_count() {
    let node = Node::start();
    let mut s = node.session();
    s.script("CONFIG RESETSTAT => OK");
    for _ in 0..10 {
        s.run("GCOUNTER.ADD o n");
    }
    s.script(
        "GCOUNTER.ADD o n -1 => -ERR...\nORSET.ADD o n a => -WRONGTYPE...\nNONSENSE => -ERR...",
    );
    let stats = s.run("INFO commandstats").text();
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_gcounter.add:"))
        .unwrap_or_else(|| panic!("no statistics of GCOUNTER.ADD:\n{stats}"));
    assert!(line.contains("calls=11,") && line.contains("failed_calls=1"), "{line}");
    for field in ["usec=", "usec_per_call=", "rejected_calls="] {
        assert!(line.contains(field), "{line}");
    }
    let latencies = s.run("INFO latencystats").text();
    assert!(latencies.contains("latency_percentiles_usec_gcounter.add:p50="), "{latencies}");
    // Subcommands are counted by themselves, and a command's name stands for all of them.
    s.script("CLIENT SETINFO LIB-NAME x => OK\nCLIENT SETINFO LIB-VER 1 => OK");
    let stats = s.run("INFO commandstats").text();
    assert!(stats.contains("\r\ncmdstat_client|setinfo:calls=2,"), "{stats}");
    assert!(!stats.contains("cmdstat_client:"), "{stats}");
    let latencies = s.run("INFO latencystats").text();
    assert!(latencies.contains("latency_percentiles_usec_client|setinfo:p50="), "{latencies}");
    for name in ["client", "client|setinfo"] {
        let histogram = s.run(&format!("LATENCY HISTOGRAM {name}"));
        assert_eq!(histogram.items()[0].text(), "client|setinfo", "{histogram}");
    }
    let errors = s.run("INFO errorstats").text();
    assert!(errors.contains("errorstat_WRONGTYPE:count=1"), "{errors}");
    assert!(errors.contains("errorstat_ERR:count=2"), "{errors}");
    s.script("CONFIG RESETSTAT => OK");
    assert!(!s.run("INFO commandstats").text().contains("gcounter.add"));

    let connections: u64 = node.info("total_connections_received").parse().expect("a number");
    assert!(connections > 0);
    let before: u64 = node.info("total_commands_processed").parse().expect("a number");
    for _ in 0..100 {
        s.run("PING");
    }
    let after: u64 = node.info("total_commands_processed").parse().expect("a number");
    assert!((100..130).contains(&(after - before)), "{before} {after}");
    assert_eq!(s.run("INFO keyspace").text().lines().count(), 2);
}

/// Names within INFO and figures of memory, clients and denials.
#[test]
fn figures_are_measured() {
    let node = Node::with(&["--requirepass", "pw"]);
    let mut wire = node.wire();
    assert!(wire.ask("AUTH wrong").is_error());
    assert_eq!(wire.ask("AUTH pw").to_string(), "OK");
    let number = |field: &str| -> f64 {
        let text = wire_info(&node, field);
        text.trim_end_matches('%').parse().unwrap_or_else(|_| panic!("{field}: {text}"))
    };
    assert_eq!(number("acl_access_denied_auth"), 1.0);
    assert!(number("total_system_memory") > number("used_memory_rss"));
    assert!(number("used_memory_rss") > 0.0);
    let startup = number("used_memory_startup");
    assert!(startup > 0.0 && startup <= number("used_memory_peak"), "{startup}");
    assert!(number("used_memory_overhead") <= number("used_memory_peak"));
    assert!(number("mem_clients_normal") > 0.0);
    assert!(number("total_reads_processed") >= 2.0);
    assert!(number("total_writes_processed") >= 2.0);
    // Half a command is what the client has sent of it.
    wire.send(b"*2\r\n$4\r\nPING\r\n$500\r\nabc").expect("the node reads");
    wait_until("the half command is counted", || number("client_recent_max_input_buffer") > 3.0);
}

/// A field of INFO of a node whose password is `pw`.
fn wire_info(node: &Node, field: &str) -> String {
    let mut s = Session::open(&node.url(":pw"), Resp::V2).expect("the password holds");
    let text = s.run("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in:\n{text}")).to_owned()
}

#[test]
fn config() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        r#"
        CONFIG GET appendonly => ["appendonly", "no"]
        CONFIG GET databases => ["databases", "16"]
        CONFIG GET replica-read-only => *
        CONFIG GET slave-read-only => *
        CONFIG GET notify-keyspace-events => *
        CONFIG GET io-threads => *
        CONFIG GET bind => *
        CONFIG SET maxmemory 64mb => OK
        CONFIG GET maxmemory => ["maxmemory", "67108864"]
        CONFIG SET maxmemory 0 => OK
        CONFIG SET slowlog-log-slower-than 5 slowlog-max-len 7 => OK
        CONFIG GET slowlog-max-len => ["slowlog-max-len", "7"]
        "#,
    );
    assert_eq!(s.run("CONFIG GET port").items()[1].text(), node.port());
    let all = node.session_in(Resp::V3).run("CONFIG GET *");
    assert!(matches!(&all, Frame::Map(pairs) if pairs.len() > 20), "{all}");
    // Miso's own settings are among them.
    for name in ["default-function", "function-linger", "maxclients", "timeout"] {
        assert!(all.field(name).is_some(), "no {name} in CONFIG GET *");
    }
    // A password is never shown.
    s.script("CONFIG SET requirepass s3cret => OK");
    let mut s = Session::open(&node.url(":s3cret"), Resp::V2).expect("the new password holds");
    assert!(!s.run("CONFIG GET *").to_string().contains("s3cret"));
}

#[test]
fn password() {
    let node = Node::with(&["--requirepass", "pw"]);
    let mut wire = node.wire();
    for line in ["PING", "GCOUNTER.ADD o n", "INFO", "CLIENT ID", "MULTI", "COMMAND COUNT"] {
        assert_eq!(wire.ask(line).to_string(), "-NOAUTH Authentication required.", "{line}");
    }
    let reply = wire.ask("HELLO 3").to_string();
    assert!(
        reply.starts_with("-NOAUTH HELLO must be called with the client already authenticated"),
        "{reply}"
    );
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(wire.ask("AUTH nope").to_string(), wrong);
    assert_eq!(wire.ask("AUTH default nope").to_string(), wrong);
    assert_eq!(wire.ask("HELLO 3 AUTH default nope").to_string(), wrong);
    assert_eq!(wire.ask("PING").to_string(), "-NOAUTH Authentication required.");
    assert_eq!(wire.ask("AUTH pw").to_string(), "OK");
    assert_eq!(wire.ask("PING").to_string(), "PONG");
    assert_eq!(wire.ask("RESET").to_string(), "RESET");
    assert_eq!(wire.ask("PING").to_string(), "-NOAUTH Authentication required.");
    assert!(!wire.ask("HELLO 3 AUTH default pw").is_error());
    for resp in Resp::BOTH {
        Session::open(&node.url(":pw"), resp).expect("the password holds").script("PING => PONG");
        assert!(Session::open(&node.url(":nope"), resp).is_err());
    }
}

#[test]
fn access_control() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        r#"
        ACL SETUSER counter on >pw ~cart:* +@gcounter +@connection +acl|whoami => OK
        ACL SETUSER reader on >pw ~* +@read -@dangerous => OK
        ACL SETUSER off off >pw ~* +@all => OK
        "#,
    );
    let mut s = Session::open(&node.url("counter:pw"), Resp::V2).expect("the password holds");
    s.script(
        r#"
        ACL WHOAMI => "counter"
        GCOUNTER.ADD cart:1 n 5 => 5
        GCOUNTER.GET cart:1 n => 5
        GCOUNTER.ADD other n => -NOPERM...
        GCOUNTER.GET other n => -NOPERM...
        ORSET.ADD cart:1 s a => -NOPERM...
        CONFIG GET maxmemory => -NOPERM...
        MULTI => -NOPERM...
        PING => PONG
        "#,
    );
    let mut reader = Session::open(&node.url("reader:pw"), Resp::V3).expect("the password holds");
    for line in [
        "GCOUNTER.ADD cart:1 n",
        "MISO.DEL cart:1",
        "DEL cart:1",
        "ORMAP.SET cart:1 m f v",
        "KEYS *",
    ] {
        let reply = reader.run(line).text();
        assert!(reply.starts_with("NOPERM"), "{line}: {reply}");
    }
    for line in [
        "GCOUNTER.GET cart:1 n",
        "MISO.OBJECT cart:1",
        "SCAN 0",
        "HGETALL cart:1",
        "MISO.TYPE cart:1 n",
    ] {
        let reply = reader.run(line);
        assert!(!reply.is_error(), "{line}: {reply}");
    }
    assert!(Session::open(&node.url("off:pw"), Resp::V2).is_err());
    assert!(Session::open(&node.url("counter:nope"), Resp::V2).is_err());

    // Categories know our commands, one for each type and one for all.
    let categories = admin.run("ACL CAT").sorted();
    for category in [
        "gcounter",
        "pncounter",
        "gset",
        "orset",
        "mvreg",
        "ewflag",
        "ormap",
        "miso",
        "read",
        "write",
        "fast",
    ] {
        assert!(
            categories.iter().any(|c| c == category),
            "{category} is missing in {categories:?}"
        );
    }
    let counters = admin.run("ACL CAT gcounter").sorted();
    assert!(
        counters.contains(&"gcounter.add".to_owned())
            && !counters.contains(&"orset.add".to_owned())
    );
    let log = admin.run("ACL LOG").to_string();
    assert!(log.contains("auth") && log.contains("counter"), "{log}");
    admin.script(
        r#"
        ACL DRYRUN counter GCOUNTER.ADD cart:1 n => OK
        ACL DELUSER counter => 1
        "#,
    );
    let secret = admin.run("ACL GENPASS").text();
    assert!(secret.len() == 64 && secret.bytes().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(admin.run("ACL GENPASS 5").text().len(), 2);
    // A user that is deleted loses its connections.
    assert!(redis::cmd("PING").exec(s.redis()).is_err());
}

/// Users that outlive the server: read at its start, saved, and loaded all or none.
#[test]
fn users_in_a_file() {
    let directory = Scratch::new();
    let path = directory.join("users.acl");
    let put = |text: &str| std::fs::write(&path, text).expect("the scratch directory is writable");
    put("user default on nopass ~* &* +@all\nuser bob on >pw ~cart:* +@gcounter\n");
    let flags = ["--aclfile", path.to_str().expect("a path of text")];
    let node = Node::with(&flags);
    let mut admin = node.session();
    admin.script("ACL USERS => ~[\"bob\", \"default\"]\nACL SETUSER eve on >pw ~* +@all => OK");
    admin.script("ACL SAVE => OK");
    let saved = std::fs::read_to_string(&path).expect("the file is there");
    assert!(saved.contains("user bob ") && saved.contains("user eve "), "{saved}");
    assert!(!saved.contains(">pw"), "a password in plain text:\n{saved}");

    let again = Node::with(&flags);
    again.session().script("ACL USERS => ~[\"bob\", \"default\", \"eve\"]");
    assert_eq!(again.wire().ask("AUTH bob pw").to_string(), "OK");

    put("user default on nopass ~* &* +@all\nuser zoe on >pw +nonsense\n");
    assert!(admin.run("ACL LOAD").is_error());
    admin.script("ACL USERS => ~[\"bob\", \"default\", \"eve\"]");
    put("user default on nopass ~* &* +@all\nuser zoe on >pw\n");
    admin.script("ACL LOAD => OK\nACL USERS => ~[\"default\", \"zoe\"]");
}

/// The log of refusals keeps as many as it is told, the newest.
#[test]
fn the_acl_log_is_bounded() {
    let node = Node::with(&["--acllog-max-len", "3"]);
    let mut admin = node.session();
    for i in 0..10 {
        admin.script(&format!("ACL SETUSER bob on >pw => OK\nAUTH wrong{i} x => -WRONGPASS..."));
    }
    let Frame::Array(log) = admin.run("ACL LOG") else { panic!("an array") };
    assert_eq!(log.len(), 3);
    assert!(log[0].to_string().contains("wrong9"), "{}", log[0]);
}

/// What a user may do, and whether a password is asked for, holds from the next command on.
#[test]
fn rights_change_while_connections_stand() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script("ACL SETUSER bob on >pw ~* +@all => OK");
    let mut bob = Session::open(&node.url("bob:pw"), Resp::V2).expect("the password holds");
    bob.script("GCOUNTER.ADD o n => 1");
    admin.script("ACL SETUSER bob -@gcounter => OK");
    bob.script("GCOUNTER.ADD o n => -NOPERM...\nORSET.ADD o s a => 1");
    admin.script("ACL SETUSER bob resetkeys ~cart:* => OK");
    bob.script("ORSET.ADD o s b => -NOPERM...\nORSET.ADD cart:1 s b => 1");
    // In a transaction each command is checked as it is queued, and again as it runs.
    bob.script("MULTI => OK\nORSET.ADD cart:1 s c => QUEUED");
    admin.script("ACL SETUSER bob -orset.add => OK");
    let reply = bob.run("EXEC").to_string();
    assert!(reply.contains("NOPERM"), "{reply}");
    admin.script("ORSET.CARD cart:1 s => *");

    // A password that comes later leaves in the clients that are in.
    let mut inside = node.session();
    inside.script("PING => PONG");
    admin.script("CONFIG SET requirepass later => OK\nPING => PONG");
    inside.script("PING => PONG");
    assert_eq!(node.wire().ask("PING").to_string(), "-NOAUTH Authentication required.");
}

/// A user may be bound to a function, and then speaks for no other.
#[test]
fn users_are_bound_to_functions() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script("ACL SETUSER svc on >pw ~* +@all function:checkout => OK");
    let user = admin.run("ACL LIST").to_string();
    assert!(user.contains("function:checkout"), "{user}");
    for resp in Resp::BOTH {
        Session::open(&node.url("svc:pw"), resp).expect("the password holds").script(
            r#"
            MISO.FUNCTION => "checkout"
            MISO.REGISTER other => -NOPERM...
            MISO.REGISTER checkout => OK
            MISO.FUNCTION => "checkout"
            "#,
        );
    }
}

#[test]
fn slow_log() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        r#"
        CLIENT SETNAME me => OK
        CONFIG SET slowlog-log-slower-than 1000 => OK
        SLOWLOG RESET => OK
        DEBUG SLEEP 0.005 => OK
        SLOWLOG LEN => 1
        "#,
    );
    let entry = s.run("SLOWLOG GET").items()[0].items();
    assert!(
        entry[0].integer() >= 0 && entry[1].integer() > 1_600_000_000 && entry[2].integer() >= 5000
    );
    assert_eq!(entry[3].to_string(), r#"["DEBUG", "SLEEP", "0.005"]"#);
    assert!(entry[4].text().starts_with("127.0.0.1:"));
    assert_eq!(entry[5].text(), "me");
    s.script(
        r#"
        CONFIG SET slowlog-max-len 2 => OK
        DEBUG SLEEP 0.002 => OK
        DEBUG SLEEP 0.003 => OK
        SLOWLOG LEN => 2
        CONFIG SET slowlog-log-slower-than -1 => OK
        DEBUG SLEEP 0.002 => OK
        SLOWLOG LEN => 2
        SLOWLOG RESET => OK
        SLOWLOG GET => []
        "#,
    );
    assert_eq!(s.run("SLOWLOG GET 10").items().len(), 0);
}

#[test]
fn command_table() {
    let node = Node::start();
    let mut s = node.session_in(Resp::V3);
    let rows = s.run("COMMAND").items();
    assert_eq!(s.run("COMMAND COUNT").integer() as usize, rows.len());
    assert_eq!(s.run("COMMAND LIST").items().len(), rows.len());
    let docs = s.run("COMMAND DOCS");
    for row in &rows {
        let row = row.items();
        let name = row[0].text();
        assert_eq!(row.len(), 10, "{name}");
        assert_eq!(name, name.to_lowercase());
        assert_ne!(row[1].integer(), 0, "{name}");
        assert!(matches!(&row[2], Frame::Set(_)) && matches!(&row[6], Frame::Set(_)), "{name}");
        let doc = docs.field(&name).unwrap_or_else(|| panic!("{name} is not documented"));
        for field in ["summary", "since", "group", "complexity"] {
            assert!(
                doc.field(field).is_some_and(|text| !text.text().is_empty()),
                "{name} has no {field}"
            );
        }
    }
    for (line, keys) in [
        ("GCOUNTER.ADD o n 1", r#"["o"]"#),
        ("ORMAP.SET o n f v", r#"["o"]"#),
        ("MISO.DEL o n m", r#"["o"]"#),
        ("DEL a b c", r#"["a", "b", "c"]"#),
    ] {
        assert_eq!(s.run(&format!("COMMAND GETKEYS {line}")).to_string(), keys, "{line}");
    }
    let row = s.run("COMMAND INFO gcounter.add").items()[0].items();
    assert_eq!(row[1].integer(), -3);
    assert_eq!((row[3].integer(), row[4].integer(), row[5].integer()), (1, 1, 1));
    let flags = row[2].sorted();
    for flag in ["write", "denyoom", "fast"] {
        assert!(flags.contains(&flag.to_owned()), "{flags:?}");
    }
    assert!(row[6].sorted().contains(&"@gcounter".to_owned()));
    assert!(s.run("COMMAND LIST FILTERBY PATTERN orset.*").items().len() >= 9);
    assert!(s.run("COMMAND LIST FILTERBY MODULE miso").items().len() > 50);
    s.script("COMMAND INFO nosuch gcounter.get => [nil, ...");
}

/// Every command with too few arguments, and with more than it takes, on a connection that goes on.
#[test]
fn every_command_checks_its_arity() {
    let node = Node::start();
    let mut s = node.session();
    let rows: Vec<(String, i64)> = s
        .run("COMMAND")
        .items()
        .iter()
        .map(|row| (row.items()[0].text(), row.items()[1].integer()))
        .collect();
    assert!(rows.len() > 100, "{} commands", rows.len());
    for (name, arity) in rows {
        let wrong = format!("-ERR wrong number of arguments for '{name}' command");
        let call = |s: &mut Session, count: u64| {
            let line: Vec<&str> =
                std::iter::once(name.as_str()).chain((1..count).map(|_| "1")).collect();
            s.run(&line.join(" ")).to_string()
        };
        let least = arity.unsigned_abs();
        if least > 1 {
            assert_eq!(call(&mut s, least - 1), wrong);
            assert_eq!(call(&mut s, 1), wrong);
        }
        if arity > 0 {
            assert_eq!(call(&mut s, least + 1), wrong);
            assert_eq!(call(&mut s, least + 50), wrong);
        }
    }
    s.script("PING => PONG\nDBSIZE => 0");
}

/// Every subcommand likewise; its arity counts both words.
#[test]
fn every_subcommand_checks_its_arity() {
    let node = Node::start();
    let mut s = node.session();
    let mut seen = 0;
    for row in s.run("COMMAND").items() {
        for sub in row.items()[9].items() {
            let (name, arity) = (sub.items()[0].text(), sub.items()[1].integer());
            let (container, word) = name.split_once('|').expect("container|subcommand");
            let wrong = format!("-ERR wrong number of arguments for '{name}' command");
            let least = arity.unsigned_abs() as usize;
            if least > 2 {
                assert_eq!(s.run(&format!("{container} {word}")).to_string(), wrong);
            }
            if arity > 0 {
                let line = format!("{container} {word}{}", " 1".repeat(least - 1));
                assert_eq!(s.run(&line).to_string(), wrong);
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} subcommands");
    s.script("PING => PONG");
}

/// Every command with arguments that make no sense: an error or a value, never the end of the connection.
#[test]
fn every_command_survives_nonsense() {
    let node = Node::start();
    let names: Vec<String> =
        node.session().run("COMMAND").items().iter().map(|row| row.items()[0].text()).collect();
    let values: [&[u8]; 7] =
        [b"", b"-1", b"9223372036854775807", b"nonsense", b"\0\xff", b"0", b"*"];
    let skip = [
        "shutdown",
        "quit",
        "monitor",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "reset",
        "client",
        "debug",
        "sync",
        "psync",
    ];
    let mut rng = miso_tests::Rng::new(5);
    let mut wire = node.session();
    for name in names.iter().filter(|name| !skip.contains(&name.as_str())) {
        for count in 0..6 {
            let mut args: Vec<&[u8]> = vec![name.as_bytes()];
            args.extend((0..count).map(|_| values[rng.below(7) as usize]));
            // A password among the nonsense locks the next command out; a transaction queues it.
            if matches!(
                name.as_str(),
                "config" | "acl" | "auth" | "hello" | "multi" | "wait" | "miso.await"
            ) {
                let mut s = node.session();
                s.call(&args);
            } else {
                wire.call(&args);
            }
        }
    }
    node.assert_alive();
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn memory_limit() {
    let node = Node::start();
    let mut s = node.session();
    s.script("GCOUNTER.ADD o n 1 => 1\nORSET.ADD o s a => 1\nORMAP.SET o m f v => 1");
    let used: u64 = node.info("used_memory").parse().expect("a number");
    s.run(&format!("CONFIG SET maxmemory {}", used + 2_000_000));
    let value = "x".repeat(10_000);
    let mut refused = None;
    for i in 0..100_000 {
        let reply = s.run(&format!("MVREG.SET big:{i} r {value}"));
        if reply.is_error() {
            assert_eq!(
                reply.to_string(),
                "-OOM command not allowed when used memory > 'maxmemory'."
            );
            refused = Some(i);
            break;
        }
    }
    let refused = refused.expect("the limit takes hold");
    assert!((50..1000).contains(&refused), "refused at {refused}");
    s.script(&format!(
        r#"
        EXISTS big:{refused} => 0
        GCOUNTER.ADD fresh n => -OOM...
        GCOUNTER.MADD o n 1 fresh 1 => -OOM...
        ORSET.ADD o s b => -OOM...
        GCOUNTER.GET o n => 1
        ORSET.MEMBERS o s => ~["a"]
        MULTI => OK
        ORSET.ADD o s b => -OOM...
        EXEC => -EXECABORT...
        PING => PONG
        ORSET.REM o s a => 1
        ORMAP.DEL o m f => 1
        "#
    ));
    for i in 0..refused {
        s.run(&format!("MISO.DEL big:{i}"));
    }
    wait_until("room after deletion", || !s.run("GCOUNTER.ADD fresh n").is_error());
    s.script("CONFIG SET maxmemory 0 => OK\nORSET.ADD o s b => 1");
}

#[test]
fn memory_usage() {
    let node = Node::start();
    let mut s = node.session();
    s.script("GCOUNTER.ADD small n => 1");
    s.run(&format!("MVREG.SET big r {}", "x".repeat(100_000)));
    let small = s.run("MEMORY USAGE small").integer();
    let big = s.run("MEMORY USAGE big").integer();
    assert!((1..2000).contains(&small), "{small}");
    assert!((100_000..300_000).contains(&big), "{big}");
}

#[test]
fn saving() {
    let node = Node::start();
    let mut s = node.session();
    assert!(s.run("LASTSAVE").integer() > 0);
    let time = s.run("TIME").items();
    assert!(
        time.len() == 2
            && time[0].text().parse::<u64>().is_ok_and(|seconds| seconds > 1_600_000_000)
    );
}

#[test]
fn shutdown() {
    for (line, signal) in [
        (Some("SHUTDOWN"), 0),
        (Some("SHUTDOWN NOSAVE"), 0),
        (None, libc::SIGTERM),
        (None, libc::SIGINT),
    ] {
        let mut node = Node::start();
        let mut other = node.wire();
        other.assert_alive();
        match line {
            Some(line) => {
                let mut wire = node.wire();
                wire.command(line);
                assert_eq!(wire.rest(), b"");
            }
            None => node.signal(signal),
        }
        assert_eq!(node.wait_for_end().code(), Some(0), "{line:?} {signal}");
        assert_eq!(other.rest(), b"");
    }
    let node = Node::start();
    node.session().script("SHUTDOWN NONSENSE => -ERR syntax error\nPING => PONG");
}

/// A server that listens to all and has no password answers strangers with an explanation only. Played in a network
/// namespace of its own, where a second address of its loopback device stands for the outer world.
#[test]
fn protected_mode() {
    let script = r#"
        ip link set lo up && ip addr add 192.0.2.7/32 dev lo || exit 9
        "$0" --bind 0.0.0.0 --port 7000 --data-dir none >/dev/null 2>&1 &
        trap 'kill $!' EXIT
        near() { redis-cli -h 127.0.0.1 -p 7000 "$@"; }
        far() { redis-cli -h 192.0.2.7 -p 7000 "$@"; }
        tries=0
        until near PING 2>/dev/null; do
            tries=$((tries + 1)); [ $tries -lt 500 ] || exit 8
            sleep 0.02
        done
        far PING
        near CONFIG SET protected-mode no
        far PING
        near CONFIG SET protected-mode yes
        near CONFIG SET requirepass pw
        far -a pw --no-auth-warning PING
    "#;
    let server = Node::binary();
    let server = server.to_str().expect("a path of text");
    let output = Tool::run("unshare", &["-rn", "sh", "-c", script, server], b"");
    let lines: Vec<&str> = output.stdout.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(lines[0], "PONG");
    assert!(lines[1].starts_with("DENIED "), "{}", lines[1]);
    assert_eq!(lines[2..], ["OK", "PONG", "OK", "OK", "PONG"], "{output:?}");
}
