//! Placement: which nodes hold a function beside those that run it.
//!
//! Rendezvous hashing (highest random weight, Thaler and Ravishankar 1998): every node gives each node
//! a weight for each function, and of those that do not run it the heaviest hold it. Nodes that know of
//! the same nodes name the same holders without a word about it, and a node that comes or goes moves
//! only what it holds itself.

use std::cmp::Reverse;

/// A node as placement sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<'a, T> {
    /// The node, for the caller.
    pub id: T,
    /// Its name. It stays when the node is started again, whatever it has lost.
    pub name: &'a str,
    /// Whether it runs the function.
    pub runs: bool,
}

/// The nodes that hold `function` without running it, until `copies` nodes have it together with those
/// that run it: fewer only if there are no more nodes. Linear in the number of nodes.
pub fn holders<'a, T: Copy>(
    function: &[u8],
    nodes: impl Iterator<Item = Candidate<'a, T>>,
    copies: usize,
) -> Vec<T> {
    let seed = hash(0, function);
    let mut run = 0;
    let mut others = Vec::new();
    for node in nodes {
        if node.runs {
            run += 1;
        } else {
            others.push((Reverse(mix(hash(seed, node.name.as_bytes()))), node.name, node.id));
        }
    }
    let wanted = copies.saturating_sub(run).min(others.len());
    if wanted == 0 {
        return Vec::new();
    }
    let by_weight =
        |a: &(Reverse<u64>, &str, T), b: &(Reverse<u64>, &str, T)| (a.0, a.1).cmp(&(b.0, b.1));
    others.select_nth_unstable_by(wanted - 1, by_weight);
    others.truncate(wanted);
    others.sort_unstable_by(by_weight);
    others.into_iter().map(|(_, _, id)| id).collect()
}

/// FNV-1a, from a seed.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `x`.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("node-{index}")).collect()
    }

    fn held(function: &str, names: &[String], running: &[&str], copies: usize) -> Vec<String> {
        let nodes = names.iter().map(|name| Candidate {
            id: name.as_str(),
            name,
            runs: running.contains(&name.as_str()),
        });
        let holders = holders(function.as_bytes(), nodes, copies);
        holders.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn nodes_hold_until_there_are_enough_copies() {
        let names = names(5);
        for running in 0..=5 {
            let running: Vec<&str> = names.iter().take(running).map(String::as_str).collect();
            for copies in 0..8 {
                let holders = held("f", &names, &running, copies);
                let free = names.len() - running.len();
                assert_eq!(holders.len(), copies.saturating_sub(running.len()).min(free));
                assert!(holders.iter().all(|holder| !running.contains(&holder.as_str())));
            }
        }
    }

    #[test]
    fn the_order_in_which_nodes_are_known_does_not_matter() {
        let mut names = names(9);
        for function in ["cart", "votes", ""] {
            let before = held(function, &names, &[], 3);
            for turn in 0..names.len() {
                names.rotate_left(turn);
                assert_eq!(held(function, &names, &[], 3), before);
                names.reverse();
                assert_eq!(held(function, &names, &[], 3), before);
            }
        }
    }

    #[test]
    fn a_node_that_comes_or_goes_moves_only_what_it_holds() {
        let all = names(8);
        for index in 0..500 {
            let function = format!("function {index}");
            let before = held(&function, &all, &[], 2);
            for gone in &all {
                let rest: Vec<String> = all.iter().filter(|name| *name != gone).cloned().collect();
                let after = held(&function, &rest, &[], 2);
                let (old, new): (BTreeSet<_>, BTreeSet<_>) =
                    (before.iter().collect(), after.iter().collect());
                let moved = old.difference(&new).count();
                assert_eq!(moved, usize::from(before.contains(gone)), "{function} without {gone}");
            }
        }
    }

    #[test]
    fn all_nodes_hold_about_the_same() {
        let all = names(10);
        let mut counts = BTreeMap::new();
        for index in 0..10_000 {
            for holder in held(&format!("f{index}"), &all, &[], 2) {
                *counts.entry(holder).or_insert(0_usize) += 1;
            }
        }
        assert!(
            counts.len() == 10 && counts.values().all(|n| (1_800..2_200).contains(n)),
            "{counts:?}"
        );
    }
}
