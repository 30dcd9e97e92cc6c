"""What the benchmark of simulators runs: workloads, peers, our targets, the machine's floor."""
