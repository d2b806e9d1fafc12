"""What stands behind the two scripts: the network, the data, the history file."""
