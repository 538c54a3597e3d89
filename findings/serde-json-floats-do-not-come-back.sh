#!/usr/bin/env bash
# serde_json 1.0.154: with its default features, `from_str` does not always read back the f64 that `to_string` wrote.
# 9.999999999999997e22 is written in full and comes back as 9.999999999999996e22, one bit off, where `str::parse` of the
# same text is exact. So a value that passes through JSON changes, without an error, and may change again.
#
# Seen: of a million doubles with random bits, 296493 come back as another one; with the feature `float_roundtrip`, none.
# A program that compares, hashes or signs what it has read turns that feature on; it counts for the whole build.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/src/main.rs" <<'RS'
fn main() {
    let text = "9.999999999999997e22";
    let parsed: f64 = text.parse().unwrap();
    let read: f64 = serde_json::from_str(text).unwrap();
    println!("str::parse: {parsed:e}, serde_json: {read:e}");

    // Doubles with pseudo-random bits, those that are numbers.
    let (mut bits, mut all, mut other) = (0x9e37_79b9_7f4a_7c15_u64, 0, 0);
    for _ in 0..1_000_000 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let value = f64::from_bits(bits);
        if value.is_finite() {
            let back: f64 = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
            all += 1;
            other += i32::from(back != value);
        }
    }
    println!("{other} of {all} doubles come back as another one");
    let exact = cfg!(feature = "exact");
    assert_eq!(read == parsed, exact);
    assert_eq!(other == 0, exact);
}
RS
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.1.0"
edition = "2021"

[features]
exact = ["serde_json/float_roundtrip"]

[dependencies]
serde_json = "=1.0.154"

[workspace]
TOML
export CARGO_TARGET_DIR="$work/target"
cd "$work"
echo "default features:"
cargo run --quiet
echo "float_roundtrip:"
cargo run --quiet --features exact
