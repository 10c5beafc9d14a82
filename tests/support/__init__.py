"""Shared by tests, fault harness and benchmarks: clients, receivers, proxies, processes."""
