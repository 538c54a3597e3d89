//! Places on a map, which are scores of sorted sets.

use miso_protocol::command::{Arg, Flags, Group, Row, Until};
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::PlainZSet;

use super::access::{At, float, read, with_key};
use super::geohash::{LATITUDE_MAX, LONGITUDE_MAX, Place};
use super::zset::{Adding, add};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const MEMBER: Arg = Arg::string("member");
/// The units of length.
pub(super) const UNIT: Arg =
    Arg::one_of("unit", &[Arg::token("M"), Arg::token("KM"), Arg::token("FT"), Arg::token("MI")]);

pub(crate) const PLACES: &[Command] = &[
    Command::new(
        Row::command("GEOADD")
            .args(&[
                KEY.read_written(),
                Arg::one_of("condition", &[Arg::token("NX"), Arg::token("XX")]).optional(),
                Arg::token("CH").optional(),
                Arg::block("data", &[Arg::double("longitude"), Arg::double("latitude"), MEMBER])
                    .multiple(),
            ])
            .group(Group::Geo)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N log M) with N members given and M in the set")
            .decides_with(&["NX", "XX"], 2, Until::Number)
            .merges("the later place; NX and XX decide here whether to set")
            .summary("Sets places of members of a sorted set, made if it is absent")
            .reply("Integer: how many members were new here, with CH also moved")
            .example(&[("GEOADD sicily 13.361389 38.115556 Palermo", "(integer) 1")]),
        geoadd,
    ),
    Command::new(
        Row::command("GEODIST")
            .args(&[KEY, Arg::string("member1"), Arg::string("member2"), UNIT.optional()])
            .group(Group::Geo)
            .reads()
            .summary("How far two members are from each other, in metres if no unit is given")
            .reply("Bulk string, or nil if one is absent"),
        geodist,
    ),
    Command::new(
        Row::command("GEOHASH")
            .args(&[KEY, MEMBER.multiple().optional()])
            .group(Group::Geo)
            .reads()
            .complexity("O(N) with N members given")
            .summary("The geohashes of members, of 11 characters")
            .reply("Array of bulk strings and nils"),
        geohash,
    ),
    Command::new(
        Row::command("GEOPOS")
            .args(&[KEY, MEMBER.multiple().optional()])
            .group(Group::Geo)
            .reads()
            .complexity("O(N) with N members given")
            .summary("The places of members")
            .reply("Array of pairs of longitude and latitude, and of nils"),
        geopos,
    ),
];

/// Reads a longitude and a latitude.
pub(super) fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let place = Place { longitude: float(longitude)?, latitude: float(latitude)? };
    if place.longitude.abs() > LONGITUDE_MAX || place.latitude.abs() > LATITUDE_MAX {
        let shown = |n: f64| format!("{n:.6}").into();
        return Err(CommandError::InvalidPlace(shown(place.longitude), shown(place.latitude)));
    }
    Ok(place)
}

/// Reads a unit of length: how many metres it is.
pub(super) fn unit(text: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = UNITS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, metres)| *metres).ok_or(CommandError::InvalidUnit)
}

/// Writes a distance: a bulk string with four digits after the point.
pub(super) fn tell_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk_display(format_args!("{distance:.4}"));
}

/// Writes a place: two numbers in all their digits.
pub(super) fn tell_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(text);
    }
}

/// The place of a member.
pub(super) fn place_of(zset: Option<&PlainZSet>, member: &[u8], at: At<'_>) -> Option<Place> {
    zset?.score(member, at.now, at.writers).map(Place::of_score)
}

fn geoadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let mut options = Adding::default();
    loop {
        if words.token("NX") {
            options.absent = true;
        } else if words.token("XX") {
            options.present = true;
        } else if words.token("CH") {
            options.changed = true;
        } else {
            break;
        }
    }
    let mut places = Vec::with_capacity(args.len() / 3);
    while !words.is_empty() {
        places.push((words.word()?, words.word()?, words.word()?));
    }
    if options.absent && options.present || places.is_empty() {
        return Err(CommandError::Syntax);
    }
    let mut scores = Vec::with_capacity(places.len());
    for (longitude, latitude, member) in places {
        scores.push((place(longitude, latitude)?.score(), member));
    }
    check_key(cx, &args[1])?;
    let count = with_key(cx, &args[1], |locked, _| add(locked, options, &scores))?;
    cx.reply.integer(count);
    Ok(())
}

fn geodist(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 5 {
        return Err(CommandError::Syntax);
    }
    let metres = args.get(4).map_or(Ok(1.0), unit)?;
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let (from, to) = (
            place_of(zset.map(Box::as_ref), &args[2], at),
            place_of(zset.map(Box::as_ref), &args[3], at),
        );
        let (Some(from), Some(to)) = (from, to) else {
            reply.null();
            return false;
        };
        tell_distance(reply, from.distance(to) / metres);
        true
    })
}

fn geohash(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let members = args.tail(2);
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        reply.array(members.len());
        for member in members.iter() {
            match place_of(zset.map(Box::as_ref), member, at) {
                Some(place) => reply.bulk(&place.text()),
                None => reply.null(),
            }
        }
        zset.is_some()
    })
}

fn geopos(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let members = args.tail(2);
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        reply.array(members.len());
        for member in members.iter() {
            match place_of(zset.map(Box::as_ref), member, at) {
                Some(place) => tell_place(reply, place),
                None => reply.null_array(),
            }
        }
        zset.is_some()
    })
}
