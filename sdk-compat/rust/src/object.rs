//! The stateful object.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{Batch, Call, Command, Ids, Path};
use crate::codec::Raw;
use crate::error::{Error, Result};
use crate::keeper::Keeper;
use crate::link::Link;
use crate::map::ORMap;
use crate::reply;
use crate::settings::{Options, Settings, default_id};
use crate::types::{EWFlag, GCounter, GSet, MVRegister, Name, ORSet, PNCounter};
use crate::watch::Watch;

const AWAIT_MARGIN: Duration = Duration::from_secs(2);

/// A stateful object: some named CRDTs that live on the node beside the function.
///
/// Making one does no I/O. Its clones, and the objects made from it, share one connection, which the first call makes;
/// it belongs to the tokio runtime of that call.
#[derive(Clone, Debug)]
pub struct MisoObject {
    path: Path,
    id: String,
}

impl MisoObject {
    /// The object `id` of the node at `url`: `redis://FUNCTION:-@HOST:6379`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the URL is no address of a node, [`Error::Argument`] if the id is empty.
    pub fn connect(url: &str, id: &str) -> Result<MisoObject> {
        let (url, id) = (Some(url.to_owned()), Some(id.to_owned()));
        MisoObject::new(Options { url, id, ..Options::default() })
    }

    /// The object of this function, on the node that the environment names.
    ///
    /// # Errors
    /// [`Error::Setting`] if the environment does not say where the node is.
    pub fn from_env() -> Result<MisoObject> {
        MisoObject::new(Options::default())
    }

    /// An object with these options.
    ///
    /// # Errors
    /// As [`MisoObject::connect`].
    pub fn new(options: Options) -> Result<MisoObject> {
        let settings = Settings::resolve(&options, |name| std::env::var(name).ok())?;
        let id = match &options.id {
            Some(id) if id.is_empty() => {
                return Err(Error::Argument("an id is a text that is not empty".to_owned()));
            }
            Some(id) => id.clone(),
            None => default_id(settings.function.as_deref()),
        };
        let link = Arc::new(Link::new(settings, options)?);
        Ok(MisoObject { path: Path { link, ids: Ids::random() }, id })
    }

    /// Another object of the same function, over the same connection.
    #[must_use]
    pub fn object(&self, id: &str) -> MisoObject {
        let path = Path { link: Arc::clone(&self.path.link), ids: Ids::random() };
        MisoObject { path, id: id.to_owned() }
    }

    /// The same object for one call of the platform, with the platform's own id of it (an AWS request id, `X-Call-Id`):
    /// a repeat of the whole call that makes the same writes in the same order changes nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] if the id is too long.
    pub fn for_call(&self, call_id: &str) -> Result<MisoObject> {
        let path = Path { link: Arc::clone(&self.path.link), ids: Ids::of_call(call_id)? };
        Ok(MisoObject { path, id: self.id.clone() })
    }

    /// The object's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn name(&self, name: &str, prefix: &'static str) -> Name {
        Name::new(&self.path, &self.id, name, prefix)
    }

    /// A counter that only grows.
    #[must_use]
    pub fn get_g_counter(&self, name: &str) -> GCounter {
        GCounter(self.name(name, "GCOUNTER"))
    }

    /// A counter that grows and shrinks.
    #[must_use]
    pub fn get_pn_counter(&self, name: &str) -> PNCounter {
        PNCounter(self.name(name, "PNCOUNTER"))
    }

    /// A set that only grows.
    #[must_use]
    pub fn get_g_set(&self, name: &str) -> GSet {
        GSet(self.name(name, "GSET"), PhantomData)
    }

    /// A set.
    #[must_use]
    pub fn get_or_set(&self, name: &str) -> ORSet {
        ORSet(self.name(name, "ORSET"), PhantomData)
    }

    /// A register.
    #[must_use]
    pub fn get_mv_register(&self, name: &str) -> MVRegister {
        MVRegister(self.name(name, "MVREG"), PhantomData)
    }

    /// A flag.
    #[must_use]
    pub fn get_ew_flag(&self, name: &str) -> EWFlag {
        EWFlag(self.name(name, "EWFLAG"))
    }

    /// A map.
    #[must_use]
    pub fn get_or_map(&self, name: &str) -> ORMap {
        ORMap(self.name(name, "ORMAP"), PhantomData)
    }

    /// A set of bytes that only grows.
    #[must_use]
    pub fn get_raw_g_set(&self, name: &str) -> GSet<Raw> {
        GSet(self.name(name, "GSET"), PhantomData)
    }

    /// A set of bytes.
    #[must_use]
    pub fn get_raw_or_set(&self, name: &str) -> ORSet<Raw> {
        ORSet(self.name(name, "ORSET"), PhantomData)
    }

    /// A register of bytes.
    #[must_use]
    pub fn get_raw_mv_register(&self, name: &str) -> MVRegister<Raw> {
        MVRegister(self.name(name, "MVREG"), PhantomData)
    }

    /// A map of fields to bytes.
    #[must_use]
    pub fn get_raw_or_map(&self, name: &str) -> ORMap<Raw> {
        ORMap(self.name(name, "ORMAP"), PhantomData)
    }

    /// Deletes these names, or without one the whole object; answers how many names there were.
    pub fn delete(&self, names: &[&str]) -> Call<u64> {
        let command = Command::write("MISO.DEL").arg(self.id.as_str());
        let command = names.iter().fold(command, |command, name| command.arg(*name));
        Call::new(&self.path, Ok(command), reply::count)
    }

    /// Whether the object exists.
    pub fn exists(&self) -> Call<bool> {
        let command = Command::read("MISO.EXISTS").arg(self.id.as_str());
        Call::new(&self.path, Ok(command), reply::truth)
    }

    /// Whether a name of the object exists.
    pub fn exists_name(&self, name: &str) -> Call<bool> {
        let command = Command::read("MISO.EXISTS").arg(self.id.as_str()).arg(name);
        Call::new(&self.path, Ok(command), reply::truth)
    }

    /// Begins calls that are sent together, in order; others may come between them.
    pub fn batch(&self) -> Batch {
        Batch::new(&self.path, false)
    }

    /// Begins calls that run together (MULTI): all or, if one cannot be queued, none; replicated in one piece.
    pub fn atomic(&self) -> Batch {
        Batch::new(&self.path, true)
    }

    /// A causal token: everything that may have been seen here.
    pub fn token(&self) -> Call<String> {
        Call::new(&self.path, Ok(Command::read("MISO.TOKEN")), reply::text)
    }

    /// Waits until this node has everything that the token covers; false if it has not within the time-out.
    ///
    /// # Errors
    /// If the time-out is below a millisecond, or the node does not answer.
    pub async fn await_token(&self, token: &str, timeout: Duration) -> Result<bool> {
        if timeout < Duration::from_millis(1) {
            return Err(Error::Argument("a time-out is at least a millisecond".to_owned()));
        }
        let millis = timeout.as_millis().to_string();
        let command = Command::read("MISO.AWAIT").arg(token).arg(millis);
        reply::truth(self.path.link.long(&command, timeout + AWAIT_MARGIN).await?)
    }

    /// Tells changes; it listens when it answers.
    ///
    /// # Errors
    /// If the node is not reached.
    pub async fn watch(&self) -> Result<Watch> {
        Watch::start(&self.path.link, &self.id).await
    }

    /// Tells the node that a replica of the function runs here, again after each reconnect, for `ttl` past its
    /// connection. It ends with [`MisoObject::unregister`], or with the last object that shares the connection.
    ///
    /// # Errors
    /// If the node is not reached or refuses.
    pub async fn register(&self, ttl: Option<Duration>) -> Result<()> {
        let mut keeper = self.path.link.keeper.lock().await;
        *keeper = None;
        *keeper =
            Some(Keeper::start(&self.path.link, &self.path.link.settings.replica, ttl).await?);
        Ok(())
    }

    /// Takes it back and answers whether there was one. The node may wait until another has all that it knows.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn unregister(&self) -> Result<bool> {
        let keeper = self.path.link.keeper.lock().await.take();
        match keeper {
            Some(keeper) => keeper.end(&self.path.link).await,
            None => Ok(false),
        }
    }

    /// The function that the connection speaks for.
    ///
    /// # Errors
    /// If the node is not reached.
    pub async fn function_name(&self) -> Result<String> {
        Ok(self.path.link.take().await?.function.as_ref().to_owned())
    }
}
