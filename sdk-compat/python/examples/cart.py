"""A shopping cart: amounts add up from wherever they are changed, and a removed article comes back only if somebody
adds it again."""

from miso_crdt import MisoObject

with MisoObject(id="cart-12345") as cart:
    articles = cart.get_ormap("articles")
    articles.increment("apple", 3)
    articles.increment("bread")
    articles.increment("apple", -1)
    articles.increment("milk", 2)
    del articles["milk"]

    # The order is taken in one piece: nobody sees a cart that is ordered and still full.
    with cart.atomic() as order:
        order.get_ormap("articles").get_value()
        order.get_ormap("articles").delete("apple", "bread")
        order.get_ewflag("ordered").enable()
    content = order.results[0]

    for article, amount in sorted(content.items()):
        print(f"{amount} x {article}")
    ordered = cart.get_ewflag("ordered").get_value()
    print(f"ordered: {str(ordered).lower()}, left: {len(articles)}")
    cart.delete()
