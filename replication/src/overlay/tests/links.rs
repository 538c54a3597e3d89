//! Dials, joins, addresses and clocks.

use super::*;

#[test]
fn a_link_that_dies_just_after_hello_is_dialed_ever_more_seldom() {
    let mut world = mesh(2);
    let began = world.now;
    while world.now < began + 60 * SECOND {
        world.step();
        // Something between the two ends each link as soon as both have said Hello.
        let links: Vec<LinkId> = world.nodes[&0].links.keys().copied().collect();
        for link in links {
            let greeted = world.nodes[&0].links[&link].peer.is_some();
            let (_, other) = *world.ends.get(&link).expect("both ends are there");
            if greeted && world.nodes[&1].links.get(&other).is_some_and(|l| l.peer.is_some()) {
                world.ends.remove(&link);
                world.ends.remove(&other);
                world.at(0, |node, now, out| node.link_closed(now, link, out));
                world.at(1, |node, now, out| node.link_closed(now, other, out));
            }
        }
    }
    let count = world.dials.iter().filter(|(_, at, _)| *at >= began).count();
    assert!(count < 60, "{count} dials in 60 s");
    world.until(15 * SECOND, World::is_mesh);
}

#[test]
fn join_says_what_comes_of_it() {
    let mut world = mesh(2);
    world.start(4, |_| {});
    world.start(5, |config| config.cluster = "other".into());
    let ask = |world: &mut World, id: u64, address: &str| {
        world.at(0, |node, now, out| node.join(now, AskId(id), address.into(), out));
    };
    ask(&mut world, 1, "h4:1");
    ask(&mut world, 2, "h5:1");
    ask(&mut world, 3, "nowhere:1");
    ask(&mut world, 4, "h0:1");
    world.run(5 * SECOND);
    ask(&mut world, 5, "h4:1");
    let answers: BTreeMap<u64, String> = world
        .answers
        .iter()
        .map(|(_, id, answer)| match answer {
            Answer::Done => (id.0, "done".to_owned()),
            Answer::Refused(reason) => (id.0, reason.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answers[&1], "done");
    assert!(answers[&2].contains("cluster 'test', not 'other'"), "{answers:?}");
    assert!(answers[&3].starts_with("ERR nowhere:1: connection refused"), "{answers:?}");
    assert_eq!(answers[&4], "ERR h0:1 is this node itself");
    assert_eq!(answers[&5], "done", "it is linked already");
    // What is still looked for is seen in the table, and said in the log now and then.
    let own = &world.nodes[&0].view(world.now)[0];
    let error = |at: &str| own.seeds.iter().find(|(seed, _)| seed == at).map(|(_, error)| error);
    assert_eq!(error("h4:1"), Some(&None));
    assert_eq!(error("nowhere:1"), Some(&Some("connection refused".to_owned())));
    let told = |(_, note): &(usize, Note)| matches!(note, Note::Info(n) if n.contains("nowhere:1"));
    assert!(world.notes.iter().any(told), "it may be starting: no warning yet");
    let said =
        |(_, note): &&(usize, Note)| matches!(note, Note::Warn(n) if n.contains("nowhere:1"));
    assert_eq!(world.notes.iter().filter(said).count(), 0);
    world.run(100 * SECOND);
    let lines = world.notes.iter().filter(said).count();
    assert!((1..=3).contains(&lines), "{lines} lines");
}

#[test]
fn seeds_are_bounded_and_say_so() {
    let mut world = mesh(1);
    for id in 0..300 {
        world.at(0, |node, now, out| node.join(now, AskId(id), format!("s{id}:1"), out));
    }
    let last = world.answers.last().expect("it is answered at once");
    assert!(
        matches!(&last.2, Answer::Refused(reason) if reason.contains("256 addresses")),
        "{last:?}"
    );
}

#[test]
fn other_addresses_are_told_at_once() {
    let mut world = mesh(3);
    let now_at = vec!["h1new:1".to_owned()];
    world.listens.insert(now_at[0].clone(), 1);
    world.at(1, |node, now, out| node.set_addresses(now, &now_at, out));
    world.until(SECOND, |world| {
        [0, 2].iter().all(|at| world.view(*at, "n1").is_some_and(|view| view.addresses == now_at))
    });
}

#[test]
fn clocks_that_differ_are_said() {
    let mut world = mesh(2);
    let view = world.view(0, "n1").expect("it is known");
    assert!(view.drift_ms.is_some_and(|drift| drift.abs() < 1000), "{:?}", view.drift_ms);
    let days = 400 * 24 * 3600 * 1000;
    world.start(2, |config| {
        config.generation = 1000 + days;
        config.seeds = vec!["h0:1".into()];
    });
    world.until(5 * SECOND, World::is_mesh);
    assert!(world.warned(0, "the clock of node 'n2' is") && world.warned(0, "ahead of"));
    assert!(world.warned(2, "the clock of node 'n0' is") && world.warned(2, "late against"));
    let drift = world.view(0, "n2").and_then(|view| view.drift_ms).expect("it said so");
    assert!((drift - days as i64).abs() < 10_000, "{drift}");
}
