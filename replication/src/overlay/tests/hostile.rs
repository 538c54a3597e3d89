//! Peers that are broken or hostile: what they say harms their link only, and is bounded.

use miso_protocol::peer::{Digest, FunctionRecord, Refusal};

use super::*;

/// A link on which a stranger has said `bodies`, after a Hello if `greets`.
fn says(greets: bool, bodies: Vec<Body>) -> (Result<(), Fault>, World) {
    let mut world = mesh(2);
    let link = LinkId(1_000_000);
    let hello = Hello {
        protocol: VERSION,
        cluster: "test".into(),
        node: "stranger".into(),
        replica: 4711,
        generation: 5,
        ..Hello::default()
    };
    let said = world.at(0, |node, now, out| {
        node.link_accepted(now, link, out);
        let greeting = greets.then_some(Body::Hello(hello));
        for body in greeting.into_iter().chain(bodies) {
            if let Err(fault) = node.received(now, link, body, out) {
                node.fault(now, link, &fault, out);
                return Err(fault);
            }
        }
        Ok(())
    });
    (said, world)
}

#[test]
fn hostile_words_end_their_link_and_nothing_else() {
    let good = || NodeRecord { node: "x".into(), generation: 1, version: 1, ..Default::default() };
    let records = |record: NodeRecord| Body::Records(Records { records: vec![record] });
    let function = |length: usize| FunctionRecord {
        function: Bytes::from(vec![b'x'; length]),
        ..FunctionRecord::default()
    };
    assert!(says(true, vec![records(good())]).0.is_ok());
    let hostile: Vec<(bool, Body)> = vec![
        (false, Body::Heartbeat(Heartbeat { table: 1 })),
        (false, records(good())),
        (
            false,
            Body::Hello(Hello { protocol: VERSION, cluster: "test".into(), ..Hello::default() }),
        ),
        (true, Body::Hello(Hello { protocol: VERSION, ..Hello::default() })),
        (true, records(NodeRecord { node: String::new(), ..good() })),
        (true, records(NodeRecord { node: "x".repeat(257), ..good() })),
        (true, records(NodeRecord { node: "x\r\n".into(), ..good() })),
        (true, records(NodeRecord { generation: u64::MAX, ..good() })),
        (true, records(NodeRecord { addresses: vec!["x".repeat(257)], ..good() })),
        (true, records(NodeRecord { addresses: vec![String::new(); 17], ..good() })),
        (true, records(NodeRecord { functions: vec![function(513)], ..good() })),
        (true, records(NodeRecord { functions: vec![function(1); 65_537], ..good() })),
        (true, Body::Records(Records { records: vec![good(); 4097] })),
        (true, Body::Digest(Digest { entries: vec![Default::default(); 4097] })),
        (true, Body::Batch(peer::Batch::default())),
    ];
    for (greets, body) in hostile {
        let shown: String = format!("{body:?}").chars().take(200).collect();
        let (said, mut world) = says(greets, vec![body]);
        assert!(said.is_err(), "{shown}");
        assert!(!world.nodes[&0].knows(LinkId(1_000_000)), "{shown}");
        world.kill(1_000_000);
        world.run(SECOND);
        assert_eq!(world.liveness(0, "n1"), Some(Liveness::Alive), "{shown}");
    }
}

#[test]
fn another_protocol_is_refused_with_a_reason() {
    let mut world = mesh(1);
    let link = LinkId(1_000_000);
    let hello = Hello { protocol: VERSION + 1, ..Hello::default() };
    let mut effects = Vec::new();
    world.at(0, |node, now, out| {
        node.link_accepted(now, link, out);
        node.received(now, link, Body::Hello(hello), out).expect("it is no fault");
        effects.clone_from(out);
    });
    let refusal = effects.iter().find_map(|effect| {
        let Effect::Send { frame, .. } = effect else { return None };
        match peer::open(frame.clone()).next()?.ok()?.body? {
            Body::Refusal(refusal) => Some(refusal),
            _ => None,
        }
    });
    assert_eq!(refusal.map(|refusal| refusal.kind()), Some(Kind::Protocol));
    assert!(matches!(effects.last(), Some(Effect::Close { .. })));
}

#[test]
fn lies_about_others_close_no_link() {
    let lie = |forgotten, left| NodeRecord {
        node: "n1".into(),
        replica: 666,
        generation: 1 << 50,
        version: 1,
        forgotten,
        left,
        ..NodeRecord::default()
    };
    let of_itself = |forgotten| NodeRecord { node: "n0".into(), ..lie(forgotten, false) };
    for lie in [
        lie(false, false),
        lie(true, false),
        lie(false, true),
        of_itself(false),
        of_itself(true),
        NodeRecord { generation: (1 << 56) - 1, ..of_itself(true) },
        NodeRecord { generation: (1 << 56) - 1, ..lie(false, false) },
        NodeRecord { node: "n9".into(), generation: (1 << 56) - 1, ..lie(false, false) },
    ] {
        let (said, mut world) = says(true, vec![Body::Records(Records { records: vec![lie] })]);
        assert_eq!(said, Ok(()));
        world.at(1, |node, now, out| node.runs(now, &functions(&["a"]), out));
        world.messages = 0;
        world.run(20 * SECOND);
        assert!(world.messages < 200, "they talk of it without end");
        let told = world.view(0, "n1").expect("it is known");
        assert_eq!(told.functions, [(Bytes::from_static(b"a"), Vec::new())]);
        assert_eq!(world.ups(0).len(), 1);
        assert_eq!(world.liveness(0, "n1"), Some(Liveness::Alive));
        assert_eq!(world.liveness(1, "n0"), Some(Liveness::Alive));
        assert_eq!(world.fatals(), []);
        let (one, other) = (&world.nodes[&0], &world.nodes[&1]);
        assert!(one.links.len() == 1 && other.links.len() == 1);
    }
}

#[test]
fn tables_are_bounded() {
    let record = |index: u32| NodeRecord {
        node: format!("made-up-{index}"),
        generation: 1,
        version: 1,
        ..NodeRecord::default()
    };
    let batch =
        |from: u32| Body::Records(Records { records: (from..from + 4000).map(record).collect() });
    let (said, world) = says(true, vec![batch(0), batch(4000), batch(8000)]);
    assert_eq!(said, Ok(()));
    assert!(world.nodes[&0].nodes.len() <= UNMET_MAX + 2);
}

#[test]
fn strangers_are_bounded_and_do_not_stay() {
    let mut world = mesh(2);
    for link in 0..300 {
        world.at(0, |node, now, out| node.link_accepted(now, LinkId(1_000_000 + link), out));
    }
    assert!(world.nodes[&0].links.len() <= STRANGERS_MAX + 1);
    world.run(7 * SECOND);
    assert_eq!(world.nodes[&0].links.len(), 1);
}

fn record(node: &str, replica: u64, addresses: &[String]) -> NodeRecord {
    NodeRecord {
        node: node.into(),
        replica,
        generation: 1,
        version: 1,
        addresses: addresses.to_vec(),
        ..NodeRecord::default()
    }
}

fn records(records: Vec<NodeRecord>) -> Body {
    Body::Records(Records { records })
}

/// The dials of a node since a time.
fn dials(world: &World, index: usize, since: Time) -> Vec<&str> {
    let all = world.dials.iter().filter(|(at, time, _)| *at == index && *time >= since);
    all.map(|(_, _, address)| address.as_str()).collect()
}

#[test]
fn names_that_cannot_be_told_take_no_others_with_them() {
    let mut world = mesh(2);
    let replicas = |count: usize| -> Vec<Bytes> {
        (0..count).map(|index| Bytes::from(format!("{index:0250}"))).collect()
    };
    let long = Bytes::from(vec![b'F'; 513]);
    let functions = BTreeMap::from([
        (Bytes::from_static(b"A"), replicas(5000)),
        (Bytes::from_static(b"B"), vec![Bytes::from_static(b"pod-1"), Bytes::from_static(b"p q")]),
        (Bytes::from_static(b"C\r\nx:1"), Vec::new()),
        (Bytes::from_static(b"D#"), Vec::new()),
        (long, Vec::new()),
        (Bytes::from_static(b"z"), Vec::new()),
    ]);
    world.at(1, |node, now, out| node.runs(now, &functions, out));
    world.run(SECOND);
    let told = world.view(0, "n1").expect("it is known").functions;
    let names: Vec<&[u8]> = told.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, [&b"A"[..], b"B", b"z"]);
    assert!((200..5000).contains(&told[0].1.len()), "{}", told[0].1.len());
    assert_eq!(told[1].1, [Bytes::from_static(b"pod-1")]);
    assert_eq!(world.liveness(0, "n1"), Some(Liveness::Alive));
    assert!(world.warned(1, "3 of 6 functions"));
}

#[test]
fn no_message_ends_a_node() {
    let double = |node: &str, replica: u64, generation: u64| Hello {
        protocol: VERSION,
        cluster: "test".into(),
        node: node.into(),
        replica,
        generation,
        addresses: vec!["elsewhere:7379".into()],
        ..Hello::default()
    };
    let mut world = mesh(2);
    let own = world.nodes[&0].config.replica.0;
    for round in 0..100 {
        let link = LinkId(1_000_000 + round);
        let hello = match round % 4 {
            0 => double("n0", 7, 1),
            1 => double("x", own, 0),
            2 => double("n0", own, 0),
            _ => double("n0", 7, 1 << 50),
        };
        world.at(0, |node, now, out| {
            node.link_accepted(now, link, out);
            node.received(now, link, Body::Hello(hello), out).expect("it is no fault");
        });
        let kind = if round % 2 == 0 { Kind::Name } else { Kind::Replica };
        let link = LinkId(2_000_000 + round);
        let reason = "another has it".to_owned();
        let refusal = Refusal { reason, kind: kind.into(), addresses: vec!["x:7379".into()] };
        world.at(0, |node, now, out| {
            node.link_opened(now, "announced:7379".into(), link, out);
            node.received(now, link, Body::Refusal(refusal), out).expect("it is no fault");
        });
        world.run(SECOND / 2);
    }
    assert_eq!(world.fatals(), []);
    assert_eq!(world.ups(0).len(), 1);
}

#[test]
fn invented_nodes_are_dialed_seldom_and_keep_no_seed_waiting() {
    let invented: Vec<NodeRecord> = (0..4100_u64)
        .map(|index| {
            let at: Vec<String> = (0..16).map(|port| format!("v{index}:{}", 2000 + port)).collect();
            record(&format!("i{index}"), 10_000 + index, &at)
        })
        .collect();
    let bodies = invented.chunks(500).map(|part| records(part.to_vec())).collect();
    let (said, mut world) = says(true, bodies);
    assert_eq!(said, Ok(()));
    world.start(5, |_| {});
    let began = world.now;
    world.at(0, |node, now, out| node.join(now, AskId(1), "h5:1".into(), out));
    world.run(10 * SECOND);
    let count = dials(&world, 0, began).len();
    assert!((100..400).contains(&count), "{count} dials in 10 s");
    assert_eq!(world.liveness(0, "n5"), Some(Liveness::Alive));
    assert_eq!(world.answers, [(0, AskId(1), Answer::Done)]);
    let lines = world.notes.iter().filter(|(at, _)| *at == 0).count();
    assert!(lines < 30, "{lines} lines of log");
}

#[test]
fn one_address_is_dialed_seldom_whoever_is_said_to_be_there() {
    let victim = ["victim:7379".to_owned()];
    let invented = |index: u64| record(&format!("i{index}"), 10_000 + index, &victim);
    let (_, mut world) = says(true, vec![records((0..500).map(invented).collect())]);
    let began = world.now;
    world.run(20 * SECOND);
    let count = dials(&world, 0, began).iter().filter(|at| **at == victim[0]).count();
    assert!(count <= 21, "{count} dials in 20 s");
}

#[test]
fn one_neighbour_that_announces_much_keeps_no_seed_waiting() {
    let mut world = mesh(1);
    let began = world.now;
    for index in 0..5000 {
        world.at(0, |node, now, _| node.found(now, format!("f{index}:7379")));
    }
    world.start(5, |_| {});
    world.at(0, |node, now, out| node.join(now, AskId(1), "h5:1".into(), out));
    world.run(10 * SECOND);
    let count = dials(&world, 0, began).len();
    assert!(count < 400, "{count} dials in 10 s");
    assert_eq!(world.liveness(0, "n5"), Some(Liveness::Alive));
}

#[test]
fn strangers_keep_no_node_out() {
    let mut world = mesh(1);
    let mut next = 1_000_000;
    let mut strangers = |world: &mut World| {
        for _ in 0..300 {
            next += 1;
            world.at(0, |node, now, out| node.link_accepted(now, LinkId(next), out));
        }
    };
    strangers(&mut world);
    world.start(1, seeds(&["h0:1"]));
    for _ in 0..50 {
        world.run(HOP * 20);
        // They talk: that makes them no nodes.
        let links: Vec<LinkId> = world.nodes[&0].links.keys().copied().collect();
        world.at(0, |node, now, out| links.iter().for_each(|link| node.heard(now, *link, out)));
    }
    assert_eq!(world.liveness(0, "n1"), Some(Liveness::Alive));
    for _ in 0..50 {
        world.run(HOP * 100);
        let links: Vec<LinkId> = world.nodes[&0].links.keys().copied().collect();
        world.at(0, |node, now, out| links.iter().for_each(|link| node.heard(now, *link, out)));
    }
    assert_eq!(world.nodes[&0].links.len(), 1, "a link without a Hello stays 5 s");
}

#[test]
fn a_full_table_has_room_for_a_node_that_says_hello() {
    let mut world = mesh(1);
    for index in 0..5000_u64 {
        let link = LinkId(1_000_000 + index);
        let hello = Hello {
            protocol: VERSION,
            cluster: "test".into(),
            node: format!("made-up-{index}"),
            replica: 10_000 + index,
            generation: 1,
            ..Hello::default()
        };
        world.at(0, |node, now, out| {
            node.link_accepted(now, link, out);
            node.received(now, link, Body::Hello(hello), out).expect("it is no fault");
            node.link_closed(now, link, out);
        });
    }
    assert!(world.nodes[&0].nodes.len() < NODES_MAX);
    world.start(1, seeds(&["h0:1"]));
    world.until(5 * SECOND, |world| world.liveness(0, "n1") == Some(Liveness::Alive));
}

#[test]
fn a_peer_retires_no_node_that_is_linked_or_merely_away() {
    let mut world = mesh(3);
    let away = world.nodes[&2].config.replica;
    let linked = world.nodes[&1].config.replica;
    let own = world.nodes[&0].config.replica;
    world.kill(2);
    world.run(HOP * 10);
    let forget = |node: &str, replica: ReplicaId| NodeRecord {
        forgotten: true,
        retired: true,
        generation: (1 << 56) - 2,
        ..record(node, replica.0, &[])
    };
    let lies = [
        forget("n2", away),
        forget("n1", linked),
        forget("ghost", linked),
        forget("ghost", own),
        forget("ghost", away),
        forget("n0", own),
        record("masked", linked.0, &[]),
        NodeRecord { generation: 2, ..record("masked", 4712, &[]) },
    ];
    let link = LinkId(1_000_000);
    let hello = Hello {
        protocol: VERSION,
        cluster: "test".into(),
        node: "liar".into(),
        replica: 4711,
        generation: 5,
        ..Hello::default()
    };
    world.at(0, |node, now, out| {
        node.link_accepted(now, link, out);
        node.received(now, link, Body::Hello(hello), out).expect("it is no fault");
        node.received(now, link, records(lies.to_vec()), out).expect("it is no fault");
    });
    world.run(SECOND);
    let harm = |event: &Event| match event {
        Event::Retired { replica, .. } | Event::Gone(replica) => {
            [away, linked, own].contains(replica)
        }
        _ => false,
    };
    let events: Vec<_> =
        world.events.iter().filter(|(at, event)| *at == 0 && harm(event)).collect();
    assert!(events.is_empty(), "{events:?}");
    world.start(2, seeds(&["h0:1"]));
    world.until(5 * SECOND, |world| world.liveness(0, "n2") == Some(Liveness::Alive));
}

#[test]
fn what_strangers_say_fills_no_log() {
    let mut world = mesh(1);
    for round in 0..2000 {
        let link = LinkId(1_000_000 + round);
        world.at(0, |node, now, out| {
            node.link_accepted(now, link, out);
            let cluster = format!("forged\r\n{round} WARN all is lost");
            let hello = Hello { protocol: VERSION, cluster, ..Hello::default() };
            node.received(now, link, Body::Hello(hello), out).expect("it is no fault");
            let link = LinkId(2_000_000 + round);
            node.link_accepted(now, link, out);
            let reason = format!("{round}\n{}", "x".repeat(10_000));
            let refusal = Refusal { reason, ..Refusal::default() };
            node.received(now, link, Body::Refusal(refusal), out).expect("it is no fault");
        });
    }
    assert!(world.notes.len() <= 64, "{} lines", world.notes.len());
    for (_, note) in &world.notes {
        let (Note::Warn(text) | Note::Refused(text) | Note::Info(text)) = note else {
            panic!("{note:?}")
        };
        assert!(!text.chars().any(char::is_control) && text.len() < 2000, "{text}");
    }
}

#[test]
fn digests_are_answered_at_a_bounded_rate() {
    let (said, mut world) = says(true, vec![]);
    assert_eq!(said, Ok(()));
    let before = world.said.len();
    for _ in 0..1000 {
        world.at(0, |node, now, out| {
            let digest = Body::Digest(Digest::default());
            node.received(now, LinkId(1_000_000), digest, out).expect("it is no fault");
        });
    }
    assert!(world.said.len() - before <= 2, "{}", world.said.len() - before);
}
