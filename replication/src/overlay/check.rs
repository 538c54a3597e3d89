//! Limits of messages about nodes. A message beyond a limit is the peer's fault: its link is closed.

use miso_protocol::peer::{Hello, NodeRecord};

use crate::Fault;

/// The longest name of a node or a cluster, and the longest version, in bytes.
pub const NAME_MAX: usize = 256;
/// The longest `host:port`, in bytes.
pub const ADDRESS_MAX: usize = 256;
/// The most addresses of one node.
pub const ADDRESSES_MAX: usize = 16;
/// The most nodes of a table, and entries of one message about it.
pub const NODES_MAX: usize = 4096;
/// The most functions of one node.
pub const FUNCTIONS_MAX: usize = 65_536;
/// The longest name of a function or of a replica of it, in bytes.
pub const FUNCTION_NAME_MAX: usize = 512;
/// The most replicas by name that one node registers for a function.
pub const REPLICAS_MAX: usize = 4096;
/// Generations are below it: ms since 1970 need 41 bits.
pub(super) const GENERATION_END: u64 = 1 << 56;

pub(super) fn hello(hello: &Hello) -> Result<(), Fault> {
    length("version", hello.version.len(), NAME_MAX)?;
    identity(&hello.node, hello.generation, &hello.addresses)
}

pub(super) fn record(record: &NodeRecord) -> Result<(), Fault> {
    identity(&record.node, record.generation, &record.addresses)?;
    length("list of functions", record.functions.len(), FUNCTIONS_MAX)?;
    for function in &record.functions {
        length("function name", function.function.len(), FUNCTION_NAME_MAX)?;
        length("list of replicas", function.replicas.len(), REPLICAS_MAX)?;
        for replica in &function.replicas {
            length("replica name", replica.len(), FUNCTION_NAME_MAX)?;
        }
    }
    Ok(())
}

pub(super) fn length(what: &str, length: usize, max: usize) -> Result<(), Fault> {
    if length > max { Err(Fault(format!("{what} of {length}, at most {max}"))) } else { Ok(()) }
}

fn identity(node: &str, generation: u64, addresses: &[String]) -> Result<(), Fault> {
    if node.is_empty() {
        return Err(Fault("a node without a name".into()));
    }
    if node.chars().chain(addresses.iter().flat_map(|a| a.chars())).any(char::is_control) {
        return Err(Fault("control characters in a name".into()));
    }
    if generation >= GENERATION_END {
        return Err(Fault(format!("generation {generation}")));
    }
    length("node name", node.len(), NAME_MAX)?;
    addresses_of(addresses)
}

pub(super) fn addresses_of(addresses: &[String]) -> Result<(), Fault> {
    length("list of addresses", addresses.len(), ADDRESSES_MAX)?;
    addresses.iter().try_for_each(|address| length("address", address.len(), ADDRESS_MAX))
}
