"""A feature flag: it is switched on one node and told to every process that watches, on all nodes."""

from miso_crdt import MisoObject

with MisoObject(id="features") as features, features.watch() as changes:
    checkout = features.get_ewflag("new-checkout")

    def read():
        print(f"new-checkout: {str(checkout.get_value()).lower()}")

    read()
    checkout.enable()
    for _ in changes:  # A `Change`, or a `Gap`: what changed in a gap is not told again, so both mean to read.
        read()
        break
    features.delete()
