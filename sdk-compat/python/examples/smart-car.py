"""The smart car of the paper: a trip's distance and alerts, written by functions on many nodes."""

from miso_crdt import MisoObject

with MisoObject(id="TripData-12345") as trip:
    distance_driven = trip.get_pncounter("distanceDriven")
    alerts = trip.get_orset("alerts")

    for metres in (120, 80, 300):
        distance_driven += metres
    alerts.add("low tyre pressure", "door open")
    alerts.discard("door open")

    print(f"driven: {distance_driven.get_value()} m")
    for alert in alerts:
        print(f"alert: {alert}")
    trip.delete()
