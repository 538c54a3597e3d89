//! From a token to a session: the token becomes an AUTH, so that back-off, ACL log and rights are those of
//! RESP.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use miso_protocol::names;
use miso_protocol::rest::commands::Commands;
use miso_protocol::rest::json;

use super::activity::Activity;
use super::run::{Run, Stop};
use super::served::{Served, Speaker};
use crate::engine::error::CommandError;
use crate::node::Node;
use crate::node::acl::token;

/// The session that a token stands for. A token is checked once for each connection, until a user
/// changes.
///
/// # Errors
/// If there is no token or it is not good, or there are too many clients; or the connection is to end.
pub(super) async fn speaker(
    served: &Served,
    token: Option<Cow<'_, [u8]>>,
) -> Result<Speaker, Stop> {
    let token = token.ok_or(CommandError::HttpNoToken)?;
    let node = served.node();
    let generation = node.acl.generation();
    let mut speaker = match served.take(&token) {
        Some(speaker) if speaker.generation == generation => {
            speaker.session.client.active_ms.store(node.uptime_ms(), Ordering::Relaxed);
            return Ok(speaker);
        }
        Some(speaker) => speaker,
        None => served.open(&token)?,
    };
    speaker.generation = generation;
    let (user, password) = credentials(node, &token)?;
    let commands = Commands::of(&[b"AUTH", &user, &password]);
    let mut run = Run::new(served, &mut speaker);
    run.command(commands.args(0)).await?;
    let (reply, _) = run.finish().await?;
    if let Some(line) = json::error_of(&reply) {
        return Err(Stop::Refused(line.into()));
    }
    served.activity(Activity::trust);
    Ok(speaker)
}

/// A user and a password, as AUTH takes them.
type Credentials<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The user and the password that a token stands for.
fn credentials<'a>(node: &Node, token: &'a [u8]) -> Result<Credentials<'a>, CommandError> {
    if let Some(function) = token::function(token) {
        return Ok((function.into(), token.into()));
    }
    let colon = token.iter().position(|byte| *byte == b':');
    if node.acl.open_mode() {
        // The user is the function, as for RESP. A real password must not become a function's name.
        let function = token.strip_suffix(b":-").unwrap_or(token);
        if function.len() == token.len() && colon.is_some() {
            return Err(CommandError::HttpOpenToken);
        }
        names::check(function)
            .map_err(|why| CommandError::BadName("token".into(), why.to_string().into()))?;
        return Ok((function.into(), b"-"[..].into()));
    }
    Ok(match colon {
        Some(at) => (token[..at].into(), token[at + 1..].into()),
        // What is no token is a wrong password of nobody.
        None => (token::name(token).unwrap_or_default().into(), token.into()),
    })
}
