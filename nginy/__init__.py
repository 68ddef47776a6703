"""nginy: a layer-4 load balancer."""
