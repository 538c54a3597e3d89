//! MISO.ONCE: a write that runs once, however often it is sent.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::request::Args;

use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::once;
use crate::engine::wait::After;

pub(crate) const ONCE: &[Command] = &[Command::new(
    Row::command("MISO.ONCE")
        .args(&[
            Arg::string("id"),
            Arg::string("command").optional(),
            Arg::string("arg").optional().multiple(),
        ])
        .group(Group::Miso)
        .writes()
        .flags(Flags::ONCE.with(Flags::NO_MULTI).with(Flags::NOSCRIPT))
        .complexity("That of the command")
        .summary(
            "Runs a write once: a repeat with the same id, here, after a restart, or on another node \
             that has heard of it, changes nothing and answers what the first one answered; of increments \
             that nodes made under one id before they heard of each other one counts in the end. MULTI as the command begins a \
             transaction that EXEC runs once. An id has 1 to 64 bytes and is one of its database; a write that answers an error has not used it. Without a command: what \
             the write answered, or nil if it is not known to have run",
        )
        .merges("an id is forgotten once once-window is over and every node that is not forgotten has heard of it")
        .reply("As the command")
        .example(&[
            ("MISO.ONCE 7c9e6679 GCOUNTER.ADD cart-777 total 2", "(integer) 2"),
            ("MISO.ONCE 7c9e6679 GCOUNTER.ADD cart-777 total 2", "(integer) 2"),
            ("MISO.ONCE 7c9e6679", "(integer) 2"),
            ("GCOUNTER.GET cart-777 total", "(integer) 2"),
            ("MISO.ONCE 550e8400 GET key", "(error) ERR once: 'get' changes no data, so it needs no id"),
        ]),
    run,
)];

fn run(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    once::check_id(&args[1])?;
    if args.len() == 2 {
        once::look(cx, &args[1]);
    } else {
        cx.after = After::Once;
    }
    Ok(())
}
