//! `miso-server status`: how a node is, on one screen, asked of the node itself as any client could ask.

mod client;
mod screen;

use std::io::Write as _;

use crate::settings::cli::Target;

use client::Client;

/// Asks a node how it is, and prints that.
///
/// # Errors
/// If it cannot be reached, refuses the login, or is still reading its data; says which.
pub(crate) fn run(target: &Target) -> Result<(), String> {
    let failed = |error: String| format!("status: {}:{}: {error}", target.host, target.port);
    let mut client = Client::connect(target).map_err(failed)?;
    let mut ask = |command: &[&str]| client.ask(command).map_err(failed);
    let info = ask(&["INFO", "everything"])?;
    let nodes = ask(&["MISO.NODES"])?;
    let functions = ask(&["MISO.FUNCTIONS"])?;
    let text = screen::text(&info, &nodes, &functions);
    let printed = std::io::stdout().write_all(text.as_bytes());
    printed.map_err(|error| format!("cannot print the status: {error}"))
}
