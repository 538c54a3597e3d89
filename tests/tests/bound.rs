//! What a user that is bound to a function sees and touches of another one: nothing, by any command. Every command of
//! the reference is sent, as its syntax says, with the other function's names for its arguments. Whatever has
//! "canary" in it, or is the address of a client of the other function, must not come back, and must not change.

use std::collections::BTreeSet;
use std::time::Duration;

use miso_tests::{Cluster, Frame, Node, Wire, split, wait_until};

/// The end of what is read for a command.
const END: &str = "the-end-of-it";
/// Commands after which a connection is not what it was.
const CHANGES: [&str; 13] = [
    "AUTH",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MISO.REGISTER",
    "MISO.UNREGISTER",
    "MONITOR",
    "MULTI",
    "QUIT",
    "RESET",
    "SELECT",
    "WATCH",
];

/// The reference, as the server prints it.
fn reference() -> String {
    let output =
        std::process::Command::new(Node::binary()).arg("--print-command-reference").output();
    String::from_utf8(output.expect("the server prints it").stdout).expect("it is text")
}

/// The syntax of each command, from its entry.
fn syntaxes(page: &str) -> Vec<String> {
    let entries = page.split("\n### ").skip(1);
    entries.filter_map(|entry| entry.split('`').nth(1)).map(str::to_owned).collect()
}

/// Each command of the table about bound users, and whether it is refused.
fn table(page: &str) -> Vec<(String, bool)> {
    let (_, section) =
        page.split_once("## Users bound to a function").expect("the section is there");
    let lines = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let lines = lines.filter(|(name, _)| *name != "command");
    lines.map(|(name, what)| (name.to_owned(), what.starts_with("**refused**"))).collect()
}

/// A word for an argument of this name.
fn value<'a>(name: &str, filler: &'a str) -> &'a str {
    match name {
        "cursor" | "min" | "start" => "0",
        "protover" => "3",
        "bit" | "bits" | "count" | "decrement" | "destination-db" | "float" | "height"
        | "increment" | "index" | "integer" | "latitude" | "limit" | "longitude" | "lowerbound"
        | "max" | "milliseconds" | "min-match-len" | "numfields" | "numkeys" | "numlocal"
        | "numreplicas" | "objects" | "offset" | "radius" | "score" | "seconds" | "stop"
        | "timeout" | "upperbound" | "weight" | "width" | "writes" | "memory" | "keybytes"
        | "connections" => "1",
        "unix-time-seconds" => "33000000000",
        "unix-time-milliseconds" => "33000000000000",
        "encoding" => "u8",
        _ => filler,
    }
}

/// A command of this syntax, with its optional parts or without. Of alternatives it has the first.
fn fill(syntax: &str, filler: &str, with_options: bool) -> String {
    let spaced =
        syntax.replace('[', " [ ").replace(']', " ] ").replace('<', " < ").replace('>', " > ");
    let mut out: Vec<&str> = Vec::new();
    // For each open bracket, whether what follows in it is left out.
    let mut open = vec![false];
    for word in spaced.split_whitespace() {
        let left_out = open.iter().any(|left_out| *left_out);
        match word {
            "[" => open.push(!with_options),
            "<" => open.push(false),
            "]" | ">" => drop(open.pop()),
            "|" => *open.last_mut().expect("there is one") = true,
            _ if left_out => {}
            "..." => {}
            word if word.chars().any(char::is_lowercase) => out.push(value(word, filler)),
            word => out.push(word),
        }
    }
    out.join(" ")
}

fn login(node: &Node, user: &str) -> Wire {
    let mut wire = node.wire();
    assert_eq!(wire.ask(&format!("AUTH {user} pw")).to_string(), "OK");
    wire
}

/// Sends a command, and reads all that comes back.
fn all_of(wire: &mut Wire, line: &str) -> Vec<Frame> {
    wire.command(line);
    wire.command(&format!("PING {END}"));
    let mut frames = Vec::new();
    while let Ok(frame) = wire.read() {
        let text = frame.to_string();
        let is_end = text == format!("\"{END}\"") || text == format!("[\"pong\", \"{END}\"]");
        if is_end || text == "QUEUED" || text.starts_with("-NOAUTH") {
            break;
        }
        frames.push(frame);
    }
    frames
}

/// The other function: its connections, and what must not be told of it.
struct Other {
    admin: Wire,
    client: Wire,
    listener: Wire,
    id: String,
    address: String,
    token: String,
}

/// What the other function has, word by word of its setup.
const DATA: [&str; 12] = [
    "CLIENT SETNAME canary-client",
    "MISO.REGISTER canary-function REPLICA canary-replica TTL 3600",
    "SET canary-string canary-value",
    "HSET canary-hash canary-field canary-value",
    "SADD canary-set canary-member",
    "ZADD canary-zset 1 canary-member",
    "GCOUNTER.ADD canary-object canary-name 5",
    "ORSET.ADD canary-object2 canary-name canary-member",
    "MVREG.SET canary-object3 canary-name canary-value",
    "ORMAP.SET canary-object4 canary-name canary-field canary-value",
    "PFADD canary-hll canary-member",
    "CONFIG GET canary-setting",
];

impl Other {
    fn begin(cluster: &Cluster) -> Other {
        let node = cluster.node(0);
        let mut beside = cluster.node(1).wire();
        beside.ask("AUTH canary-function -");
        beside.ask("GCOUNTER.ADD canary-elsewhere canary-name 1");
        let mut admin = node.wire();
        for line in [
            "CONFIG SET slowlog-log-slower-than 0",
            "CONFIG SET slowlog-max-len 100000",
            "CONFIG SET latency-monitor-threshold 1",
            "CONFIG SET notify-keyspace-events KEA",
            "MISO.QUOTA canary-function OBJECTS 1000",
            "ACL SETUSER canary-user on >pw ~* &* +@all function=canary-function",
            "ACL SETUSER mine on >pw ~* &* +@all function=own-function",
            "CONFIG SET requirepass pw",
        ] {
            let reply = admin.ask(line).to_string();
            assert_eq!(reply, "OK", "{line}");
        }
        let mut client = login(node, "canary-user");
        for line in DATA {
            client.ask(line);
        }
        let mut listener = login(node, "canary-user");
        for line in ["CLIENT SETNAME canary-listener", "SUBSCRIBE canary-channel own-key"] {
            listener.ask(line);
        }
        listener.read().expect("the second channel");
        listener.ask("SSUBSCRIBE canary-channel");
        listener.ask("PSUBSCRIBE canary*");
        assert!(node.wire().ask("AUTH canary-user canary-wrong").is_error());
        let id = client.ask("CLIENT ID").to_string();
        let address = client.stream().local_addr().expect("it is connected").to_string();
        let token = client.ask("MISO.TOKEN").text();
        Other { admin, client, listener, id, address, token }
    }

    /// All that the other function has, and what the node holds of it.
    fn state(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for key in self.client.ask("MISO.SCAN 0 COUNT 10000").items()[1].items() {
            let key = key.text();
            all.extend(["MISO.OBJECT", "MISO.VALUES", "TYPE", "PTTL"].map(|command| {
                let said = self.client.ask(&format!("{command} {key}")).to_string();
                // What waits to be sent to other nodes comes and goes.
                format!("{key} {}", said.replace("\"pending\", 1", "\"pending\", 0"))
            }));
        }
        all.sort();
        for line in ["MISO.QUOTA canary-function", "ACL LIST", "CONFIG GET *", "CLIENT GETNAME"] {
            let wire = if line.starts_with("CLIENT") { &mut self.client } else { &mut self.admin };
            all.push(wire.ask(line).to_string());
        }
        let functions =
            self.client.ask("MISO.FUNCTIONS").field("canary-function").expect("it runs");
        all.push(format!("{:?}", functions.field("replicas").map(|replicas| replicas.sorted())));
        all
    }

    /// What must not come back to a command that has `filler` in it.
    fn canaries(&self, filler: &str) -> Vec<String> {
        let words = DATA
            .iter()
            .flat_map(|line| split(line))
            .filter_map(|word| String::from_utf8(word).ok());
        let more = [
            "canary-elsewhere",
            "canary-user",
            "canary-channel",
            "canary-listener",
            "canary-wrong",
        ];
        let words = words.chain(more.map(str::to_owned)).chain([self.address.clone()]);
        let told = |word: &String| word.starts_with("canary") || *word == self.address;
        let words: BTreeSet<String> = words.filter(told).collect();
        // canary-object is in canary-object2, too.
        words.into_iter().filter(|word| !filler.contains(word.as_str())).collect()
    }
}

/// Checks that nothing of the other function is in what came back.
fn check(line: &str, frames: &[Frame], canaries: &[String]) {
    for frame in frames {
        let text = frame.to_string();
        let leak = canaries.iter().find(|canary| text.contains(canary.as_str()));
        assert!(leak.is_none(), "{line} shows {leak:?}: {text}");
    }
}

#[test]
fn no_command_shows_or_touches_another_function() {
    let cluster = Cluster::start(2);
    cluster.wait_for_mesh();
    let mut other = Other::begin(&cluster);
    let node = cluster.node(0);
    let mut keeps = login(node, "mine");
    keeps.ask("SET own-key own-value");
    keeps.ask("CLIENT SETNAME own-client");
    let page = reference();
    let (mut syntaxes, table) = (syntaxes(&page), table(&page));
    let refused = |line: &str| {
        table.iter().any(|(name, refused)| *refused && line.starts_with(name.as_str()))
    };
    let is_known = |name: &String| {
        syntaxes.iter().any(|syntax| *syntax == *name || syntax.starts_with(&format!("{name} ")))
    };
    let missing: Vec<_> =
        table.iter().map(|(name, _)| name).filter(|name| !is_known(name)).collect();
    assert!(
        table.len() > 300 && missing.is_empty(),
        "{} rows; without an entry: {missing:?}",
        table.len()
    );
    let before = other.state();
    // Wrong passwords hold up later logins, so these come last and once.
    let logins = |syntax: &String| syntax.starts_with("AUTH") || syntax.starts_with("HELLO");
    let last: Vec<String> = syntaxes.iter().filter(|syntax| logins(syntax)).cloned().collect();
    syntaxes.retain(|syntax| !logins(syntax));
    let (id, address) = (other.id.clone(), other.address.clone());
    let fillers = [
        "*",
        "own-key",
        "canary-string",
        "canary-function",
        "canary-user",
        "canary-channel",
        &id,
        &address,
    ];
    for (at, filler) in fillers.into_iter().enumerate() {
        // What it has sent itself it may see again.
        let canaries = other.canaries(&fillers[..=at].join(" "));
        let mut wire = login(node, "mine");
        for (syntax, with_options) in
            syntaxes.iter().flat_map(|syntax| [(syntax, false), (syntax, true)])
        {
            let line = fill(syntax, filler, with_options);
            let frames = all_of(&mut wire, &line);
            check(&line, &frames, &canaries);
            if refused(&line) {
                let said = frames.first().map(Frame::to_string).unwrap_or_default();
                assert!(said.starts_with("-NOPERM"), "{line}: {said}");
            }
            let name = line.split(' ').next().unwrap_or_default();
            if CHANGES.contains(&name) || name.ends_with("SUBSCRIBE") {
                wire = login(node, "mine");
            }
        }
    }
    for syntax in &last {
        let frames = all_of(&mut login(node, "mine"), &fill(syntax, "*", false));
        check(syntax, &frames, &other.canaries(&fillers.join(" ")));
    }
    let after = other.state();
    let changed: Vec<_> =
        before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "{changed:#?}");
    assert_eq!(
        other.listener.read_within(Duration::from_millis(100)).map(|frame| frame.to_string()),
        None
    );
    assert!(other.admin.ask("CLIENT LIST").to_string().contains("canary-listener"), "it is open");
}

/// Commands that show or touch what others have, with the id and the address of another function's client.
const ASKED: [&str; 46] = [
    "SLOWLOG GET -1",
    "CLIENT LIST",
    "CLIENT LIST TYPE pubsub",
    "CLIENT LIST ID {id}",
    "CLIENT KILL ID {id}",
    "CLIENT KILL {address}",
    "CLIENT KILL ADDR {address}",
    "CLIENT KILL TYPE pubsub",
    "CLIENT KILL MAXAGE 0 SKIPME yes",
    "CLIENT UNBLOCK {id} ERROR",
    "CLIENT TRACKING ON REDIRECT {id}",
    "CLIENT PAUSE 100000",
    "ACL LOG 1000",
    "ACL LIST",
    "ACL USERS",
    "ACL SETUSER mine function=*",
    "ACL LOG RESET",
    "SLOWLOG RESET",
    "INFO everything",
    "INFO keyspace",
    "INFO miso",
    "MISO.NODES",
    "MISO.NODE",
    "MISO.FUNCTIONS",
    "LATENCY LATEST",
    "LATENCY HISTOGRAM",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "CONFIG RESETSTAT",
    "MISO.SYNC",
    "KEYS *",
    "SCAN 0 COUNT 100000",
    "MISO.SCAN 0 COUNT 100000",
    "DBSIZE",
    "RANDOMKEY",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "PUBSUB SHARDCHANNELS",
    "FLUSHALL",
    "FLUSHDB",
    "MISO.AWAIT {token} 1",
    "MISO.ONCE i CONFIG SET maxmemory 1",
    "MEMORY STATS",
    "SAVE",
    "SHUTDOWN NOSAVE",
    "DEBUG SLEEP 100",
];

/// Commands that name another function or one of its users, or would change what the user may have.
const REFUSED: [&str; 12] = [
    "MISO.QUOTA canary-function",
    "MISO.QUOTA canary-function OBJECTS 1",
    "MISO.QUOTA own-function OBJECTS 0",
    "MISO.SYNC canary-function",
    "MISO.FEED canary-function AFTER 0",
    "MISO.REGISTER canary-function",
    "MISO.UNREGISTER canary-function REPLICA canary-replica",
    "ACL SETUSER mine function=canary-function",
    "SUBSCRIBE __miso__:canary-function:canary-object",
    "CLIENT KILL USER canary-user",
    "ACL DRYRUN canary-user PING",
    "MISO.ONCE i MISO.QUOTA canary-function",
];

#[test]
fn what_is_asked_for_by_name_is_not_there_for_a_bound_user() {
    let cluster = Cluster::start(2);
    cluster.wait_for_mesh();
    let mut other = Other::begin(&cluster);
    let node = cluster.node(0);
    wait_until("the other node's function to be known", || {
        other.admin.ask("MISO.NODES").items()[1].to_string().contains("canary-function")
    });
    let before = other.state();
    let canaries = other.canaries("");
    let (id, address, token) = (other.id.clone(), other.address.clone(), other.token.clone());
    for command in ASKED {
        let line =
            command.replace("{id}", &id).replace("{address}", &address).replace("{token}", &token);
        check(command, &all_of(&mut login(node, "mine"), &line), &canaries);
    }
    for line in REFUSED {
        assert!(login(node, "mine").ask(line).is_error(), "{line}");
    }
    let replies = [
        ("PUBLISH canary-channel forged", "0"),
        ("SPUBLISH canary-channel forged", "0"),
        ("PUBSUB NUMSUB canary-channel", "[\"canary-channel\", 0]"),
        ("ACL GETUSER canary-user", "nil"),
        ("CLIENT KILL TYPE pubsub", "0"),
        ("GET canary-string", "nil"),
        ("EXISTS canary-string canary-object", "0"),
        ("MISO.QUOTA own-function", "[\"objects\", 0,"),
    ];
    let mut mine = login(node, "mine");
    for (line, reply) in replies {
        let said = mine.ask(line).to_string();
        assert!(said.starts_with(reply), "{line}: {said}");
    }
    assert_eq!(other.state(), before);
    assert!(
        other.admin.ask("SLOWLOG GET -1").to_string().contains("canary-value"),
        "what others have stays"
    );
    assert!(other.admin.ask("ACL LOG 1000").to_string().contains("canary-user"));
}

#[test]
fn nothing_is_pushed_of_another_function() {
    let cluster = Cluster::start(2);
    cluster.wait_for_mesh();
    let mut other = Other::begin(&cluster);
    let node = cluster.node(0);
    let canaries = other.canaries("");
    let mut ears = Vec::new();
    for lines in [
        &["PSUBSCRIBE *"][..],
        &["SUBSCRIBE canary-loud"],
        &["SSUBSCRIBE canary-loud"],
        &["HELLO 3", "CLIENT TRACKING ON BCAST"],
        &["HELLO 3", "CLIENT TRACKING ON", "GET canary-string"],
        &["MONITOR"],
    ] {
        let mut wire = login(node, "mine");
        lines.iter().for_each(|line| drop(wire.ask(line)));
        ears.push((lines, wire));
    }
    for line in [
        "SET canary-string canary-value2",
        "DEL canary-hash",
        "EXPIRE canary-set 1000",
        "PUBLISH canary-loud canary-value",
        "SPUBLISH canary-loud canary-value",
        "PUBLISH own-channel canary-value",
        "GCOUNTER.ADD canary-object canary-name 7",
    ] {
        assert!(!other.client.ask(line).is_error(), "{line}");
    }
    let mut mine = login(node, "mine");
    mine.ask("SET own-key own-value");
    mine.ask("PUBLISH own-channel own-value");
    for (lines, mut wire) in ears {
        // What is pushed to it comes before the answer.
        check(&format!("{lines:?}"), &all_of(&mut wire, "PING"), &canaries);
        if lines[0] == "MONITOR" {
            let seen = mine.ask("SET own-key again").to_string();
            assert_eq!(seen, "OK");
            let mut sees = || wire.read().expect("it sees its own").to_string().contains("again");
            while !sees() {}
        }
    }
}
