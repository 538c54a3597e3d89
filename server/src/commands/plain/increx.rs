//! INCREX: a counter with bounds and a deadline in one command.

use miso_protocol::command::{Arg, Counting, Flags, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::{FOREVER, fixed};

use super::access::{Locked, with_key};
use super::expiry::{EX, EXAT, Expiry, PX, PXAT};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(crate) const INCREX: &[Command] = &[Command::new(
    Row::command("INCREX")
        .counts(Counting::Key)
        .args(&[
            Arg::key("key").read_written(),
            Arg::one_of(
                "increment",
                &[
                    Arg::integer("integer").with_token("BYINT"),
                    Arg::double("float").with_token("BYFLOAT"),
                ],
            )
            .optional(),
            Arg::double("lowerbound").with_token("LBOUND").optional(),
            Arg::double("upperbound").with_token("UBOUND").optional(),
            Arg::token("SATURATE").optional(),
            Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::token("PERSIST")]).optional(),
            Arg::token("ENX").optional(),
            Arg::one_of("condition", &[Arg::token("NX"), Arg::token("XX")]).optional(),
        ])
        .group(Group::String)
        .writes()
        .fast()
        .flags(Flags::RESETS)
        .decides_here("the bounds and conditions hold on this node's view; the counts add up")
        .summary("Adds to the number of a key within bounds, and sets its deadline")
        .reply("Array: the new value, and what was added; out of bounds the value and 0")
        .example(&[("INCREX hits BYINT 1 UBOUND 100 EX 60 ENX", "1) (integer) 1\n2) (integer) 1")]),
    increx,
)];

/// The options, in units of the fixed point.
struct Options<'a> {
    by: i128,
    /// Whether it counts in fractions: then replies are bulk strings.
    float: bool,
    least: Option<i128>,
    most: Option<i128>,
    saturate: bool,
    expiry: Expiry<'a>,
    /// Whether the deadline is set only if there is none.
    enx: bool,
    /// Whether the key must be there, or must not.
    present: Option<bool>,
}

fn number(text: &[u8], float: bool) -> Result<i128, CommandError> {
    if float {
        fixed::parse(text).map_err(|_| CommandError::NotFloat)
    } else {
        parse_i64(text).map(fixed::of_integer).ok_or(CommandError::NotInteger)
    }
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut words = Words::from(args, 2);
        let mut by: Option<(&[u8], bool)> = None;
        let (mut least, mut most, mut present): (Option<&[u8]>, Option<&[u8]>, _) =
            (None, None, None);
        let (mut saturate, mut enx) = (false, false);
        let mut expiry = Expiry::default();
        let once = |set: bool| if set { Ok(()) } else { Err(CommandError::Syntax) };
        while !words.is_empty() {
            if let Some(n) = words.option("BYINT")? {
                once(by.replace((n, false)).is_none())?;
            } else if let Some(n) = words.option("BYFLOAT")? {
                once(by.replace((n, true)).is_none())?;
            } else if let Some(n) = words.option("LBOUND")? {
                once(least.replace(n).is_none())?;
            } else if let Some(n) = words.option("UBOUND")? {
                once(most.replace(n).is_none())?;
            } else if words.token("SATURATE") {
                saturate = true;
            } else if words.token("ENX") {
                enx = true;
            } else if words.token("NX") {
                once(present.replace(false).is_none())?;
            } else if words.token("XX") {
                once(present.replace(true).is_none())?;
            } else if !expiry.take(&mut words, ("PERSIST", Expiry::Persist))? {
                return Err(CommandError::Syntax);
            }
        }
        if enx && !matches!(expiry, Expiry::Set(_)) {
            return Err(CommandError::Syntax);
        }
        let (text, float) = by.unwrap_or((b"1", false));
        let bound = |text: Option<&[u8]>| text.map(|text| number(text, float)).transpose();
        let (by, least, most) = (number(text, float)?, bound(least)?, bound(most)?);
        if least.zip(most).is_some_and(|(least, most)| least > most) {
            return Err(CommandError::Syntax);
        }
        Ok(Options { by, float, least, most, saturate, expiry, enx, present })
    }

    /// What to add to `old`; none if that is out of bounds.
    fn amount(&self, old: i128) -> Option<i128> {
        let sum = old.checked_add(self.by)?;
        let (least, most) = (self.least.unwrap_or(i128::MIN), self.most.unwrap_or(i128::MAX));
        if (least..=most).contains(&sum) {
            return Some(self.by);
        }
        // Never away from where the increment leads.
        let bounded = sum.clamp(least, most) - old;
        (self.saturate && bounded.signum() != -self.by.signum()).then_some(bounded)
    }
}

fn increx(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let options = Options::parse(args)?;
    check_key(cx, &args[1])?;
    let (value, added) = with_key(cx, &args[1], |locked, _| run(locked, &options))?;
    cx.reply.array(2);
    for n in [value, added] {
        match fixed::to_integer(n).filter(|_| !options.float) {
            Some(n) => cx.reply.integer(n),
            None => cx.reply.bulk(&fixed::print(n)),
        }
    }
    Ok(())
}

/// The new value, and what was added.
fn run(locked: &mut Locked<'_, '_>, options: &Options<'_>) -> Result<(i128, i128), CommandError> {
    let until = match &options.expiry {
        Expiry::Set(deadline) => Some(deadline.at(locked.now, "increx")?),
        Expiry::Persist => Some(FOREVER),
        Expiry::Keep | Expiry::None => None,
    };
    let at = locked.at();
    let string = locked.state::<kind::PlainString>()?;
    let text = string.and_then(|string| string.get(at.now, at.writers));
    let had = string.and_then(|string| string.deadline(at.now, at.writers));
    let old = text.as_deref().map_or(Ok(0), |text| number(text, options.float))?;
    if options.present.is_some_and(|present| present != text.is_some()) {
        return Ok((old, 0));
    }
    drop(text);
    let Some(amount) = options.amount(old) else { return Ok((old, 0)) };
    let sum = if options.float {
        locked.write::<kind::PlainString, _>(|string, moment, mint, change| {
            string.add_decimal(amount, moment, mint, change)
        })??
    } else {
        let amount = fixed::to_integer(amount).ok_or(CommandError::Overflow)?;
        let sum = locked.write::<kind::PlainString, _>(|string, moment, mint, change| {
            string.add(amount, moment, mint, change)
        })??;
        fixed::of_integer(sum)
    };
    let has_deadline = had.is_some_and(|had| had != FOREVER);
    match until.filter(|_| !(options.enx && has_deadline)) {
        Some(until) if until <= locked.now => _ = locked.delete(),
        Some(until) => _ = locked.expire(until)?,
        None => {}
    }
    Ok((sum, amount))
}
