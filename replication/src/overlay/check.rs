//! Limits of messages about nodes. A message beyond a limit is the peer's fault: its link is closed.

use miso_protocol::names::{self, NAME_MAX};
use miso_protocol::peer::{Digest, Hello, NodeRecord};

use crate::Fault;

/// The longest `host:port`, in bytes.
pub const ADDRESS_MAX: usize = 256;
/// The most addresses of one node.
pub const ADDRESSES_MAX: usize = 16;
/// The most nodes of a table, and entries of one message about it.
pub const NODES_MAX: usize = 4096;
/// The most functions of one node.
pub const FUNCTIONS_MAX: usize = 65_536;
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
        names::check_stored(&function.function).map_err(|bad| Fault(format!("function: {bad}")))?;
        length("list of replicas", function.replicas.len(), REPLICAS_MAX)?;
        for replica in &function.replicas {
            name("replica", replica)?;
        }
    }
    Ok(())
}

pub(super) fn digest(digest: &Digest) -> Result<(), Fault> {
    length("digest", digest.entries.len(), NODES_MAX)?;
    for entry in &digest.entries {
        name("node", entry.node.as_bytes())?;
        generation(entry.generation)?;
    }
    Ok(())
}

fn name(what: &str, bytes: &[u8]) -> Result<(), Fault> {
    names::check(bytes).map_err(|bad| Fault(format!("{what}: {bad}")))
}

fn generation(generation: u64) -> Result<(), Fault> {
    if generation >= GENERATION_END {
        Err(Fault(format!("generation {generation}")))
    } else {
        Ok(())
    }
}

pub(super) fn length(what: &str, length: usize, max: usize) -> Result<(), Fault> {
    if length > max { Err(Fault(format!("{what} of {length}, at most {max}"))) } else { Ok(()) }
}

fn identity(node: &str, started: u64, addresses: &[String]) -> Result<(), Fault> {
    name("node", node.as_bytes())?;
    generation(started)?;
    addresses_of(addresses)
}

/// Addresses stand in logs and replies: no blanks, nothing that is not printable ASCII.
pub(super) fn addresses_of(addresses: &[String]) -> Result<(), Fault> {
    length("list of addresses", addresses.len(), ADDRESSES_MAX)?;
    addresses.iter().try_for_each(|address| {
        length("address", address.len(), ADDRESS_MAX)?;
        if address.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(Fault("an address that is not printable ASCII".into()))
        }
    })
}
