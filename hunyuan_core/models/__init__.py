"""The networks. Layers come from an ``operations`` namespace, ``torch.nn`` by default."""
