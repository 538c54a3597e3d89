//! The replicator: streams of changes between this node and its peers, per function.
#![allow(missing_docs, clippy::needless_pass_by_value, reason = "a placeholder")]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_store::crdt::ReplicaId;
use miso_store::{Function, Store};

use crate::{Answer, Ask, AskId, Effect, Fault, LinkId, Time};

#[derive(Debug)]
pub struct Replicator;

#[derive(Clone, Debug)]
pub struct Config {
    pub replica: ReplicaId,
}

impl Config {
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Lag {
    pub events: u64,
    pub ms: u64,
    pub bytes: u64,
    pub acknowledged: Vec<(Bytes, u64)>,
}

type Out = Vec<Effect>;
type Names = BTreeSet<Bytes>;

impl Replicator {
    #[must_use]
    pub fn new(_: Arc<Store>, _: Config) -> Self {
        Self
    }
    pub fn peer_up(&mut self, _: Time, _: ReplicaId, _: LinkId, _: &mut Out) {}
    pub fn peer_down(&mut self, _: Time, _: ReplicaId, _: &mut Out) {}
    pub fn peer_gone(&mut self, _: Time, _: ReplicaId, _: &mut Out) {}
    pub fn peer_runs(&mut self, _: Time, _: ReplicaId, _: &Names, _: &mut Out) {}
    pub fn runs(&mut self, _: Time, _: &Names, _: &mut Out) {}
    pub fn received(&mut self, _: Time, _: ReplicaId, _: Body, _: &mut Out) -> Result<(), Fault> {
        Ok(())
    }
    pub fn wrote(&mut self, _: Time, _: &Arc<Function>, _: &mut Out) {}
    pub fn ask(&mut self, _: Time, id: AskId, ask: Ask, out: &mut Out) {
        let answer = match ask {
            Ask::Functions => Answer::Functions(Vec::new()),
            _ => Answer::Done,
        };
        out.push(Effect::Answer { id, answer });
    }
    #[must_use]
    pub fn lag(&self, _: Time, _: ReplicaId) -> Lag {
        Lag::default()
    }
    pub fn tick(&mut self, _: Time, _: &mut Out) {}
    pub fn settle(&mut self, _: Time, _: &mut Out) {}
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        None
    }
}
