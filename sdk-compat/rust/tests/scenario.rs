//! A smart car on three nodes: what it counted is exact, whatever the network and the nodes do.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cluster, until};
use miso_client::{Error, Options, Result};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_cut_and_a_killed_node() -> Result<()> {
    let mut nodes = Cluster::start(3, &["--appendfsync", "always"]);
    let cars = [nodes.open(0), nodes.open(1), nodes.open(2)];
    let distance = cars.each_ref().map(|so| so.get_pn_counter("distanceDriven"));
    let all = async |expected: i64| {
        for each in &distance {
            if each.get_value().await != Ok(expected) {
                return false;
            }
        }
        true
    };
    assert_eq!(distance[0].add(1).await?, 1);
    until("agreement", || all(1)).await;
    nodes.run("cut");
    for (each, by) in distance.iter().zip([10, 20, 30]) {
        assert_eq!(each.add(by).await?, 1 + by);
    }
    cars[0].get_or_set("alerts").add("low tyre").await?;
    cars[1].get_or_set("alerts").add("low tyre").await?;
    nodes.run("heal");
    until("agreement after the cut", || all(61)).await;
    let token = cars[1].token().await?;
    assert!(cars[2].await_token(&token, Duration::from_secs(10)).await?);
    assert_eq!(cars[2].get_or_set("alerts").get_value().await?, ["low tyre".into()]);
    nodes.run("kill 0");
    nodes.run("start 0");
    assert_eq!(distance[0].get_value().await?, 61);
    assert_eq!(distance[0].add(5).await?, 66);
    until("agreement after the restart", || all(66)).await;
    Ok(())
}

#[tokio::test]
async fn a_lost_reply() -> Result<()> {
    let mut node = Cluster::start(1, &[]);
    node.run("once on");
    let so = node.open(0);
    let distance = so.get_pn_counter("distanceDriven");
    assert_eq!(distance.add(1).await?, 1);
    node.run("lose 0 PNCOUNTER.ADD");
    assert_eq!(distance.add(10).await?, 11);
    node.run("lose 0 EXEC");
    let mut trip = so.atomic();
    let driven = trip.queue(distance.add(100))?;
    assert_eq!(trip.send().await?.get(&driven)?, 111);
    // With a read in it, or too many calls for what the server keeps, it has no id.
    let light = so.get_ew_flag("light");
    let mut looks = so.atomic();
    looks.queue(light.enable())?;
    let driven = looks.queue(distance.get_value())?;
    assert_eq!(looks.send().await?.get(&driven)?, 111);
    let mut long = so.atomic();
    for _ in 0..25 {
        long.queue(light.enable())?;
    }
    long.send().await?;
    node.run("lose 0 EXEC");
    let mut unnamed = so.atomic();
    unnamed.queue(light.enable())?;
    unnamed.queue(distance.get_value())?;
    assert!(matches!(unnamed.send().await, Err(Error::UnknownOutcome(_))));
    for _ in 0..2 {
        // The platform repeats the whole call under its own id.
        let call = so.for_call("call-7")?;
        assert_eq!(call.get_pn_counter("distanceDriven").add(1000).await?, 1111);
    }
    assert!(matches!(so.for_call(&"x".repeat(64)), Err(Error::Argument(_))));

    node.run("once off");
    let old = node.open_with(0, Options { deadline: Duration::from_secs(5), ..Options::default() });
    let distance = old.get_pn_counter("distanceDriven");
    assert_eq!(distance.add(1).await?, 1112);
    node.run("lose 0 PNCOUNTER.ADD");
    assert!(matches!(distance.add(10).await, Err(Error::UnknownOutcome(_))));
    node.run("lose 0 PNCOUNTER.GET");
    assert_eq!(distance.get_value().await?, 1122);
    node.run("lose 0 EXEC");
    let mut trip = old.atomic();
    trip.queue(distance.add(100))?;
    assert!(matches!(trip.send().await, Err(Error::UnknownOutcome(_))));
    Ok(())
}

#[tokio::test]
async fn a_frozen_node() -> Result<()> {
    let mut node = Cluster::start(1, &[]);
    node.run("once off");
    let deadline = Duration::from_secs(1);
    let (connect_timeout, reply_timeout) = (SHORT, SHORT);
    let options = Options { connect_timeout, reply_timeout, deadline, ..Options::default() };
    let so = node.open_with(0, options);
    let distance = so.get_pn_counter("distanceDriven");
    assert_eq!(distance.add(1).await?, 1);
    node.run("freeze 0");
    assert!(matches!(distance.add(10).await, Err(Error::UnknownOutcome(_))));
    let read = distance.get_value().await;
    assert!(matches!(read, Err(Error::Unreachable(_) | Error::NotSent(_))), "{read:?}");
    node.run("thaw 0");
    until("the write that was on its way", async || distance.get_value().await == Ok(11)).await;
    Ok(())
}

/// The frozen process is this test program itself, in another role: it adds 1 for each line.
#[test]
fn a_frozen_process() {
    if std::env::var_os("MISO_TEST_COUNTING").is_some() {
        return count();
    }
    let mut node = Cluster::start(1, &[]);
    node.run("once off");
    let program = std::env::current_exe().expect("it has a path");
    let mut child = Command::new(program)
        .args(["--exact", "a_frozen_process", "--nocapture"])
        .env("MISO_TEST_COUNTING", "1")
        .env("MISO_URL", node.url(0))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = child.stdin.take().expect("it is piped");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut answers = output
        .lines()
        .map_while(std::result::Result::ok)
        .filter_map(|line| line.strip_prefix("driven: ").map(str::to_owned));
    let signal = |name: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    };
    writeln!(input, "go").expect("it reads");
    assert_eq!(answers.next().as_deref(), Some("Ok(1)"));
    signal("-STOP");
    node.run("drop 0");
    writeln!(input, "go").expect("it reads later");
    signal("-CONT");
    assert_eq!(answers.next().as_deref(), Some("Ok(2)"));
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

fn count() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime is made");
    let options = Options { check_after: Duration::ZERO, ..Options::default() };
    let so = miso_client::MisoObject::new(options).expect("the environment says where");
    for line in std::io::stdin().lines() {
        line.expect("it is a text");
        let added = runtime.block_on(so.get_pn_counter("distanceDriven").add(1).into_future());
        println!("driven: {added:?}");
    }
}
