"""What methods of one kind share: those that train one network, and those whose networks teach each other."""
