//! Clusters with a secret: a node without it learns nothing, is believed nothing, and is told why.

use miso_protocol::peer::{Challenge, Proof, Refusal};

use super::*;
use crate::overlay::secret::{End, Prover, Role};

const STRANGER: LinkId = LinkId(1_000_000);
const SECRET: &[u8] = b"the secret of these nodes";

fn knows(secret: &[u8]) -> Option<Secret> {
    let mut seed = [0; 32];
    seed[0] = secret[0];
    Some(Secret::new(secret, seed))
}

/// `count` nodes that know the secret, all linked.
fn secured(count: usize) -> World {
    let mut world = World::default();
    for index in 0..count {
        world.start(index, |config| {
            config.seeds = vec!["h0:1".into()];
            config.secret = Some(Secret::new(SECRET, [u8::try_from(index).expect("few"); 32]));
        });
    }
    world.until(5 * SECOND, World::is_mesh);
    world
}

impl World {
    fn said_by(&self, index: usize) -> Vec<Body> {
        let all = self.said.iter().filter(|(by, _)| *by == index);
        all.flat_map(|(_, frame)| bodies(frame)).collect()
    }
}

fn bodies(frame: &Bytes) -> Vec<Body> {
    let all = peer::open(frame.clone());
    all.map(|message| message.expect("overlays speak well").body.expect("and are known")).collect()
}

fn sent(effects: &[Effect]) -> Vec<Body> {
    let frame = |effect: &Effect| match effect {
        Effect::Send { frame, .. } => bodies(frame),
        _ => Vec::new(),
    };
    effects.iter().flat_map(frame).collect()
}

/// Tells a node's link something; returns what it says to that, or the fault.
fn tell(world: &mut World, link: LinkId, body: Body) -> Result<Vec<Body>, Fault> {
    world.at(0, |node, now, out| {
        node.received(now, link, body, out)
            .inspect_err(|fault| node.fault(now, link, fault, &mut Vec::new()))?;
        Ok(sent(out))
    })
}

/// A link to node 0; returns the challenge that it begins with.
fn open(world: &mut World, dialed_by_the_node: bool) -> Challenge {
    let said = world.at(0, |node, now, out| {
        if dialed_by_the_node {
            node.link_opened(now, "stranger:1".into(), STRANGER, out);
        } else {
            node.link_accepted(now, STRANGER, out);
        }
        sent(out)
    });
    match &said[..] {
        [Body::Challenge(challenge)] => challenge.clone(),
        other => panic!("{other:?}"),
    }
}

fn challenge(replica: u64, nonce: &[u8]) -> Challenge {
    let nonce = Bytes::copy_from_slice(nonce);
    Challenge { protocol: VERSION, cluster: "test".into(), replica, nonce }
}

/// The proof of a dialer that knows `secret`.
fn proof(secret: &[u8], cluster: &str, dialer: &Challenge, dialed: &Challenge) -> Proof {
    proof_for(secret, cluster, dialer, dialed, None)
}

/// The same for a session of TLS, known by `binding`.
fn proof_for(
    secret: &[u8],
    cluster: &str,
    dialer: &Challenge,
    dialed: &Challenge,
    binding: Option<[u8; 32]>,
) -> Proof {
    use hmac::Mac as _;
    let end = |challenge: &'_ Challenge| (challenge.replica, challenge.nonce.clone());
    let (dialer, dialed) = (end(dialer), end(dialed));
    let dialer = End { replica: dialer.0, nonce: &dialer.1 };
    let dialed = End { replica: dialed.0, nonce: &dialed.1 };
    let key = Prover::new(Secret::new(secret, [0; 32])).own();
    let mac = Prover::proof(&key, Role::Dialer, cluster, dialer, dialed);
    let mac = mac.chain_update(binding.as_ref().map_or(&[][..], |b| b)).finalize().into_bytes();
    Proof { mac: Bytes::copy_from_slice(&mac) }
}

fn is_refusal(said: &[Body]) -> bool {
    matches!(said, [Body::Refusal(refusal)] if refusal.kind() == Kind::Secret)
}

fn hello(replica: u64) -> Body {
    Body::Hello(Hello {
        protocol: VERSION,
        cluster: "test".into(),
        node: "stranger".into(),
        replica,
        generation: 5,
        ..Hello::default()
    })
}

#[test]
fn a_node_with_the_secret_is_let_in() {
    let world = secured(5);
    for index in 0..5 {
        assert_eq!(world.ups(index).len(), 4);
        // Nothing is said on a link before its proof.
        let first = &world.said_by(index)[0];
        assert!(matches!(first, Body::Challenge(_)), "{first:?}");
    }
    assert!(!world.notes.iter().any(|(_, note)| matches!(note, Note::Warn(_))));
    assert!(world.nodes.values().all(|node| node.refusals() == 0));
}

#[test]
fn a_secured_node_still_finds_itself() {
    let mut world = World::default();
    world.start(0, |config| {
        config.seeds = vec!["h0:1".into()];
        config.secret = knows(SECRET);
    });
    world.run(SECOND);
    assert!(world.nodes[&0].dialer.is_own(world.now, "h0:1"));
    assert_eq!((world.fatals(), world.nodes[&0].refusals()), (Vec::new(), 0));
}

#[test]
fn without_the_secret_nothing_goes_over() {
    let cases = [
        (knows(SECRET), knows(b"another"), "different cluster-secrets"),
        (knows(SECRET), None, "only one of the two nodes has a cluster-secret"),
        (None, knows(SECRET), "only one of the two nodes has a cluster-secret"),
    ];
    for (dialed, dialer, reason) in cases {
        let mut world = World::default();
        let secured = [dialed.is_some(), dialer.is_some()];
        world.start(0, |config| config.secret = dialed);
        world.start(1, |config| {
            config.seeds = vec!["h0:1".into()];
            config.secret = dialer;
        });
        world.at(0, |node, now, out| node.runs(now, &functions(&["a"]), out));
        world.run(50 * SECOND);
        for (index, other) in [(0, "n1"), (1, "n0")] {
            assert!(world.view(index, other).is_none());
            assert!(world.ups(index).is_empty());
            assert!(world.warned(index, reason), "{:?}", world.notes);
            assert!(world.nodes[&index].refusals() >= 5, "each is counted");
            assert!(!secured[index] || world.said_by(index).iter().all(is_of_the_gate));
        }
        let is_warning = |note: &Note| matches!(note, Note::Warn(_) | Note::Refused(_));
        let warnings = world.notes.iter().filter(|(_, note)| is_warning(note)).count();
        assert!(warnings <= 4, "{warnings} lines about one misconfigured node");
        assert!(world.said.len() < 150, "{}: it is tried ever more seldom", world.said.len());
        assert_eq!(world.fatals(), []);
    }
}

/// What a node may say to a peer that has proven nothing.
fn is_of_the_gate(body: &Body) -> bool {
    matches!(body, Body::Challenge(_) | Body::Proof(_) | Body::Refusal(_))
}

#[test]
fn a_proof_is_good_for_its_link_only() {
    let mut world = secured(2);
    // What the dialer, node 1, has said to node 0.
    let said = world.said_by(1);
    let heard =
        |kind: fn(&Body) -> bool| said.iter().find(|body| kind(body)).expect("said").clone();
    let old_challenge = heard(|body| matches!(body, Body::Challenge(_)));
    let old_proof = heard(|body| matches!(body, Body::Proof(_)));
    open(&mut world, false);
    assert_eq!(tell(&mut world, STRANGER, old_challenge), Ok(Vec::new()));
    let answer = tell(&mut world, STRANGER, old_proof).expect("it is no fault");
    assert!(is_refusal(&answer), "{answer:?}");
    assert!(!world.nodes[&0].knows(STRANGER));
    assert_eq!(world.ups(0).len(), 1, "the true one is still there");
}

#[test]
fn its_own_proof_does_not_fool_a_node() {
    let mut world = secured(1);
    let asked = open(&mut world, true);
    let proven = tell(&mut world, STRANGER, Body::Challenge(asked)).expect("it is no fault");
    let [Body::Proof(_)] = &proven[..] else { panic!("{proven:?}") };
    let answer = tell(&mut world, STRANGER, proven[0].clone()).expect("it is no fault");
    assert!(is_refusal(&answer), "{answer:?}");
    assert!(!world.nodes[&0].knows(STRANGER));
}

#[test]
fn a_dialer_gets_no_proof_before_its_own() {
    let mut world = secured(1);
    open(&mut world, false);
    let said = tell(&mut world, STRANGER, Body::Challenge(challenge(7, &[1; 32])));
    assert_eq!(said, Ok(Vec::new()), "a proof could be used to try out secrets");
}

#[test]
fn a_proof_is_of_one_secret_one_cluster_and_one_replica() {
    let theirs = challenge(7, &[1; 32]);
    let good = |asked: &Challenge| proof(SECRET, "test", &theirs, asked);
    for what in ["right", "secret", "cluster", "node", "nonce", "cut short", "none"] {
        let proof = |asked: &Challenge| match what {
            "secret" => proof(b"another", "test", &theirs, asked),
            "cluster" => proof(SECRET, "tes", &theirs, asked),
            "node" => proof(SECRET, "test", &challenge(8, &[1; 32]), asked),
            "nonce" => proof(SECRET, "test", &challenge(7, &[2; 32]), asked),
            "cut short" => Proof { mac: good(asked).mac.slice(..16) },
            "none" => Proof::default(),
            _ => good(asked),
        };
        let mut world = secured(1);
        let asked = open(&mut world, false);
        tell(&mut world, STRANGER, Body::Challenge(theirs.clone())).expect("it is no fault");
        let said = tell(&mut world, STRANGER, Body::Proof(proof(&asked))).expect("it is no fault");
        if what == "right" {
            assert!(matches!(said[..], [Body::Proof(_), Body::Hello(_)]), "{said:?}");
            tell(&mut world, STRANGER, hello(7)).expect("it may come in");
            assert!(world.ups(0).contains(&ReplicaId(7)));
        } else {
            assert!(is_refusal(&said), "{what}: {said:?}");
            assert!(!world.nodes[&0].knows(STRANGER), "{what}");
        }
    }
}

#[test]
fn a_proof_as_one_node_is_no_hello_of_another() {
    let mut world = secured(1);
    let asked = open(&mut world, false);
    let theirs = challenge(7, &[1; 32]);
    tell(&mut world, STRANGER, Body::Challenge(theirs.clone())).expect("it is no fault");
    let proof = proof(SECRET, "test", &theirs, &asked);
    tell(&mut world, STRANGER, Body::Proof(proof)).expect("it is right");
    assert!(tell(&mut world, STRANGER, hello(8)).is_err());
    assert!(!world.nodes[&0].knows(STRANGER) && world.ups(0).is_empty());
}

#[test]
fn out_of_turn_is_a_fault() {
    let asks = || Body::Challenge(challenge(7, &[1; 32]));
    let cases = [
        vec![Body::Proof(Proof::default())],
        vec![asks(), asks()],
        vec![Body::Challenge(challenge(7, &[1; 31]))],
        vec![Body::Heartbeat(Heartbeat { table: 1 })],
        vec![asks(), Body::Records(Records::default())],
    ];
    for case in cases {
        let mut world = secured(1);
        open(&mut world, false);
        let shown = format!("{case:?}");
        let (last, before) = case.split_last().expect("there is one");
        for body in before {
            tell(&mut world, STRANGER, body.clone()).expect(&shown);
        }
        assert!(tell(&mut world, STRANGER, last.clone()).is_err(), "{shown}");
        assert!(!world.nodes[&0].knows(STRANGER), "{shown}");
    }
}

#[test]
fn a_stranger_cannot_talk_a_node_into_ending() {
    for kind in [Kind::Name, Kind::Replica] {
        let mut world = secured(1);
        for _ in 0..30 {
            open(&mut world, true);
            let addresses = vec!["elsewhere:1".into()];
            let refusal = Refusal { reason: "no".into(), kind: kind.into(), addresses };
            tell(&mut world, STRANGER, Body::Refusal(refusal)).expect("it is no fault");
            world.run(SECOND);
        }
        assert_eq!(world.fatals(), []);
        assert!(!world.nodes[&0].dialer.is_dialing("elsewhere:1"));
    }
}

#[test]
fn a_proof_is_good_for_its_session_of_tls_only() {
    let session = |byte| Session { binding: [byte; 32], names: None };
    for (here, theirs, is_let_in) in [
        (Some(1), Some(1), true),
        (Some(1), Some(2), false),
        (Some(1), None, false),
        (None, Some(1), false),
    ] {
        let mut world = secured(1);
        let dialed = open(&mut world, false);
        if let Some(byte) = here {
            world.at(0, |node, _, _| node.agreed(STRANGER, session(byte)));
        }
        let dialer = challenge(7, &[9; 32]);
        tell(&mut world, STRANGER, Body::Challenge(dialer.clone())).expect("it is in turn");
        let proof = proof_for(SECRET, "test", &dialer, &dialed, theirs.map(|byte| [byte; 32]));
        let said = tell(&mut world, STRANGER, Body::Proof(proof)).expect("it is in turn");
        assert_eq!(!is_refusal(&said), is_let_in, "{here:?} {theirs:?}: {said:?}");
    }
}

#[test]
fn a_certificate_says_which_node_it_is() {
    for (names, is_let_in) in
        [(vec!["n7"], true), (vec!["x", "n7"], true), (vec!["n8"], false), (vec![], false)]
    {
        let mut world = World::default();
        world.start(0, |_| {});
        world.at(0, |node, now, out| node.link_accepted(now, STRANGER, out));
        let names = Some(names.into_iter().map(str::to_owned).collect());
        world.at(0, |node, _, _| node.agreed(STRANGER, Session { binding: [0; 32], names }));
        let Body::Hello(said) = hello(7) else { unreachable!("it is one") };
        let said = Body::Hello(Hello { node: "n7".into(), ..said });
        let said = tell(&mut world, STRANGER, said).expect("it is in turn");
        let is_refused = matches!(&said[..], [Body::Refusal(_)]);
        assert_eq!(!is_refused, is_let_in, "{said:?}");
    }
}

#[test]
fn nonces_differ_and_secrets_are_not_shown() {
    let mut seen = BTreeSet::new();
    for seed in [[0; 32], [1; 32]] {
        let mut prover = Prover::new(Secret::new(SECRET, seed));
        assert!((0..1000).all(|_| seen.insert(prover.nonce())));
    }
    let shown = format!("{:?}", secured(2).nodes);
    assert!(!shown.contains("secret of these") && !shown.contains(&format!("{SECRET:?}")));
}

/// A cluster moves from one secret to another: at no step is a node kept out that has taken it, whichever
/// end dials, and none that has not.
#[test]
fn a_running_cluster_moves_from_secret_to_secret() {
    const NEW: &[u8] = b"the secret after it";
    let old = || Secret::new(SECRET, [0; 32]);
    let new = || Secret::new(NEW, [0; 32]);
    let mut world = secured(3);
    for step in [old().accepting(NEW), new().accepting(SECRET), new()] {
        for index in 0..3 {
            world.at(index, |node, now, out| node.set_secret(now, step.clone(), out));
            world.until(30 * SECOND, World::is_mesh);
        }
        // A node that begins at this step is let in as well.
        world.start(3, |config| {
            config.seeds = vec!["h0:1".into()];
            config.secret = Some(step);
        });
        world.until(30 * SECOND, World::is_mesh);
        world.kill(3);
    }
    assert!(world.nodes.values().all(|node| node.refusals() == 0));
    for (secret, is_let_in) in [(SECRET, false), (NEW, true)] {
        let dialed = open(&mut world, false);
        let asked = challenge(7, &[9; 32]);
        tell(&mut world, STRANGER, Body::Challenge(asked.clone())).expect("it is in turn");
        let said = tell(&mut world, STRANGER, Body::Proof(proof(secret, "test", &asked, &dialed)));
        assert_eq!(!is_refusal(&said.expect("it is in turn")), is_let_in);
    }
}

/// A dialed end that proves another secret than the dialer has proven is refused, even one that is accepted.
#[test]
fn the_dialed_end_proves_what_the_dialer_has_proven() {
    const ALSO: &[u8] = b"accepted beside it";
    let mut world = secured(1);
    let both = Secret::new(SECRET, [0; 32]).accepting(ALSO);
    world.at(0, |node, now, out| node.set_secret(now, both, out));
    for (secret, is_let_in) in [(ALSO, false), (SECRET, true)] {
        use hmac::Mac as _;
        let dialer = open(&mut world, true);
        let dialed = challenge(7, &[9; 32]);
        tell(&mut world, STRANGER, Body::Challenge(dialed.clone())).expect("it is in turn");
        let key = Prover::new(Secret::new(secret, [0; 32])).own();
        let [dialer, dialed] = [&dialer, &dialed];
        let end = |of: &'_ Challenge| (of.replica, of.nonce.to_vec());
        let (dialer, dialed) = (end(dialer), end(dialed));
        let dialer = End { replica: dialer.0, nonce: &dialer.1 };
        let dialed = End { replica: dialed.0, nonce: &dialed.1 };
        let mac = Prover::proof(&key, Role::Dialed, "test", dialer, dialed).finalize().into_bytes();
        let mac = Bytes::copy_from_slice(&mac);
        let said = tell(&mut world, STRANGER, Body::Proof(Proof { mac })).expect("it is in turn");
        assert_eq!(!is_refusal(&said), is_let_in, "{said:?}");
    }
}
