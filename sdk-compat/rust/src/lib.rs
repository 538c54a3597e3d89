//! Stateful objects of MISO for functions: replicated counters, sets, registers, flags and maps that live on the node
//! beside the function and behave like plain data. A thin layer over redis-rs, for tokio.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> miso_client::Result<()> {
//! use miso_client::MisoObject;
//!
//! let trip = MisoObject::connect("redis://garage:-@127.0.0.1:6379", "TripData-12345")?;
//! let distance = trip.get_pn_counter("distanceDriven");
//! distance.add(120).await?;
//! println!("driven: {} m", distance.get_value().await?);
//! # Ok(())
//! # }
//! ```

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod call;
mod codec;
mod error;
mod keeper;
mod link;
mod map;
mod object;
mod reply;
mod settings;
mod types;
mod value;
mod watch;

#[cfg(test)]
mod vectors;

pub use call::{Answers, Batch, Call, Place};
pub use codec::{Codec, Json, Raw};
pub use error::{Error, Result};
pub use map::ORMap;
pub use object::MisoObject;
pub use settings::{Options, default_id};
pub use types::{EWFlag, GCounter, GSet, MVRegister, ORSet, PNCounter, Pages};
pub use value::Value;
pub use watch::{Event, Watch};
