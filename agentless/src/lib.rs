//! Verbs of the Host port into gRPC and commands over one guarded SSH session a node.
