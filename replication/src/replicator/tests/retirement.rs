//! Retirement: rounds that this node leads, and those to which it agrees.

use miso_protocol::peer::{Grant, Retire, Retired};

use super::*;

fn ask(scene: &mut Scene, peer: u64, round: u64, writers: &[u64]) -> Vec<Effect> {
    let ask = Retire { function: F, round, writers: writers.to_vec(), over: false };
    scene.says(peer, Body::Retire(ask))
}

fn grants(out: &[Effect]) -> Vec<Grant> {
    said(out, |body| match body {
        Body::Grant(grant) => Some(grant),
        _ => None,
    })
}

fn asks(out: &[Effect]) -> Vec<Retire> {
    said(out, |body| match body {
        Body::Retire(ask) if !ask.over => Some(ask),
        _ => None,
    })
}

fn retirements(out: &[Effect]) -> Vec<Retired> {
    said(out, |body| match body {
        Body::Retired(retired) => Some(retired),
        _ => None,
    })
}

fn frozen(scene: &Scene) -> bool {
    scene.store.function(&F).deletes_paused()
}

/// Peer 3 has counted once in `o`, `c`, and is gone for good; 2 is here.
fn bereaved() -> Scene {
    let mut scene = Scene::new();
    scene.meet(2);
    scene.meet(3);
    let batch = counted_by(3);
    scene.says(3, Body::Batch(of_three(batch.first, batch.last, batch.message)));
    scene.turn(|replicator, now, out| replicator.peer_gone(now, ReplicaId(3), out));
    assert_eq!(value(&scene), 7);
    scene
}

/// A peer's first event: 7 more in `o`, `c`.
fn counted_by(peer: u64) -> miso_store::Outgoing {
    let config = miso_store::Config::new(ReplicaId(peer), 1, Arc::new(|| 0));
    let there = Arc::new(Store::new(config));
    there.track();
    let function = there.function(&F);
    let hash = miso_store::hash(b"o");
    let key = (hash, b"o".as_slice(), b"c".as_slice());
    let mut shard = function.lock(function.shard_of(hash));
    let counted = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(7, 0, mint));
    counted.expect("a counter").0.expect("it fits");
    drop(shard);
    function.take_batch().expect("an event")
}

fn of_three(first: u64, last: u64, changes: Bytes) -> Batch {
    Batch { function: F, origin: 3, first, last, changes, ..Batch::default() }
}

fn value(scene: &Scene) -> i64 {
    let function = scene.store.function(&F);
    let hash = miso_store::hash(b"o");
    let shard = function.lock(function.shard_of(hash));
    let counter = shard.read::<kind::GCounter>(hash, b"o", b"c").expect("a counter");
    counter.map_or(0, miso_store::crdt::Counter::value)
}

fn begin(scene: &mut Scene, others: &[(&str, ReplicaId)]) -> Vec<Effect> {
    scene.turn(|replicator, now, out| {
        replicator.retire(now, ReplicaId(3), true);
        assert!(replicator.wants_to_retire(now));
        replicator.begin_rounds(now, others, out);
    })
}

const TWO: [(&str, ReplicaId); 1] = [("two", ReplicaId(2))];

fn grant(scene: &mut Scene, round: u64, known: &[(u64, u64)]) -> Vec<Effect> {
    let (writers, lasts) = known.iter().copied().unzip();
    let vector = Some(Told { writers, lasts });
    scene.says(2, Body::Grant(Grant { function: F, round, vector, ..Grant::default() }))
}

#[test]
fn one_adopts_once_all_have_granted_it_and_it_knows_what_they_know() {
    let mut scene = bereaved();
    let out = begin(&mut scene, &TWO);
    let round = asks(&out)[0].round;
    assert_eq!(asks(&out)[0].writers, [3]);
    assert!(retirements(&grant(&mut scene, round + 1, &[])).is_empty(), "another round's");
    // The other knows something that has not come yet.
    assert!(retirements(&grant(&mut scene, round, &[(2, 1)])).is_empty());
    let out = scene.says(
        2,
        Body::Batch(Batch {
            origin: 2,
            ..of_three(1, 1, miso_store::crdt::Changes::new().finish(&Default::default()).into())
        }),
    );
    let [retired] = &retirements(&out)[..] else { panic!("{out:?}") };
    assert_eq!((retired.by, retired.writers.clone().expect("some").lasts), (ME.0, vec![1]));
    assert_eq!(value(&scene), 7);
    let function = scene.store.function(&F);
    assert_eq!((function.retired_count(), function.floored_count()), (1, 0));
    // A node that is met later is told, too.
    scene.up(4);
    assert_eq!(retirements(&scene.peer_runs(4, &[F])).len(), 1);
}

#[test]
fn a_node_that_is_away_holds_it_back() {
    let mut scene = bereaved();
    let others = [TWO[0], ("four", ReplicaId(4))];
    let out = begin(&mut scene, &others);
    assert!(asks(&out).is_empty());
    let warns = |effect: &Effect| matches!(effect, Effect::Note(Note::Warn(note)) if note.ends_with("four"));
    assert!(out.iter().any(warns), "{out:?}");
    scene.down(2);
    scene.up(2);
    assert!(retirements(&grant(&mut scene, 1, &[])).is_empty(), "it has not asked");
}

#[test]
fn a_writer_that_lives_is_not_retired() {
    let mut scene = bereaved();
    for living in [ME.0, 2] {
        let [grant] = &grants(&ask(&mut scene, 2, 1, &[living, 3]))[..] else { panic!() };
        assert!(grant.refused && grant.living == [living] && !frozen(&scene));
    }
    // A node that is told so asks no more.
    let round = asks(&begin(&mut scene, &TWO))[0].round;
    let refusal = Grant { function: F, round, refused: true, living: vec![3], vector: None };
    scene.says(2, Body::Grant(refusal));
    scene.pass(60_000);
    let out = scene.turn(|replicator, now, out| replicator.begin_rounds(now, &TWO, out));
    assert!(asks(&out).is_empty());
}

#[test]
fn of_two_that_want_the_same_the_smaller_gets_it() {
    let mut scene = bereaved();
    begin(&mut scene, &TWO);
    let [grant] = &grants(&ask(&mut scene, 2, 9, &[3]))[..] else { panic!() };
    assert!(grant.refused, "2 is the greater");
    assert!(!frozen(&scene));
}

#[test]
fn deletes_wait_until_it_is_over() {
    let over = |scene: &mut Scene| {
        let over = Retire { function: F, round: 9, writers: Vec::new(), over: true };
        scene.says(2, Body::Retire(over));
    };
    let done = |scene: &mut Scene| {
        let writers = Some(Told { writers: vec![3], lasts: vec![1] });
        scene.says(2, Body::Retired(Retired { function: F, by: 2, event: 0, writers }));
    };
    let silence = |scene: &mut Scene| {
        scene.pass(9_000);
        assert!(frozen(scene));
        scene.pass(1_001);
    };
    let ends: [&dyn Fn(&mut Scene); 3] = [&over, &done, &silence];
    for end in ends {
        let mut scene = bereaved();
        let function = scene.store.function(&F);
        let running = function.begin_delete().expect("nothing holds it back");
        assert!(grants(&ask(&mut scene, 2, 9, &[3])).is_empty());
        assert!(frozen(&scene) && function.begin_delete().is_none());
        assert!(grants(&scene.pass(50)).is_empty(), "not before deletes have ended");
        drop(running);
        let [grant] = &grants(&scene.pass(2))[..] else { panic!() };
        let vector = grant.vector.clone().expect("what it knows");
        assert!(!grant.refused && vector.writers == [3] && vector.lasts == [1]);
        end(&mut scene);
        assert!(!frozen(&scene));
    }
}

#[test]
fn nothing_is_taken_from_a_node_that_knows_more_of_the_dead() {
    let mut scene = bereaved();
    let writers = Some(Told { writers: vec![3], lasts: vec![1] });
    scene.says(2, Body::Retired(Retired { function: F, by: 2, event: 0, writers }));
    scene.up(4);
    scene.peer_runs(4, &[F]);
    let out = scene.word(4, &[(3, 2)]);
    assert_eq!(retirements(&out).len(), 1, "it hears why");
    assert!(said(&out, |body| matches!(body, Body::Pull(_)).then_some(())).is_empty());
    // Nor from the one that was retired.
    scene.up(3);
    scene.peer_runs(3, &[F]);
    scene.word(3, &[(3, 1)]);
    scene.says(3, Body::Batch(of_three(2, 2, Bytes::new())));
    assert_eq!(scene.store.function(&F).upto(ReplicaId(3)), 1);
}

/// A peer may say that without cause: it never ends the node.
#[test]
fn a_node_that_was_retired_says_so() {
    let told = |scene: &mut Scene, last: u64| {
        let writers = Some(Told { writers: vec![ME.0], lasts: vec![last] });
        let retired = Retired { function: F, by: 2, event: 1, writers };
        scene.says(2, Body::Retired(retired))
    };
    let mut scene = Scene::new();
    scene.meet(2);
    let seq = scene.count();
    let is_it = |out: &[Effect]| {
        out.iter().any(|effect| matches!(effect, Effect::Note(Note::Forgotten(_))))
    };
    assert!(is_it(&told(&mut scene, seq)), "and comes back as another");
    assert!(!is_it(&told(&mut scene, seq)), "once");
    scene.count();
    let apart = |out: &[Effect]| {
        let is_it = |effect: &&Effect| matches!(effect, Effect::Note(Note::Warn(note)) if note.contains("stays apart"));
        out.iter().filter(is_it).count()
    };
    let lines: usize = (0..100).map(|_| apart(&told(&mut scene, seq))).sum();
    assert_eq!(lines, 1);
}

/// It took over what 3 had counted, was cut off before anybody heard of it, and was forgotten: what
/// others have taken over since would count twice.
#[test]
fn a_forgotten_node_that_never_wrote_is_retired_as_well() {
    let mut scene = bereaved();
    scene.turn(|replicator, now, _| replicator.retire(now, ReplicaId(5), true));
    let out = begin(&mut scene, &TWO);
    let [ask] = &asks(&out)[..] else { panic!("{out:?}") };
    assert_eq!(ask.writers, [3, 5]);
    let out = grant(&mut scene, ask.round, &[]);
    let told = retirements(&out)[0].writers.clone().expect("some");
    assert_eq!((told.writers, told.lasts), (vec![3, 5], vec![1, 0]));
    scene.up(5);
    scene.peer_runs(5, &[F]);
    let changes = counted_by(5).message;
    scene.says(5, Body::Batch(Batch { origin: 5, ..of_three(1, 1, changes) }));
    assert_eq!(value(&scene), 7);
    assert_eq!(retirements(&scene.word(5, &[(5, 1)])).len(), 1, "it hears why");
    // Where no counts are adopted, nothing is kept of an incarnation that never wrote.
    let mut scene = Scene::new();
    scene.meet(2);
    assert!(asks(&begin(&mut scene, &TWO)).is_empty());
}

#[test]
fn a_node_that_comes_back_is_not_retired() {
    let mut scene = bereaved();
    let round = asks(&begin(&mut scene, &TWO))[0].round;
    let out = scene.up(3);
    assert!(
        said(&out, |body| matches!(body, Body::Retire(ask) if ask.over).then_some(())).len() == 1
    );
    assert!(retirements(&grant(&mut scene, round, &[])).is_empty());
    // Nor when it is away once more, and time alone has forgotten it.
    scene.turn(|replicator, now, out| replicator.peer_gone(now, ReplicaId(3), out));
    scene.pass(60_000);
    let out = scene.turn(|replicator, now, out| replicator.begin_rounds(now, &TWO, out));
    assert!(asks(&out).is_empty());
}

#[test]
fn another_node_tries_if_the_leader_does_not_finish() {
    let mut scene = bereaved();
    scene.turn(|replicator, now, _| replicator.retire(now, ReplicaId(3), false));
    ask(&mut scene, 2, 9, &[3]);
    scene.pass(4_000);
    assert!(scene.replicator.wants_to_retire(scene.now) && frozen(&scene));
    let again = |scene: &mut Scene| {
        scene.turn(|replicator, now, out| replicator.begin_rounds(now, &[], out))
    };
    assert!(retirements(&again(&mut scene)).is_empty());
    scene.turn(|replicator, now, out| replicator.peer_gone(now, ReplicaId(2), out));
    scene.pass(6_001);
    assert!(scene.replicator.wants_to_retire(scene.now) && !frozen(&scene));
    assert_eq!(retirements(&again(&mut scene)).len(), 0, "nobody is here to be told");
    assert_eq!(scene.store.function(&F).retired_count(), 1);
}

/// Deletes wait while a round lasts: one that cannot succeed must not last most of the time.
#[test]
fn rounds_without_answers_become_seldom() {
    let mut scene = bereaved();
    begin(&mut scene, &TWO);
    let mut rounds = 1;
    for _ in 0..3_600 {
        let out = scene.pass(1_000);
        if scene.replicator.wants_to_retire(scene.now) {
            let begins = |replicator: &mut Replicator, now, out: &mut Vec<Effect>| {
                replicator.begin_rounds(now, &TWO, out);
            };
            rounds += asks(&scene.turn(begins)).len();
        }
        let says = |effect: &Effect| matches!(effect, Effect::Note(Note::Warn(_)));
        assert!(out.iter().filter(|effect| says(effect)).count() <= 1);
    }
    assert!((10..20).contains(&rounds), "{rounds} in an hour");
}

#[test]
fn deletes_resume_once_the_adoption_comes() {
    let mut scene = bereaved();
    ask(&mut scene, 2, 9, &[3]);
    scene.pass(10);
    let writers = Some(Told { writers: vec![3], lasts: vec![1] });
    scene.says(2, Body::Retired(Retired { function: F, by: 2, event: 1, writers }));
    assert!(frozen(&scene), "it has not come");
    let nothing = miso_store::crdt::Changes::new().finish(&Default::default()).into();
    scene.says(2, Body::Batch(Batch { origin: 2, ..of_three(1, 1, nothing) }));
    assert!(!frozen(&scene));
}
