//! Messages of every kind, broken in some bytes, from a peer that has said Hello: each harms its link and
//! nothing else.
//!
//! Ten million: `MISO_MUTATED=10000000 cargo test -p miso-replication --lib everything`.

use miso_protocol::peer::message::Body;
use miso_protocol::peer::{FunctionRecord, Hello, NodeRecord, Records, VERSION, frame};

use super::*;

/// As many effects as one message may have, many times over.
const EFFECTS_MAX: usize = 10_000;
/// A node is made anew after so many messages.
const LIFE: u64 = 2_000;

/// Every message of the newest fixtures.
fn fixtures() -> Vec<Vec<u8>> {
    let bytes = |hex: &str| -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    let lines = include_str!("../../../protocol/tests/peer/v3.hex").lines();
    lines
        .filter_map(|line| line.split_once(" 0a"))
        .map(|(_, hex)| bytes(&format!("0a{hex}")))
        .collect()
}

/// A node, and the peer that breaks its messages.
struct Victim {
    node: Node,
    store: Arc<Store>,
    link: LinkId,
    draw: Draw,
}

impl Victim {
    fn new(seed: u64) -> Victim {
        let replica = ReplicaId(1);
        let store = Arc::new(Store::new(miso_store::Config::new(replica, 1, Arc::new(|| 0))));
        let config = node::Config {
            overlay: overlay::Config::new("c", "victim", replica, 1),
            replicator: replicator::Config::new(replica),
            copies: copies::Config::default(),
        };
        let node = Node::new(config, Arc::clone(&store));
        let mut victim = Victim { node, store, link: LinkId(0), draw: Draw(seed) };
        let functions = BTreeMap::from([(Bytes::from_static(F), Vec::new())]);
        victim.step(Time(MS), Input::Runs { functions });
        victim.greet(Time(MS));
        victim
    }

    fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.node.step(now, input, &mut out);
        self.node.settle(now, &mut out);
        let is_fatal = |effect: &Effect| matches!(effect, Effect::Note(Note::Fatal(_)));
        assert!(!out.iter().any(is_fatal) && out.len() < EFFECTS_MAX, "{} effects", out.len());
        out
    }

    /// A new link, on which the peer says Hello and that it runs the function.
    fn greet(&mut self, now: Time) {
        self.link = LinkId(self.link.0 + 1);
        let link = self.link;
        let (node, replica) = ("peer".to_owned(), 2);
        let cluster = "c".to_owned();
        let hello = Hello { protocol: VERSION, cluster, node, replica, ..Hello::default() };
        let function = FunctionRecord { function: F.into(), ..FunctionRecord::default() };
        let functions = vec![function];
        let record = NodeRecord { node: "peer".into(), replica, functions, ..Default::default() };
        self.step(now, Input::LinkAccepted { link });
        for body in [Body::Hello(hello), Body::Records(Records { records: vec![record] })] {
            self.step(now, Input::Received { link, envelope: frame(body) });
        }
    }

    /// Says a message that may be broken; a link that ends for it is made anew.
    fn say(&mut self, now: Time, message: &[u8]) {
        let mut message = message.to_vec();
        self.draw.break_some(&mut message);
        let link = self.link;
        let envelope = Bytes::from(message);
        let out = self.step(now, Input::Received { link, envelope });
        let closes =
            |effect: &Effect| matches!(effect, Effect::Close { link: l, .. } if *l == link);
        if out.iter().any(closes) {
            self.greet(now);
        }
    }

    /// Counts one, as a client would.
    fn count(&mut self, now: Time) {
        let function = self.store.function(F);
        let hash = miso_store::hash(b"own");
        let key = (hash, b"own".as_slice(), b"n".as_slice());
        let mut shard = function.lock(function.shard_of(hash));
        let counted = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(1, 0, mint));
        counted.expect("a counter").0.expect("it fits");
        drop(shard);
        self.step(now, Input::Wrote { function });
    }

    fn counted(&self) -> i64 {
        let function = self.store.function(F);
        let hash = miso_store::hash(b"own");
        let shard = function.lock(function.shard_of(hash));
        let counter = shard.read::<kind::GCounter>(hash, b"own", b"n").expect("a counter");
        counter.map_or(0, crdt::Counter::value)
    }
}

#[test]
fn broken_messages_of_every_kind_harm_their_link_alone() {
    let rounds = std::env::var("MISO_MUTATED").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let messages = fixtures();
    assert!(messages.len() > 25, "{}", messages.len());
    let (mut victim, mut counted, mut now) = (Victim::new(7), 0, Time(MS));
    for round in 0..rounds {
        if round % LIFE == 0 {
            (victim, counted, now) = (Victim::new(round), 0, Time(MS));
        }
        let at = victim.draw.below(messages.len());
        victim.say(now, &messages[at]);
        if round % 50 == 0 {
            victim.count(now);
            counted += 1;
            now = now + Duration::from_millis(100);
            victim.step(now, Input::Tick);
        }
        if round % LIFE == LIFE - 1 {
            assert_eq!(victim.counted(), counted, "no other node has counted for this one");
        }
    }
}
