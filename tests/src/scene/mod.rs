//! Scenes: short stories of messages and steps, kept as text beside the trace that they give.
//!
//! A scene is played by the real state machine of a node ([`miso_replication::node::Node`]), on links
//! whose every message the scene delivers, drops, doubles or holds back. Links and the node table are
//! the overlay's affair; its messages arrive at once and are not shown.
//!
//! The format:
//!
//! ```text
//! # Two or three sentences: what this teaches.
//! cluster A B                   nodes that run the function `f`, not linked; limits follow, as log=0
//! meet A B                      links them, and lets them settle
//! A: GCOUNTER.ADD cart total 1  a client's command
//! | 1                           the trace: what is answered, what nodes say to each other
//! | A->B batch 1..1 [cart/total]
//! deliver A->B                  all that is under way from A to B; with a number, only the first ones
//! expect A B: GCOUNTER.GET cart total => 1
//! ```
//!
//! Other steps: `link A B`, `cut A B`; `drop A->B [n]`, `double A->B` (the first arrives, and stays
//! under way), `late A->B` (the first comes after the others); `wait 5ms` (time passes, nothing
//! arrives), `run 2s` (time passes, everything arrives), `quiet 2s` (the same, not shown); `crash A`,
//! `crash A forgets`, `restart A`; `A runs f`, `A ends f`, `A leaves`, `A forgets B`, `A waits 1`,
//! `A fetches cart`, `A syncs`, `A awaits B`.

mod command;
mod network;
mod step;

use network::Network;

/// Plays a scene and answers its text with the trace that it gives. The scene is right if the two are
/// equal.
///
/// # Errors
/// If a step cannot be read, or an `expect` does not hold: says which.
pub fn play(text: &str) -> Result<String, String> {
    let mut network = Network::default();
    let mut played = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('|') {
            continue; // what it was before
        }
        played.push_str(line);
        played.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let done = step::play(&mut network, line);
        for traced in network.take_trace() {
            played.push_str("| ");
            played.push_str(&traced);
            played.push('\n');
        }
        done.map_err(|wrong| format!("line {number}, `{line}`: {wrong}\nso far:\n{played}"))?;
    }
    Ok(played)
}

#[cfg(test)]
mod tests {
    use super::play;

    #[test]
    fn a_trace_is_written_anew() {
        let scene = "# Two.\ncluster A B\nA: GCOUNTER.ADD o n 2\n| wrong\n| too long\nexpect A: GCOUNTER.GET o n => 2\n";
        let played = play(scene).expect("a scene");
        assert_eq!(
            played,
            "# Two.\ncluster A B\nA: GCOUNTER.ADD o n 2\n| 2\nexpect A: GCOUNTER.GET o n => 2\n"
        );
        assert_eq!(play(&played).as_deref(), Ok(&*played));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (scene, wrong) in [
            ("cluster A\nexpect A: GCOUNTER.GET o n => 7", "A answers nil"),
            ("cluster A\ndance", "no such step"),
            ("cluster A\nB: GCOUNTER.GET o n", "no node B"),
            ("cluster A B\ndrop A->B", "nothing is under way"),
            ("cluster A\nA: SET a b", "no such command"),
        ] {
            let said = play(scene).expect_err("it is wrong");
            assert!(said.contains(wrong), "{said}");
        }
    }
}
