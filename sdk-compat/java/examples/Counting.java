import io.github.misocrdt.MisoObject;
import io.github.misocrdt.Options;
import java.util.Scanner;

/** Adds the number on each line to the distance of a trip and prints what it is then. */
class Counting {
    public static void main(String[] args) {
        try (MisoObject trip = MisoObject.of(new Options().id("TripData-12345"));
                Scanner lines = new Scanner(System.in)) {
            while (lines.hasNextLong()) {
                System.out.println(trip.getPNCounter("distanceDriven").add(lines.nextLong()));
            }
        }
    }
}
