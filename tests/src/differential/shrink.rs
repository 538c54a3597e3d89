//! The shortest tail of commands after which two servers still differ.

use super::groups::Step;

/// Drops steps as long as `differs` holds for what is left. The last step stays.
pub(super) fn shortest(steps: &[Step], mut differs: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let (last, before) = steps.split_last().expect("there is a step that differs");
    let mut kept = before.to_vec();
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut dropped = false;
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let mut fewer = [&kept[..at], &kept[end..]].concat();
            fewer.push(last.clone());
            if differs(&fewer) {
                fewer.pop();
                kept = fewer;
                dropped = true;
            } else {
                at = end;
            }
        }
        if size == 1 && !dropped {
            kept.push(last.clone());
            return kept;
        }
        size = (size / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Order;
    use super::super::groups::Command;
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let step = |name: &str| {
            vec![Command { words: vec![name.as_bytes().to_vec()], order: Order::Exact }]
        };
        let steps: Vec<Step> = (0..100).map(|number| step(&number.to_string())).collect();
        let names = |steps: &[Step]| -> Vec<String> {
            steps.iter().map(|step| String::from_utf8_lossy(&step[0].words[0]).into()).collect()
        };
        let needs = |steps: &[Step]| {
            ["17", "58", "99"].iter().all(|name| names(steps).iter().any(|one| one == name))
        };
        assert_eq!(names(&shortest(&steps, needs)), ["17", "58", "99"]);
    }
}
