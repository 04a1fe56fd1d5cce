"""Find the layers that have a map, and choose one."""
