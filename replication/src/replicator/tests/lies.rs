//! What peers say of others' events, and of this node's, without being true.

use super::*;

const TWO: ReplicaId = ReplicaId(2);

fn questions(out: &[Effect]) -> Vec<u64> {
    said(out, |body| match body {
        Body::Summary(word) if word.question != 0 => Some(word.question),
        _ => None,
    })
}

fn pulls(out: &[Effect]) -> Vec<Pull> {
    said(out, |body| match body {
        Body::Pull(pull) if pull.taken == 0 => Some(pull),
        _ => None,
    })
}

fn acks(out: &[Effect]) -> Vec<Ack> {
    said(out, |body| match body {
        Body::Ack(ack) => Some(ack),
        _ => None,
    })
}

fn warnings(out: &[Effect]) -> usize {
    out.iter().filter(|effect| matches!(effect, Effect::Note(Note::Warn(_)))).count()
}

/// The peers that were found to lie since this was asked last, each with whether that is to be logged.
fn liars(scene: &mut Scene) -> Vec<(u64, bool)> {
    let lies = scene.replicator.take_lies();
    lies.into_iter().map(|(peer, line)| (peer.0, line.is_some())).collect()
}

/// Ends a pull from 3, which says that 2 has made its first `seq` events.
fn claims(scene: &mut Scene, pull: &Pull, seq: u64) -> Vec<Effect> {
    let vector = Some(Told { writers: vec![2], lasts: vec![seq] });
    let done = State { function: F, id: pull.id, vector, ..State::default() };
    scene.says(3, Body::State(State { kind: Kind::Done.into(), ..done }))
}

/// 3 says that 2 has made 500 events, and this node pulls them from it.
fn pulled(scene: &mut Scene) -> Pull {
    scene.word(3, &[(2, 500)]);
    let out = scene.pass(2_001);
    pulls(&out).pop().expect("what is missing is pulled")
}

/// Both are here, and `f` runs at both.
fn met() -> Scene {
    let mut scene = Scene::new();
    scene.meet(2);
    scene.meet(3);
    scene
}

/// Its first event of each of these numbers: nothing is in it.
fn batch_of_two(first: u64, last: u64) -> Body {
    let changes = miso_store::crdt::Changes::new().finish(&Default::default()).into();
    Body::Batch(Batch { function: F, origin: 2, first, last, changes, ..Batch::default() })
}

fn upto(scene: &Scene) -> u64 {
    scene.store.function(&F).upto(TWO)
}

#[test]
fn of_a_linked_writer_only_its_own_word_counts() {
    let mut scene = met();
    let pull = pulled(&mut scene);
    let out = claims(&mut scene, &pull, 500);
    assert_eq!(upto(&scene), 0, "not before 2 has said so");
    let [question] = questions(&out)[..] else { panic!("{out:?}") };
    let answer = Summary { function: F, answers: question, ..Summary::default() };
    let out = scene.says(2, Body::Summary(answer));
    assert_eq!((upto(&scene), scene.replicator.counts().conflicts), (0, 1));
    assert_eq!((liars(&mut scene), warnings(&out)), (vec![(3, true)], 0));
    // Nothing is pulled from the liar for a while; nor said in the log again.
    for _ in 0..20 {
        scene.word(3, &[(2, 500)]);
        let out = scene.pass(2_001);
        assert!(pulls(&out).is_empty() && warnings(&out) == 0 && liars(&mut scene).is_empty());
    }
    // What 2 makes is taken as it comes.
    scene.says(2, batch_of_two(1, 3));
    assert_eq!(upto(&scene), 3);
    let acked: Vec<u64> = acks(&scene.pass(1_000)).iter().map(|ack| ack.last).collect();
    assert_eq!(acked, [3]);
}

#[test]
fn what_the_writer_confirms_is_believed() {
    let mut scene = met();
    let pull = pulled(&mut scene);
    let out = claims(&mut scene, &pull, 500);
    assert_eq!(questions(&out).len(), 1);
    scene.word(2, &[(2, 500)]);
    assert_eq!((upto(&scene), scene.replicator.counts().conflicts), (500, 0));
}

#[test]
fn a_writer_that_is_away_or_silent_holds_nothing_up() {
    for is_away in [true, false] {
        let mut scene = met();
        let pull = pulled(&mut scene);
        if is_away {
            scene.down(2);
        }
        claims(&mut scene, &pull, 500);
        assert_eq!(upto(&scene) == 500, is_away);
        scene.pass(5_001);
        assert_eq!(upto(&scene), 500);
    }
}

/// 3 has lied of 2 while that was away: its events are not taken for known in silence.
#[test]
fn a_number_that_others_have_used_is_named_and_not_acknowledged() {
    let mut scene = met();
    scene.down(2);
    let pull = pulled(&mut scene);
    claims(&mut scene, &pull, 500);
    assert_eq!(upto(&scene), 500);
    scene.up(2);
    scene.word(2, &[(2, 3)]);
    scene.pass(1_000);
    let out = scene.says(2, batch_of_two(4, 5));
    assert_eq!((warnings(&out), scene.replicator.counts().conflicts), (1, 1));
    assert!(acks(&scene.pass(1_000)).is_empty());
    // What it said before it was asked, it may say again.
    let mut scene = met();
    scene.says(2, batch_of_two(1, 5));
    scene.word(2, &[(2, 5)]);
    scene.says(2, batch_of_two(1, 5));
    assert_eq!(scene.replicator.counts().conflicts, 0);
}

#[test]
fn a_number_of_own_events_ends_nothing() {
    let mut scene = met();
    let seq = scene.count();
    let mut lines = 0;
    for claimed in (seq + 1..seq + 100).chain([miso_store::crdt::SEQ_MAX]) {
        let out = scene.word(3, &[(ME.0, claimed)]);
        let ends =
            |effect: &Effect| matches!(effect, Effect::Note(Note::Fatal(_) | Note::Outdated(_)));
        assert!(!out.iter().any(ends), "{out:?}");
        lines += liars(&mut scene).iter().filter(|(peer, is_said)| *peer == 3 && *is_said).count();
    }
    assert_eq!((lines, scene.replicator.counts().conflicts), (1, 100));
    // A pull from it does not make what is made here meanwhile look known to it.
    let pull = pulled(&mut scene);
    scene.down(2);
    let vector = Some(Told { writers: vec![ME.0], lasts: vec![seq + 1_000] });
    let done = State { function: F, id: pull.id, vector, ..State::default() };
    scene.says(3, Body::State(State { kind: Kind::Done.into(), ..done }));
    assert_eq!(scene.count(), seq + 1);
}

#[test]
fn a_peer_makes_few_writers_known() {
    let mut scene = met();
    let function = scene.store.function(&F);
    let before = function.writer_count();
    // In summaries, which are about what is known here.
    let invented: Vec<(u64, u64)> = (1_000..60_000).map(|id| (id, 1)).collect();
    scene.word(3, &invented);
    assert_eq!(function.writer_count(), before);
    // At the end of a pull.
    let pull = pulls(&scene.pass(2_001)).pop().expect("what is missing is pulled");
    let (writers, lasts) = invented.iter().copied().unzip();
    let vector = Some(Told { writers, lasts });
    let done = State { function: F, id: pull.id, vector, ..State::default() };
    let body = Body::State(State { kind: Kind::Done.into(), ..done });
    let out = scene.says(3, body);
    assert_eq!(warnings(&out), 1);
    assert!(function.writer_count() < before + 9_000, "{}", function.writer_count());
    // The others are taken as before.
    scene.says(2, batch_of_two(1, 1));
    assert_eq!(upto(&scene), 1);
}

#[test]
fn no_peer_takes_all_places_for_syncs() {
    let mut scene = met();
    for name in ["a", "b", "c", "d", "e"] {
        let name = Bytes::from_static(name.as_bytes());
        scene.store.function(&name);
        scene.run(&[F, name.clone()]);
        for peer in [2, 3] {
            scene.peer_runs(peer, &[F, name.clone()]);
        }
        let pull = Pull { function: name, id: 9, digests: vec![0; 64], ..Pull::default() };
        scene.says(3, Body::Pull(pull));
    }
    let is_busy = |effect: &Effect| {
        let Effect::SendBehind { frame, .. } = effect else { return false };
        matches!(body(frame.clone()), Some(Body::State(s)) if s.kind() == Kind::Busy)
    };
    let out = scene.pulls(2);
    assert!(!out.iter().any(is_busy), "{out:?}");
}
