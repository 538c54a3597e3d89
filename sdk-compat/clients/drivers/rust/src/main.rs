//! redis-rs (its multiplexed connection) and fred, by URL: the argument says which.

use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand, Message, RespVersion};
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast::Receiver;

type Answer = Result<(String, String), String>;

fn shown(value: impl std::fmt::Debug) -> (String, String) {
    let text = format!("{value:?}");
    let kind = text.split(['(', ' ', '[', '{']).next().unwrap_or_default().to_owned();
    (kind, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn wrong(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

#[derive(Default)]
struct RedisRs {
    url: String,
    connection: Option<MultiplexedConnection>,
    messages: Option<redis::aio::PubSubStream>,
}

impl RedisRs {
    async fn open(&mut self, url: &str, protocol: &str) -> Answer {
        let suffix = if protocol == "3" { "?protocol=resp3" } else { "" };
        self.url = format!("{url}{suffix}");
        self.connect().await?;
        self.call(&["PING"]).await
    }

    /// With the TLS of the environment, if there is some.
    fn client(&self) -> Result<redis::Client, String> {
        let read = |name: &str| {
            std::env::var_os(name).map(|path| std::fs::read(path).map_err(wrong)).transpose()
        };
        let Some(ca) = read("TLS_CA")? else {
            return redis::Client::open(self.url.as_str()).map_err(wrong);
        };
        let own = |client_cert, client_key| redis::ClientTlsConfig { client_cert, client_key };
        let client_tls = read("TLS_CERT")?.zip(read("TLS_KEY")?).map(|(cert, key)| own(cert, key));
        let tls = redis::TlsCertificates { client_tls, root_cert: Some(ca) };
        redis::Client::build_with_tls(self.url.as_str(), tls).map_err(wrong)
    }

    async fn connect(&mut self) -> Result<(), String> {
        let client = self.client()?;
        self.connection = Some(client.get_multiplexed_async_connection().await.map_err(wrong)?);
        Ok(())
    }

    async fn call(&mut self, words: &[&str]) -> Answer {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let connection = self.connection.as_mut().ok_or("not open")?;
        let value: redis::RedisResult<redis::Value> = command.query_async(connection).await;
        if value.as_ref().is_err_and(|error| error.is_connection_dropped()) {
            // The connection does not come back: a program makes a new one.
            self.connect().await?;
        }
        let value = value.map_err(wrong)?;
        let (kind, text) = shown(&value);
        Ok((kind, redis::from_redis_value(value).unwrap_or(text)))
    }

    async fn run(&mut self, lines: &[Vec<String>], atomic: bool) -> Answer {
        let mut pipe = redis::pipe();
        if atomic {
            pipe.atomic();
        }
        for words in lines {
            pipe.cmd(&words[0]).arg(&words[1..]);
        }
        let connection = self.connection.as_mut().ok_or("not open")?;
        let replies: Vec<redis::Value> = pipe.query_async(connection).await.map_err(wrong)?;
        Ok(("Vec".to_owned(), replies.len().to_string()))
    }

    async fn listen(&mut self, channel: &str) -> Answer {
        let client = self.client()?;
        let mut listener = client.get_async_pubsub().await.map_err(wrong)?;
        listener.subscribe(channel).await.map_err(wrong)?;
        self.messages = Some(listener.into_on_message());
        Ok(("bool".to_owned(), "true".to_owned()))
    }

    async fn message(&mut self) -> Answer {
        let message = self.messages.as_mut().ok_or("not listening")?.next().await;
        let payload: String = message.ok_or("no message")?.get_payload().map_err(wrong)?;
        Ok(("String".to_owned(), payload))
    }
}

#[derive(Default)]
struct Fred {
    client: Option<Client>,
    listener: Option<Client>,
    messages: Option<Receiver<Message>>,
    config: Config,
}

impl Fred {
    async fn open(&mut self, url: &str, protocol: &str) -> Answer {
        self.config = Config::from_url(url).map_err(wrong)?;
        let version = if protocol == "3" { RespVersion::RESP3 } else { RespVersion::RESP2 };
        self.config.version = version;
        let client = self.connected().await?;
        let pong: Value = client.ping(None).await.map_err(wrong)?;
        self.client = Some(client);
        Ok(shown(pong))
    }

    /// With a policy to reconnect, as its examples have it.
    async fn connected(&self) -> Result<Client, String> {
        let policy = ReconnectPolicy::new_constant(0, 100);
        let mut connection = ConnectionConfig::default();
        if std::env::var_os("CAREFUL").is_some() {
            connection.max_command_attempts = 1;
        }
        let client = Client::new(self.config.clone(), None, Some(connection), Some(policy));
        client.init().await.map_err(wrong)?;
        Ok(client)
    }

    fn client(&self) -> Result<&Client, String> {
        self.client.as_ref().ok_or_else(|| "not open".to_owned())
    }

    async fn call(&mut self, words: &[&str]) -> Answer {
        let command = CustomCommand::new(words[0].to_owned(), ClusterHash::FirstKey, false);
        let rest: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
        let value: Value = self.client()?.custom(command, rest).await.map_err(wrong)?;
        let (_, text) = shown(&value);
        Ok((format!("{:?}", value.kind()), value.as_str().map_or(text, |text| text.to_string())))
    }

    async fn run(&mut self, lines: &[Vec<String>], atomic: bool) -> Answer {
        let custom = |words: &[String]| CustomCommand::new(words[0].clone(), ClusterHash::FirstKey, false);
        let replies: Vec<Value> = if atomic {
            let transaction = self.client()?.multi();
            for words in lines {
                let _: () = transaction.custom(custom(words), words[1..].to_vec()).await.map_err(wrong)?;
            }
            transaction.exec(true).await.map_err(wrong)?
        } else {
            let pipeline = self.client()?.pipeline();
            for words in lines {
                let _: () = pipeline.custom(custom(words), words[1..].to_vec()).await.map_err(wrong)?;
            }
            pipeline.all().await.map_err(wrong)?
        };
        Ok(("Vec".to_owned(), replies.len().to_string()))
    }

    async fn listen(&mut self, channel: &str) -> Answer {
        let listener = self.connected().await?;
        self.messages = Some(listener.message_rx());
        listener.subscribe(channel).await.map_err(wrong)?;
        self.listener = Some(listener);
        Ok(("bool".to_owned(), "true".to_owned()))
    }

    async fn message(&mut self) -> Answer {
        let message = self.messages.as_mut().ok_or("not listening")?.recv().await.map_err(wrong)?;
        Ok(("String".to_owned(), message.value.as_string().unwrap_or_default()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let fred = std::env::args().nth(1).as_deref() == Some("fred");
    let (mut one, mut other) = (RedisRs::default(), Fred::default());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut queued: Vec<Vec<String>> = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words: Vec<&str> = line.split('\t').collect();
        let verb = words.remove(0);
        let answer = match verb {
            "queue" => {
                queued.push(words.iter().map(|word| (*word).to_owned()).collect());
                Ok(("usize".to_owned(), queued.len().to_string()))
            }
            "pipeline" | "multi" => {
                let (lines, atomic) = (std::mem::take(&mut queued), verb == "multi");
                if fred { other.run(&lines, atomic).await } else { one.run(&lines, atomic).await }
            }
            "open" if fred => other.open(words[0], words[1]).await,
            "open" => one.open(words[0], words[1]).await,
            "call" if fred => other.call(&words).await,
            "call" => one.call(&words).await,
            "listen" if fred => other.listen(words[0]).await,
            "listen" => one.listen(words[0]).await,
            _ if fred => other.message().await,
            _ => one.message().await,
        };
        match answer {
            Ok((kind, text)) => println!("ok\t{kind}\t{text}"),
            Err(error) => println!("error\t{}", error.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
}
