//! What the SDK offers, against a node that the test starts.

mod common;
#[path = "../examples/quickstart.rs"]
mod quickstart;

use std::process::Command;
use std::time::Duration;

use common::{Cluster, until};
use miso_client::{Error, Event, MisoObject, Options, Value};
use serde_json::json;

#[tokio::test]
async fn counters_flags_and_registers() -> miso_client::Result<()> {
    let node = Cluster::start(1, &[]);
    let so = node.open(0);
    let counter = so.get_pn_counter("n");
    let large = (1_i64 << 53) + 1;
    assert_eq!(counter.add(large).await?, large);
    assert_eq!(counter.sub(1).await?, large - 1);
    assert_eq!(counter.get_value().await?, large - 1);
    assert!(matches!(so.get_g_counter("g").add(-1).await, Err(Error::Reply(_))));
    assert!(matches!(so.get_or_set("n").add("a").await, Err(Error::WrongType(_))));
    assert!(matches!(so.get_g_counter("").add(1).await, Err(Error::Argument(_))));

    let register = so.get_mv_register("plan");
    assert_eq!(register.get_value().await?, None);
    register.assign(json!({"to": "Ulm", "stops": [1, 2.5, null]})).await?;
    let plan = register.get_value().await?.expect("it was assigned");
    assert_eq!(plan, json!({"stops": [1, 2.5, null], "to": "Ulm"}).into());
    assert_eq!(plan.to::<serde_json::Value>()?["to"], "Ulm");
    assert_eq!(register.get_values().await?.len(), 1);
    assert!(matches!(register.assign(f64::NAN).await, Err(Error::Unencodable(_))));
    so.get_raw_mv_register("bytes").assign(vec![255]).await?;
    assert_eq!(so.get_raw_mv_register("bytes").get_value().await?, Some(vec![255]));
    assert!(matches!(so.get_mv_register("bytes").get_value().await, Err(Error::Undecodable(_))));

    let flag = so.get_ew_flag("f");
    assert!(flag.enable().await?);
    assert!(!flag.assign(true).await?);
    assert!(flag.get_value().await?);
    assert!(flag.disable().await?);
    Ok(())
}

#[tokio::test]
async fn sets_and_maps() -> miso_client::Result<()> {
    let node = Cluster::start(1, &[]);
    let so = node.open(0);
    let set = so.get_or_set("s");
    assert_eq!(
        set.add_all([Value::from("a"), Value::from(1), json!({"b": [null]}).into()]).await?,
        3
    );
    assert!(set.has(json!({"b": [null]})).await?);
    assert!(set.remove("a").await?);
    assert_eq!(set.remove_all(["a", "x"]).await?, 0);
    assert_eq!(set.size().await?, 2);
    assert_eq!(set.clear().await?, 2);
    let large = so.get_g_set("large");
    assert_eq!(large.add_all(0..2500).await?, 2500);
    let (mut pages, mut sum) = (large.iter(), 0);
    while let Some(value) = pages.next().await {
        sum += value?.as_integer().expect("it is an integer");
    }
    assert_eq!(sum, 2500 * 2499 / 2);
    assert_eq!(large.get_value().await?.len(), 2500);

    let fields = so.get_or_map("m");
    fields.set("name", "car").await?;
    assert_eq!(fields.increment("km", 5).await?, 5);
    assert_eq!(fields.get_integer("km").await?, 5);
    assert_eq!(fields.get_integer("none").await?, 0);
    assert_eq!(fields.get("none").await?, None);
    assert_eq!(fields.get_values("name").await?, ["car".into()]);
    assert_eq!(fields.get_value().await?["km"], Value::Integer(5));
    let (mut pages, mut found) = (fields.iter(), Vec::new());
    while let Some(field) = pages.next().await {
        found.push(field?.0);
    }
    found.sort();
    assert_eq!(found, ["km", "name"]);
    assert_eq!(fields.keys().await?.len(), 2);
    assert!(fields.delete("km").await?);
    assert!(!fields.has("km").await?);
    assert_eq!(fields.size().await?, 1);
    Ok(())
}

#[tokio::test]
async fn calls_together_and_the_object_itself() -> miso_client::Result<()> {
    let node = Cluster::start(1, &[]);
    let so = node.open(0);
    let mut atomic = so.atomic();
    let driven = atomic.queue(so.get_pn_counter("n").add(7))?;
    let alert = atomic.queue(so.get_ew_flag("f").enable())?;
    let answers = atomic.send().await?;
    assert_eq!((answers.get(&driven)?, answers.get(&alert)?), (7, true));

    let mut wrong = so.batch();
    let refused = wrong.queue(so.get_g_counter("n").add(1))?;
    let added = wrong.queue(so.get_pn_counter("n").add(4))?;
    let answers = wrong.send().await?;
    assert!(matches!(answers.get(&refused), Err(Error::WrongType(_))));
    assert!(matches!(answers.all(), Err(Error::WrongType(_))));
    assert_eq!(answers.get(&added)?, 11);

    let token = so.token().await?;
    assert!(so.await_token(&token, Duration::from_secs(1)).await?);
    assert!(matches!(
        so.await_token("no token", Duration::from_secs(1)).await,
        Err(Error::Reply(_))
    ));
    assert!(so.exists().await? && so.exists_name("n").await?);
    assert!(!so.object("another").exists().await?);
    assert_eq!(so.function_name().await?, "car");
    assert_eq!(so.delete(&["n"]).await?, 1);
    assert_eq!(so.delete(&[]).await?, 1);
    assert!(!so.exists().await?);
    Ok(())
}

#[tokio::test]
async fn what_a_login_and_a_url_may_lack() -> miso_client::Result<()> {
    let node = Cluster::start(1, &["--requirepass", "pw"]);
    let add = async |login: &str, url: &str| {
        let url = Some(url.replace("car:-", login));
        let (function, deadline) = (Some("car".to_owned()), Duration::from_millis(200));
        let so = MisoObject::new(Options { url, function, deadline, ..Options::default() })?;
        so.get_g_counter("n").add(1).await
    };
    let refused = add("car:no", &node.url(0)).await;
    assert!(matches!(refused, Err(Error::Access(_))), "{refused:?}");
    let refused = add(":pw", &node.url(0)).await;
    assert!(matches!(refused, Err(Error::FunctionMismatch(_))), "{refused:?}");
    let refused = add("car:-", "redis://car:-@127.0.0.1:1").await;
    assert!(matches!(refused, Err(Error::NotSent(_))), "{refused:?}");
    assert!(matches!(MisoObject::connect("http://h", "a"), Err(Error::Setting { .. })));
    Ok(())
}

#[tokio::test]
async fn registration_and_changes_after_a_reconnect() -> miso_client::Result<()> {
    let mut node = Cluster::start(1, &[]);
    let options = Options { replica: Some("pod-1".to_owned()), ..Options::default() };
    let so = node.open_with(0, options);
    let url = node.url(0);
    let registered = || async {
        let client = redis::Client::open(url.as_str()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it stands");
        let functions: redis::RedisResult<redis::Value> =
            redis::cmd("MISO.FUNCTIONS").query_async(&mut connection).await;
        format!("{functions:?}").contains("pod-1")
    };
    so.register(None).await?;
    assert!(registered().await);
    let mut watch = so.watch().await?;
    so.get_g_counter("a name").add(1).await?;
    let change = Event::Change { name: "a name".to_owned(), kind: "gcounter".to_owned() };
    assert_eq!(watch.next().await, change);
    node.run("drop 0");
    assert_eq!(watch.next().await, Event::Gap);
    until("the registration", registered).await;
    assert!(so.unregister().await?);
    assert!(!so.unregister().await?);
    assert!(!registered().await);
    Ok(())
}

/// This test program is also the quick start, in another process: settings come from the environment.
#[test]
fn the_quick_start() {
    if std::env::var_os("MISO_TEST_QUICKSTART").is_some() {
        quickstart::main().expect("it counts");
        return;
    }
    let node = Cluster::start(1, &[]);
    let output = Command::new(std::env::current_exe().expect("it has a path"))
        .args(["--exact", "the_quick_start", "--nocapture"])
        .env("MISO_TEST_QUICKSTART", "1")
        .env("MISO_URL", node.url(0))
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("driven: 120 m\n"), "{printed}");
}
