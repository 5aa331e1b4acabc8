"""What a sandbox finds on its host, and what of it it takes: cgroups, ids, rights, folders."""
