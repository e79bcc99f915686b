"""Shared helpers of the LLaVA-VSD replication; one module per noun."""
