"""A Ray cluster on this machine, of two nodes: `python -m tests.integration.batch.nodes`.

Prints the address once all are there. A line `kill` on the standard input kills the second node without grace and a
new one joins; its end ends the cluster.
"""

import os
import sys
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # by default 15: beside other tests they would starve

from ray.cluster_utils import Cluster

MEMORY = 80 * 2**20  # of the object store of each node; Ray takes no less
NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": MEMORY,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,  # nothing scales the cluster
}


def main() -> None:
    """Until the standard input ends."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second: Any = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
            second = cluster.add_node(**NODE)
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
