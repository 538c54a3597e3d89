//! CLUSTER: what clients of a Redis cluster ask for, refused in Redis's words.

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::request::Args;

use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const ARGS: &[Arg] = &[Arg::string("arg").optional().multiple()];

/// A subcommand of this name.
const fn refused(name: &'static str) -> Command {
    let row = Row::subcommand(name)
        .args(ARGS)
        .group(Group::Cluster)
        .refused("every node holds all keys; there are no slots")
        .summary("About slots")
        .reply("Error");
    Command::new(row, no_cluster)
}

pub(super) const CLUSTER: Command = Command::parent(
    Row::command("CLUSTER").group(Group::Cluster).summary("Refused: this is no cluster"),
    &[
        refused("ADDSLOTS"),
        refused("ADDSLOTSRANGE"),
        refused("BUMPEPOCH"),
        refused("COUNT-FAILURE-REPORTS"),
        refused("COUNTKEYSINSLOT"),
        refused("DELSLOTS"),
        refused("DELSLOTSRANGE"),
        refused("FAILOVER"),
        refused("FLUSHSLOTS"),
        refused("FORGET"),
        refused("GETKEYSINSLOT"),
        refused("INFO"),
        refused("KEYSLOT"),
        refused("LINKS"),
        refused("MEET"),
        refused("MYID"),
        refused("MYSHARDID"),
        refused("NODES"),
        refused("REPLICAS"),
        refused("REPLICATE"),
        refused("RESET"),
        refused("SAVECONFIG"),
        refused("SET-CONFIG-EPOCH"),
        refused("SETSLOT"),
        refused("SHARDS"),
        refused("SLAVES"),
        refused("SLOTS"),
        helps(Group::Cluster),
    ],
);

pub(super) fn no_cluster(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::NoCluster)
}
