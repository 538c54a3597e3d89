//! SELECT: the databases of a function, each replicated as a function of its own.

use miso_tests::{Cluster, Node, Resp, Session, Tool, Way, all_say, wait_until};

#[test]
fn databases_are_apart() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        "SET k zero => OK\nSELECT 3 => OK\nGET k => nil\nSET k three EX 100 => OK\nSET l x => OK\n\
         SELECT 16 => -ERR DB index is out of range\nSELECT -1 => -ERR DB index is out of range\n\
         SELECT abc => -ERR value is not an integer or out of range\nGET k => \"three\"\n\
         DBSIZE => 2\nSELECT 0 => OK\nGET k => \"zero\"\nDBSIZE => 1\n\
         CONFIG GET databases => [\"databases\", \"16\"]",
    );
    let keyspace = s.run("INFO keyspace").text();
    assert!(keyspace.contains("db0:keys=1,expires=0,"), "{keyspace}");
    assert!(keyspace.contains("db3:keys=2,expires=1,"), "{keyspace}");
    s.script("MOVE k 1 => -ERR 'move' is not served: databases are...\nSWAPDB 0 1 => -ERR 'swapdb' is not...");
    s.script("SELECT 3 => OK\nMISO.FUNCTION => \"default\"");
    let info = s.run("CLIENT INFO").text();
    assert!(info.contains(" db=3 ") && info.ends_with("function=default\n"), "{info}");
    s.script("RESET => RESET\nGET k => \"zero\"");
}

#[test]
fn a_database_has_as_many_neighbours_as_the_setting_says() {
    let node = Node::with(&["--databases", "2"]);
    node.session().script(
        "SELECT 1 => OK\nSELECT 2 => -ERR DB index is out of range\n\
         CONFIG SET databases 3 => -ERR CONFIG SET failed...",
    );
}

#[test]
fn commands_show_their_database_to_monitor() {
    let node = Node::start();
    let mut watcher = node.wire();
    watcher.ask("MONITOR");
    let mut s = node.wire();
    s.ask("SELECT 5");
    s.ask("SET k v");
    // SELECT itself is shown in the database that it leaves, as in Redis.
    for (database, command) in [(0, "\"SELECT\" \"5\""), (5, "\"SET\" \"k\" \"v\"")] {
        let line = watcher.read().expect("a line").text();
        let is_shown =
            line.contains(&format!(" [{database} 127.0.0.1:")) && line.ends_with(command);
        assert!(is_shown, "{line}");
    }
}

#[test]
fn every_node_has_every_database() {
    let mut cluster = Cluster::with_disks(2, &[]);
    let mut s = cluster.sessions();
    s.iter_mut().for_each(|s| s.script("SELECT 2 => OK\nGET k => nil"));
    cluster.net().between(0, 1, Way::Cut);
    s[0].script("INCRBY n 2 => 2\nSET k v => OK\nSELECT 0 => OK\nINCR n => 1\nSELECT 2 => OK");
    s[1].script("INCRBY n 3 => 3");
    cluster.net().heal();
    all_say(&mut s, "GET n", "\"5\"");
    all_say(&mut s, "GET k", "\"v\"");
    s.iter_mut().for_each(|s| s.script("SELECT 0 => OK"));
    all_say(&mut s, "GET n", "\"1\"");
    let functions = s[0].run("MISO.FUNCTIONS").to_string();
    assert!(functions.contains("\"default#2\""), "{functions}");
    // A token is of the database that it was taken in, and takes its reader there.
    let token = {
        s[0].script("SELECT 2 => OK\nSET later x => OK");
        s[0].run("MISO.TOKEN").text()
    };
    s[1].script(&format!("MISO.AWAIT {token} 20000 => 1\nSELECT 2 => OK\nGET later => \"x\""));
    cluster.kill(0);
    cluster.restart(0);
    cluster.session(0).script("SELECT 2 => OK\nGET k => \"v\"\nGET n => \"5\"");
}

#[test]
fn a_node_that_comes_later_reads_what_was_there_first() {
    // A busy machine may take longer than the usual time to answer.
    let mut cluster = Cluster::with(1, &["--restore-timeout", "20s"]);
    cluster.session(0).script("SELECT 7 => OK\nSADD s a b => 2");
    let late = cluster.add();
    let mut s = cluster.session(late);
    s.script("MULTI => OK\nSELECT 7 => QUEUED\nSCARD s => QUEUED\nEXEC => [OK, 2]");
}

#[test]
fn a_transaction_goes_on_in_the_database_that_it_selects() {
    let node = Node::start();
    let (mut s, mut other) = (node.session(), node.session());
    s.script(
        "MULTI => OK\nSET a 0 => QUEUED\nSELECT 3 => QUEUED\nSET a 3 => QUEUED\nSELECT 99 => QUEUED\n\
         GET a => QUEUED\nSELECT 0 => QUEUED\nGET a => QUEUED\nSELECT 3 => QUEUED\n\
         EXEC => [OK, OK, OK, -ERR DB index is out of range, \"3\", OK, \"0\", OK]\nGET a => \"3\"",
    );
    // What is watched is a key of a database.
    s.script("WATCH a => OK\nSELECT 0 => OK\nMULTI => OK\nSET done 1 => QUEUED");
    other.script("SET a x => OK");
    s.script("EXEC => [OK]\nSELECT 3 => OK\nWATCH a => OK\nSELECT 0 => OK\nMULTI => OK\nSET done 2 => QUEUED");
    other.script("SELECT 3 => OK\nSET a x => OK");
    s.script("EXEC => nil\nGET done => \"1\"");
    s.script("MULTI => OK\nCOPY a b DB 5 => QUEUED\nFLUSHALL => QUEUED\nEXEC => [-ERR COPY to another database is not served within MULTI, OK]");
    s.script("DBSIZE => 0\nSELECT 3 => OK\nDBSIZE => 0");
}

/// Transactions that lock the same databases from different sides wait for each other, and end.
#[test]
fn transactions_over_databases_do_not_lock_each_other_out() {
    let node = Node::start();
    std::thread::scope(|scope| {
        for side in 0..4 {
            let node = &node;
            scope.spawn(move || {
                let mut s = node.session();
                let (first, second) = (side % 2, 1 - side % 2);
                for _ in 0..200 {
                    s.script(&format!(
                        "SELECT {first} => OK\nMULTI => OK\nINCR n => QUEUED\n\
                         SELECT {second} => QUEUED\nINCR n => QUEUED\nEXEC => *"
                    ));
                }
            });
        }
    });
    node.session().script("GET n => \"800\"\nSELECT 1 => OK\nGET n => \"800\"");
}

#[test]
fn flushdb_clears_one_database_and_flushall_those_of_the_function() {
    let node = Node::start();
    let mut s = node.session();
    let mut other = node.session_of("shop", Resp::V2);
    other.script("SET k v => OK\nSELECT 1 => OK\nSET k v => OK");
    let fill = "SELECT 0 => OK\nSET k 0 => OK\nSELECT 1 => OK\nSET k 1 => OK\nSELECT 2 => OK\nSET k 2 => OK";
    s.script(&format!(
        "{fill}\nSELECT 1 => OK\nFLUSHDB => OK\nDBSIZE => 0\nSELECT 2 => OK\nGET k => \"2\""
    ));
    s.script(&format!(
        "{fill}\nSELECT 1 => OK\nFLUSHALL ASYNC => OK\nDBSIZE => 0\nSELECT 2 => OK\nDBSIZE => 0"
    ));
    s.script("SELECT 0 => OK\nDBSIZE => 0");
    other.script("GET k => \"v\"\nSELECT 0 => OK\nGET k => \"v\"");
}

#[test]
fn a_key_is_copied_to_another_database() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        "HSET h f v => 1\nEXPIRE h 100 => 1\nCOPY h h => -ERR source and destination objects are the same\n\
         COPY h h DB 0 => -ERR source and destination objects are the same\nCOPY h h DB 4 => 1\n\
         COPY h h DB 4 => 0\nHSET h f w => 0\nCOPY h h DB 4 REPLACE => 1\nCOPY absent x DB 4 => 0\n\
         COPY h x DB 16 => -ERR DB index is out of range\nCOPY h x DB a => -ERR value is not an integer...\n\
         SELECT 4 => OK\nHGET h f => \"w\"\nTTL h => 100\nDBSIZE => 1",
    );
}

#[test]
fn no_client_names_a_database_as_a_function() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        "AUTH shop#1 x => -ERR ...\nMISO.REGISTER shop#1 => -ERR ...\nMISO.FUNCTION => \"default\"\n\
         SELECT 1 => OK\nMISO.REGISTER default#1 => -ERR ...\nAUTH default#1 x => -ERR ...",
    );
}

#[test]
fn a_bound_user_has_the_databases_of_its_function_and_sees_no_others() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "ACL SETUSER shop on >pw ~* &* +@all function:shop => OK\nACL SETUSER default >pw => OK\n\
         SELECT 1 => OK\nSET k v => OK",
    );
    let mut bound = node.wire();
    assert!(!bound.ask("AUTH shop pw").is_error());
    let mut s = Session::open(&node.url("shop:pw"), Resp::V2).expect("it authenticates");
    s.script(
        "SELECT 1 => OK\nGET k => nil\nSET k mine => OK\nAUTH shop pw => OK\nGET k => \"mine\"",
    );
    let functions = s.run("MISO.FUNCTIONS").to_string();
    assert!(functions.contains("\"shop#1\"") && !functions.contains("default"), "{functions}");
    let token = s.run("MISO.TOKEN").text();
    s.script(&format!("MISO.AWAIT {token} 1000 => 1"));
    let foreign = admin.run("MISO.TOKEN").text();
    s.script(&format!("MISO.AWAIT {foreign} 1000 => -..."));
    // It hears of changes in its own databases alone.
    assert!(bound.ask("SUBSCRIBE __miso__:default#1:k").is_error());
    assert!(!bound.ask("SUBSCRIBE __miso__:shop#1:k").is_error());
    let mut all = node.wire();
    all.ask("AUTH shop pw");
    all.ask("PSUBSCRIBE __miso__:*");
    admin.script("SET k other => OK");
    s.script("SET k again => OK");
    for wire in [&mut bound, &mut all] {
        let heard = wire.read().expect("a message").to_string();
        assert!(heard.contains("__miso__:shop#1:k"), "{heard}");
    }
}

#[test]
fn unregistering_a_function_ends_its_databases() {
    let node = Node::start();
    let mut s = node.session_of("shop", Resp::V2);
    s.script("SET k v => OK\nSELECT 1 => OK\nSET k v => OK\nMISO.UNREGISTER => 1");
    let mut other = node.session();
    wait_until("both to end", || !other.run("MISO.FUNCTIONS").to_string().contains("\"runs\""));
}

#[test]
fn stock_tools_choose_a_database() {
    let node = Node::start();
    let cli = |args: &[&str]| Tool::run("redis-cli", args, b"").stdout;
    let (port, url) = (node.port(), format!("{}/3", node.url("")));
    assert_eq!(cli(&["-p", &port, "-n", "3", "SET", "k", "v"]), "OK\n");
    assert_eq!(cli(&["-u", &url, "GET", "k"]), "v\n");
    assert_eq!(cli(&["-p", &port, "GET", "k"]), "\n");
    // The `redis` crate, with a database in its URL.
    let mut s = Session::open(&url, Resp::V3).expect("it connects");
    s.script("GET k => \"v\"");
}

#[test]
fn channels_belong_to_the_function_and_not_to_a_database() {
    let node = Node::start();
    let (mut own, mut foreign) = (node.wire(), node.wire());
    own.ask("SELECT 3");
    foreign.ask("AUTH shop x");
    for wire in [&mut own, &mut foreign] {
        assert!(!wire.ask("SUBSCRIBE news").is_error());
        wire.ask("PSUBSCRIBE n*");
        wire.ask("SSUBSCRIBE shard");
    }
    let mut s = node.session();
    s.script(
        "PUBSUB NUMSUB news => [\"news\", 1]\nPUBSUB NUMPAT => 1\nPUBSUB CHANNELS => [\"news\"]\n\
         PUBLISH news first => 2\nSPUBLISH shard second => 1",
    );
    node.session_of("other", Resp::V2).script(
        "PUBLISH news x => 0\nPUBSUB CHANNELS => []\nPUBSUB NUMPAT => 0\nPUBSUB SHARDNUMSUB shard => [\"shard\", 0]",
    );
    node.session_of("shop", Resp::V2).script("PUBLISH news theirs => 2");
    for (wire, text) in [(&mut own, "first"), (&mut foreign, "theirs")] {
        for _ in 0..2 {
            let heard = wire.read().expect("a message").to_string();
            assert!(heard.contains(text), "{heard}");
        }
    }
    assert!(own.read().expect("a message").to_string().contains("second"));
}
