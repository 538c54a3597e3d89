//! Tests of the table of settings.

use super::*;
use crate::mutated::{Draw, rounds};

#[test]
fn every_default_is_valid_and_names_are_unique() {
    let mut names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    for setting in SETTINGS {
        assert!(setting.kind.normal(setting.default).is_some(), "{}", setting.name);
        let is_fixed = setting.when == When::Never;
        assert_eq!(setting.summary.is_empty(), is_fixed, "{}", setting.name);
        assert!(!setting.summary.ends_with('.'), "{}", setting.name);
        let has_effect = setting.effect != Effect::None;
        assert!(!has_effect || setting.when == When::Any, "{}", setting.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.len());
}

fn set(settings: &Settings, name: &str, text: &str) -> Result<Vec<Effect>, Refused> {
    settings.set(&[(name.as_bytes(), text.as_bytes())]).map(|change| change.effects())
}

#[test]
fn output_limits_that_are_not_named_stay() {
    let settings = for_test(&[]);
    let mb = 1 << 20;
    let pubsub = OutputLimit { hard: 32 * mb, soft: 8 * mb, soft_for: Duration::from_secs(60) };
    assert_eq!(settings.output_limit(true), pubsub);
    set(&settings, "client-output-buffer-limit", "normal 1mb 2mb 3").expect("it is valid");
    let normal = OutputLimit { hard: mb, soft: 2 * mb, soft_for: Duration::from_secs(3) };
    assert_eq!((settings.output_limit(false), settings.output_limit(true)), (normal, pubsub));
}

#[test]
fn several_settings_are_set_all_or_none() {
    let settings = for_test(&[]);
    let pairs: [(&[u8], &[u8]); 2] = [(b"timeout", b"5"), (b"maxclients", b"none")];
    assert!(settings.set(&pairs).is_err());
    assert_eq!(settings.timeout(), None);
    assert!(settings.set(&[(b"timeout", b"5"), (b"TIMEOUT", b"6")]).is_err());
    assert!(set(&settings, "TimeOut", "5").is_ok());
    assert_eq!(settings.timeout(), Some(Duration::from_secs(5)));
}

#[test]
fn a_change_says_its_effects_and_can_be_taken_back() {
    let settings = for_test(&[]);
    let pairs: [(&[u8], &[u8]); 3] =
        [(b"requirepass", b"pw"), (b"timeout", b"5"), (b"sync-rate", b"1mb")];
    let change = settings.set(&pairs).expect("it is valid");
    assert_eq!(change.effects(), [Effect::Password, Effect::SyncRate]);
    assert_eq!((settings.requirepass(), settings.sync_rate()), ("pw".to_owned(), 1 << 20));
    settings.undo(change);
    assert_eq!((settings.requirepass(), settings.sync_rate()), (String::new(), 64 << 20));
    assert_eq!(settings.timeout(), None);
}

#[test]
fn what_never_changes_may_be_set_to_what_it_is() {
    let settings = for_test(&[]);
    assert!(set(&settings, "save", "").is_ok());
    assert!(set(&settings, "save", "900 1").is_err());
    assert!(set(&settings, "port", "6379").is_err());
    let unknown = Refused::Unknown(b"no\xff".to_vec());
    assert_eq!(settings.set(&[(b"no\xff", b"1")]).err(), Some(unknown));
    let refused = settings.set(&[(b"requirepass", b"\xff")]).err();
    let why = "argument must be UTF-8".to_owned();
    assert_eq!(refused, Some(Refused::Invalid(b"requirepass".to_vec(), why)));
}

#[test]
fn secrets_are_masked_and_not_repeated() {
    let settings = for_test(&[("requirepass", "pw"), ("data-dir", "none")]);
    let shown = |name: &str| settings.list(|known| known == name)[0].1.clone();
    assert_eq!(shown("requirepass"), "********");
    assert_eq!(shown("cluster-secret"), "");
    assert_eq!((shown("appendonly"), shown("data-dir")), ("no".into(), "none".into()));
    let secret = setting("s", &YesNo, "no", When::Start, "").secret();
    assert_eq!(secret.accept("hush"), Err("invalid value, expected yes or no".into()));
}

#[test]
fn the_peer_port_follows_the_port() {
    let with = |port: &'static str, peer: &'static str| {
        let settings = for_test(&[("port", port), ("peer-port", peer)]);
        let bound = if port == "0" { 40_000 } else { port.parse().expect("a port") };
        settings.peer_addresses(bound).map(|all| all[0].port())
    };
    assert_eq!(with("6379", ""), Some(7379));
    assert_eq!(with("0", ""), Some(0));
    assert_eq!(with("65000", ""), Some(0));
    assert_eq!(with("6379", "9"), Some(9));
    assert_eq!(with("6379", "none"), None);
}

#[test]
fn minus_one_keeps_nothing_and_0_everything() {
    let slower = |text| {
        let settings = for_test(&[("slowlog-log-slower-than", text)]);
        (settings.slower_than(), settings.times_all())
    };
    assert_eq!(slower("-1"), (None, false));
    assert_eq!(slower("0"), (Some(0), true));
    assert_eq!(slower("999"), (Some(999), true));
    assert_eq!(slower("10000"), (Some(10_000), false));
}

/// Texts of settings that are broken in some bytes are refused, or have a normal form that stays as it is and is
/// read again from the file.
#[test]
fn broken_texts_are_refused_or_normal() {
    let mut draw = Draw::new(5);
    let numbers = ["0", "-1", "18446744073709551616", "1gb", "yes", "a 1 b 2", "127.0.0.1 ::1"];
    for _ in 0..rounds() {
        let setting = &SETTINGS[draw.below(SETTINGS.len())];
        let text = match draw.below(2) {
            0 => setting.default,
            _ => numbers[draw.below(numbers.len())],
        };
        let broken = draw.broken(text.as_bytes());
        let Ok(text) = str::from_utf8(&broken) else { continue };
        let Some(normal) = setting.kind.normal(text) else { continue };
        let again = setting.kind.normal(&normal);
        assert_eq!(again.as_ref(), Some(&normal), "{} {text:?}", setting.name);
    }
}
