//! What every type must obey, written once. [`laws!`](crate::laws) plays random edits on several
//! replicas and checks that join is a semilattice, that deltas in any order and any number of times
//! end where whole states end, that messages come back from the wire, and that hostile ones harm
//! nobody.
//!
//! A replica here holds one value, so its [`Context`] is that value's alone. Deltas arrive one by
//! one, lost, doubled and out of order; what a replica learns of each is [`Crdt::learn`] and the
//! events that the delta's edits minted, as the range of a batch would name them. In a function the
//! vector takes the place of the latter: see `tests/model.rs`.

use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

use crate::{
    Context, Crdt, Decoder, Dot, Encode, Encoder, Events, ReplicaId, Shown, Writer, Writers,
};

/// How many replicas play.
const SITES: u16 = 3;

/// The source of a replica's events.
#[derive(Clone, Debug)]
pub(crate) struct Mint {
    writer: Writer,
    seq: u64,
    flushed: u64,
    clock: u64,
    minted: Vec<Dot>,
}

impl Mint {
    /// The events of `writer`, none of them shown to anyone.
    pub(crate) fn new(writer: u16) -> Mint {
        Mint { writer: Writer(writer), seq: 0, flushed: 0, clock: 0, minted: Vec::new() }
    }

    /// A clock that runs this much ahead.
    pub(crate) fn ahead(self, time: u64) -> Mint {
        Mint { clock: time, ..self }
    }

    /// Counts all that exists as shown.
    pub(crate) fn flush(&mut self) -> Vec<Dot> {
        self.flushed = self.seq;
        core::mem::take(&mut self.minted)
    }
}

impl Events for Mint {
    fn next(&mut self) -> Dot {
        self.seq += 1;
        let dot = Dot::new(self.writer, self.seq).expect("a short history");
        self.minted.push(dot);
        dot
    }

    fn unsent(&self, dot: Dot) -> bool {
        dot.writer() == self.writer && dot.seq() > self.flushed
    }

    fn time(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn writer(&self) -> Writer {
        self.writer
    }
}

/// A type and what can be done with it.
pub(crate) trait Subject: 'static {
    type State: Crdt;
    type Op: Clone + Debug;

    fn ops() -> BoxedStrategy<Self::Op>;
    fn edit(at: &mut Site<Self::State>, op: &Self::Op);
    /// What a client reads.
    fn read(state: &Self::State) -> impl Eq + Debug;
    /// Drops what is only kept for other replicas' sake.
    fn settle(_: &mut Self::State) {}
}

/// A replica of one value, as tests use it: [`Site::send`] after some edits, then
/// [`Site::receive`] elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Site<T: Crdt> {
    pub(crate) state: T,
    pub(crate) context: Context,
    pub(crate) events: Mint,
    pub(crate) change: T::Delta,
}

/// What some edits did: the delta, and the events that a batch would name by its range.
#[derive(Clone, Debug)]
pub(crate) struct Message<D> {
    pub(crate) delta: D,
    events: Vec<Dot>,
}

impl<T: Crdt> Site<T> {
    pub(crate) fn new(writer: u16) -> Site<T> {
        Site {
            state: T::default(),
            context: Context::new(),
            events: Mint::new(writer),
            change: T::Delta::default(),
        }
    }

    /// An edit of the state.
    pub(crate) fn edit<R>(
        &mut self,
        edit: impl FnOnce(&mut T, &mut Mint, &mut T::Delta) -> R,
    ) -> R {
        let result = edit(&mut self.state, &mut self.events, &mut self.change);
        // Only the newest may be new; those before it are learned already.
        self.events.minted.iter().for_each(|dot| self.context.insert(*dot));
        result
    }

    /// What changed since the last call.
    pub(crate) fn send(&mut self) -> Message<T::Delta> {
        Message { delta: core::mem::take(&mut self.change), events: self.events.flush() }
    }

    pub(crate) fn receive(&mut self, message: &Message<T::Delta>) {
        self.apply(&message.delta);
        T::learn(&message.delta, &mut self.context);
        message.events.iter().for_each(|dot| self.context.insert(*dot));
    }

    /// Joins the whole state of another replica.
    pub(crate) fn join(&mut self, other: &Site<T>) {
        self.apply(&other.state.whole(&other.context));
        self.context.join(&other.context);
    }

    /// Joins a delta, which says whether there was anything new in it.
    fn apply(&mut self, delta: &T::Delta) {
        let before = self.state.clone();
        let new = self.state.apply(&self.context, delta);
        assert!(new || self.state == before, "what is new is said: {delta:?}");
    }

    fn parts(&self) -> (&T, &Context) {
        (&self.state, &self.context)
    }
}

/// Joins all into all, in both orders.
pub(crate) fn exchange<T: Crdt>(sites: &mut [Site<T>]) {
    for from in (0..sites.len()).chain(0..sites.len()) {
        sites[from].events.flushed = sites[from].events.seq;
        let whole = sites[from].clone();
        sites.iter_mut().for_each(|site| site.join(&whole));
    }
}

#[derive(Clone, Debug)]
enum Step<O> {
    Edit(u16, O),
    Send(u16),
    /// One of the messages sent so far; sent again, if it was before.
    Receive(u16, Index),
    /// The first gets the whole state of the second.
    Join(u16, u16),
}

fn script<S: Subject>() -> impl Strategy<Value = Vec<Step<S::Op>>> {
    let site = || 0..SITES;
    let step = prop_oneof![
        6 => (site(), S::ops()).prop_map(|(at, op)| Step::Edit(at, op)),
        3 => site().prop_map(Step::Send),
        4 => (site(), any::<Index>()).prop_map(|(at, which)| Step::Receive(at, which)),
        1 => (site(), site()).prop_map(|(to, from)| Step::Join(to, from)),
    ];
    prop::collection::vec(step, 0..40)
}

type Messages<S> = Vec<Message<<<S as Subject>::State as Crdt>::Delta>>;

fn play<S: Subject>(script: &[Step<S::Op>]) -> (Vec<Site<S::State>>, Messages<S>) {
    let mut sites: Vec<Site<S::State>> = (0..SITES).map(Site::new).collect();
    let mut messages: Messages<S> = Vec::new();
    for step in script {
        match step {
            Step::Edit(at, op) => S::edit(&mut sites[usize::from(*at)], op),
            Step::Send(at) => messages.push(sites[usize::from(*at)].send()),
            Step::Receive(at, which) if !messages.is_empty() => {
                sites[usize::from(*at)].receive(which.get(&messages));
            }
            Step::Receive(..) => {}
            Step::Join(to, from) => {
                let from = &mut sites[usize::from(*from)];
                from.events.flushed = from.events.seq; // a state that is handed out shows all in it
                let from = from.clone();
                sites[usize::from(*to)].join(&from);
            }
        }
    }
    (sites, messages)
}

fn joined<T: Crdt>(a: &Site<T>, b: &Site<T>) -> Site<T> {
    let mut both = a.clone();
    both.join(b);
    both
}

fn check<T: Strategy>(cases: u32, input: T, law: impl Fn(T::Value)) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(&input, |input| {
        law(input);
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Join of whole states is commutative, associative and idempotent, to the last bit.
pub(crate) fn join_is_a_semilattice<S: Subject>() {
    check(400, script::<S>(), |script| {
        let (sites, _) = play::<S>(&script);
        let [a, b, c] = &sites[..] else { unreachable!("three sites play") };
        assert_eq!(joined(a, a).parts(), a.parts(), "idempotent");
        assert_eq!(joined(a, b).parts(), joined(b, a).parts(), "commutative");
        let (left, right) = (joined(&joined(a, b), c), joined(a, &joined(b, c)));
        assert_eq!(left.parts(), right.parts(), "associative");
    });
}

/// What came of an edit sequence is the same by its deltas and by the whole state.
pub(crate) fn deltas_say_what_the_state_says<S: Subject>() {
    let edits = prop::collection::vec((S::ops(), any::<bool>()), 1..20);
    check(400, (script::<S>(), edits), |(script, edits)| {
        let (mut sites, _) = play::<S>(&script);
        let (writer, reader) = sites.split_at_mut(1);
        let (writer, by_delta) = (&mut writer[0], &mut reader[0]);
        writer.send();
        by_delta.join(writer);
        let (mut by_state, mut in_order) = (by_delta.clone(), Vec::new());
        for (op, send) in &edits {
            S::edit(writer, op);
            if *send {
                in_order.push(writer.send());
            }
        }
        in_order.push(writer.send());
        in_order.iter().for_each(|message| by_delta.receive(message));
        by_state.join(writer);
        S::settle(&mut by_delta.state);
        S::settle(&mut by_state.state);
        assert_eq!(by_delta.parts(), by_state.parts());
    });
}

/// Joining changes first and applying them at once, or one by one, is the same.
pub(crate) fn groups_equal_their_parts<S: Subject>() {
    let chosen = prop::collection::vec(any::<Index>(), 1..8);
    check(400, (script::<S>(), chosen), |(script, chosen)| {
        let (sites, mut messages) = play::<S>(&script);
        messages.extend(
            sites
                .iter()
                .map(|site| Message { delta: site.state.whole(&site.context), events: Vec::new() }),
        );
        for site in &sites {
            let (mut apart, mut grouped) = (site.clone(), site.clone());
            let mut group = Message { delta: Default::default(), events: Vec::new() };
            for message in chosen.iter().map(|which| which.get(&messages)) {
                apart.receive(message);
                S::State::join_delta(&mut group.delta, &message.delta);
                group.events.extend(&message.events);
            }
            grouped.receive(&group);
            S::settle(&mut apart.state);
            S::settle(&mut grouped.state);
            assert_eq!(apart.parts(), grouped.parts());
        }
    });
}

/// Replicas that have got all deltas, in any order, some twice, read the same; and hold the same
/// once they have exchanged their states.
pub(crate) fn replicas_converge<S: Subject>() {
    let orders = prop::collection::vec(prop::collection::vec(any::<Index>(), 0..60), 3);
    check(400, (script::<S>(), orders), |(script, orders)| {
        let (mut sites, mut messages) = play::<S>(&script);
        messages.extend(sites.iter_mut().map(Site::send));
        for (site, order) in sites.iter_mut().zip(&orders) {
            let mut left: Vec<_> = messages.iter().collect();
            for which in order {
                site.receive(which.get(&messages));
                if !left.is_empty() {
                    site.receive(left.swap_remove(which.index(left.len())));
                }
            }
            left.into_iter().for_each(|message| site.receive(message));
        }
        for site in &sites[1..] {
            assert_eq!(S::read(&site.state), S::read(&sites[0].state));
            assert_eq!(site.context, sites[0].context);
        }
        let before = sites[0].clone();
        exchange(&mut sites);
        assert_eq!(S::read(&before.state), S::read(&sites[0].state));
        assert!(sites.iter().all(|site| site.parts() == sites[0].parts()), "{sites:?}");
    });
}

/// What a value tells of itself fits: its size and its digest what it shows, its pieces all of it; and a reset leaves
/// nothing that is read.
pub(crate) fn values_tell_of_themselves<S: Subject>() {
    check(200, script::<S>(), |script| {
        let (sites, _) = play::<S>(&script);
        let known = writers([10, 11, 12]);
        for site in &sites {
            let state = &site.state;
            assert!(state.is_absent() || (state.digest(&known) != 0 && state.dots() > 0));
            let shown = state.show(&known);
            let fits = match &shown {
                // Values that are alike are shown once, and are as many as were written.
                Shown::List(all) => {
                    all.len() as i64 <= state.size() && all.is_empty() == (state.size() == 0)
                }
                Shown::Fields(all) => all.len() as i64 == state.size(),
                Shown::Text(_) => true, // of a counter its tests say it
            };
            assert!(fits, "{shown:?}, size {}", state.size());
            for other in &sites {
                let alike = state.digest(&known) == other.state.digest(&known);
                assert!(!alike || other.state.show(&known) == shown, "{state:?} {other:?}");
            }
            pieces_are_the_whole(state);
            let mut all = state.since(&());
            assert!(S::State::complete(&mut all, &site.context));
            assert_eq!(all, state.whole(&site.context));
            assert!(!S::State::complete(&mut all, &site.context));
            reset_leaves_nothing(site.clone());
        }
    });
}

fn pieces_are_the_whole<T: Crdt>(state: &T) {
    let (mut whole, mut pieces, mut cursor) = (T::default(), T::default(), 0);
    whole.apply(&Context::new(), &state.since(&()));
    loop {
        let (piece, next) = state.piece(cursor, 2);
        pieces.apply(&Context::new(), &piece);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(pieces, whole);
}

fn reset_leaves_nothing<T: Crdt>(mut site: Site<T>) {
    let (was, context) = (site.state.is_absent(), site.context.clone());
    let done = site.edit(|state, events, change| state.reset(&context, events, Some(change)));
    assert_eq!(done, !was);
    assert!(site.state.is_absent());
}

fn writers(ids: impl IntoIterator<Item = u64>) -> Writers {
    let mut writers = Writers::new();
    for id in ids {
        writers.intern(ReplicaId(id)).expect("few writers");
    }
    writers
}

fn encoded<D: Encode>(delta: &D, writers: &Writers) -> Vec<u8> {
    let mut encoder = Encoder::new();
    delta.encode(&mut encoder);
    encoder.finish(0, writers)
}

fn decoded<D: Encode>(bytes: &[u8], writers: &mut Writers) -> Option<D> {
    let (_, mut decoder) = Decoder::open(bytes, writers).ok()?;
    let delta = D::decode(&mut decoder).ok()?;
    decoder.close().ok().map(|()| delta)
}

fn all_deltas<S: Subject>(script: &[Step<S::Op>]) -> Vec<<S::State as Crdt>::Delta> {
    let (sites, messages) = play::<S>(script);
    let sent = messages.into_iter().map(|message| message.delta);
    sent.chain(sites.iter().map(|site| site.state.whole(&site.context)))
        .chain(sites.iter().map(|site| site.state.since(&sites[0].context)))
        .collect()
}

/// Deltas and states come back from the wire, also by way of a process that knows the writers in
/// another order.
pub(crate) fn messages_come_back<S: Subject>() {
    check(200, script::<S>(), |script| {
        let mut here = writers([10, 11, 12]);
        let mut there = writers([7, 12, 3, 11]);
        for delta in all_deltas::<S>(&script) {
            let bytes = encoded(&delta, &here);
            assert_eq!(decoded(&bytes, &mut here).as_ref(), Some(&delta));
            let abroad: <S::State as Crdt>::Delta =
                decoded(&bytes, &mut there).expect("no secret between processes");
            let back = encoded(&abroad, &there);
            assert_eq!(decoded(&back, &mut here).as_ref(), Some(&delta));
            assert_eq!((here.len(), there.len() <= 5), (3, true));
        }
    });
}

/// Whatever the bytes, nothing panics: not reading them, nor living with what was read.
pub(crate) fn hostile_bytes_harm_nobody<S: Subject>() {
    let harm = (any::<Index>(), any::<Index>(), any::<u8>(), any::<bool>());
    let harms = prop::collection::vec(harm, 1..6);
    let noise = prop::collection::vec(any::<u8>(), 0..60);
    let ops = prop::collection::vec(S::ops(), 0..6);
    check(400, (script::<S>(), harms, noise, ops), |(script, harms, noise, ops)| {
        let (mut sites, _) = play::<S>(&script);
        let mut known = writers([10, 11, 12]);
        let deltas = all_deltas::<S>(&script);
        let mut messages = Vec::from([[&[1, 0, 0][..], &noise].concat(), noise]);
        for (which, place, byte, cut) in harms {
            let mut bytes = encoded(which.get(&deltas), &known);
            if cut {
                bytes.truncate(place.index(bytes.len()));
            } else {
                let at = place.index(bytes.len());
                bytes[at] = byte;
            }
            messages.push(bytes);
        }
        for bytes in messages {
            let Some(delta) = decoded::<<S::State as Crdt>::Delta>(&bytes, &mut known) else {
                continue;
            };
            assert!(encoded(&delta, &known).len() <= bytes.len() + 8, "it grew");
            for site in &mut sites {
                site.receive(&Message { delta: delta.clone(), events: Vec::new() });
                S::State::join_delta(&mut site.change, &S::State::removals(&delta));
                ops.iter().for_each(|op| S::edit(site, op));
                S::read(&site.state);
                encoded(&site.state.whole(&site.context), &known);
                encoded(&site.send().delta, &known);
            }
        }
        exchange(&mut sites);
    });
}

/// The tests of one type: its name here, its state, an edit and how it is drawn, and what a client
/// reads.
#[macro_export]
macro_rules! laws {
    (
        $name:ident: $state:ty, $op:ty = $ops:expr,
        |$at:ident, $edit:pat_param| $body:expr,
        |$read:ident| $value:expr
        $(, settle |$settle:ident| $settled:expr)?
    ) => {
        mod $name {
            use super::*;

            struct Laws;

            impl $crate::laws::Subject for Laws {
                type State = $state;
                type Op = $op;

                fn ops() -> proptest::strategy::BoxedStrategy<$op> {
                    proptest::strategy::Strategy::boxed($ops)
                }

                fn edit($at: &mut $crate::laws::Site<$state>, $edit: &$op) {
                    $body;
                }

                fn read($read: &$state) -> impl Eq + core::fmt::Debug {
                    $value
                }

                $(fn settle($settle: &mut $state) {
                    $settled;
                })?
            }

            $crate::laws!(@tests
                join_is_a_semilattice deltas_say_what_the_state_says groups_equal_their_parts
                replicas_converge values_tell_of_themselves messages_come_back
                hostile_bytes_harm_nobody
            );
        }
    };
    (@tests $($law:ident)*) => {
        $(#[test] fn $law() { $crate::laws::$law::<Laws>(); })*
    };
}
