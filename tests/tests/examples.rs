//! Every example of the command reference, run through redis-cli, prints what the reference says.

use miso_tests::{Node, Tool};

/// An example: its line, and what redis-cli prints for it.
type Example = (String, String);

/// The examples in the order of the page; each goes on from the state that those before it left.
fn examples(page: &str) -> Vec<Example> {
    let mut all: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("> "), all.last_mut()) {
                (Some(command), _) => all.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, None) => panic!("output without a command: {line}"),
            },
        }
    }
    all
}

/// The lines in order, without the numbers that depend on it: sets have no order.
fn unordered(output: &str) -> Vec<String> {
    let number = |c: char| c.is_ascii_digit() || c == ' ' || c == ')';
    let mut lines: Vec<String> =
        output.lines().map(|line| line.trim_start_matches(number).to_owned()).collect();
    lines.sort_unstable();
    lines
}

/// Whether `printed` is what the reference says; `…` in it stands for any end.
fn fits(command: &str, said: &str, printed: &str) -> bool {
    if command.starts_with("MISO.NEW") || command.contains(".RANDMEMBER") {
        // Drawn anew each time.
        return printed.starts_with('"') && !printed.contains("error");
    }
    match said.split_once('…') {
        Some((start, _)) => printed.starts_with(start),
        None => unordered(said) == unordered(printed),
    }
}

#[test]
fn the_reference_is_true() {
    let reference = std::process::Command::new(Node::binary())
        .arg("--print-command-reference")
        .output()
        .expect("the server prints its reference");
    let page = String::from_utf8(reference.stdout).expect("the reference is text");
    let examples = examples(&page);
    assert!(examples.len() > 50, "the reference has only {} examples", examples.len());
    let node = Node::with(&["--node-name", "edge-1"]);
    let mut wrong = Vec::new();
    for (command, said) in examples {
        if command.starts_with("SUBSCRIBE") {
            continue; // never ends; the tests of messages have it
        }
        let flags = [
            "--no-raw",
            "--no-auth-warning",
            "-p",
            &node.port(),
            "--user",
            "checkout",
            "--pass",
            "-",
        ];
        let output = Tool::run("redis-cli", &flags, format!("{command}\n").as_bytes());
        if !fits(&command, &said, &output.stdout) {
            wrong.push(format!("> {command}\nsays:\n{said}prints:\n{}", output.stdout));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
