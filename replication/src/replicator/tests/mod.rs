//! A replicator and peers that are made up: what they say, and what it says to them.

use miso_protocol::peer;
use miso_protocol::peer::state::Kind;
use miso_protocol::peer::{Ack, Batch, State, Summary, Vector as Told};
use miso_store::crdt::kind;

use super::ending::NEWCOMERS;
use super::*;
use crate::Note;

mod lies;
mod retirement;
mod tending;

const ME: ReplicaId = ReplicaId(1);
const F: Bytes = Bytes::from_static(b"f");
const MS: u64 = 1_000_000;

/// A replicator that runs `f`.
struct Scene {
    replicator: Replicator,
    store: Arc<Store>,
    now: Time,
}

impl Scene {
    fn new() -> Scene {
        let store = Arc::new(Store::new(miso_store::Config::new(ME, 1, Arc::new(|| 0))));
        let replicator = Replicator::new(Arc::clone(&store), Config::new(ME));
        let mut scene = Scene { replicator, store, now: Time(MS) };
        scene.run(&[F]);
        scene
    }

    fn run(&mut self, functions: &[Bytes]) -> Vec<Effect> {
        let functions = functions.iter().cloned().collect();
        self.turn(|replicator, now, out| {
            replicator.ends(now, &functions, out);
            replicator.runs(now, &functions, out);
        })
    }

    /// One turn, and what comes of it.
    fn turn(&mut self, act: impl FnOnce(&mut Replicator, Time, &mut Vec<Effect>)) -> Vec<Effect> {
        let mut out = Vec::new();
        act(&mut self.replicator, self.now, &mut out);
        self.replicator.settle(self.now, &mut out);
        out
    }

    /// A link to a peer, numbered as the peer is.
    fn up(&mut self, peer: u64) -> Vec<Effect> {
        let out = self.turn(|replicator, now, out| {
            replicator.peer_up(now, ReplicaId(peer), LinkId(peer), out);
        });
        // It has nothing of a function that is asked for.
        let questions = said(&out, |body| match body {
            Body::Summary(word) if word.question != 0 => Some((word.function, word.question)),
            _ => None,
        });
        for (function, answers) in questions {
            self.says(peer, Body::Summary(Summary { function, answers, ..Summary::default() }));
        }
        out
    }

    /// A link that replaces the one that a peer had.
    fn replaced(&mut self, peer: u64, link: u64) -> Vec<Effect> {
        self.turn(|replicator, now, out| {
            replicator.peer_down(now, ReplicaId(peer), out);
            replicator.peer_up(now, ReplicaId(peer), LinkId(link), out);
        })
    }

    fn down(&mut self, peer: u64) -> Vec<Effect> {
        self.turn(|replicator, now, out| replicator.peer_down(now, ReplicaId(peer), out))
    }

    fn peer_runs(&mut self, peer: u64, functions: &[Bytes]) -> Vec<Effect> {
        let functions = functions.iter().cloned().collect();
        self.turn(|replicator, now, out| {
            replicator.peer_runs(now, ReplicaId(peer), &functions, out);
        })
    }

    fn says(&mut self, peer: u64, body: Body) -> Vec<Effect> {
        self.turn(|replicator, now, out| {
            let said = replicator.received(now, ReplicaId(peer), body, out);
            assert_eq!(said, Ok(()));
        })
    }

    /// A peer that runs `f`, and knows nothing yet.
    fn meet(&mut self, peer: u64) {
        self.up(peer);
        self.peer_runs(peer, &[F]);
        self.word(peer, &[]);
    }

    /// A peer says what it knows, and wants what follows.
    fn word(&mut self, peer: u64, known: &[(u64, u64)]) -> Vec<Effect> {
        let (writers, lasts) = known.iter().copied().unzip();
        let vector = Some(Told { writers, lasts });
        let word =
            Summary { function: F, vector, kept_from: 1, answer: true, ..Summary::default() };
        self.says(peer, Body::Summary(word))
    }

    fn acknowledges(&mut self, peer: u64, last: u64) -> Vec<Effect> {
        self.says(peer, Body::Ack(Ack { function: F, last, durable: 0 }))
    }

    /// Counts once; the event's number.
    fn count(&mut self) -> u64 {
        self.count_in(b"o");
        self.store.function(&F).seq()
    }

    /// Counts once in an object of its own.
    fn count_in(&mut self, object: &[u8]) -> Vec<Effect> {
        let function = self.store.function(&F);
        let hash = miso_store::hash(object);
        let mut shard = function.lock(function.shard_of(hash));
        let key = (hash, object, b"c".as_slice());
        let counted = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(1, 0, mint));
        counted.expect("a counter").0.expect("room for one more");
        drop(shard);
        self.turn(|replicator, now, out| replicator.wrote(now, &function, out))
    }

    /// A peer that knows nothing pulls all there is.
    fn pulls(&mut self, peer: u64) -> Vec<Effect> {
        let pull = Pull { function: F, id: 1, digests: vec![0; 64], ..Pull::default() };
        self.says(peer, Body::Pull(pull))
    }

    fn ask(&mut self, id: u64, ask: Ask) -> Option<Answer> {
        let out = self.turn(|replicator, now, out| replicator.ask(now, AskId(id), ask, out));
        answer(&out, id)
    }

    fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now = Time(self.now.0 + ms * MS);
        self.turn(|replicator, now, out| replicator.tick(now, out))
    }
}

fn answer(out: &[Effect], to: u64) -> Option<Answer> {
    out.iter().find_map(|effect| match effect {
        Effect::Answer { id, answer } if id.0 == to => Some(answer.clone()),
        _ => None,
    })
}

fn wait(seq: u64, peers: usize) -> Ask {
    Ask::Wait { function: F, seq, peers, durable: false, until: Some(Time(100 * MS)) }
}

/// A peer's sync takes as long as its rate says, and what streams bring meanwhile does not wait for it.
#[test]
fn a_sync_keeps_to_its_rate_and_streams_go_ahead() {
    const RATE: u64 = 256 << 10;
    let mut scene = Scene::new();
    scene.replicator.set_sync_rate(RATE);
    for object in 0..100_000_u32 {
        scene.count_in(format!("an object of some length {object}").as_bytes());
    }
    for peer in [2, 3] {
        scene.meet(peer);
    }
    let begun = scene.now;
    let (mut bytes, mut ended, mut live) = ([0_u64; 2], [None; 2], 0);
    let mut out = scene.pulls(2);
    out.extend(scene.pulls(3));
    while ended.contains(&None) {
        let mut taken = BTreeMap::new();
        for effect in out.drain(..) {
            match effect {
                Effect::SendBehind { link, frame } => {
                    let peer = usize::try_from(link.0 - 2).expect("few");
                    bytes[peer] += frame.len() as u64;
                    assert!(frame.len() < 150 << 10, "{}", frame.len());
                    let Some(Body::State(state)) = body(frame) else { panic!("not a part") };
                    taken.insert(link.0, (state.id, state.part + 1));
                    if state.kind() == Kind::Done {
                        ended[peer] = Some(scene.now);
                    }
                }
                Effect::Send { frame, .. } => {
                    live += usize::from(matches!(body(frame), Some(Body::Batch(_))));
                }
                _ => {}
            }
        }
        for (peer, (id, taken)) in taken {
            let pull = Pull { function: F, id, taken, ..Pull::default() };
            out.extend(scene.says(peer, Body::Pull(pull)));
        }
        // A change goes out in the turn in which its interval ends.
        let before = live;
        let mut sent = scene.count_in(b"o");
        sent.extend(scene.pass(5));
        live += sent.iter().filter(|effect| is_batch(effect)).count();
        assert_eq!(live, before + 1, "at {:?}", scene.now);
        out.extend(sent.into_iter().filter(|effect| !is_batch(effect)));
        assert!(scene.now.since(begun) < Duration::from_secs(60), "{bytes:?}");
    }
    for (bytes, ended) in bytes.into_iter().zip(ended) {
        // Less the part that goes at once, and the one by which late timers are made up for.
        let took = ended.expect("it has ended").since(begun).as_secs_f64();
        let exactly = bytes as f64 / RATE as f64;
        assert!(bytes > 1 << 20, "{bytes}");
        assert!(took > exactly - 1.0 && took < exactly * 1.02 + 0.1, "{bytes} in {took}");
    }
}

fn body(frame: Bytes) -> Option<Body> {
    peer::open(frame).next()?.expect("well-formed").body
}

fn is_batch(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { frame, .. } if matches!(body(frame.clone()), Some(Body::Batch(_))))
}

/// However low the rate, no puller gives up for it.
#[test]
fn a_low_rate_makes_small_parts() {
    let mut scene = Scene::new();
    scene.replicator.set_sync_rate(1_000);
    for object in 0..1_000_u32 {
        scene.count_in(format!("an object of some length {object}").as_bytes());
    }
    scene.meet(2);
    let mut out = scene.pulls(2);
    let (mut silent, mut parts) = (0, 0);
    while !out.iter().any(is_end) {
        parts += out.iter().filter(|e| matches!(e, Effect::SendBehind { .. })).count();
        silent = if out.iter().any(|effect| matches!(effect, Effect::SendBehind { .. })) {
            0
        } else {
            silent + 100
        };
        assert!(silent < 5_000, "its peer would have given up");
        let deadline = scene.replicator.deadline().expect("there is more to send");
        assert!(deadline <= scene.now + Duration::from_secs(5));
        out = scene.pass(100);
    }
    assert!(parts >= 4, "{parts}");
}

fn is_end(effect: &Effect) -> bool {
    let Effect::SendBehind { frame, .. } = effect else { return false };
    matches!(body(frame.clone()), Some(Body::State(s)) if s.kind() == Kind::Done)
}

/// A peer that has acknowledged and is gone does not count, whether it may come back or not; it counts
/// again once it is back.
#[test]
fn a_wait_counts_peers_that_are_here() {
    let mut scene = Scene::new();
    scene.meet(2);
    scene.meet(3);
    let seq = scene.count();
    scene.acknowledges(2, seq);
    scene.acknowledges(3, seq);
    assert_eq!(scene.ask(1, wait(seq, 2)), Some(Answer::Count(2)));
    scene.down(3);
    assert_eq!(scene.ask(2, wait(seq, 0)), Some(Answer::Count(1)));
    // It is waited for.
    assert_eq!(scene.ask(3, wait(seq, 2)), None);
    scene.up(3);
    assert_eq!(answer(&scene.word(3, &[(ME.0, seq)]), 3), Some(Answer::Count(2)));
    scene.down(3);
    assert_eq!(scene.ask(4, wait(seq, 2)), None);
    assert_eq!(answer(&scene.pass(200), 4), Some(Answer::Count(1)), "its time is over");
    // One that ends the function, and one that is forgotten.
    scene.peer_runs(2, &[]);
    scene.turn(|replicator, now, out| replicator.peer_gone(now, ReplicaId(3), out));
    assert_eq!(scene.ask(5, wait(seq, 0)), Some(Answer::Count(0)));
}

#[test]
fn a_function_ends_once_a_peer_has_all_of_it() {
    let mut scene = Scene::new();
    scene.meet(2);
    scene.meet(3);
    let seq = scene.count();
    scene.acknowledges(2, seq - 1);
    assert_eq!(scene.ask(1, Ask::Drain { function: F }), Some(Answer::Done), "it runs");
    scene.run(&[]);
    assert_eq!(scene.replicator.draining().collect::<Vec<_>>(), [&F]);
    assert_eq!(scene.ask(2, Ask::Drain { function: F }), None);
    // One is enough.
    assert_eq!(answer(&scene.acknowledges(3, seq), 2), Some(Answer::Done));
    assert!(scene.replicator.take_drained() && !scene.replicator.take_drained());
    assert_eq!(scene.replicator.draining().next(), None);
    // What is known elsewhere already is not waited for.
    scene.run(&[F]);
    scene.run(&[]);
    assert_eq!(scene.replicator.draining().next(), None);
}

/// What a node has of one that died is not at the others either, unless they say so.
#[test]
fn a_function_that_ends_leaves_what_it_has_of_the_dead() {
    let mut scene = Scene::new();
    let mut dead = Scene::new();
    dead.store = Arc::new(Store::new(miso_store::Config::new(ReplicaId(9), 1, Arc::new(|| 0))));
    dead.store.track();
    dead.count();
    let batch = dead.store.function(&F).take_batch().expect("it has counted");
    scene.meet(2);
    scene.meet(9);
    let joined = scene.store.function(&F).join_batch(
        ReplicaId(9),
        (batch.first, batch.last),
        &batch.message,
    );
    joined.expect("a batch");
    // As long as it is here it has that itself.
    scene.run(&[]);
    assert_eq!(scene.replicator.draining().next(), None);
    scene.run(&[F]);
    scene.down(9);
    scene.run(&[]);
    assert_eq!(scene.ask(1, Ask::Drain { function: F }), None);
    assert_eq!(answer(&scene.word(2, &[(9, batch.last)]), 1), Some(Answer::Done));
}

#[test]
fn a_function_that_ends_does_not_wait_in_vain() {
    let mut scene = Scene::new();
    scene.count();
    scene.run(&[]);
    assert_eq!(scene.replicator.draining().next(), None, "no other node runs it");
    for how in ["time", "down", "ended", "back"] {
        scene.run(&[F]);
        scene.meet(2);
        scene.count();
        scene.run(&[]);
        assert_eq!(scene.ask(1, Ask::Drain { function: F }), None, "{how}");
        let out = match how {
            "time" => {
                assert_eq!(answer(&scene.pass(4_900), 1), None);
                scene.pass(200)
            }
            "down" => scene.down(2),
            "ended" => scene.peer_runs(2, &[]),
            _ => scene.run(&[F]),
        };
        assert_eq!(answer(&out, 1), Some(Answer::Done), "{how}");
        assert_eq!(scene.replicator.draining().next(), None, "{how}");
    }
}

fn leave(scene: &Scene) -> Ask {
    Ask::Leave { until: scene.now + Duration::from_secs(2) }
}

/// A node that has begun to run a function has not said so yet, when the only one that has it leaves.
#[test]
fn a_node_that_leaves_waits_for_newcomers_if_no_other_has_its_data() {
    let mut scene = Scene::new();
    scene.up(2);
    let seq = scene.count();
    let ask = leave(&scene);
    assert_eq!(scene.ask(1, ask), None);
    scene.pass(20);
    scene.peer_runs(2, &[F]);
    scene.word(2, &[]);
    assert_eq!(answer(&scene.pass(300), 1), None, "it takes what there is");
    assert_eq!(answer(&scene.acknowledges(2, seq), 1), Some(Answer::Done));
    // No other comes.
    let mut scene = Scene::new();
    scene.up(2);
    scene.count();
    let ask = leave(&scene);
    assert_eq!(scene.ask(1, ask), None);
    let deadline = scene.replicator.deadline().expect("it waits");
    assert!(deadline <= scene.now + NEWCOMERS);
    assert_eq!(answer(&scene.pass(200), 1), Some(Answer::Done));
    // There is no other node, or nothing to take.
    let mut scene = Scene::new();
    scene.count();
    let ask = leave(&scene);
    assert_eq!(scene.ask(1, ask), Some(Answer::Done));
    let mut scene = Scene::new();
    scene.up(2);
    let ask = leave(&scene);
    assert_eq!(scene.ask(1, ask), Some(Answer::Done));
}

/// What is in the messages that are sent.
fn said<T>(out: &[Effect], what: impl Fn(Body) -> Option<T>) -> Vec<T> {
    let frames = out.iter().filter_map(|effect| match effect {
        Effect::Send { frame, .. } => Some(frame.clone()),
        _ => None,
    });
    let bodies = frames.flat_map(|frame| peer::open(frame).collect::<Vec<_>>());
    bodies.filter_map(|message| what(message.expect("well-formed").body?)).collect()
}

fn acks(out: &[Effect]) -> Vec<u64> {
    said(out, |body| match body {
        Body::Ack(ack) => Some(ack.last),
        _ => None,
    })
}

/// No batch brings what a sync brings, nor what came before a link was lost: it is acknowledged all
/// the same, or no peer would hear that it is on this disk.
#[test]
fn what_no_batch_brings_is_acknowledged_too() {
    let mut scene = Scene::new();
    scene.meet(2);
    let empty = miso_store::crdt::Changes::new().finish(&Default::default());
    let batch = |last| {
        let changes = empty.clone().into();
        Body::Batch(Batch { function: F, origin: 2, first: 1, last, changes, ..Batch::default() })
    };
    scene.says(2, batch(4));
    // The link is lost before the acknowledgement is sent.
    scene.down(2);
    assert!(acks(&scene.pass(1_000)).is_empty());
    scene.up(2);
    scene.word(2, &[(2, 4)]);
    assert_eq!(acks(&scene.pass(1_000)), [4]);

    // It has more than it can send again: that is pulled.
    let vector = Some(Told { writers: vec![2], lasts: vec![9] });
    let word = Summary { function: F, vector: vector.clone(), kept_from: 10, ..Summary::default() };
    let out = scene.says(2, Body::Summary(word));
    let pulls = said(&out, |body| match body {
        Body::Pull(pull) => Some(pull.id),
        _ => None,
    });
    let done = State { function: F, id: pulls[0], vector, ..State::default() };
    let done = State { kind: Kind::Done as i32, ..done };
    scene.says(2, Body::State(done));
    assert_eq!(acks(&scene.pass(1_000)), [9]);
}

/// A sync brought values, and its other side was lost before it said of which events they are. The others
/// know the same, by their vectors; and have started anew, with nothing.
#[test]
fn every_peer_that_is_met_is_told_a_digest_of_what_no_vector_says() {
    let there = Store::new(miso_store::Config::new(ReplicaId(9), 1, Arc::new(|| 0)));
    let there = there.function(&F);
    let hash = miso_store::hash(b"o");
    let key = (hash, b"o".as_slice(), b"s".as_slice());
    let added = there.lock(0).write::<kind::OrSet, _>(key, |s, mint, d| s.add(b"a", mint, d));
    assert!(added.expect("a set").0);
    let (half, _) = there.export(&Vec::new(), 0, 1 << 20).expect("no writer is unknown");
    let mut scene = Scene::new();
    scene.store.function(&F).join_changes(&half).expect("changes");
    for peer in [2, 3] {
        scene.meet(peer);
        let mut digests = 0;
        for _ in 0..100 {
            let out = scene.pass(1_000);
            digests += said(&out, |body| match body {
                Body::Summary(word) => word.digest,
                _ => None,
            })
            .len();
        }
        assert!((1..=4).contains(&digests), "{digests} to {peer}");
        scene.down(peer);
    }
}

/// A function begins beside a peer that runs it, and pulls from it; then the link is replaced by a newer one. The
/// peer is asked again, by first reads and by fetches, and nothing is over before it has answered.
#[test]
fn a_link_that_is_replaced_ends_neither_first_reads_nor_fetches() {
    const G: Bytes = Bytes::from_static(b"g");
    let mut scene = Scene::new();
    scene.up(2);
    scene.peer_runs(2, &[G]);
    scene.run(&[F, G]);
    let until = scene.now + Duration::from_secs(9);
    assert_eq!(scene.ask(1, Ask::Current { function: G, until }), None);
    let object = Bytes::from_static(b"o");
    assert_eq!(scene.ask(2, Ask::Fetch { function: G, object, name: None, until }), None);
    let out = scene.replaced(2, 20);
    assert_eq!((answer(&out, 1), answer(&out, 2)), (None, None));
    let question = said(&out, |body| match body {
        Body::Summary(word) if word.question != 0 => Some(word.question),
        _ => None,
    });
    let fetches = said(&out, |body| match body {
        Body::Fetch(fetch) => Some(fetch.id),
        _ => None,
    });
    assert_eq!((question.len(), fetches), (1, vec![2]));
    // Once it is gone without another link, there is nothing to wait for.
    let out = scene.down(2);
    assert_eq!(answer(&out, 1), Some(Answer::Reached(true)));
    assert_eq!(answer(&out, 2), Some(Answer::Done));
}
