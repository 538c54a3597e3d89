//! Some nodes with proxies in front of them, led by the lines of `../testing/cluster.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use miso_client::{MisoObject, Options};

pub(crate) struct Cluster {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    ports: Vec<String>,
}

impl Cluster {
    pub(crate) fn start(nodes: usize, flags: &[&str]) -> Cluster {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testing/cluster.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(nodes.to_string()).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 runs");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut cluster = Cluster { child, input, output, ports: Vec::new() };
        let ready = cluster.answer("ready");
        cluster.ports = ready.split_whitespace().skip(1).map(str::to_owned).collect();
        cluster
    }

    fn answer(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the cluster answers");
        assert!(line.starts_with(word), "the cluster says: {line:?}");
        line
    }

    pub(crate) fn run(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is there until the end");
        writeln!(input, "{line}").expect("the cluster reads");
        self.answer("ok");
    }

    pub(crate) fn url(&self, node: usize) -> String {
        format!("redis://car:-@127.0.0.1:{}", self.ports[node])
    }

    pub(crate) fn open(&self, node: usize) -> MisoObject {
        self.open_with(node, Options::default())
    }

    pub(crate) fn open_with(&self, node: usize, options: Options) -> MisoObject {
        let (url, id) = (Some(self.url(node)), Some("TripData-12345".to_owned()));
        MisoObject::new(Options { url, id, ..options }).expect("the settings are complete")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input is the end of it.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Waits until something comes true.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < end, "{what} does not come true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
