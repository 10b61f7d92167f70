"""Files behind a network as they are: addresses that need a signature, servers that throttle, connections that drop."""
