//! What all SDKs do alike: `../vectors.json`.

use std::collections::BTreeMap;

use serde_json::Value as Given;

use crate::codec::{Codec, Json};
use crate::error::Error;
use crate::object::MisoObject;
use crate::settings::{Options, Settings, default_id};
use crate::value::Value;

fn vectors(section: &str) -> Vec<Given> {
    let all: Given = serde_json::from_str(include_str!("../../vectors.json")).expect("it is JSON");
    all[section].as_array().expect("a section is an array").clone()
}

fn text(given: &Given) -> &str {
    given.as_str().expect("it is a text")
}

/// The value that a vector describes; none if no program of this language can hold it.
fn build(given: &Given) -> Option<Value> {
    let content = || text(&given[1]);
    let items = || given[1].as_array().expect("it is an array").iter();
    Some(match text(&given[0]) {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "double" => {
            let bits = u64::from_str_radix(content(), 16).expect("they are bits");
            Value::Double(f64::from_bits(bits))
        }
        "integer" => Value::Integer(content().parse().expect("it is an integer")),
        "string" => Value::Text(content().to_owned()),
        "units" => {
            let unit = |unit: &Given| u16::from_str_radix(text(unit), 16).expect("it is a unit");
            let units: Vec<u16> = items().map(unit).collect();
            Value::Text(String::from_utf16(&units).ok()?)
        }
        "array" => Value::Array(items().map(build).collect::<Option<_>>()?),
        "object" => {
            let member = |pair: &Given| Some((text(&pair[0]).to_owned(), build(&pair[1])?));
            Value::Object(items().map(member).collect::<Option<_>>()?)
        }
        "undefined" => return None,
        other => panic!("a kind of value that is new: {other}"),
    })
}

/// As JSON compares: there is one kind of number.
fn normal(value: Value) -> Value {
    match value {
        Value::Double(double)
            if double.fract() == 0.0 && double.abs() < 9_007_199_254_740_992.0 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "within 2^53")]
            Value::Integer(double as i128)
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Object(members) => members.into_iter().map(|(k, v)| (k, normal(v))).collect(),
        other => other,
    }
}

#[test]
fn values_are_the_same_bytes_as_in_every_language() {
    let all = vectors("encode");
    assert!(all.len() > 50, "the vectors are missing");
    for vector in all {
        let (name, stored) = (&vector["name"], text(&vector["text"]).as_bytes());
        let value = build(&vector["value"]).expect("it can be held");
        assert_eq!(Json::encode(&value).as_deref(), Ok(stored), "{name}");
        let back = Json::decode(stored).expect("it was encoded");
        assert_eq!(back, normal(value), "{name}");
        assert_eq!(Json::encode(&back).as_deref(), Ok(stored), "{name}, again");
    }
    for vector in vectors("decode") {
        let back = Json::decode(text(&vector["text"]).as_bytes());
        assert_eq!(back.ok(), build(&vector["value"]).map(normal), "{}", vector["name"]);
    }
}

#[test]
fn what_has_no_form_is_refused() {
    let mut held = 0;
    for vector in vectors("refuse") {
        if let Some(value) = build(&vector["value"]) {
            let refused = Json::encode(&value);
            assert!(
                matches!(refused, Err(Error::Unencodable(_))),
                "{}: {refused:?}",
                vector["name"]
            );
            held += 1;
        }
    }
    assert_eq!(held, 3, "texts are UTF-8 and nothing is undefined in this language");
    for vector in vectors("undecodable") {
        let stored = match vector["hex"].as_str() {
            Some(hex) => (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("it is hex"))
                .collect(),
            None => text(&vector["text"]).as_bytes().to_vec(),
        };
        let refused = Json::decode(&stored);
        assert!(matches!(refused, Err(Error::Undecodable(_))), "{}: {refused:?}", vector["name"]);
    }
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert!(matches!(Json::encode(&deep), Err(Error::Unencodable(_))));
    let deep = "[".repeat(100_000);
    assert!(matches!(Json::decode(deep.as_bytes()), Err(Error::Undecodable(_))));
}

#[test]
fn settings_come_from_the_same_variables() {
    for vector in vectors("settings") {
        let name = &vector["name"];
        let environment: BTreeMap<String, String> =
            serde_json::from_value(vector["environment"].clone()).expect("they are texts");
        let found = Settings::resolve(&Options::default(), |name| environment.get(name).cloned());
        if let Some(wrong) = vector["missing"].as_str().or(vector["invalid"].as_str()) {
            let names =
                matches!(&found, Err(Error::Setting { variable, .. }) if *variable == wrong);
            assert!(names, "{name}: {found:?}");
            continue;
        }
        let given = |part: &str| vector[part].as_str().map(str::to_owned);
        let expected = Settings {
            host: given("host").expect("it is there"),
            port: vector["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"),
            tls: false,
            user: given("user"),
            password: given("password"),
            function: given("function"),
            replica: "replica".to_owned(),
        };
        assert_eq!(found, Ok(expected), "{name}");
    }
    for vector in vectors("objects") {
        assert_eq!(default_id(vector["function"].as_str()), text(&vector["object"]));
    }
}

#[test]
fn ids_of_calls_of_a_platform() {
    let so = MisoObject::connect("redis://car:-@127.0.0.1:1", "car").expect("no call is made");
    for vector in vectors("calls") {
        let call = so.for_call(text(&vector["call"]));
        assert_eq!(Some(call.is_ok()), vector["accepted"].as_bool(), "{}", vector["name"]);
        assert!(matches!(call, Ok(_) | Err(Error::Argument(_))), "{}", vector["name"]);
    }
}
