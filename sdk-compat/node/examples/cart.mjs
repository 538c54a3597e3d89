// A shopping cart: amounts add up from wherever they are changed, and a removed article comes back only if somebody
// adds it again.
import { MisoObject } from "miso-crdt";

const cart = new MisoObject({ id: "cart-12345" });
const articles = cart.getORMap("articles");

await articles.increment("apple", 3);
await articles.increment("bread");
await articles.increment("apple", -1);
await articles.increment("milk", 2);
await articles.delete("milk");

// The order is taken in one piece: nobody sees a cart that is ordered and still full.
const order = cart.atomic();
const content = order.getORMap("articles").getValue();
order.getORMap("articles").delete("apple", "bread");
order.getEWFlag("ordered").enable();
await order.send();

for (const [article, amount] of [...(await content)].sort()) console.log(`${amount} x ${article}`);
console.log(`ordered: ${await cart.getEWFlag("ordered").getValue()}, left: ${await articles.size()}`);
await cart.delete();
await cart.close();
