//! A client's commands in a scene: enough of each type, on the store itself.

use std::sync::Arc;

use miso_store::crdt::{Type, Value, Writers, kind};
use miso_store::{Function, Slot};

/// Runs a command and answers what a client would read.
pub(super) fn run(function: &Arc<Function>, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (Some(name), rest) = (words.first(), words.get(1..).unwrap_or_default()) else {
        return Err("a command is missing".to_owned());
    };
    let deletes = ["MISO.DEL", "ORSET.REM", "EWFLAG.DISABLE", "ORMAP.DEL"];
    if deletes[..1].contains(name) && function.deletes_paused() {
        return Ok("waits: deletes are paused".to_owned());
    }
    match rest {
        [object, slot, more @ ..] => {
            let key = (miso_store::hash(object.as_bytes()), object.as_bytes(), slot.as_bytes());
            on_slot(function, name, key, more)
        }
        _ => Err("an object and a name are missing".to_owned()),
    }
}

fn on_slot(
    function: &Arc<Function>,
    command: &str,
    key: (u64, &[u8], &[u8]),
    more: &[&str],
) -> Result<String, String> {
    let mut shard = function.lock(function.shard_of(key.0));
    let word = more.first().copied().unwrap_or_default();
    let n = || -> Result<i64, String> {
        let number = if more.is_empty() { Ok(1) } else { more[more.len() - 1].parse() };
        number.map_err(|_| "not a number".to_owned())
    };
    let wrong = |_| "WRONGTYPE".to_owned();
    let yes = |yes: bool| i64::from(yes).to_string();
    let bytes = word.as_bytes();
    Ok(match command {
        "GCOUNTER.ADD" => {
            let n = n()?.unsigned_abs();
            let added = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(n, 0, mint));
            added.map_or_else(wrong, |(value, _)| format!("{}", value.unwrap_or(i64::MAX)))
        }
        "PNCOUNTER.ADD" => {
            let n = n()?;
            let (p, m) = if n < 0 { (0, n.unsigned_abs()) } else { (n.unsigned_abs(), 0) };
            let added = shard.write::<kind::PnCounter, _>(key, |c, mint, _| c.add(p, m, mint));
            added.map_or_else(wrong, |(value, _)| format!("{}", value.unwrap_or(i64::MAX)))
        }
        "GSET.ADD" => {
            let added = shard.write::<kind::GSet, _>(key, |s, mint, d| s.add(bytes, mint, d));
            added.map_or_else(wrong, |(new, _)| yes(new))
        }
        "ORSET.ADD" => {
            let added = shard.write::<kind::OrSet, _>(key, |s, mint, d| s.add(bytes, mint, d));
            added.map_or_else(wrong, |(new, _)| yes(new))
        }
        "ORSET.REM" => {
            let gone = shard.modify::<kind::OrSet, _>(key, |s, mint, d| s.remove(bytes, mint, d));
            gone.map_or_else(wrong, |gone| yes(gone.is_some_and(|(was, _)| was)))
        }
        "MVREG.SET" => {
            let set = shard.write::<kind::MvRegister, _>(key, |r, mint, d| r.set(bytes, mint, d));
            set.map_or_else(wrong, |_| "OK".to_owned())
        }
        "EWFLAG.ENABLE" => {
            let set = shard.write::<kind::EwFlag, _>(key, |f, mint, d| f.enable(mint, d));
            set.map_or_else(wrong, |(new, _)| yes(new))
        }
        "EWFLAG.DISABLE" => {
            let gone = shard.modify::<kind::EwFlag, _>(key, |f, mint, d| f.disable(mint, d));
            gone.map_or_else(wrong, |gone| yes(gone.is_some_and(|(was, _)| was)))
        }
        "ORMAP.SET" => {
            let value = more.get(1).ok_or("a value is missing")?.as_bytes();
            let set = shard.write::<kind::OrMap, _>(key, |m, mint, d| m.set(bytes, value, mint, d));
            set.map_or_else(wrong, |_| "OK".to_owned())
        }
        "ORMAP.INCRBY" => {
            let (n, writers) = (n()?, shard.shared_writers());
            let add =
                shard.write::<kind::OrMap, _>(key, |m, mint, d| m.add(bytes, n, &writers, mint, d));
            add.map_or_else(wrong, |(added, _)| if added.is_ok() { "OK" } else { "ERR" }.to_owned())
        }
        "MISO.DEL" => yes(shard.delete(key.0, key.1, key.2)),
        "MISO.TYPE" => {
            let types = shard.slot(key.0, key.1, key.2).map(types).unwrap_or_default();
            if types.is_empty() { "none".to_owned() } else { types.join(" ") }
        }
        reads if reads.ends_with(".GET") || reads.ends_with(".MEMBERS") => {
            let slot = shard.slot(key.0, key.1, key.2);
            let kind = Type::ALL.iter().find(|kind| prefix(**kind) == reads.split('.').next());
            let kind = kind.ok_or("no such type")?;
            let values = slot.map_or(&[][..], Slot::values);
            let value = values.iter().find(|value| value.kind() == *kind);
            value.map_or_else(|| "nil".to_owned(), |value| show(value, shard.writers(), word))
        }
        _ => return Err("no such command in a scene".to_owned()),
    })
}

fn types(slot: &Slot) -> Vec<&'static str> {
    slot.types().map(|kind| prefix(kind).unwrap_or_default()).collect()
}

/// What the commands of a type begin with; of plain types, which scenes do not play, nothing.
fn prefix(kind: Type) -> Option<&'static str> {
    Some(match kind {
        Type::GCounter => "GCOUNTER",
        Type::PnCounter => "PNCOUNTER",
        Type::GSet => "GSET",
        Type::OrSet => "ORSET",
        Type::MvRegister => "MVREG",
        Type::EwFlag => "EWFLAG",
        Type::OrMap => "ORMAP",
        _ => return None,
    })
}

/// A value as a client reads it; of a map, one field.
fn show(value: &Value, writers: &Writers, field: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Value::GCounter(counter) | Value::PnCounter(counter) => counter.value().to_string(),
        Value::GSet(set) | Value::OrSet(set) => {
            let mut elements: Vec<String> =
                set.elements().iter().map(|(element, _)| text(element)).collect();
            elements.sort();
            format!("{{{}}}", elements.join(" "))
        }
        Value::MvRegister(register) => {
            let values: Vec<String> = register.values().into_iter().map(text).collect();
            values.join(" | ")
        }
        Value::EwFlag(flag) => i64::from(flag.enabled()).to_string(),
        Value::OrMap(map) => {
            let value = map.get(field.as_bytes()).and_then(|field| field.value(writers));
            value.map_or_else(|| "nil".to_owned(), |value| text(&value))
        }
        _ => "?".to_owned(),
    }
}
