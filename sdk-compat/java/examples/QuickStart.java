import io.github.misocrdt.MisoObject;
import io.github.misocrdt.Options;
import io.github.misocrdt.PNCounter;

/** The quick start: a trip's distance, counted by functions on many nodes. */
class QuickStart {
    public static void main(String[] args) {
        try (MisoObject trip = MisoObject.of(new Options().id("TripData-12345"))) {
            PNCounter distance = trip.getPNCounter("distanceDriven");
            distance.add(120);
            System.out.println("driven: " + distance.getValue() + " m");
        }
    }
}
