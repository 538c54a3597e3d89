//! A stock `redis-benchmark` as load, and what it cost the server.

use std::process::{Command, Stdio};

use crate::error::Result;
use crate::servers::{Programs, Server, die_with_us};

/// Where `redis-benchmark` puts a random number of twelve digits, another at each place.
pub(crate) const RANDOM: &str = "__rand_int__";

/// How a run loads a server.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) depth: usize,
    pub(crate) connections: usize,
    pub(crate) commands: usize,
    /// The random numbers are below this.
    pub(crate) random: usize,
}

/// What one run cost one server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) cpu_us_per_command: f64,
    pub(crate) requests_per_second: f64,
}

/// Sends `words` as often as `shape` says.
pub(crate) fn run(
    programs: &Programs,
    server: &Server,
    words: &[&str],
    shape: &Shape,
) -> Result<Cost> {
    run_at(programs, server, server.port(), &[], words, shape)
}

/// As [`run`], at another port of the server, with further flags.
pub(crate) fn run_at(
    programs: &Programs,
    server: &Server,
    port: u16,
    flags: &[&str],
    words: &[&str],
    shape: &Shape,
) -> Result<Cost> {
    let mut command = Command::new(&programs.redis_benchmark);
    command
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-P", &shape.depth.to_string(), "-c", &shape.connections.to_string()])
        .args(["-n", &shape.commands.to_string(), "-r", &shape.random.to_string(), "--csv"])
        .args(flags)
        .args(words)
        .stdin(Stdio::null());
    die_with_us(&mut command);
    let before = server.cpu()?;
    let output = command.output()?;
    let used = server.cpu()? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests = requests_per_second(&text);
    let (true, Some(requests_per_second)) = (output.status.success(), requests) else {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("redis-benchmark {}: {text}{errors}", words.join(" ")).into());
    };
    let commands = shape.commands as f64;
    Ok(Cost { cpu_us_per_command: used.as_secs_f64() * 1e6 / commands, requests_per_second })
}

/// `words` once, with a number where a random one would be.
pub(crate) fn example(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.replace(RANDOM, "000000000042")).collect()
}

/// The second field of the last line of `redis-benchmark --csv`.
fn requests_per_second(csv: &str) -> Option<f64> {
    csv.lines().last()?.split("\",\"").nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::requests_per_second;

    #[test]
    fn the_rate_is_read_from_csv() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"GCOUNTER.ADD o:1 \",\"81037.28\",\"0.3\"\n";
        assert_eq!(requests_per_second(csv), Some(81_037.28));
        assert_eq!(requests_per_second(""), None);
    }
}
