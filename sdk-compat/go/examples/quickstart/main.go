// The quick start: a trip's distance, counted by functions on many nodes.
package main

import (
	"context"
	"fmt"
	"log"

	miso "github.com/miso-crdt/miso/sdk-compat/go"
)

func main() {
	trip, err := miso.New(miso.Options{ID: "TripData-12345"})
	if err != nil {
		log.Fatal(err)
	}
	defer trip.Close()
	driven, err := trip.PNCounter("distanceDriven").Add(context.Background(), 120)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("driven: %d m\n", driven)
}
