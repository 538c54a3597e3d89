//! Searches for places: GEOSEARCH and GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use super::access::{Locked, float, with_key};
use super::geo::{UNIT, place, place_of, tell_distance, tell_place, unit};
use super::geohash::{Area, Place, Shape};
use super::string_many::locked;
use super::zset_range::{Scored, store};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key").read();
const MEMBER: Arg = Arg::string("member");
const RADIUS: Arg = Arg::double("radius");
const LONGITUDE: Arg = Arg::double("longitude");
const LATITUDE: Arg = Arg::double("latitude");
const FROM: Arg = Arg::one_of(
    "from",
    &[
        Arg::string("member").with_token("FROMMEMBER"),
        Arg::block("fromlonlat", &[LONGITUDE, LATITUDE]).with_token("FROMLONLAT"),
    ],
);
const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block("circle", &[RADIUS, UNIT]).with_token("BYRADIUS"),
        Arg::block("box", &[Arg::double("width"), Arg::double("height"), UNIT]).with_token("BYBOX"),
    ],
);
const SORT: Arg = Arg::one_of("order", &[Arg::token("ASC"), Arg::token("DESC")]).optional();
const COUNT: Arg = Arg::block(
    "count-block",
    &[Arg::integer("count").with_token("COUNT"), Arg::token("ANY").optional()],
)
.optional();
const WITH_COORD: Arg = Arg::token("WITHCOORD").optional();
const WITH_DIST: Arg = Arg::token("WITHDIST").optional();
const WITH_HASH: Arg = Arg::token("WITHHASH").optional();
const STORE: Arg = Arg::one_of(
    "store",
    &[
        Arg::key("storekey").written().with_token("STORE"),
        Arg::key("storedistkey").written().with_token("STOREDIST"),
    ],
)
.optional();
const SEARCHED: &str = "O(N + log M) with N members near the middle and M in all";
const STORED: &str = "which members are within; of two results stored at once both stay";
const MEMBERS: &str = "Array of members, each an array with what else is told of it";
const AROUND: &str = "The members within a circle around a place; see GEOSEARCH";
const AROUND_MEMBER: &str = "The members within a circle around a member; see GEOSEARCH";

/// A row that tells what it finds.
const fn telling(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::Geo)
        .reads()
        .complexity(SEARCHED)
        .summary(summary)
        .reply(MEMBERS)
}

/// A row that may store what it finds.
const fn storing(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::Geo)
        .writes()
        .flags(Flags::RESETS)
        .complexity(SEARCHED)
        .decides_here(STORED)
        .summary(summary)
}

pub(crate) const SEARCHES: &[Command] = &[
    Command::new(
        telling(
            "GEOSEARCH",
            &[KEY, FROM, BY, SORT, COUNT, WITH_COORD, WITH_DIST, WITH_HASH],
            "The members within a circle or a box around a member or a place",
        ),
        |cx, args| search(cx, args, Form { first: 2, ..Form::SEARCH }),
    ),
    Command::new(
        storing(
            "GEOSEARCHSTORE",
            &[
                Arg::key("destination").written(),
                Arg::key("source").read(),
                FROM,
                BY,
                SORT,
                COUNT,
                Arg::token("STOREDIST").optional(),
            ],
            "Stores the members within a circle or a box, in place of what is there",
        )
        .reply("Integer: how many were stored"),
        |cx, args| search(cx, args, Form { first: 3, key: 2, into: true, ..Form::SEARCH }),
    ),
    Command::new(
        storing(
            "GEORADIUS",
            &[
                KEY, LONGITUDE, LATITUDE, RADIUS, UNIT, WITH_COORD, WITH_DIST, WITH_HASH, COUNT,
                SORT, STORE,
            ],
            AROUND,
        )
        .reply("Array of members; with STORE an integer: how many were stored"),
        |cx, args| search(cx, args, Form { first: 6, stores: true, ..Form::AROUND }),
    ),
    Command::new(
        telling(
            "GEORADIUS_RO",
            &[
                KEY, LONGITUDE, LATITUDE, RADIUS, UNIT, WITH_COORD, WITH_DIST, WITH_HASH, COUNT,
                SORT,
            ],
            AROUND,
        ),
        |cx, args| search(cx, args, Form { first: 6, ..Form::AROUND }),
    ),
    Command::new(
        storing(
            "GEORADIUSBYMEMBER",
            &[KEY, MEMBER, RADIUS, UNIT, WITH_COORD, WITH_DIST, WITH_HASH, COUNT, SORT, STORE],
            AROUND_MEMBER,
        )
        .reply("Array of members; with STORE an integer: how many were stored"),
        |cx, args| search(cx, args, Form { first: 5, stores: true, ..Form::AROUND }),
    ),
    Command::new(
        telling(
            "GEORADIUSBYMEMBER_RO",
            &[KEY, MEMBER, RADIUS, UNIT, WITH_COORD, WITH_DIST, WITH_HASH, COUNT, SORT],
            AROUND_MEMBER,
        ),
        |cx, args| search(cx, args, Form { first: 5, ..Form::AROUND }),
    ),
];

/// What the name of a command says of its arguments.
#[derive(Clone, Copy)]
struct Form {
    /// The first word of the options.
    first: usize,
    /// The word that is the key searched.
    key: usize,
    /// Whether the middle and the size are options: GEOSEARCH.
    free: bool,
    /// Whether the first word is the key to store into.
    into: bool,
    /// Whether STORE and STOREDIST are options.
    stores: bool,
}

impl Form {
    const SEARCH: Form = Form { first: 2, key: 1, free: true, into: false, stores: false };
    const AROUND: Form = Form { free: false, ..Form::SEARCH };
}

/// The middle of a search.
#[derive(Clone, Copy)]
enum Middle<'a> {
    Member(&'a [u8]),
    Place(Place),
}

/// A search as a command says it.
struct Search<'a> {
    middle: Option<Middle<'a>>,
    shape: Option<Shape>,
    /// Metres of the unit.
    metres: f64,
    /// Ascending or descending, if told.
    ascending: Option<bool>,
    count: usize,
    any: bool,
    /// Whether distance, score and place are told.
    with: (bool, bool, bool),
    into: Option<&'a [u8]>,
    stores_distance: bool,
}

/// Reads a length that is not negative.
fn length(
    text: &[u8],
    (no_number, negative): (CommandError, CommandError),
) -> Result<f64, CommandError> {
    match float(text) {
        Ok(length) if length < 0.0 => Err(negative),
        Ok(length) => Ok(length),
        Err(_) => Err(no_number),
    }
}

impl<'a> Search<'a> {
    /// Reads the arguments.
    ///
    /// As Redis, it looks at what is there on the way: of an absent key (`is_there`) a member's circle is not looked
    /// at, and a member must be known (`check_member`) before the words after it are read.
    fn parse(
        args: Args<'a>,
        form: Form,
        is_there: bool,
        check_member: &mut dyn FnMut(&[u8]) -> Result<(), CommandError>,
    ) -> Result<Search<'a>, CommandError> {
        let mut search = Search {
            middle: None,
            shape: None,
            metres: 1.0,
            ascending: None,
            count: 0,
            any: false,
            with: (false, false, false),
            into: if form.into { args.get(1) } else { None },
            stores_distance: false,
        };
        let mut words = Words::from(args, 2);
        if form.free {
            words = Words::from(args, form.first);
        } else {
            search.middle = Some(if form.first == 6 {
                Middle::Place(place(words.word()?, words.word()?)?)
            } else {
                let member = words.word()?;
                check_member(member)?;
                Middle::Member(member)
            });
            if form.first == 6 || is_there {
                search.circle(&mut words)?;
            } else {
                search.shape = Some(Shape::Circle(0.0));
                words = Words::from(args, form.first);
            }
        }
        while !words.is_empty() {
            let taken = search.option(&mut words)?
                || form.free && search.area(&mut words, check_member)?
                || search.target(&mut words, form)?;
            if !taken {
                return Err(CommandError::Syntax);
            }
        }
        search.check(args, form)?;
        Ok(search)
    }

    /// Takes `radius unit`.
    fn circle(&mut self, words: &mut Words<'a>) -> Result<(), CommandError> {
        let errors = (CommandError::RadiusNotFloat, CommandError::RadiusNegative);
        let radius = length(words.word()?, errors)?;
        self.metres = unit(words.word()?)?;
        self.shape = Some(Shape::Circle(radius * self.metres));
        Ok(())
    }

    /// Takes the middle or the size of GEOSEARCH; whether the next word was one.
    fn area(
        &mut self,
        words: &mut Words<'a>,
        check_member: &mut dyn FnMut(&[u8]) -> Result<(), CommandError>,
    ) -> Result<bool, CommandError> {
        if !matches!(self.middle, Some(Middle::Place(_))) && words.token("FROMMEMBER") {
            let member = words.word()?;
            check_member(member)?;
            self.middle = Some(Middle::Member(member));
        } else if !matches!(self.middle, Some(Middle::Member(_))) && words.token("FROMLONLAT") {
            let (longitude, latitude) = (words.word()?, words.word()?);
            self.middle = Some(Middle::Place(place(longitude, latitude)?));
        } else if !matches!(self.shape, Some(Shape::Box(..))) && words.token("BYRADIUS") {
            words.check_left(2)?;
            self.circle(words)?;
        } else if !matches!(self.shape, Some(Shape::Circle(_))) && words.token("BYBOX") {
            words.check_left(3)?;
            let (width, height) = (words.word()?, words.word()?);
            let sizes = |text, none| length(text, (none, CommandError::BoxNegative));
            let width = sizes(width, CommandError::WidthNotFloat)?;
            let height = sizes(height, CommandError::HeightNotFloat)?;
            self.metres = unit(words.word()?)?;
            self.shape = Some(Shape::Box(width * self.metres, height * self.metres));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes an option that all have; whether the next word was one.
    fn option(&mut self, words: &mut Words<'a>) -> Result<bool, CommandError> {
        if words.token("WITHDIST") {
            self.with.0 = true;
        } else if words.token("WITHHASH") {
            self.with.1 = true;
        } else if words.token("WITHCOORD") {
            self.with.2 = true;
        } else if words.token("ANY") {
            self.any = true;
        } else if words.token("ASC") {
            self.ascending = Some(true);
        } else if words.token("DESC") {
            self.ascending = Some(false);
        } else if let Some(count) = words.option("COUNT")? {
            let count = parse_i64(count).ok_or(CommandError::NotInteger)?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            self.count = count.ok_or(CommandError::GeoCount)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes where to store; whether the next word said it.
    fn target(&mut self, words: &mut Words<'a>, form: Form) -> Result<bool, CommandError> {
        if form.into && words.token("STOREDIST") {
            self.stores_distance = true;
        } else if form.stores
            && let Some(key) = words.option("STORE")?
        {
            (self.into, self.stores_distance) = (Some(key), false);
        } else if form.stores
            && let Some(key) = words.option("STOREDIST")?
        {
            (self.into, self.stores_distance) = (Some(key), true);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Checks what must be there, and what must not be together.
    fn check(&self, args: Args<'_>, form: Form) -> Result<(), CommandError> {
        if self.into.is_some() && self.with != (false, false, false) {
            let what = if form.into { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(CommandError::GeoStoreWith(what.into()));
        }
        if self.middle.is_none() {
            return Err(CommandError::GeoFrom(args[0].into()));
        }
        if self.shape.is_none() {
            return Err(CommandError::GeoBy(args[0].into()));
        }
        if self.any && self.count == 0 { Err(CommandError::GeoAny) } else { Ok(()) }
    }

    /// What is within, in the order that was asked for.
    fn run(&self, locked: &Locked<'_, '_>) -> Result<Vec<Found>, CommandError> {
        let at = locked.at();
        let zset = locked.state::<kind::PlainZSet>()?;
        let Some(order) = zset.and_then(|zset| zset.order(at.now, at.writers)) else {
            return Ok(Vec::new());
        };
        let middle = match self.middle {
            Some(Middle::Place(place)) => Some(place),
            Some(Middle::Member(member)) => place_of(zset.map(Box::as_ref), member, at),
            None => None,
        };
        let middle = middle.ok_or(CommandError::NoSuchPlace)?;
        let area = Area { middle, shape: self.shape.unwrap_or(Shape::Circle(0.0)) };
        let mut found = Vec::new();
        'all: for scores in area.scores() {
            let from = order.partition_point(|score, _| score < scores.start);
            let to = order.partition_point(|score, _| score < scores.end);
            for (score, member) in order.range(from..to.max(from)) {
                let place = Place::of_score(score);
                let Some(distance) = area.within(place) else { continue };
                found.push(Found { member: Box::from(member), score, place, distance });
                if self.any && found.len() >= self.count {
                    break 'all;
                }
            }
        }
        // The nearest, if only some are wanted.
        let ascending = self.ascending.or((self.count > 0 && !self.any).then_some(true));
        if let Some(ascending) = ascending {
            found.sort_by(|a, b| {
                let order = a.distance.total_cmp(&b.distance);
                if ascending { order } else { order.reverse() }
            });
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        Ok(found)
    }

    /// Tells what was found.
    fn tell(&self, found: &[Found], reply: &mut Reply<'_>) {
        let (with_distance, with_hash, with_place) = self.with;
        let more = [with_distance, with_hash, with_place].into_iter().filter(|with| *with).count();
        reply.array(found.len());
        for one in found {
            if more > 0 {
                reply.array(more + 1);
            }
            reply.bulk(&one.member);
            if with_distance {
                tell_distance(reply, one.distance / self.metres);
            }
            if with_hash {
                reply.integer(one.score as i64);
            }
            if with_place {
                tell_place(reply, one.place);
            }
        }
    }
}

/// A member that a search finds; its distance in metres.
struct Found {
    member: Box<[u8]>,
    score: f64,
    place: Place,
    distance: f64,
}

fn search(cx: &mut Context<'_>, args: Args<'_>, form: Form) -> Result<(), CommandError> {
    let from = &args[form.key];
    let is_there = with_key(cx, from, |locked, _| {
        let (zset, at) = (locked.state::<kind::PlainZSet>()?, locked.at());
        Ok(zset.is_some_and(|zset| zset.order(at.now, at.writers).is_some()))
    })?;
    let mut check_member = |member: &[u8]| {
        let is_known = |locked: &Locked<'_, '_>| {
            let zset = locked.state::<kind::PlainZSet>()?;
            place_of(zset.map(Box::as_ref), member, locked.at()).ok_or(CommandError::NoSuchPlace)
        };
        if is_there { with_key(cx, from, |locked, _| is_known(locked)).map(|_| ()) } else { Ok(()) }
    };
    let search = Search::parse(args, form, is_there, &mut check_member)?;
    let Some(to) = search.into else {
        let found = cx.with_keys([from].into_iter(), |held| {
            let now = held.function().now();
            locked(held, (from, now), |locked| search.run(locked))
        })?;
        cx.hit(!found.is_empty());
        search.tell(&found, &mut cx.reply);
        return Ok(());
    };
    check_key(cx, to)?;
    let stored = cx.with_keys([from, to].into_iter(), |held| {
        let now = held.function().now();
        let found = locked(held, (from, now), |locked| search.run(locked))?;
        let score = |found: &Found| {
            if search.stores_distance { found.distance / search.metres } else { found.score }
        };
        let members: Scored = found.into_iter().map(|one| (score(&one), one.member)).collect();
        locked(held, (to, now), |locked| store(locked, &members))
    })?;
    cx.reply.integer(stored);
    Ok(())
}
