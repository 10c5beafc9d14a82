"""What tests, the fault harness and the benchmarks share: clients, receivers, proxies, processes."""
