"""The Lightning port, its adapter and the simulator, against each other and against recordings of a real node."""
