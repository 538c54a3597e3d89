//! A node that sends broken batches to two others, of which one misses many: what of it is taken is taken
//! whole, so both are equal in the end.
//!
//! A million: `MISO_MUTATED=1000000 cargo test -p miso-replication --lib mutated`.

use miso_protocol::peer::message::Body;
use miso_protocol::peer::{
    Batch, FunctionRecord, Hello, NodeRecord, Records, VERSION, frame, open,
};
use miso_store::Function;

use super::*;

const AUTHOR: ReplicaId = ReplicaId(99);

/// The names of what [`Author::write`] changes.
const KINDS: [u8; 12] = *b"gpssssrffmmp";

/// The broken node: a store that is right, and what happens to its batches on their way.
struct Author {
    function: Arc<Function>,
    draw: Draw,
    /// Its link to each of the two.
    links: [Option<LinkId>; 2],
}

impl Author {
    fn new() -> Author {
        let config = miso_store::Config::new(AUTHOR, 1, Arc::new(|| 0));
        let store = Store::new(config);
        store.track();
        Author { function: store.function(F), draw: Draw(7), links: [None, None] }
    }

    /// Says Hello to a node, unless it has a link to it.
    fn greet(&mut self, net: &mut Net, at: usize) {
        if self.links[at].is_some_and(|link| !net.closed.contains(&(at, link))) {
            return;
        }
        let link = LinkId(net.next_link);
        net.next_link += 1;
        self.links[at] = Some(link);
        net.input(at, Input::LinkAccepted { link });
        let hello = Hello {
            protocol: VERSION,
            cluster: "c".into(),
            node: "author".into(),
            replica: AUTHOR.0,
            generation: 1,
            ..Hello::default()
        };
        self.say(net, at, frame(Body::Hello(hello)));
        let function = FunctionRecord { function: F.into(), ..FunctionRecord::default() };
        let record = NodeRecord {
            node: "author".into(),
            replica: AUTHOR.0,
            generation: 1,
            version: 1,
            functions: vec![function],
            ..NodeRecord::default()
        };
        self.say(net, at, frame(Body::Records(Records { records: vec![record] })));
    }

    fn say(&mut self, net: &mut Net, at: usize, envelope: Bytes) {
        let link = self.links[at].expect("it has said Hello");
        net.input(at, Input::Received { link, envelope });
    }

    /// Joins what the others have told it, so that it deletes what they made.
    fn listen(&mut self, net: &mut Net) {
        for (_, envelope) in std::mem::take(&mut net.said) {
            for message in open(envelope) {
                if let Some(Body::Batch(batch)) = message.expect("honest").body {
                    let changes =
                        crate::payload::expand(&batch.changes, batch.size).expect("honest");
                    let events = (batch.first, batch.last);
                    let _ = self.function.join_batch(ReplicaId(batch.origin), events, &changes);
                }
            }
        }
    }

    /// A change of some type.
    fn write(&mut self) {
        let (what, n) = (self.draw.below(12), self.draw.below(5));
        // A name for each type.
        let (object, name) = ([b'o', self.draw.below(3) as u8], [KINDS[what]]);
        let hash = miso_store::hash(&object);
        let key = (hash, object.as_slice(), name.as_slice());
        let (e, context) = ([b'e', n as u8], self.function.context());
        let mut shard = self.function.lock(self.function.shard_of(hash));
        let is_right = match what {
            0 => shard.write::<kind::GCounter, _>(key, |c, m, _| c.add(1, 0, m).is_ok()).is_ok(),
            1 => shard.write::<kind::PnCounter, _>(key, |c, m, _| c.add(0, 3, m).is_ok()).is_ok(),
            2..5 => shard.write::<kind::OrSet, _>(key, |s, m, d| s.add(&e, m, d)).is_ok(),
            5 => shard.write::<kind::OrSet, _>(key, |s, m, d| s.remove(&e, m, d)).is_ok(),
            6 => shard.write::<kind::MvRegister, _>(key, |r, m, d| r.set(&e, m, d)).is_ok(),
            7 => shard.write::<kind::EwFlag, _>(key, |f, m, d| f.enable(m, d)).is_ok(),
            8 => shard.write::<kind::EwFlag, _>(key, |f, m, d| f.disable(m, d)).is_ok(),
            9 => shard.write::<kind::OrMap, _>(key, |s, m, d| s.set(&e, &object, m, d)).is_ok(),
            10 => shard.write::<kind::OrMap, _>(key, |s, m, d| s.remove(&e, m, d)).is_ok(),
            _ => {
                let reset =
                    |c: &mut crdt::Counter, m: &mut miso_store::Mint<'_>, d: Option<&mut _>| {
                        crdt::Crdt::reset(c, &context, m, d)
                    };
                shard.write::<kind::PnCounter, _>(key, reset).is_ok()
            }
        };
        assert!(is_right, "one type a name");
    }

    /// The next batch, with some bytes changed, and as it is right.
    fn broken(&mut self) -> Option<[Bytes; 2]> {
        self.write();
        let batch = self.function.take_batch()?;
        let mut changes = batch.message.to_vec();
        self.draw.break_some(&mut changes);
        let envelope = |changes| {
            frame(Body::Batch(Batch {
                function: F.into(),
                origin: AUTHOR.0,
                first: batch.first,
                last: batch.last,
                changes,
                ..Batch::default()
            }))
        };
        Some([envelope(changes.into()), envelope(batch.message)])
    }
}

/// What two nodes hold and know.
fn states(net: &Net) -> [(u64, Vec<(ReplicaId, u64)>); 2] {
    [0, 1].map(|at| {
        let function = net.hosts[at].store.function(F);
        let mut vector = function.vector();
        vector.sort_unstable();
        (function.digests(1)[0], vector)
    })
}

#[test]
fn mutated_batches_leave_all_nodes_equal() {
    let rounds = std::env::var("MISO_MUTATED").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let mut net = Net::new(2, 1);
    for at in [0, 1] {
        net.set_runs(at, &[F]);
    }
    net.pass(100);
    let mut author = Author::new();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..rounds {
        if round % 5 == 0 {
            net.count(round % 2);
        }
        let Some([broken, right]) = author.broken() else { continue };
        for at in [0, 1] {
            if at == 1 && author.draw.below(10) < 3 {
                continue;
            }
            author.greet(&mut net, at);
            author.say(&mut net, at, broken.clone());
            let is_refused = author.links[at].is_some_and(|link| net.closed.contains(&(at, link)));
            refused += u64::from(is_refused);
            if is_refused {
                author.greet(&mut net, at);
                author.say(&mut net, at, right.clone());
            }
        }
        author.listen(&mut net);
        if round % 50 == 0 {
            net.pass(20);
        }
        if round % 2_000 == 1_999 {
            net.pass(5_000);
            taken = net.hosts[0].store.function(F).upto(AUTHOR);
        }
    }
    net.pass(300_000);
    let [one, other] = states(&net);
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
    assert!(one == other, "{one:?} {other:?}");
}
