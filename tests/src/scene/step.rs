//! The steps of a scene.

use std::time::Duration;

use bytes::Bytes;
use miso_replication::Ask;
use miso_replication::node::Input;

use super::command;
use super::network::{FUNCTION, Limits, Network};

/// How long questions wait for their answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays one line.
pub(super) fn play(network: &mut Network, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(rest) = line.strip_prefix("expect ") {
        return expect(network, rest);
    }
    if let Some((name, command)) = line.split_once(": ")
        && !name.contains(' ')
    {
        let at = network.host(name)?;
        let answer = run(network, at, command)?;
        network.say(answer);
        // What it wrote is told to the node, which sends it at once.
        network.drive(at, Input::Tick);
        return Ok(());
    }
    match words[..] {
        ["cluster", ref names @ ..] => cluster(network, names),
        ["meet", ref names @ ..] => meet(network, names),
        ["link", a, b] => {
            let (a, b) = (network.host(a)?, network.host(b)?);
            network.link(a, b);
            Ok(())
        }
        ["cut", a, b] => {
            let (a, b) = (network.host(a)?, network.host(b)?);
            network.cut(a, b);
            Ok(())
        }
        ["deliver", way, ref count @ ..] => network.deliver(ends(network, way)?, number(count)?),
        ["drop", way, ref count @ ..] => network.lose_first(ends(network, way)?, number(count)?),
        ["double", way] => network.double(ends(network, way)?),
        ["late", way] => network.hold_back(ends(network, way)?),
        ["wait", time] => network.pass(duration(time)?, false),
        ["run", time] => network.pass(duration(time)?, true),
        ["quiet", time] => {
            let (time, mut passed) = (duration(time)?, Ok(()));
            network.quietly(|network| passed = network.pass(time, true));
            passed
        }
        ["crash", name] => {
            let at = network.host(name)?;
            network.stop(at);
            Ok(())
        }
        ["restart", name] => {
            let at = network.host(name)?;
            network.restart(at, true);
            Ok(())
        }
        ["restart", name, "without", "memory"] => {
            let at = network.host(name)?;
            network.restart(at, false);
            Ok(())
        }
        [name, ref act @ ..] => of_node(network, name, act),
        [] => Ok(()),
    }
}

fn cluster(network: &mut Network, words: &[&str]) -> Result<(), String> {
    let (mut names, mut limits) = (Vec::new(), Limits::default());
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => limits.set(name, value)?,
            None => names.push(*word),
        }
    }
    network.found(&names, limits);
    Ok(())
}

/// Links all of them, and lets them settle.
fn meet(network: &mut Network, names: &[&str]) -> Result<(), String> {
    let hosts = names.iter().map(|name| network.host(name)).collect::<Result<Vec<_>, _>>()?;
    let mut settled = Ok(());
    network.quietly(|network| {
        for (n, a) in hosts.iter().enumerate() {
            hosts[n + 1..].iter().for_each(|b| network.link(*a, *b));
        }
        settled = network.pass(Duration::from_secs(5), true);
    });
    settled
}

/// What a node is told, or told to do.
fn of_node(network: &mut Network, name: &str, act: &[&str]) -> Result<(), String> {
    let at = network.host(name).map_err(|_| "there is no such step".to_owned())?;
    let until = network.until(PATIENCE);
    let ask = match act {
        ["runs", function] => {
            network.at(at).runs.insert(Bytes::copy_from_slice(function.as_bytes()));
            network.tell_runs(at);
            return Ok(());
        }
        ["ends", function] => {
            network.at(at).runs.remove(function.as_bytes());
            network.tell_runs(at);
            return Ok(());
        }
        ["leaves"] => Ask::Leave { until },
        ["forgets", node] => Ask::Forget { node: (*node).to_owned() },
        ["syncs"] => Ask::Sync { function: Some(FUNCTION), until },
        ["fetches", object] => {
            let object = Bytes::copy_from_slice(object.as_bytes());
            Ask::Fetch { function: FUNCTION, object, name: None, until }
        }
        ["waits", peers] => {
            let seq = network.at(at).store.function(&FUNCTION).seq();
            let peers = peers.parse().map_err(|_| "how many peers?".to_owned())?;
            Ask::Wait { function: FUNCTION, seq, peers, durable: false, until: Some(until) }
        }
        ["awaits", other] => {
            let other = network.host(other)?;
            let vector = network.at(other).store.function(&FUNCTION).token();
            Ask::Await { function: FUNCTION, vector, until: Some(until) }
        }
        _ => return Err("there is no such step".to_owned()),
    };
    network.ask(at, ask);
    Ok(())
}

fn run(network: &mut Network, at: usize, line: &str) -> Result<String, String> {
    let host = network.at(at);
    if !host.up {
        return Err(format!("{} is not running", host.name));
    }
    command::run(&host.store.function(&FUNCTION), line)
}

/// `A B: COMMAND => answer`
fn expect(network: &mut Network, line: &str) -> Result<(), String> {
    let (names, rest) = line.split_once(": ").ok_or("whose answer?")?;
    let (command, wanted) = rest.split_once(" => ").ok_or("which answer?")?;
    for name in names.split_whitespace() {
        let at = network.host(name)?;
        let answer = run(network, at, command)?;
        if answer != wanted {
            return Err(format!("{name} answers {answer}"));
        }
    }
    Ok(())
}

/// `A->B`
fn ends(network: &Network, way: &str) -> Result<(usize, usize), String> {
    let (from, to) = way.split_once("->").ok_or("a way is written A->B")?;
    Ok((network.host(from)?, network.host(to)?))
}

fn number(words: &[&str]) -> Result<Option<usize>, String> {
    match words {
        [] => Ok(None),
        [one] => one.parse().map(Some).map_err(|_| format!("{one} is no number")),
        _ => Err("too many words".to_owned()),
    }
}

/// `20ms` or `3s`
fn duration(text: &str) -> Result<Duration, String> {
    let ms = text.strip_suffix("ms").and_then(|n| n.parse().ok()).map(Duration::from_millis);
    let s = || text.strip_suffix('s').and_then(|n| n.parse().ok()).map(Duration::from_secs);
    ms.or_else(s).ok_or_else(|| format!("{text} is no time"))
}
