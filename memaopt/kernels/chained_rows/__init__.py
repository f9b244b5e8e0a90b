"""Matrix products whose rows are chained: eight of them in six SMLAD for each two inputs."""
