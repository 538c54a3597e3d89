//! The two machines of docs/start.md, as printed, in two network namespaces with a cable between them.

use miso_tests::{Machine, Namespace, Page, Scratch, wait_until};

#[test]
fn two_machines_as_printed() {
    if !Namespace::permitted() {
        return;
    }
    let networks = Namespace::pair(["10.77.0.1/24", "10.77.0.2/24"]);
    let homes = [Scratch::new(), Scratch::new()];
    let machine = |at: usize| Machine { network: &networks[at], directory: &homes[at] };
    let machines = [machine(0), machine(1)];
    let blocks = Page::read("docs/start.md").section("Two machines").blocks("sh");
    // alpha's lines, beta's, and those of clients.
    let [alpha, beta, clients] = &blocks[..] else { panic!("{blocks:?}") };
    let [secret, alpha] = &alpha[..] else { panic!("{alpha:?}") };
    machines[0].must(secret);
    std::fs::copy(homes[0].join("secret"), homes[1].join("secret")).expect("as by scp");
    let _nodes = [machines[0].start(alpha), machines[1].start(&beta[0])];
    for machine in &machines {
        wait_until("both to answer", || machine.run("redis-cli PING") == "PONG");
    }
    assert_eq!(machines[0].run(&clients[0]), "1");
    wait_until("the count to be there", || machines[1].run(&clients[1]) == "1");
    let names = machines[1].run("redis-cli MISO.NODES");
    assert!(names.contains("alpha") && names.contains("beta"), "{names}");
}
