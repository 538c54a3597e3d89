//! Memory.
//!
//! The allocator does not say how many bytes it holds beyond those in use. As Redis does with such an
//! allocator, the resident bytes of the process stand for them.

use crate::observe::reading::system_memory;
use crate::observe::row::{
    Row, Unit, Value, difference, gauge, human, label, only, percent, ratio, zero,
};
use crate::settings::kind::Eviction;

/// Memory.
pub(super) const MEMORY: &[Row] = &[
    gauge(
        "used_memory",
        "miso_memory_used_bytes",
        Unit::Bytes,
        "Memory in use, as it was asked for",
        |r| Value::Count(r.memory().used),
    ),
    only("used_memory_human", "As used_memory, for people", |r| human(r.memory().used)),
    gauge(
        "used_memory_rss",
        "miso_memory_resident_bytes",
        Unit::Bytes,
        "Physical memory of the process",
        |r| Value::Count(r.memory().resident),
    ),
    only("used_memory_rss_human", "As used_memory_rss, for people", |r| human(r.memory().resident)),
    gauge(
        "used_memory_peak",
        "miso_memory_used_peak_bytes",
        Unit::Bytes,
        "The most memory that was in use",
        |r| Value::Count(r.memory().peak),
    ),
    only("used_memory_peak_human", "As used_memory_peak, for people", |r| human(r.memory().peak)),
    only("used_memory_peak_perc", "used_memory of used_memory_peak", |r| {
        percent(r.memory().used, r.memory().peak)
    }),
    gauge(
        "used_memory_overhead",
        "miso_memory_overhead_bytes",
        Unit::Bytes,
        "Memory in use for other things than data: at the start, for clients, in the journal's buffer",
        |r| Value::Count(r.memory().overhead()),
    ),
    gauge(
        "used_memory_startup",
        "miso_memory_startup_bytes",
        Unit::Bytes,
        "Memory in use once the node was ready, without its data",
        |r| Value::Count(r.memory().startup),
    ),
    gauge(
        "used_memory_dataset",
        "miso_memory_dataset_bytes",
        Unit::Bytes,
        "Memory in use for data: used_memory without used_memory_overhead",
        |r| Value::Count(r.memory().dataset()),
    ),
    only(
        "used_memory_dataset_perc",
        "used_memory_dataset of what is in use beyond the start",
        |r| {
            let memory = r.memory();
            percent(memory.dataset(), memory.used.saturating_sub(memory.startup))
        },
    ),
    only("allocator_allocated", "As used_memory", |r| Value::Count(r.memory().used)),
    only("allocator_active", "As used_memory_rss", |r| Value::Count(r.memory().resident)),
    only("allocator_resident", "As used_memory_rss", |r| Value::Count(r.memory().resident)),
    gauge(
        "total_system_memory",
        "miso_system_memory_bytes",
        Unit::Bytes,
        "Physical memory of the machine",
        |_| Value::Count(system_memory()),
    ),
    only("total_system_memory_human", "As total_system_memory, for people", |_| {
        human(system_memory())
    }),
    zero("used_memory_lua", "0: there are no scripts"),
    zero("used_memory_vm_eval", "0: there are no scripts"),
    only("used_memory_lua_human", "0: there are no scripts", |_| human(0)),
    zero("used_memory_scripts_eval", "0: there are no scripts"),
    zero("number_of_cached_scripts", "0: there are no scripts"),
    zero("number_of_functions", "0: there are no functions of Redis's kind"),
    zero("number_of_libraries", "0: there are no functions of Redis's kind"),
    zero("used_memory_vm_functions", "0: there are no functions of Redis's kind"),
    zero("used_memory_vm_total", "0: there are no scripts"),
    only("used_memory_vm_total_human", "0: there are no scripts", |_| human(0)),
    zero("used_memory_functions", "0: there are no functions of Redis's kind"),
    zero("used_memory_scripts", "0: there are no scripts"),
    only("used_memory_scripts_human", "0: there are no scripts", |_| human(0)),
    gauge(
        "maxmemory",
        "miso_memory_max_bytes",
        Unit::Bytes,
        "The setting maxmemory; 0: no limit",
        |r| Value::Count(r.node.settings.maxmemory()),
    ),
    only("maxmemory_human", "As maxmemory, for people", |r| human(r.node.settings.maxmemory())),
    label("maxmemory_policy", "maxmemory_policy", "The setting maxmemory-policy", |r| {
        Value::Text(match r.node.settings.eviction() {
            Eviction::None => "noeviction".into(),
        })
    }),
    only("allocator_frag_ratio", "allocator_active to allocator_allocated", |r| {
        ratio(r.memory().resident, r.memory().used)
    }),
    only("allocator_frag_bytes", "allocator_active without allocator_allocated", |r| {
        difference(r.memory().resident, r.memory().used)
    }),
    only("allocator_rss_ratio", "allocator_resident to allocator_active", |_| {
        Value::Decimal(1.0, 2)
    }),
    zero("allocator_rss_bytes", "allocator_resident without allocator_active"),
    only("rss_overhead_ratio", "used_memory_rss to allocator_resident", |_| Value::Decimal(1.0, 2)),
    zero("rss_overhead_bytes", "used_memory_rss without allocator_resident"),
    gauge(
        "mem_fragmentation_ratio",
        "miso_memory_fragmentation_ratio",
        Unit::Ratio,
        "Physical memory to memory in use",
        |r| ratio(r.memory().resident, r.memory().used),
    ),
    only("mem_fragmentation_bytes", "used_memory_rss without used_memory", |r| {
        difference(r.memory().resident, r.memory().used)
    }),
    zero("mem_not_counted_for_evict", "0: maxmemory counts everything"),
    zero("mem_replication_backlog", "0: there is no backlog of Redis's kind"),
    zero("mem_total_replication_buffers", "0: there are no replicas of Redis's kind"),
    zero("mem_clients_slaves", "0: there are no replicas of Redis's kind"),
    gauge(
        "mem_clients_normal",
        "miso_memory_clients_bytes",
        Unit::Bytes,
        "Memory for clients",
        |r| Value::Count(r.memory().clients),
    ),
    zero("mem_cluster_links", "0: there is no Redis Cluster"),
    gauge(
        "mem_aof_buffer",
        "miso_memory_journal_buffer_bytes",
        Unit::Bytes,
        "Memory of the journal that waits to be written",
        |r| Value::Count(r.memory().journal),
    ),
    only("mem_allocator", "The allocator", |_| Value::Text("mimalloc".into())),
    zero("active_defrag_running", "0: memory is not defragmented"),
    zero("lazyfree_pending_objects", "0: objects are freed at once"),
    zero("lazyfreed_objects", "0: objects are freed at once"),
];
