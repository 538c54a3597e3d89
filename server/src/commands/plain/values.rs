//! MISO.VALUES: all that nodes wrote to a string at the same time.

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use super::access::read;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(crate) const VALUES: &[Command] = &[Command::new(
    Row::command("MISO.VALUES")
        .args(&[Arg::key("key")])
        .group(Group::Miso)
        .reads()
        .complexity("O(N) with N values")
        .summary(
            "All values of a string that nodes set without seeing each other's; GET answers the latest, \
             and the next SET replaces all",
        )
        .reply("Array of bulk strings, bytewise in order; empty if the key is absent")
        .example(&[("SET color red", "OK"), ("MISO.VALUES color", "1) \"red\"")]),
    values,
)];

fn values(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        let values = string.map_or_else(Vec::new, |string| string.values(at.now, at.writers));
        reply.array(values.len());
        values.iter().for_each(|value| reply.bulk(value));
        !values.is_empty()
    })
}
