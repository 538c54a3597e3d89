//! A plain set: an add that a remove has not seen stays.
//!
//! As [`crate::Set`], with the life and the deadline of a plain key. `SPOP` is a choice and a remove:
//! two nodes may choose the same member while they are apart.

use super::Moment;
use super::cell::Cell;
use super::items::Mark;
use super::keyed::{Element, Keyed, KeyedDelta};
use crate::context::{Events, Writers};

/// A plain set.
pub type PlainSet = Keyed<Mark>;

/// A change of a plain set.
pub type PlainSetDelta = KeyedDelta<Mark>;

impl Element for Mark {
    type Index = ();
    type Place = ();

    fn place(_: &Cell<Mark>) -> Option<()> {
        None
    }

    fn moved(_: &mut (), _: &[u8], _: Option<()>, _: Option<()>) {}
}

impl PlainSet {
    /// Whether `member` is in it at `now`.
    #[must_use]
    pub fn contains(&self, member: &[u8], now: u64, writers: &Writers) -> bool {
        self.cell(member, now, writers).is_some()
    }

    /// Adds `member`; whether it was new here. Adding what is there still counts against a
    /// concurrent remove.
    pub fn add<E: Events>(
        &mut self,
        member: &[u8],
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut PlainSetDelta>,
    ) -> bool {
        let key = self.begin(moment, events, change.as_deref_mut());
        let under = key.under;
        self.touch(member, |cell| {
            let new = !Keyed::shows(cell, &key.hold, moment.now, moment.writers);
            // Its dot already stands for an update of this interval.
            let stands = |mark: &Mark| mark.under == under && events.unsent(mark.dot);
            if !matches!(cell, Cell::One(mark) if stands(mark)) {
                let change = change.map(|change| change.cell(member));
                cell.set(|dot, _| Mark { dot, under }, events, change);
            }
            new
        })
    }
}

const _: () = assert!(size_of::<Cell<Mark>>() <= 24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::{Site, exchange};
    use crate::{Context, Crdt};

    fn edit(
        site: &mut Site<PlainSet>,
        edit: impl FnOnce(&mut PlainSet, &Moment<'_>, &mut crate::laws::Mint, &mut PlainSetDelta),
    ) {
        let context: Context = site.context.clone();
        let writers = Writers::new();
        let moment = Moment { now: 1, writers: &writers, context: &|| context.clone() };
        site.edit(|set, events, change| edit(set, &moment, events, change));
    }

    /// Two removes that had each seen a part leave no member and the life of one: a delete of whatever is
    /// under the name takes that away as well.
    #[test]
    fn a_delete_takes_away_a_life_without_members() {
        let [mut a, mut b, mut c] = [0, 1, 2].map(Site::<PlainSet>::new);
        edit(&mut a, |set, moment, events, change| {
            set.add(b"x", moment, events, Some(change));
        });
        edit(&mut b, |set, moment, events, change| {
            set.add(b"y", moment, events, Some(change));
        });
        let (of_a, of_b) = (a.send(), b.send());
        c.receive(&of_a);
        c.receive(&of_b);
        edit(&mut c, |set, moment, events, change| {
            assert!(set.remove(b"x", moment, events, Some(change)));
        });
        edit(&mut b, |set, moment, events, change| {
            assert!(set.remove(b"y", moment, events, Some(change)));
        });
        let mut sites = [a, b, c];
        exchange(&mut sites);
        assert!(sites.iter().all(|site| site.state.is_absent() && site.state.births().len() == 1));
        let context = sites[0].context.clone();
        sites[0].edit(|set, events, change| {
            assert!(!set.reset(&context, events, Some(change)), "nothing was there to be read");
        });
        exchange(&mut sites);
        assert!(sites.iter().all(|site| site.state.is_blank()));
    }
}
