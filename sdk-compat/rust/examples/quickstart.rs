//! The quick start: a trip's distance, counted by functions on many nodes.

use miso_client::{MisoObject, Options};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> miso_client::Result<()> {
    let id = Some("TripData-12345".to_owned());
    let trip = MisoObject::new(Options { id, ..Options::default() })?;
    let distance = trip.get_pn_counter("distanceDriven");
    distance.add(120).await?;
    println!("driven: {} m", distance.get_value().await?);
    Ok(())
}
